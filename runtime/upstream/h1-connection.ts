/**
 * One HTTP/1 connection to a host: connecting → idle ⇄ serving one request → closed. It feeds what it
 * reads to the response parser and hands the events to the request's handler; the pool owns it.
 */
import type { Socket } from "node:net";
import type { HeaderMap } from "../codec/headers.ts";
import { RequestEncoder } from "../codec/h1-writer.ts";
import { ResponseParser } from "../codec/h1-response-parser.ts";
import { HeadFlag, type ResponseSink } from "../codec/message.ts";
import { ResetReason } from "../errors.ts";
import type { SecureFacts } from "../observe/stream-info.ts";
import { beginEvent, Deadline, endEvent } from "../timers.ts";
import { dial, dialedEvent, dialedFacts, dialFailure, dialRefusal, localAddressOf } from "./dial.ts";
import { H1Request } from "./h1-request.ts";
import type { Pool, PoolConnection, PoolProtocol } from "./pool.ts";
import { upstreamReadBuffer } from "./read-buffer.ts";
import type { ConnectFailure } from "./transport-failure.ts";

/** For ALPN. */
const PROTOCOLS = ["http/1.1"];

/** RFC 9110 section 9.2.2: these may be sent again when nobody knows whether the first try was handled. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);

/** One request at a time on each connection. The encoder is the pool's: requests to one host look alike. */
export function http1(): PoolProtocol<H1Request> {
  const encoder = new RequestEncoder();
  return {
    createRequest: (handler, pool) => new H1Request(handler, pool, encoder),
    connect: (pool) => new H1Connection(pool),
    requestsPerConnection: 1,
  };
}

export class H1Connection extends Deadline implements PoolConnection<H1Request>, ResponseSink {
  readonly #pool: Pool<H1Request>;
  readonly #socket: Socket;
  readonly #parser: ResponseParser;
  ready = false;
  readonly address: string;
  readonly #startMs = performance.now();
  #localAddress = "";
  #secure: SecureFacts | null = null;
  #request: H1Request | null = null;
  /** Requests given to this connection so far. */
  #served = 0;
  #connected = false;
  #closed = false;
  /** The response of the current request is complete; the parser is still on the stack. */
  #responseDone = false;
  #requestWasWhole = false;
  #keepAlive = false;
  #anyResponseByte = false;

