/**
 * An HTTP/1.1 connection from downstream: the terminal network filter that turns bytes into streams, one
 * at a time, and streams' responses into bytes. Pipelined requests wait in the parser.
 *
 * The deadline of the base class is the connection's idle timeout. It stays armed while streams come and
 * go and looks, when it fires, how long the connection has really been idle.
 */
import { copyOf } from "../codec/copies.ts";
import type { H1Error } from "../codec/h1-errors.ts";
import { RequestParser } from "../codec/h1-request-parser.ts";
import { chunkHead, CRLF, LAST_CHUNK, ResponseEncoder, trailersText, WriteFlag } from "../codec/h1-writer.ts";
import { HeaderMap } from "../codec/headers.ts";
import { HeadFlag } from "../codec/message.ts";
import type { RequestSink } from "../codec/message.ts";
import { ResponseFlag } from "../errors.ts";
import { COALESCE_BYTES, REQUEST_HEAD_TIMEOUT_MS } from "../limits.ts";
import type { ConnectionView, TerminalFilter } from "../network/filter.ts";
import { Alarm, Deadline } from "../timers.ts";
import type { ConnectionManager } from "./connection-manager.ts";
import type { LocalReply } from "./filter.ts";
import { reply, REPLIES } from "./local-reply.ts";
import { checkRequest } from "./request-checks.ts";
import { mutateResponseHeaders } from "./response-headers.ts";
import { admitUpgrade, isTunnel } from "./upgrade.ts";
import { Stream } from "./stream.ts";
import type { DownstreamSession } from "./stream.ts";

const CONTINUE_LINE = "HTTP/1.1 100 Continue\r\n\r\n";

export class Session extends Deadline implements TerminalFilter, RequestSink, DownstreamSession {
  /** Of the newest stream; a configuration that has come since has another one. */
  #manager: ConnectionManager;
  readonly #connection: ConnectionView;
  readonly #parser: RequestParser;
  readonly #encoder = new ResponseEncoder();
  #stream: Stream | null = null;
  /** Bytes that wait to leave in one write: a head, and small pieces of body behind it. */
  #held = "";
  /** True while bytes are being parsed: the next message must wait for the loop in `#parse`. */
  #parsing = false;
  #wantsNext = false;
  /** The connection ends with the current response; the current request is still read to its end. */
  #closing = false;
  /** What comes in is no HTTP any more. */
  #deaf = false;
  #closed = false;
  #draining = false;
  #responseEnded = false;
  /** The response carries no body on the wire: HEAD, 204, 304. */
  #headOnly = false;
  #http10 = false;
  /** Only the end of the connection tells where the current response ends. */
  #closeDelimited = false;
  #writable = true;
  /** The stream has changed protocols: bytes pass the parser by. */
  #switched = false;
  #requests = 0;
  #lastActiveMs = performance.now();
  #pipelinePaused = false;
  #headAlarm: Alarm | null = null;
  #durationAlarm: Alarm | null = null;

  constructor(manager: ConnectionManager, connection: ConnectionView) {
    super();
    this.#manager = manager;
    this.#connection = connection;
    this.#parser = new RequestParser(this, manager.parserOptions);
  }

  // ---- connection -----------------------------------------------------------------------------

  onNewConnection(): void {
    const stats = this.#manager.stats;
    stats.cxTotal.inc();
    stats.cxActive.inc();
    this.begin();
  }

  /** The same for a connection that is counted already. */
  begin(): void {
    const stats = this.#manager.stats;
    const config = this.#manager.config;
    stats.cxHttp1Total.inc();
    stats.cxHttp1Active.inc();
    if (config.idleTimeoutMs > 0) this.arm(config.idleTimeoutMs);
    if (config.maxConnectionDurationMs > 0) {
      this.#durationAlarm = new Alarm(() => this.#onMaxDuration());
      this.#durationAlarm.arm(config.maxConnectionDurationMs);
    }
  }

