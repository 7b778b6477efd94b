/**
 * A tunnel through a host that speaks HTTP/1.1 (RFC 9110 section 9.3.6): a connection of its own whose first message
 * is CONNECT. Once the host has agreed the bytes pass as on any connection, and each direction ends by itself.
 */
import type { HeaderMap } from "../codec/headers.ts";
import { ResponseParser } from "../codec/h1-response-parser.ts";
import { RequestEncoder } from "../codec/h1-writer.ts";
import type { ResponseSink } from "../codec/message.ts";
import { ResetReason } from "../errors.ts";
import type { SecureFacts } from "../observe/stream-info.ts";
import { Alarm } from "../timers.ts";
import type { ByteStream, TcpConnection, TcpHandler } from "./tcp-connection.ts";

export class ConnectTunnel implements ByteStream, TcpHandler, ResponseSink {
  #handler: TcpHandler | null;
  readonly #headers: HeaderMap;
  readonly #timeoutMs: number;
  readonly #parser = new ResponseParser(this);
  readonly #alarm = new Alarm(() => this.#fail(ResetReason.CONNECTION_TIMEOUT, ""));
  #connection: TcpConnection | null = null;
  /** The host has agreed. */
  #open = false;

  /** `timeoutMs`: how long the host may take to agree, once it is connected. */
  constructor(handler: TcpHandler, headers: HeaderMap, timeoutMs: number) {
    this.#handler = handler;
    this.#headers = headers;
    this.#timeoutMs = timeoutMs;
  }

  /** The connection that is to become the tunnel; this object is its handler. */
  use(connection: TcpConnection): void {
    this.#connection = connection;
  }

  // ---- down ---------------------------------------------------------------------------------------------

  get address(): string {
    return this.#connection?.address ?? "";
  }
  get localAddress(): string {
    return this.#connection?.localAddress ?? "";
  }
  get secure(): SecureFacts | null {
    return this.#connection?.secure ?? null;
  }
  get unsentBytes(): number {
    return this.#connection?.unsentBytes ?? 0;
  }

  write(data: Buffer): boolean {
    return this.#connection?.write(data) ?? true;
  }
  endWrite(): void {
    this.#connection?.endWrite();
  }
  pauseReading(): void {
    this.#connection?.pauseReading();
  }
  resumeReading(): void {
    this.#connection?.resumeReading();
  }
  finish(): void {
    this.#connection?.finish();
  }
  close(): void {
    this.#leave();
    this.#connection?.close();
  }
  reset(): void {
    this.#leave();
    this.#connection?.reset();
  }

  // ---- up: the connection -------------------------------------------------------------------------------

  onTcpConnected(): void {
    const head = new RequestEncoder().head(this.#headers, false);
    if (head === "") {
      this.#fail(ResetReason.LOCAL_RESET, "tunnel: what the hostname came to cannot stand in a request line");
      return;
    }
    this.#parser.expect("CONNECT");
    this.#alarm.arm(this.#timeoutMs);
    this.#connection?.write(Buffer.from(head, "latin1"));
  }

  onTcpData(data: Buffer): void {
    if (this.#open) {
      this.#handler?.onTcpData(data);
      return;
    }
    if (this.#parser.execute(data) !== null) this.#fail(ResetReason.PROTOCOL_ERROR, "tunnel: the answer is malformed");
  }

  onTcpEnd(): void {
    if (this.#open) this.#handler?.onTcpEnd();
    else this.#fail(ResetReason.CONNECTION_TERMINATION, "");
  }

  onTcpDrain(): void {
    this.#handler?.onTcpDrain();
  }

  onTcpClosed(reason: ResetReason, transportFailure: string): void {
    this.#leave()?.onTcpClosed(reason, transportFailure);
  }

  // ---- up: the answer -----------------------------------------------------------------------------------

  onInformational(): void {}

  onResponseHead(status: number): void {
    // Length and encoding of an answer that agrees mean nothing: RFC 9110 section 9.3.6.
    if (status < 200 || status > 299) {
      this.#fail(ResetReason.REMOTE_CONNECTION_FAILURE, `tunnel: refused with status ${status}`);
      return;
    }
    this.#alarm.disarm();
    this.#open = true;
    this.#handler?.onTcpConnected();
  }

  /** What came in one go with the head that agrees. */
  onResponseData(chunk: Buffer): void {
    if (this.#open && chunk.length > 0) this.#handler?.onTcpData(chunk);
  }

  onResponseTrailers(): void {}

  // ---- inside -------------------------------------------------------------------------------------------

  /** From now on nobody hears anything. */
  #leave(): TcpHandler | null {
    const handler = this.#handler;
    this.#handler = null;
    this.#alarm.disarm();
    return handler;
  }

  #fail(reason: ResetReason, text: string): void {
    const handler = this.#leave();
    this.#connection?.close();
    handler?.onTcpClosed(reason, text);
  }
}