  constructor(pool: Pool<H1Request>) {
    super();
    this.#pool = pool;
    const { host, downstream } = pool;
    this.address = host.address;
    this.#parser = new ResponseParser(this);
    const onread = {
      buffer: upstreamReadBuffer,
      callback: (length: number): boolean => {
        beginEvent();
        this.#onRead(upstreamReadBuffer.subarray(0, length));
        endEvent();
        return true;
      },
    };
    const writableHighWaterMark = pool.bufferLimitBytes;
    const socket = dial(host, { protocols: PROTOCOLS, downstream, writableHighWaterMark, onread });
    this.#socket = socket;
    socket.on(dialedEvent(host), () => this.#onConnect());
    socket.on("drain", () => this.#onDrain());
    socket.on("end", () => this.#onEnd());
    socket.on("error", (error: NodeJS.ErrnoException) => this.#onError(error));
    socket.on("close", () => this.#close(false, ResetReason.CONNECTION_TERMINATION));
    this.arm(pool.resources.config.connectTimeoutMs);
    pool.resources.stats.cxHttp1Total.inc();
  }

  get connected(): boolean {
    return this.#connected;
  }
  get active(): number {
    return this.#request === null ? 0 : 1;
  }
  get room(): number {
    return this.#request !== null || this.#closed || this.wornOut ? 0 : 1;
  }
  get wornOut(): boolean {
    const most = this.#pool.resources.config.maxRequestsPerConnection;
    return most !== 0 && this.#served >= most;
  }

  /** Bytes that were written and that the system has not taken yet. */
  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  // ---- Down: the pool and the request -------------------------------------------------------------

  /** Gives the idle connection its next request and writes what that one holds. */
  attach(request: H1Request): void {
    const pool = this.#pool;
    this.#request = request;
    this.#served++;
    this.#responseDone = false;
    this.#anyResponseByte = false;
    request.connection = this;
    pool.resources.requestBegun(pool.host);
    pool.host.monitor?.connected(false);
    if (this.wornOut) pool.resources.stats.cxMaxRequests.inc();
    if (request.readingPaused) this.#socket.pause();
    if (request.method === "") return;
    this.announce(request);
    // The handler may have given it up just now, and this connection may serve the next one already.
    if (request.done) return;
    const wasBackedUp = request.backedUp;
    request.backedUp = false;
    request.flush();
    if (wasBackedUp && !request.backedUp && !request.done) request.handler.onUpstreamDrain();
  }

  announce(request: H1Request): void {
    request.handler.onUpstreamReady(this.address, this.#localAddress, this.#secure);
  }

  /** False: the socket's buffer is over its limit. */
  writeText(request: H1Request, text: string): boolean {
    this.#start(request);
    this.#pool.resources.stats.cxTxBytes.add(text.length);
    return this.#socket.write(text, "latin1") || this.#backUp();
  }

  /** The same for a mix of latin-1 texts and large pieces of body, in one system call if it can be. */
  writePieces(request: H1Request, pieces: readonly (Buffer | string)[]): boolean {
    this.#start(request);
    const socket = this.#socket;
    let bytes = 0;
    let room = true;
    if (pieces.length > 1) socket.cork();
    for (const piece of pieces) {
      bytes += piece.length;
      room = typeof piece === "string" ? socket.write(piece, "latin1") : socket.write(piece);
    }
    if (pieces.length > 1) {
      socket.uncork();
      // While corked `write` counts what is only waiting for the uncork.
      room = !socket.writableNeedDrain;
    }
    this.#pool.resources.stats.cxTxBytes.add(bytes);
    return room || this.#backUp();
  }

  pauseReading(): void {
    this.#socket.pause();
    this.#pool.resources.stats.flowPausedReading.inc();
  }

  resumeReading(): void {
    this.#socket.resume();
    this.#pool.resources.stats.flowResumedReading.inc();
  }

  /** The other protocol has ended in this direction, behind everything that is written; the response may go on. */
  endSending(request: H1Request): void {
    if (this.#request === request) this.#socket.end();
  }

  /** The request's user does not want it any more. */
  abandon(request: H1Request, timedOut: boolean): void {
    if (this.#request !== request) return;
    const pool = this.#pool;
    pool.resources.stats.rqTxReset.inc();
    if (timedOut) pool.host.timedOut();
    const unused = !request.started;
    this.#detach(request);
    if (unused) pool.release(this);
    else this.#close(true, ResetReason.LOCAL_RESET);
  }

  close(): void {
    this.#close(true, ResetReason.LOCAL_RESET);
  }

  onDeadline(): void {
    const stats = this.#pool.resources.stats;
    if (this.#connected) stats.cxIdleTimeout.inc();
    else {
      stats.cxConnectTimeout.inc();
      this.#pool.connectFailed(this, ResetReason.CONNECTION_TIMEOUT, "");
    }
    this.#close(true, ResetReason.CONNECTION_TIMEOUT);
  }

  // ---- Up: the socket ---------------------------------------------------------------------------------

  #onConnect(): void {
    const refusal = dialRefusal(this.#pool.host, this.#socket);
    if (refusal !== null) {
      this.#fail(refusal);
      return;
    }
    this.#connected = true;
    this.disarm();
    this.#secure = dialedFacts(this.#pool.host, this.#socket);
    this.#localAddress = localAddressOf(this.#socket);
    this.#pool.resources.stats.cxConnectMs.record(performance.now() - this.#startMs);
    this.#pool.onConnected(this);
  }

  #onRead(chunk: Buffer): void {
    if (this.#closed) return;
    this.#pool.resources.stats.cxRxBytes.add(chunk.length);
    const request = this.#request;
    if (request === null || !request.started) {
      // Nothing was asked, so these bytes belong to no request: RFC 9112 section 9.2.
      this.#pool.resources.stats.cxProtocolError.inc();
      this.#close(true, ResetReason.PROTOCOL_ERROR);
      return;
    }
    this.#anyResponseByte = true;
    const error = this.#parser.execute(chunk);
    if (this.#closed) return;
    if (error !== null) {
      this.#pool.resources.stats.cxProtocolError.inc();
      this.#close(true, ResetReason.PROTOCOL_ERROR);
    } else if (this.#responseDone) this.#release();
    else if (this.#request !== null) this.#request.handler.onUpstreamReadComplete();
  }

  #onDrain(): void {
    const request = this.#request;
    if (request === null || !request.backedUp) return;
    request.backedUp = false;
    this.#pool.resources.stats.flowDrained.inc();
    request.handler.onUpstreamDrain();
  }

  #onEnd(): void {
    if (this.#closed) return;
    // A body may end with the connection, and then the request is over now; anything else is cut off.
    if (this.#anyResponseByte && this.#request !== null) this.#parser.finish();
    this.#close(false, ResetReason.CONNECTION_TERMINATION);
  }

  #onError(error: NodeJS.ErrnoException): void {
    if (this.#closed) return;
    if (this.#connected) {
      this.#close(false, ResetReason.CONNECTION_TERMINATION);
      return;
    }
    this.#fail(dialFailure(this.#pool.host, error));
  }

  /** The connection could not be made. */
  #fail({ reason, text }: ConnectFailure): void {
    this.#pool.connectFailed(this, reason, text);
    this.#close(false, reason);
  }

  // ---- Up: the parser ---------------------------------------------------------------------------------

  onInformational(status: number, headers: HeaderMap): void {
    this.#request?.handler.onUpstreamInformational(status, headers);
  }

  onResponseHead(status: number, headers: HeaderMap, flags: number): void {
    const request = this.#request;
    if (request === null) return;
    this.#pool.host.answered(status);
    this.#keepAlive = (flags & HeadFlag.KEEP_ALIVE) !== 0;
    const end = (flags & HeadFlag.END_STREAM) !== 0;
    if (end) this.#complete(request);
    request.handler.onUpstreamHeaders(status, headers, end);
  }

  onResponseData(chunk: Buffer, endStream: boolean): void {
    const request = this.#request;
    if (request === null) return;
    if (endStream) this.#complete(request);
    // The bytes are gone with the next read; the handler may keep them until its peer has taken them.
    request.handler.onUpstreamData(chunk, endStream);
  }

  onResponseTrailers(trailers: HeaderMap): void {
    const request = this.#request;
    if (request === null) return;
    this.#complete(request);
    request.handler.onUpstreamTrailers(trailers);
  }

  // ---- Inside -----------------------------------------------------------------------------------------

  #start(request: H1Request): void {
    if (request.started) return;
    request.started = true;
    this.#parser.expect(request.method, request.upgrade);
  }

  #backUp(): false {
    this.#pool.resources.stats.flowBackedUp.inc();
    return false;
  }

  /** The response has ended: nothing more may reach the handler after the call that says so. */
  #complete(request: H1Request): void {
    // A response that ends first leaves the connection in the middle of a request that nobody will finish.
    this.#requestWasWhole = request.ended || request.tunnels;
    this.#responseDone = true;
    request.done = true;
    this.#detach(request);
  }

  #detach(request: H1Request): void {
    if (request.readingPaused) this.#socket.resume();
    this.#request = null;
    this.#pool.resources.requestOver(this.#pool.host);
  }

  #release(): void {
    const whole = this.#requestWasWhole && this.#socket.writableLength === 0;
    if (!this.#keepAlive || !whole || !this.#parser.idle) this.#close(true, ResetReason.LOCAL_RESET);
    else this.#pool.release(this);
  }

  #close(local: boolean, reason: ResetReason): void {
    if (this.#closed) return;
    this.#closed = true;
    this.disarm();
    this.#socket.destroy();
    const request = this.#request;
    if (this.#connected) {
      this.#pool.resources.connectionClosed(local, request !== null, performance.now() - this.#startMs);
    }
    if (request !== null) this.#failRequest(request, reason);
    this.#pool.onClosed(this);
  }

  #failRequest(request: H1Request, reason: ResetReason): void {
    const reusedAndSilent = this.#served > 1 && !this.#anyResponseByte && IDEMPOTENT.has(request.method);
    const unsent = !request.started || (reusedAndSilent && reason === ResetReason.CONNECTION_TERMINATION);
    request.done = true;
    // A connection that both sides let go of at the same time is nobody's failure.
    if (request.started && unsent) this.#pool.host.rqError++;
    else this.#pool.host.failed();
    this.#detach(request);
    request.handler.onUpstreamReset(reason, "", unsent);
  }
}
