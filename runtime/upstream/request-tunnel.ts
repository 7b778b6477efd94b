/**
 * A tunnel that is one request of a cluster: a stream of HTTP/2 (CONNECT, RFC 9113 section 8.5), or a POST whose body
 * and whose response's body carry the bytes.
 */
import { copyOf } from "../codec/copies.ts";
import type { HeaderMap } from "../codec/headers.ts";
import { ResetReason } from "../errors.ts";
import { DELAYED_CLOSE_TIMEOUT_MS } from "../limits.ts";
import type { SecureFacts } from "../observe/stream-info.ts";
import { Alarm } from "../timers.ts";
import type { PickContext } from "./pick.ts";
import type { Upstream, UpstreamHandler, UpstreamRequest } from "./request.ts";
import type { ByteStream, TcpHandler } from "./tcp-connection.ts";

const EMPTY = Buffer.alloc(0);

export interface RequestTunnelOptions {
  readonly headers: HeaderMap;
  /** Milliseconds in which the host must have agreed. */
  readonly timeoutMs: number;
  /** The statuses that agree are all of 2xx, or only 200. */
  readonly any2xx: boolean;
  /** Each direction may end by itself; else the end of the response is the end. */
  readonly halfOpen: boolean;
}

export class RequestTunnel implements ByteStream, UpstreamHandler {
  #handler: TcpHandler | null;
  readonly #options: RequestTunnelOptions;
  readonly #request: UpstreamRequest;
  readonly #alarm = new Alarm(() => this.#fail(ResetReason.CONNECTION_TIMEOUT, ""));
  localAddress = "";
  secure: SecureFacts | null = null;
  #open = false;
  #flushed: Alarm | null = null;
  #writeEnded = false;
  #readEnded = false;

  constructor(upstream: Upstream, handler: TcpHandler, options: RequestTunnelOptions, context?: PickContext) {
    this.#handler = handler;
    this.#options = options;
    this.#request = upstream.request(this, context);
    this.#alarm.arm(options.timeoutMs);
    this.#request.sendHeaders(options.headers, false);
    this.#request.flush();
  }

  // ---- down ---------------------------------------------------------------------------------------------

  get address(): string {
    return this.#request.address;
  }
  get unsentBytes(): number {
    return this.#request.unsentBytes;
  }

  write(data: Buffer): boolean {
    const room = this.#request.sendData(copyOf(data), false);
    this.#request.flush();
    return room;
  }

  endWrite(): void {
    if (this.#writeEnded) return;
    this.#writeEnded = true;
    this.#request.sendData(EMPTY, true);
    this.#request.flush();
    if (this.#readEnded) setImmediate(conclude, this);
  }

  pauseReading(): void {
    this.#request.pauseReading();
  }
  resumeReading(): void {
    this.#request.resumeReading();
  }

  /** The host is told that nothing more comes; it has some time to end its side once it has everything. */
  finish(): void {
    this.endWrite();
    this.#flushed ??= new Alarm(() => {
      if (this.unsentBytes > 0) this.#flushed?.arm(DELAYED_CLOSE_TIMEOUT_MS);
      else this.#fail(ResetReason.CONNECTION_TERMINATION, "");
    });
    this.#flushed.arm(DELAYED_CLOSE_TIMEOUT_MS);
  }

  close(): void {
    this.#leave();
    this.#request.reset();
  }
  reset(): void {
    this.close();
  }

  // ---- up -----------------------------------------------------------------------------------------------

  onUpstreamReady(_address: string, localAddress: string, secure: SecureFacts | null): void {
    this.localAddress = localAddress;
    this.secure = secure;
  }

  onUpstreamInformational(): void {}

  onUpstreamHeaders(status: number, _headers: HeaderMap, endStream: boolean): void {
    if (status !== 200 && !(this.#options.any2xx && status > 200 && status <= 299)) {
      this.#fail(ResetReason.REMOTE_CONNECTION_FAILURE, `tunnel: refused with status ${status}`);
      return;
    }
    this.#alarm.disarm();
    this.#open = true;
    this.#handler?.onTcpConnected();
    if (endStream) this.#onEnd();
  }

  onUpstreamData(chunk: Buffer, endStream: boolean): void {
    if (chunk.length > 0) this.#handler?.onTcpData(chunk);
    if (endStream) this.#onEnd();
  }

  onUpstreamTrailers(): void {
    this.#onEnd();
  }

  onUpstreamReset(reason: ResetReason, transportFailure: string): void {
    const told = this.#open && reason !== ResetReason.REMOTE_RESET ? ResetReason.CONNECTION_TERMINATION : reason;
    this.#leave()?.onTcpClosed(told, transportFailure);
  }

  onUpstreamDrain(): void {
    this.#handler?.onTcpDrain();
  }

  onUpstreamReadComplete(): void {}

  /** @internal Both directions have ended. */
  conclude(): void {
    this.#leave()?.onTcpClosed(ResetReason.CONNECTION_TERMINATION, "");
  }

  #onEnd(): void {
    this.#readEnded = true;
    if (this.#options.halfOpen) this.#handler?.onTcpEnd();
    if (this.#writeEnded || !this.#options.halfOpen) setImmediate(conclude, this);
  }

  /** From now on nobody hears anything. */
  #leave(): TcpHandler | null {
    const handler = this.#handler;
    this.#handler = null;
    this.#alarm.disarm();
    this.#flushed?.disarm();
    return handler;
  }

  #fail(reason: ResetReason, text: string): void {
    const handler = this.#leave();
    this.#request.reset();
    handler?.onTcpClosed(reason, text);
  }
}

function conclude(tunnel: RequestTunnel): void {
  tunnel.conclude();
}
