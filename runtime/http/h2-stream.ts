/** One HTTP/2 stream from downstream, between `node:http2` and the host's own stream. */
import type { ServerHttp2Stream } from "node:http2";
import { copyOf } from "../codec/copies.ts";
import { END_STREAM, H2Error } from "../codec/h2-codes.ts";
import { fromExtendedConnect, requestHead, trailerFields, wireFields } from "../codec/h2-fields.ts";
import { keepSession } from "../codec/h2-lifetime.ts";
import { isAuthority, isPath } from "../codec/h1-target.ts";
import { HeaderMap } from "../codec/headers.ts";
import { checkRequest } from "./request-checks.ts";
import type { H2Session } from "./h2-session.ts";
import type { LocalReply } from "./filter.ts";
import { REPLIES } from "./local-reply.ts";
import { mutateResponseHeaders } from "./response-headers.ts";
import { admitUpgrade, isTunnel, SWITCHING_PROTOCOLS } from "./upgrade.ts";
import { type DownstreamSession, Stream } from "./stream.ts";

export class H2Stream implements DownstreamSession {
  readonly #session: H2Session;
  readonly #wire: ServerHttp2Stream;
  readonly #stream: Stream;
  #trailers: HeaderMap | null = null;
  /**
   * The head of the response as it goes out, held until it is known what follows: to Node, a response that may have
   * trailers costs half as much again as one that ends with its body.
   */
  #head: string[] | null = null;
  #requestTrailers: HeaderMap | null = null;
  #responseEnded = false;
  /** The response has no body on the wire: HEAD, 204, 304. */
  #bodiless = false;
  /** Bytes that content-length still promises; -1: it promises nothing. */
  #promised = -1;
  #over = false;
  /** Nobody reads what comes: downstream was to go on with another protocol, and may not. */
  #unread = false;

