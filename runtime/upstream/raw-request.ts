/**
 * A connection of its own in the place of a request: what the request's body carries goes over it as it is, and what
 * comes back is the body of a response whose head is made here. So tunnels end (connect_config of a route).
 */
import { HeaderMap } from "../codec/headers.ts";
import { ResetReason } from "../errors.ts";
import type { UpstreamHandler, UpstreamRequest } from "./request.ts";
import type { TcpConnection, TcpHandler } from "./tcp-connection.ts";

const EMPTY = Buffer.alloc(0);

export class RawRequest implements UpstreamRequest, TcpHandler {
  readonly #limitBytes: number;
  #handler: UpstreamHandler | null;
  #connection: TcpConnection | null = null;
  #connected = false;
  /** What came before there was a connection. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  #ended = false;
  #backedUp = false;
  #readingPaused = false;

  constructor(handler: UpstreamHandler, limitBytes: number) {
    this.#handler = handler;
    this.#limitBytes = limitBytes;
  }

  /** The connection under way; this object is its handler. */
  use(connection: TcpConnection): void {
    this.#connection = connection;
  }

  // ---- down ---------------------------------------------------------------------------------------------

  get hostname(): string {
    return this.#connection?.host.hostname ?? "";
  }
  get address(): string {
    return this.#connection?.address ?? "";
  }
  get unsentBytes(): number {
    return this.#heldBytes + (this.#connection?.unsentBytes ?? 0);
  }

  /** They were for the one who made the tunnel. */
  sendHeaders(_headers: HeaderMap, endStream: boolean): void {
    if (endStream) this.sendData(EMPTY, true);
  }

  sendData(chunk: Buffer, endStream: boolean): boolean {
    const connection = this.#connection;
    if (this.#handler === null || this.#ended || connection === null) return true;
    this.#ended = endStream;
    if (!this.#connected) {
      if (chunk.length > 0) this.#held.push(chunk);
      this.#heldBytes += chunk.length;
      this.#backedUp = this.#heldBytes > this.#limitBytes;
      return !this.#backedUp;
    }
    const room = chunk.length === 0 || connection.write(chunk);
    if (endStream) connection.endWrite();
    this.#backedUp = !room;
    return room;
  }

  sendTrailers(): void {
    this.sendData(EMPTY, true);
  }

  flush(): void {}

  pauseReading(): void {
    if (this.#readingPaused) return;
    this.#readingPaused = true;
    if (this.#connected) this.#connection?.pauseReading();
  }

  resumeReading(): void {
    if (!this.#readingPaused) return;
    this.#readingPaused = false;
    if (this.#connected) this.#connection?.resumeReading();
  }

  reset(timedOut = false): void {
    const connection = this.#connection;
    if (this.#handler === null || connection === null) return;
    this.#handler = null;
    if (timedOut) connection.host.timedOut();
    connection.close();
  }

  // ---- up -----------------------------------------------------------------------------------------------

  onTcpConnected(): void {
    const connection = this.#connection;
    if (this.#handler === null || connection === null) return;
    this.#connected = true;
    if (this.#readingPaused) connection.pauseReading();
    this.#handler.onUpstreamReady(connection.address, connection.localAddress, connection.secure);
    let room = true;
    for (const chunk of this.#held) room = connection.write(chunk);
    this.#held = [];
    this.#heldBytes = 0;
    if (this.#ended) connection.endWrite();
    this.#handler?.onUpstreamHeaders(200, new HeaderMap([":status", "200"]), false);
    this.#handler?.onUpstreamReadComplete();
    if (this.#backedUp && room) this.onTcpDrain();
  }

  onTcpData(data: Buffer): void {
    this.#handler?.onUpstreamData(data, false);
    this.#handler?.onUpstreamReadComplete();
  }

  /** The end of the response, and so of the stream: what downstream may still send has nowhere to go. */
  onTcpEnd(): void {
    const handler = this.#handler;
    this.#handler = null;
    if (handler === null) return;
    this.#connection?.finish();
    handler.onUpstreamData(EMPTY, true);
  }

  onTcpDrain(): void {
    if (!this.#backedUp) return;
    this.#backedUp = false;
    this.#handler?.onUpstreamDrain();
  }

  onTcpClosed(reason: ResetReason, transportFailure: string): void {
    const handler = this.#handler;
    this.#handler = null;
    const told = this.#connected && reason !== ResetReason.REMOTE_RESET ? ResetReason.CONNECTION_TERMINATION : reason;
    handler?.onUpstreamReset(told, transportFailure, !this.#connected);
  }
}
