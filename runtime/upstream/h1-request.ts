/** One HTTP/1 request: holds what is to be written until it has a connection, then writes through it. */
import type { HeaderMap } from "../codec/headers.ts";
import { RequestEncoder } from "../codec/h1-writer.ts";
import { SMALL_WRITE_BYTES } from "../limits.ts";
import type { H1Connection } from "./h1-connection.ts";
import type { Pool, PoolRequest } from "./pool.ts";
import { QueueLink } from "./request-queue.ts";
import type { UpstreamHandler } from "./request.ts";

/** Encoding is synchronous and leaves nothing behind: one encoder serves all requests of a thread. */
const encoder = new RequestEncoder();

export class H1Request extends QueueLink implements PoolRequest {
  readonly handler: UpstreamHandler;
  readonly #pool: Pool<H1Request>;
  connection: H1Connection | null = null;
  /** Over: complete, reset or failed. Every later call does nothing. */
  done = false;
  method = "";
  /** The whole request was handed over by the caller. */
  ended = false;
  /** Bytes of it may have left. */
  started = false;
  readingPaused = false;
  /** The caller was told to stop sending. */
  backedUp = false;
  #chunked = false;
  /** Head and small pieces of body, latin-1, not yet written. */
  #held = "";
  /** Large pieces that follow `#held`, as Buffers and latin-1 framing. */
  #pieces: (Buffer | string)[] | null = null;
  #piecesBytes = 0;

  constructor(handler: UpstreamHandler, pool: Pool<H1Request>) {
    super();
    this.handler = handler;
    this.#pool = pool;
  }

  sendHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.done) return;
    this.method = headers.get(":method") ?? "GET";
    this.#held = encoder.head(headers, endStream);
    this.#chunked = encoder.chunked;
    this.ended = endStream;
    const connection = this.connection;
    if (connection === null) return;
    connection.announce(this);
    if (endStream) this.flush();
  }

  sendData(chunk: Buffer, endStream: boolean): boolean {
    if (this.done || this.ended) return true;
    this.ended = endStream;
    if (chunk.length > 0) this.#hold(chunk);
    if (endStream && this.#chunked) this.#holdText("0\r\n\r\n");
    return this.#push();
  }

  sendTrailers(trailers: HeaderMap): void {
    if (this.done || this.ended) return;
    this.ended = true;
    if (this.#chunked) this.#holdText(encoder.trailers(trailers));
    this.#push();
  }

  flush(): void {
    if (this.done || this.connection === null) return;
    if (this.#pieces === null) {
      if (this.#held === "") return;
      const text = this.#held;
      this.#held = "";
      if (!this.connection.writeText(this, text)) this.backedUp = true;
      return;
    }
    const pieces = this.#pieces;
    if (this.#held !== "") pieces.unshift(this.#held);
    this.#held = "";
    this.#pieces = null;
    this.#piecesBytes = 0;
    if (!this.connection.writePieces(this, pieces)) this.backedUp = true;
  }

  pauseReading(): void {
    if (this.done || this.readingPaused) return;
    this.readingPaused = true;
    this.connection?.pauseReading();
  }

  resumeReading(): void {
    if (this.done || !this.readingPaused) return;
    this.readingPaused = false;
    this.connection?.resumeReading();
  }

  reset(timedOut = false): void {
    if (this.done) return;
    this.done = true;
    if (this.connection === null) this.#pool.cancel(this);
    else this.connection.abandon(this, timedOut);
  }

  /** False when so much is held that the caller should wait. */
  #push(): boolean {
    if (this.connection !== null) this.flush();
    else this.backedUp = this.#held.length + this.#piecesBytes > this.#pool.bufferLimitBytes;
    return !this.backedUp;
  }

  #hold(chunk: Buffer): void {
    const length = chunk.length;
    if (this.#pieces === null && this.#held.length + length <= SMALL_WRITE_BYTES) {
      const text = chunk.toString("latin1");
      this.#held += this.#chunked ? `${length.toString(16)}\r\n${text}\r\n` : text;
      return;
    }
    const pieces = (this.#pieces ??= []);
    if (this.#chunked) pieces.push(`${length.toString(16)}\r\n`, chunk, "\r\n");
    else pieces.push(chunk);
    this.#piecesBytes += length;
  }

  #holdText(text: string): void {
    if (this.#pieces === null) this.#held += text;
    else this.#pieces.push(text);
  }
}