  constructor(session: H2Session, wire: ServerHttp2Stream) {
    const { manager, connection } = session;
    this.#session = session;
    this.#wire = wire;
    manager.stats.downstreamRqTotal.inc();
    manager.stats.downstreamRqActive.inc();
    this.#stream = new Stream(manager, this, connection.info, manager.bufferLimitBytes);
    this.#stream.info.protocol = "HTTP/2";
    // What ends a stream is told by its close.
    wire.on("error", ignore);
    wire.on("close", () => this.#onClosed());
    wire.on("drain", () => this.#stream.onDownstreamWritable());
  }

  /** The head has come. */
  begin(raw: readonly string[], flags: number): void {
    const { manager } = this.#session;
    const headers = requestHead(raw);
    const stream = this.#stream;
    const endStream = (flags & END_STREAM) !== 0;
    const upgrade = fromExtendedConnect(headers) || isTunnel(headers);
    this.#bodiless = headers.get(":method") === "HEAD";
    if (this.#wire.destroyed || this.#wire.closed) {
      // Reset in the same read that brought the head: its close is on its way.
      stream.prepare(headers);
      return;
    }
    if (!endStream) keepSession(this.#wire);
    const refusal = this.#check(headers);
    if (refusal !== null) {
      stream.prepare(headers);
      stream.sendLocalReply(refusal);
      return;
    }
    this.#expectContinue(headers);
    manager.requestHeaders.mutate(headers, stream.info);
    this.#unread = upgrade;
    if (upgrade && !admitUpgrade(stream, headers)) {
      stream.sendLocalReply(REPLIES.upgradeFailed);
      return;
    }
    if (!endStream && !upgrade) this.#listen();
    stream.start(headers, endStream && !upgrade);
    if (!this.#over) stream.onRequestReadComplete();
  }

  #check(headers: HeaderMap): LocalReply | null {
    const { manager, connection } = this.#session;
    const tunnel = isTunnel(headers);
    const refusal = tunnel ? null : checkRequest(headers, manager, connection.info.localAddress);
    if (refusal !== null) return refusal;
    if (headers.get(":authority") === "") return REPLIES.missingHost;
    // What nghttp2 lets through and a request line cannot hold: no host of HTTP/1 could be asked for it.
    if (!isAuthority(headers.get(":authority") ?? "")) return REPLIES.invalidAuthority;
    if (tunnel || isPath(headers.get(":path") ?? "")) return null;
    manager.stats.rqFailedPathNormalization.inc();
    return REPLIES.pathNormalizationFailed;
  }

  /** The stream is closed, or its connection is gone. */
  onGone(): void {
    if (this.#over) return;
    this.#session.manager.stats.rqRxReset.inc();
    this.#stream.onDownstreamGone();
  }

  // ---- request ----------------------------------------------------------------------------------

  #listen(): void {
    const wire = this.#wire;
    wire.on("data", (chunk: Buffer) => {
      this.#session.countBytes();
      if (this.#over) return;
      this.#stream.onRequestData(chunk, false);
      if (!this.#over) this.#stream.onRequestReadComplete();
    });
    wire.on("trailers", (_headers, _flags, raw: string[]) => (this.#requestTrailers = new HeaderMap(raw)));
    wire.on("end", () => this.#onRequestEnd());
  }

  #onRequestEnd(): void {
    // A stream that was cut off ends, too; its close tells.
    if (this.#over || this.#wire.rstCode !== H2Error.NO_ERROR || this.#wire.aborted) return;
    const trailers = this.#requestTrailers;
    if (trailers === null) this.#stream.onRequestData(EMPTY, true);
    else this.#stream.onRequestTrailers(trailers);
    if (!this.#over) this.#stream.onRequestReadComplete();
  }

  #expectContinue(headers: HeaderMap): void {
    if (headers.get("expect")?.toLowerCase() !== "100-continue" || this.#session.manager.config.proxy100Continue)
      return;
    headers.remove("expect");
    this.#wire.additionalHeaders({ ":status": 100 });
  }

  #onClosed(): void {
    this.#session.countBytes();
    this.onGone();
  }

  pauseRequest(): void {
    this.#session.manager.stats.pausedReading.inc();
    this.#wire.pause();
  }

  resumeRequest(): void {
    this.#session.manager.stats.resumedReading.inc();
    this.#wire.resume();
  }

  // ---- response ---------------------------------------------------------------------------------

  sendResponseHeaders(headers: HeaderMap, endStream: boolean): void {
    const { manager } = this.#session;
    const stream = this.#stream;
    mutateResponseHeaders(headers, manager.config, stream.info);
    this.#session.noteResponse();
    const status = stream.info.responseCode;
    const switches = stream.switchesWith(status);
    if (!stream.requestComplete && !switches) manager.stats.rqResponseBeforeRqComplete.inc();
    this.#bodiless = this.#bodiless || status === 204 || status === 304;
    // What CONNECT agrees to has no length: RFC 9110 section 9.3.6.
    if (switches) headers.remove("content-length");
    const length = headers.get("content-length");
    if (!this.#bodiless && !endStream && length !== undefined && /^\d{1,15}$/.test(length))
      this.#promised = Number(length);
    const ends = endStream || this.#bodiless;
    if (this.#wire.destroyed || this.#wire.headersSent) return;
    // RFC 8441 section 5: what is 101 elsewhere is any 2xx here.
    if (status === SWITCHING_PROTOCOLS) headers.set(":status", "200");
    this.#responseEnded = endStream;
    this.#head = wireFields(headers);
    if (ends) this.#sendHead(true, false);
    else if (switches && this.#sendHead(false, true)) {
      this.#unread = false;
      this.#listen();
    }
  }

  /** Sends the head if it is held. False: it has fields that HTTP/2 cannot carry, from a guest perhaps, and the stream fails. */
  #sendHead(endStream: boolean, waitForTrailers: boolean): boolean {
    const head = this.#head;
    const wire = this.#wire;
    if (head === null || wire.destroyed) return true;
    this.#head = null;
    try {
      wire.respond(head, { endStream, waitForTrailers });
      if (waitForTrailers) wire.on("wantTrailers", () => this.#onWantTrailers());
      return true;
    } catch {
      this.#responseEnded = false;
      setImmediate(failStream, this.#stream);
      return false;
    }
  }

  sendResponseData(chunk: Buffer, endStream: boolean): boolean {
    const wire = this.#wire;
    let room = true;
    let fits = true;
    this.#sendHead(false, !endStream);
    if (chunk.length > 0 && !this.#bodiless && this.#takesBody) {
      if (this.#promised >= 0) {
        fits = chunk.length <= this.#promised;
        this.#promised -= Math.min(chunk.length, this.#promised);
      }
      // They may lie in the thread's read buffer.
      this.#session.countBytes();
      if (fits) room = wire.write(copyOf(chunk));
      else setImmediate(failStream, this.#stream);
    }
    if (endStream && fits) this.#end();
    return room;
  }

  sendResponseTrailers(trailers: HeaderMap): void {
    this.#trailers = trailers;
    this.#sendHead(false, true);
    this.#end();
  }

  /** What follows is not known yet. Frames are gathered by Node until the end of the turn. */
  flushResponse(): void {
    this.#sendHead(false, true);
  }

  /** False as well when the head could not be sent: Node would make one up. */
  get #takesBody(): boolean {
    return !this.#wire.destroyed && this.#wire.headersSent;
  }

  /** A body shorter than its length must not look complete. */
  #end(): void {
    if (this.#promised > 0 || !this.#takesBody) return;
    this.#responseEnded = true;
    if (!this.#bodiless) this.#wire.end();
  }

  #onWantTrailers(): void {
    const wire = this.#wire;
    if (wire.destroyed) return;
    try {
      // Without fields this is an empty DATA frame that ends the stream.
      wire.sendTrailers(this.#responseEnded ? trailerFields(this.#trailers) : {});
    } catch {
      // Fields that HTTP/2 cannot carry, as above; the body is out already.
      setImmediate(closeWire, wire, H2Error.INTERNAL_ERROR);
    }
  }

  /**
   * The host is done with the stream. What is left of a request that nobody reads is cancelled; a response that broke
   * off is reset. From a task of its own: see `H2Request` for what Node 26 makes of it otherwise.
   */
  onStreamFinished(clean: boolean): void {
    if (this.#over) return;
    this.flushResponse();
    this.#over = true;
    const wire = this.#wire;
    if (!this.#responseEnded) setImmediate(closeWire, wire, H2Error.INTERNAL_ERROR);
    else if (!clean || this.#unread) cancelRest(wire);
    this.#session.onStreamOver(this);
  }
}

/**
 * What is left of the request is not wanted any more. Not before the response is sent: a stream that is closed and has
 * something to send keeps Node 26 in a loop for ever when its connection ends (`Http2Session::SendPendingData`).
 */
function cancelRest(wire: ServerHttp2Stream): void {
  if (wire.writableFinished) setImmediate(closeWire, wire, H2Error.NO_ERROR);
  else wire.once("finish", () => setImmediate(closeWire, wire, H2Error.NO_ERROR));
}

function closeWire(wire: ServerHttp2Stream, code: number): void {
  if (!wire.destroyed && !wire.closed) wire.close(code);
}

function failStream(stream: Stream): void {
  stream.reset("http2.invalid_response");
}

function ignore(): void {}
const EMPTY = Buffer.alloc(0);
