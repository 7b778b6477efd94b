/** One HTTP/2 request: waits for a connection if it must, then is a stream of `node:http2`. */
import type { ClientHttp2Stream } from "node:http2";
import { noteCopied } from "../codec/copies.ts";
import { END_STREAM, H2Error } from "../codec/h2-codes.ts";
import { extendedConnect, plainConnect, switched, trailerFields } from "../codec/h2-fields.ts";
import { HeaderMap } from "../codec/headers.ts";
import { ResetReason } from "../errors.ts";
import type { H2Connection } from "./h2-connection.ts";
import type { Pool, PoolRequest } from "./pool.ts";
import { QueueLink } from "./request-queue.ts";
import type { UpstreamHandler } from "./request.ts";

const EMPTY = Buffer.alloc(0);

const RESET_REASONS: Readonly<Record<number, ResetReason>> = {
  [H2Error.PROTOCOL_ERROR]: ResetReason.PROTOCOL_ERROR,
  [H2Error.REFUSED_STREAM]: ResetReason.REFUSED_STREAM,
};

export class H2Request extends QueueLink implements PoolRequest {
  readonly handler: UpstreamHandler;
  readonly #pool: Pool<H2Request>;
  connection: H2Connection | null = null;
  done = false;
  #stream: ClientHttp2Stream | null = null;
  #headers: HeaderMap | null = null;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #trailers: HeaderMap | null = null;
  #responseTrailers: HeaderMap | null = null;
  #ended = false;
  /** It asks for another protocol. */
  #upgrade = false;
  /** CONNECT: each direction ends by itself. */
  #tunnel = false;
  /** The host has ended its direction of the tunnel. */
  #responseOver = false;
  /** The head is to be sent once there is a connection, whether or not more comes. */
  #wanted = false;
  #readingPaused = false;
  #backedUp = false;

  constructor(handler: UpstreamHandler, pool: Pool<H2Request>) {
    super();
    this.handler = handler;
    this.#pool = pool;
  }

  // ---- Down ---------------------------------------------------------------------------------------------

  get hostname(): string {
    return this.#pool.host.hostname;
  }

  get address(): string {
    return this.#pool.host.address;
  }

  get unsentBytes(): number {
    return this.#heldBytes + (this.#stream?.writableLength ?? 0);
  }