  onData(data: Buffer, endStream: boolean): void {
    if (data.length > 0 && !this.#closed) this.#onBytes(data);
    if (endStream && !this.#closed) this.#onRemoteEnd();
  }

  #onBytes(data: Buffer): void {
    this.#manager.stats.cxRxBytes.add(data.length);
    // The last request may still be on its way; what follows it, or a malformed one, is nobody's.
    if (this.#switched) this.#stream?.onRequestData(copyOf(data), false);
    else if (!this.#deaf && (this.#stream !== null || !this.#closing)) this.#parse(data);
    const stream = this.#stream;
    if (stream !== null) {
      stream.onRequestReadComplete();
      this.#holdPipeline(stream);
    } else if (this.#parser.headStarted) {
      this.#awaitHead();
    }
  }

  onWritable(): void {
    this.#writable = true;
    this.#stream?.onDownstreamWritable();
  }

  onDraining(): void {
    this.#draining = true;
    if (this.#stream === null) this.#close();
  }

  onClose(_local: boolean): void {
    this.#closed = true;
    this.disarm();
    this.#headAlarm?.disarm();
    this.#durationAlarm?.disarm();
    const stats = this.#manager.stats;
    stats.cxActive.dec();
    stats.cxHttp1Active.dec();
    stats.cxDestroy.inc();
    const stream = this.#stream;
    if (stream !== null) {
      this.#stream = null;
      stats.cxDestroyActiveRq.inc();
      stats.rqRxReset.inc();
      stream.onDownstreamGone();
    }
  }

  /** Envoy has no half-open HTTP connections: a peer that closes its side has left. */
  #onRemoteEnd(): void {
    const stream = this.#stream;
    if (stream === null) {
      this.#close();
      return;
    }
    if (this.#switched) {
      // Other protocols may end one direction first.
      stream.onRequestData(EMPTY, true);
      stream.onRequestReadComplete();
      return;
    }
    this.#stream = null;
    this.#manager.stats.cxDestroyActiveRq.inc();
    this.#manager.stats.rqRxReset.inc();
    stream.onDownstreamGone();
    this.#close();
  }

  #parse(data: Buffer): void {
    this.#parsing = true;
    let error = this.#parser.execute(data);
    error = this.#nextMessages(error);
    this.#parsing = false;
    if (error !== null) this.#onProtocolError(error);
  }

  /** Goes on to pipelined messages in a loop: answering each at once must not nest. */
  #nextMessages(first: H1Error | null): H1Error | null {
    let error = first;
    while (error === null && this.#wantsNext && !this.#closing) {
      this.#wantsNext = false;
      error = this.#parser.next();
      this.#stream?.onRequestReadComplete();
    }
    return error;
  }

  /** Pipelined bytes wait in the parser; the socket is not read meanwhile, so they stay few. */
  #holdPipeline(stream: Stream): void {
    const whole = stream.requestComplete || (stream.wantsSwitch && !this.#switched);
    if (this.#pipelinePaused || !whole || this.#parser.pendingBytes === 0) return;
    this.#pipelinePaused = true;
    this.#connection.pauseReading();
  }

  #awaitHead(): void {
    const ms = this.#manager.config.requestHeadersTimeoutMs || REQUEST_HEAD_TIMEOUT_MS;
    this.#headAlarm ??= new Alarm(() => this.#onHeadTimeout());
    if (!this.#headAlarm.armed) this.#headAlarm.arm(ms);
  }

  // ---- requests, from the parser --------------------------------------------------------------

  onRequestHead(headers: HeaderMap, flags: number): void {
    if (this.#headAlarm !== null) this.#headAlarm.disarm();
    const stream = this.#newStream(headers);
    const manager = this.#manager;
    const http10 = (flags & HeadFlag.HTTP_1_0) !== 0;
    if (http10) stream.info.protocol = "HTTP/1.0";
    this.#http10 = http10 && manager.config.acceptHttp10;
    this.#requests++;
    const max = manager.config.maxRequestsPerConnection;
    if (max > 0 && this.#requests >= max) {
      manager.stats.cxMaxRequests.inc();
      this.#closing = true;
    }
    if ((flags & HeadFlag.KEEP_ALIVE) === 0) this.#closing = true;
    const refusal = this.#check(headers, flags);
    if (refusal !== null) {
      stream.prepare(headers);
      stream.sendLocalReply(refusal);
      return;
    }
    if ((flags & HeadFlag.EXPECT_CONTINUE) !== 0) this.#expectContinue(headers);
    manager.requestHeaders.mutate(headers, stream.info);
    const upgrade = (flags & HeadFlag.UPGRADE) !== 0;
    if (upgrade && !admitUpgrade(stream, headers)) stream.sendLocalReply(REPLIES.upgradeFailed);
    else stream.start(headers, (flags & HeadFlag.END_STREAM) !== 0 && !upgrade);
  }

  onRequestData(chunk: Buffer, endStream: boolean): void {
    // The bytes lie in the thread's read buffer, and a body may wait in filters, for a retry or for upstream.
    this.#stream?.onRequestData(chunk.length === 0 ? chunk : copyOf(chunk), endStream);
  }

  onRequestTrailers(trailers: HeaderMap): void {
    // Envoy drops request trailers on HTTP/1 unless enable_trailers is set.
    if (this.#manager.config.enableTrailers) this.#stream?.onRequestTrailers(trailers);
    else this.#stream?.onRequestData(EMPTY, true);
  }

  #newStream(headers: HeaderMap): Stream {
    const manager = (this.#manager = this.#manager.newest);
    const stats = manager.stats;
    stats.downstreamRqTotal.inc();
    stats.downstreamRqHttp1Total.inc();
    stats.downstreamRqActive.inc();
    this.#responseEnded = false;
    this.#headOnly = headers.get(":method") === "HEAD";
    const stream = new Stream(manager, this, this.#connection.info, manager.bufferLimitBytes);
    this.#stream = stream;
    return stream;
  }

  /** The checks of the connection manager before filters (Envoy: `ActiveStream::decodeHeaders`, in its order). */
  #check(headers: HeaderMap, flags: number): LocalReply | null {
    const config = this.#manager.config;
    if ((flags & HeadFlag.HTTP_1_0) !== 0) {
      if (!config.acceptHttp10) return REPLIES.lowVersion;
      if (headers.get(":authority") === "" && config.defaultHostForHttp10 !== "")
        headers.set(":authority", config.defaultHostForHttp10);
    }
    if (headers.get(":authority") === "") return REPLIES.missingHost;
    if (isTunnel(headers)) return null;
    return checkRequest(headers, this.#manager, this.#connection.info.localAddress);
  }

  #expectContinue(headers: HeaderMap): void {
    if (this.#manager.config.proxy100Continue) headers.add("expect", "100-continue");
    else this.#write(CONTINUE_LINE);
  }

  #onProtocolError(error: H1Error): void {
    const manager = this.#manager;
    manager.stats.cxProtocolError.inc();
    this.#closing = true;
    this.#deaf = true;
    let stream = this.#stream;
    if (stream === null) {
      const headers = new HeaderMap();
      stream = this.#newStream(headers);
      stream.prepare(headers);
    }
    stream.info.setFlag(ResponseFlag.DPE);
    if (stream.responseStarted) stream.reset(error.details);
    else stream.sendLocalReply(reply(error.status, error.body, error.details, ResponseFlag.DPE));
  }

  // ---- responses, from the stream -------------------------------------------------------------

  sendResponseHeaders(headers: HeaderMap, endStream: boolean): void {
    const manager = this.#manager;
    const stream = this.#stream!;
    mutateResponseHeaders(headers, manager.config, stream.info);
    const draining = this.#draining || manager.asksToLeave();
    if (draining && !this.#closing) manager.stats.cxDrainClose.inc();
    const status = stream.info.responseCode;
    const switches = stream.switchesWith(status);
    // A response ahead of the request's end leaves a body nobody wants on the connection: it cannot go on.
    if (!stream.requestComplete && !switches) {
      manager.stats.rqResponseBeforeRqComplete.inc();
      this.#closing = true;
    }
    if (draining) this.#closing = true;
    const flags =
      (switches ? WriteFlag.UPGRADE : 0) |
      (this.#headOnly ? WriteFlag.HEAD : 0) |
      (this.#http10 ? WriteFlag.HTTP_1_0 : 0) |
      (this.#closing ? WriteFlag.CLOSE : 0);
    this.#headOnly = this.#headOnly || status === 204 || status === 304;
    const encoder = this.#encoder;
    this.#held += encoder.head(status, headers, endStream, flags);
    this.#closeDelimited = encoder.closeAfter && !this.#closing;
    if (encoder.closeAfter) this.#closing = true;
    if (endStream) this.#endResponse();
    else if (switches) this.#switch(stream);
  }

  /** What came behind the head belongs to the other protocol. */
  #switch(stream: Stream): void {
    this.#switched = true;
    this.flushResponse();
    const early = this.#parser.takePending();
    if (this.#pipelinePaused) {
      this.#pipelinePaused = false;
      this.#connection.resumeReading();
    }
    if (early.length === 0) return;
    stream.onRequestData(copyOf(early), false);
    stream.onRequestReadComplete();
  }

  sendResponseData(chunk: Buffer, endStream: boolean): boolean {
    if (chunk.length > 0 && !this.#headOnly)
      this.#writeBody(this.#encoder.admit(chunk.length) ? chunk : this.#cut(chunk));
    if (endStream) {
      if (this.#encoder.chunked && !this.#headOnly) this.#held += LAST_CHUNK;
      this.#endResponse();
    }
    return this.#writable;
  }

  sendResponseTrailers(trailers: HeaderMap): void {
    if (this.#encoder.chunked && !this.#headOnly) {
      this.#held += this.#manager.config.enableTrailers ? trailersText(trailers) : LAST_CHUNK;
    }
    this.#endResponse();
  }

  flushResponse(): void {
    if (this.#held === "") return;
    const held = this.#held;
    this.#held = "";
    this.#write(held);
  }

  pauseRequest(): void {
    this.#manager.stats.pausedReading.inc();
    this.#connection.pauseReading();
  }

  resumeRequest(): void {
    this.#manager.stats.resumedReading.inc();
    this.#connection.resumeReading();
  }

  onStreamFinished(clean: boolean): void {
    this.flushResponse();
    if (this.#stream === null) return;
    const local = this.#stream.info;
    this.#stream = null;
    this.#lastActiveMs = local.completeMs;
    if (!this.#responseEnded) {
      this.#abort();
      return;
    }
    if (!clean || this.#closing || this.#draining) {
      this.#close();
      return;
    }
    this.#wantsNext = true;
    if (this.#pipelinePaused) {
      this.#pipelinePaused = false;
      this.#connection.resumeReading();
    }
    if (!this.#parsing) this.#continueParsing();
  }

  /** The response ended outside of parsing: pipelined requests are waiting in the parser, perhaps. */
  #continueParsing(): void {
    this.#parsing = true;
    const error = this.#nextMessages(null);
    this.#parsing = false;
    if (error !== null) this.#onProtocolError(error);
    const stream = this.#stream;
    if (stream !== null) this.#holdPipeline(stream);
  }

  #writeBody(data: Buffer): void {
    const chunked = this.#encoder.chunked;
    if (data.length <= COALESCE_BYTES) {
      const text = data.toString("latin1");
      this.#held += chunked ? chunkHead(data.length) + text + CRLF : text;
      if (this.#held.length > COALESCE_BYTES) this.flushResponse();
      return;
    }
    if (chunked) this.#held += chunkHead(data.length);
    this.flushResponse();
    this.#manager.stats.cxTxBytes.add(data.length);
    // They may lie in the thread's read buffer.
    if (!this.#connection.writeLent(data)) this.#writable = false;
    if (chunked) this.#held = CRLF;
  }

  /** A filter made the body longer than the length sent ahead: what does not fit is cut, and the connection ends. */
  #cut(chunk: Buffer): Buffer {
    const fits = chunk.subarray(0, this.#encoder.remaining);
    this.#encoder.admit(fits.length);
    this.#closing = true;
    return fits;
  }

  #endResponse(): void {
    // A body shorter than its length can only be told by ending the connection without completing it.
    this.#responseEnded = this.#headOnly || this.#encoder.complete;
    this.flushResponse();
  }

  #write(data: Buffer | string): void {
    this.#manager.stats.cxTxBytes.add(data.length);
    if (!this.#connection.write(data)) this.#writable = false;
  }

  // ---- end ------------------------------------------------------------------------------------

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#connection.close(this.#manager.config.delayedCloseTimeoutMs);
  }

  /** The response broke off: a close-delimited one must not look complete, so it ends with a reset. */
  #abort(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#closeDelimited) this.#connection.reset();
    else this.#connection.close(this.#manager.config.delayedCloseTimeoutMs);
  }

  onDeadline(): void {
    const idleMs = this.#manager.config.idleTimeoutMs;
    const left = this.#stream === null ? idleMs - (performance.now() - this.#lastActiveMs) : idleMs;
    if (left > 1) {
      this.arm(Math.ceil(left));
      return;
    }
    this.#manager.stats.cxIdleTimeout.inc();
    this.#close();
  }

  #onHeadTimeout(): void {
    if (this.#closed || this.#stream !== null) return;
    this.#manager.stats.rqHeaderTimeout.inc();
    this.#closing = true;
    const headers = new HeaderMap();
    const stream = this.#newStream(headers);
    stream.prepare(headers);
    stream.sendLocalReply(REPLIES.requestHeadTimeout);
  }

  #onMaxDuration(): void {
    this.#manager.stats.cxMaxDuration.inc();
    this.onDraining();
  }
}

const EMPTY = Buffer.alloc(0);
