/** One HTTP/1 request: holds what is to be written until it has a connection, then writes through it. */
import type { HeaderMap } from "../codec/headers.ts";
import { chunkHead, CRLF, LAST_CHUNK, type RequestEncoder, trailersText } from "../codec/h1-writer.ts";
import { ResetReason } from "../errors.ts";
import { SMALL_WRITE_BYTES } from "../limits.ts";
import type { H1Connection } from "./h1-connection.ts";
import type { Pool, PoolRequest } from "./pool.ts";
import { QueueLink } from "./request-queue.ts";
import type { UpstreamHandler } from "./request.ts";

export class H1Request extends QueueLink implements PoolRequest {
  readonly handler: UpstreamHandler;
  readonly #pool: Pool<H1Request>;
  connection: H1Connection | null = null;
  /** Over: complete, reset or failed. Every later call does nothing. */
  done = false;
  method = "";
  /** The whole request was handed over by the caller. */
  ended = false;
  /** It asks for another protocol. */
  upgrade = false;
  /** Bytes of it may have left. */
  started = false;
  readingPaused = false;
  /** The caller was told to stop sending. */
  backedUp = false;
  readonly #encoder: RequestEncoder;
  #chunked = false;
  /** Bytes of body that content-length still promises, or -1 when none was said. */
  #remaining = -1;
  /** What was sent is no valid message: nothing more is taken, the reset is on its way. */
  #broken = false;
  /** Head and small pieces of body, latin-1, not yet written. */
  #held = "";
  /** Large pieces that follow `#held`, as Buffers and latin-1 framing. */
  #pieces: (Buffer | string)[] | null = null;
  #piecesBytes = 0;

  constructor(handler: UpstreamHandler, pool: Pool<H1Request>, encoder: RequestEncoder) {
    super();
    this.handler = handler;
    this.#pool = pool;
    this.#encoder = encoder;
  }

  get hostname(): string {
    return this.#pool.host.hostname;
  }

  /** What follows an answer that agrees is no HTTP: each direction ends by the connection's. */
  get tunnels(): boolean {
    return this.upgrade || this.method === "CONNECT";
  }

  get address(): string {
    return this.#pool.host.address;
  }

  get unsentBytes(): number {
    return this.#held.length + this.#piecesBytes + (this.connection?.unsentBytes ?? 0);
  }

  sendHeaders(headers: HeaderMap, endStream: boolean, upgrade = false): void {
    if (this.done) return;
    this.upgrade = upgrade;
    this.method = headers.get(":method") ?? "GET";
    const encoder = this.#encoder;
    this.#held = encoder.head(headers, endStream, upgrade);
    this.#chunked = encoder.chunked;
    this.#remaining = encoder.remaining;
    this.ended = endStream;
    if (this.#held === "") {
      this.#breakOff();
      return;
    }
    const connection = this.connection;
    if (connection === null) return;
    connection.announce(this);
    if (endStream || this.tunnels) this.flush();
  }

  sendData(chunk: Buffer, endStream: boolean): boolean {
    if (this.done || this.ended || this.#broken) return true;
    if (!this.#admit(chunk.length, endStream)) return true;
    this.ended = endStream;
    if (chunk.length > 0) this.#hold(chunk);
    if (endStream && this.#chunked) this.#holdText(LAST_CHUNK);
    const room = this.#push();
    if (endStream && this.tunnels) this.connection?.endSending(this);
    return room;
  }

  sendTrailers(trailers: HeaderMap): void {
    if (this.done || this.ended || this.#broken || !this.#admit(0, true)) return;
    this.ended = true;
    // A body of known length ends without a place for trailers.
    if (this.#chunked) this.#holdText(trailersText(trailers));
    this.#push();
  }

  flush(): void {
    if (this.done || this.#broken || this.connection === null) return;
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

  /** @internal Tells of a broken request, from a task of its own. */
  failBroken(): void {
    if (this.done) return;
    const connection = this.connection;
    if (connection === null) this.#pool.cancel(this);
    else connection.abandon(this, false);
    this.done = true;
    this.handler.onUpstreamReset(ResetReason.LOCAL_RESET, "", false);
  }

  /**
   * A body longer than its content-length would be read as another request, a shorter one would swallow
   * the next: neither may go on.
   */
  #admit(length: number, endStream: boolean): boolean {
    if (this.#remaining === -1) return true;
    this.#remaining -= length;
    if (this.#remaining >= 0 && (this.#remaining === 0 || !endStream)) return true;
    this.#breakOff();
    return false;
  }

  #breakOff(): void {
    this.#broken = true;
    setImmediate(failBroken, this);
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
      const text = chunk.latin1Slice(0, length);
      this.#held += this.#chunked ? chunkHead(length) + text + CRLF : text;
      return;
    }
    const pieces = (this.#pieces ??= []);
    if (this.#chunked) pieces.push(chunkHead(length), chunk, CRLF);
    else pieces.push(chunk);
    this.#piecesBytes += length;
  }

  #holdText(text: string): void {
    if (this.#pieces === null) this.#held += text;
    else this.#pieces.push(text);
  }
}

function failBroken(request: H1Request): void {
  request.failBroken();
}