  sendHeaders(headers: HeaderMap, endStream: boolean, upgrade = false): void {
    if (this.done) return;
    this.#tunnel = !upgrade && headers.get(":method") === "CONNECT";
    this.#headers = this.#tunnel ? plainConnect(headers) : upgrade ? extendedConnect(headers) : headers;
    this.#upgrade = upgrade;
    this.#ended = endStream;
    if (this.connection === null) return;
    this.connection.announce(this);
    if (endStream || upgrade || this.#tunnel) this.flush();
  }

  sendData(chunk: Buffer, endStream: boolean): boolean {
    if (this.done || this.#ended) return true;
    this.#ended = endStream;
    if (chunk.length > 0) {
      this.#held.push(chunk);
      this.#heldBytes += chunk.length;
    }
    if (this.connection !== null) this.flush();
    else this.#backedUp = this.#heldBytes > this.#pool.bufferLimitBytes;
    return !this.#backedUp;
  }

  sendTrailers(trailers: HeaderMap): void {
    if (this.done || this.#ended) return;
    this.#ended = true;
    this.#trailers = trailers;
    this.flush();
  }

  flush(): void {
    const connection = this.connection;
    if (connection === null) this.#wanted = true;
    if (this.done || connection === null || this.#headers === null) return;
    let stream = this.#stream;
    if (stream === null) {
      if (this.#upgrade && !this.#mayConnect(connection)) return;
      const bodiless = this.#ended && this.#held.length === 0 && this.#trailers === null;
      // Trailers may come as long as nobody said that the request has ended without them.
      const waitForTrailers = !this.#ended || this.#trailers !== null;
      stream = connection.open(this, this.#headers, { endStream: bodiless, waitForTrailers });
      if (stream === null) return;
      this.#listen(stream);
      if (bodiless) return;
    }
    const held = this.#held;
    if (held.length > 0) {
      for (const chunk of held) stream.write(chunk);
      this.#pool.resources.stats.cxTxBytes.add(this.#heldBytes);
      this.#held = [];
      this.#heldBytes = 0;
    }
    if (this.#ended) {
      stream.end();
      if (this.#responseOver) this.#complete();
    } else if (stream.writableLength > this.#pool.bufferLimitBytes && !this.#backedUp) {
      this.#backedUp = true;
      this.#pool.resources.stats.flowBackedUp.inc();
    }
  }

  /** RFC 8441 section 3: only a host that said so takes other protocols, and its settings may still be on their way. */
  #mayConnect(connection: H2Connection): boolean {
    if (connection.takesProtocols === undefined) return false;
    if (!connection.takesProtocols) setImmediate(failLocally, this);
    return connection.takesProtocols;
  }

  pauseReading(): void {
    if (this.done || this.#readingPaused) return;
    this.#readingPaused = true;
    this.#stream?.pause();
    this.#pool.resources.stats.flowPausedReading.inc();
  }

  resumeReading(): void {
    if (this.done || !this.#readingPaused) return;
    this.#readingPaused = false;
    this.#stream?.resume();
    this.#pool.resources.stats.flowResumedReading.inc();
  }

  reset(timedOut = false): void {
    if (this.done) return;
    this.done = true;
    const connection = this.connection;
    if (connection === null) {
      this.#pool.cancel(this);
      return;
    }
    this.#pool.resources.stats.rqTxReset.inc();
    if (timedOut) this.#pool.host.timedOut();
    this.#cancelStream();
    connection.over(this);
  }

  // ---- Called by the connection ---------------------------------------------------------------------------

  /** It has a connection now: writes what was held. */
  begin(): void {
    if (this.#headers === null) return;
    this.connection?.announce(this);
    if (this.done) return;
    const wasBackedUp = this.#backedUp;
    this.#backedUp = false;
    if (this.#ended || this.#upgrade || this.#wanted || this.#held.length > 0) this.flush();
    if (wasBackedUp && !this.#backedUp && !this.done) this.handler.onUpstreamDrain();
  }

  /** What the host takes is known now. */
  onSettings(): void {
    if (this.#upgrade) this.flush();
  }

  /** The attempt failed. */
  fail(reason: ResetReason, unsent: boolean): void {
    if (this.done) return;
    this.done = true;
    this.#pool.host.failed();
    this.#cancelStream();
    this.connection?.over(this);
    this.handler.onUpstreamReset(reason, "", unsent || this.#stream === null);
  }

  // ---- Up -------------------------------------------------------------------------------------------------

  #listen(stream: ClientHttp2Stream): void {
    this.#stream = stream;
    stream.on("response", (_headers, flags, raw) => this.#onResponse(raw, flags));
    stream.on("headers", (headers, _flags, raw) => this.#onInformational(headers[":status"] ?? 0, raw));
    stream.on("data", (chunk: Buffer) => this.#onData(chunk));
    stream.on("trailers", (_headers, _flags, raw) => {
      this.#responseTrailers = new HeaderMap(raw);
    });
    stream.on("end", () => this.#onEnd());
    stream.on("drain", () => this.#onDrain());
    stream.on("wantTrailers", () => this.#onWantTrailers(stream));
    // It is destroyed by then; what happened is in rstCode and told when it is closed.
    stream.on("error", ignore);
    stream.on("close", () => this.#onClose());
    if (this.#readingPaused) stream.pause();
  }

  #onInformational(status: number, raw: string[]): void {
    if (!this.done) this.handler.onUpstreamInformational(status, new HeaderMap(raw));
  }

  #onResponse(raw: string[], flags: number): void {
    if (this.done) return;
    const headers = new HeaderMap(raw);
    const status = Number(headers.get(":status"));
    this.#pool.host.answered(status);
    const endStream = (flags & END_STREAM) !== 0;
    if (endStream) this.#complete();
    if (this.#upgrade && !endStream && status >= 200 && status < 300)
      this.handler.onUpstreamHeaders(101, switched(headers, this.#headers!), false);
    else this.handler.onUpstreamHeaders(status, headers, endStream);
    if (!this.done) this.handler.onUpstreamReadComplete();
  }

  #onData(chunk: Buffer): void {
    noteCopied(chunk.length);
    if (this.done) return;
    this.handler.onUpstreamData(chunk, false);
    if (!this.done) this.handler.onUpstreamReadComplete();
  }

  #onEnd(): void {
    // A stream that was cut off ends, too: then the code is set, and the close tells.
    if (this.done || (this.#stream?.rstCode ?? H2Error.NO_ERROR) !== H2Error.NO_ERROR || this.#stream?.aborted === true)
      return;
    const trailers = this.#responseTrailers;
    if (this.#tunnel && !this.#ended) this.#responseOver = true;
    else this.#complete();
    if (trailers === null) this.handler.onUpstreamData(EMPTY, true);
    else this.handler.onUpstreamTrailers(trailers);
  }

  #onDrain(): void {
    if (this.done || !this.#backedUp) return;
    this.#backedUp = false;
    this.#pool.resources.stats.flowDrained.inc();
    this.handler.onUpstreamDrain();
  }

  #onWantTrailers(stream: ClientHttp2Stream): void {
    // A request that was given up must not look complete to the host.
    if (this.done && !this.#ended) return;
    try {
      // Without fields this is an empty DATA frame that ends the stream.
      stream.sendTrailers(trailerFields(this.#trailers));
    } catch {
      // Fields that HTTP/2 cannot carry, from a guest perhaps: that request fails, nothing else.
      setImmediate(failLocally, this);
    }
  }

  #onClose(): void {
    // When the whole connection is gone, that tells why.
    if (this.done || this.connection === null || this.connection.closed) return;
    const code = this.#stream?.rstCode ?? H2Error.NO_ERROR;
    if (this.#responseOver && code === H2Error.NO_ERROR) {
      this.#complete();
      return;
    }
    this.#pool.resources.stats.rqRxReset.inc();
    this.fail(RESET_REASONS[code] ?? ResetReason.REMOTE_RESET, code === H2Error.REFUSED_STREAM);
  }

  /** The response is complete. A request that is not gets cancelled: nobody will read the rest. */
  #complete(): void {
    this.done = true;
    if (!this.#ended) this.#cancelStream();
    else if (this.#readingPaused) this.#stream?.resume();
    this.connection?.over(this);
  }

  /**
   * Cancelled within a callback of its session, a stream that waits for trailers makes Node 26 abort the
   * process (`Http2Stream::OnTrailers`, `!this->is_destroyed()`): the reset is put off, and the frame that
   * ends the stream is sent for a stream that is gone. Hence from a task of its own.
   */
  #cancelStream(): void {
    if (this.#stream !== null && !this.#stream.destroyed) setImmediate(cancelStream, this.#stream);
  }
}

function cancelStream(stream: ClientHttp2Stream): void {
  if (!stream.destroyed) stream.close(H2Error.CANCEL);
}

function failLocally(request: H2Request): void {
  request.fail(ResetReason.LOCAL_RESET, false);
}

function ignore(): void {}
