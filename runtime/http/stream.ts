/**
 * One request and its response, from the parsed head to the access log.
 *
 * Down: `start` → request walk over the filters → router → upstream. Up: router → response walk in reverse
 * → session. A failure anywhere becomes a local reply (`local-reply.ts`) and joins the way up.
 * Life: start → … → finish (both sides done, or given up) → onLog of filters → access log → onDestroy.
 */
import type { HeaderMap } from "../codec/headers.ts";
import { ResponseFlag } from "../errors.ts";
import { isGrpcContentType } from "../observe/grpc-status-text.ts";
import type { ConnectionInfo } from "../observe/stream-info.ts";
import { StreamInfo } from "../observe/stream-info.ts";
import { Alarm, Deadline, now } from "../timers.ts";
import type { ConnectionManager } from "./connection-manager.ts";
import { Phase } from "./filter.ts";
import type { LocalReply } from "./filter.ts";
import { FilterSlot } from "./filter-slot.ts";
import { replyHeaders, REPLIES } from "./local-reply.ts";
import { Pacer } from "./pacer.ts";
import type { PacedSink } from "./pacer.ts";
import type { ResolvedRoute } from "./route-table.ts";
import { finalizeResponseHeaders } from "./route-apply.ts";
import { Router } from "./router.ts";
import { RequestWalk, ResponseWalk } from "./stream-walks.ts";
import { SWITCHING_PROTOCOLS } from "./upgrade.ts";

/** The downstream session as a stream sees it. */
export interface DownstreamSession {
  sendResponseHeaders(headers: HeaderMap, endStream: boolean): void;
  /** False: the connection is over its buffer limit; `onDownstreamWritable` follows. */
  sendResponseData(chunk: Buffer, endStream: boolean): boolean;
  sendResponseTrailers(trailers: HeaderMap): void;
  /** Writes what is held back. */
  flushResponse(): void;
  pauseRequest(): void;
  resumeRequest(): void;
  /** The stream is over. `clean`: request and response were complete, the connection may go on. */
  onStreamFinished(clean: boolean): void;
}

/** Parts of the idle timeout in which what is left of it is counted: it fires at most one part late. */
const IDLE_STEPS = 16;

/** The deadline of the base class is Envoy's stream idle timeout. */
export class Stream extends Deadline implements PacedSink {
  readonly manager: ConnectionManager;
  readonly session: DownstreamSession;
  readonly info: StreamInfo;
  readonly slots: readonly FilterSlot[];
  readonly request: RequestWalk;
  readonly response: ResponseWalk;
  readonly router: Router;
  /** The protocol that the stream is to go on with, as downstream wrote it; "": HTTP. */
  upgrade = "";
  /** The request is CONNECT: what follows the answer is bytes. */
  tunnel = false;
  /** Upstream has agreed to it. */
  #switched = false;
  #resolved: ResolvedRoute | null | undefined = undefined;
  #idleTimeoutMs: number;
  #touchedMs = 0;
  #requestComplete = false;
  #finished = false;
  #requestPauses = 0;
  #responsePauses = 0;
  #downstreamFull = false;
  #pacer: Pacer | null = null;
  #requestAlarm: Alarm | null = null;
  #durationAlarm: Alarm | null = null;
  #grpc = false;
  #head = false;

  constructor(manager: ConnectionManager, session: DownstreamSession, connection: ConnectionInfo, limitBytes: number) {
    super();
    this.manager = manager;
    manager.onStreamBegun();
    this.session = session;
    this.info = new StreamInfo(connection, Date.now(), now());
    const factories = manager.filters;
    const slots: FilterSlot[] = [];
    for (let at = 0; at < factories.length; at++) slots.push(new FilterSlot(this, factories[at]!, at));
    this.slots = slots;
    this.request = new RequestWalk(this, slots, limitBytes);
    this.response = new ResponseWalk(this, slots, limitBytes);
    this.router = new Router(this, manager, limitBytes);
    this.#idleTimeoutMs = manager.config.streamIdleTimeoutMs;
  }

  /** True once the whole request has been read from downstream. */
  get requestComplete(): boolean {
    return this.#requestComplete;
  }
  get finished(): boolean {
    return this.#finished;
  }
  /** True once response headers were handed to the session. */
  get responseStarted(): boolean {
    return this.info.responseFirstByteMs >= 0;
  }

  /** The stream asks to go on with something else than HTTP. */
  get wantsSwitch(): boolean {
    return this.upgrade !== "" || this.tunnel;
  }

  /** A response of this status, now, is upstream's agreement to that. */
  switchesWith(status: number): boolean {
    if (!this.#switched) return false;
    return this.tunnel ? isSuccess(status) : status === SWITCHING_PROTOCOLS;
  }

  // ---- request, from the session --------------------------------------------------------------

  /** The head passed the session's checks: it enters the filters. */
  start(headers: HeaderMap, endStream: boolean): void {
    this.prepare(headers);
    const config = this.manager.config;
    if (config.requestTimeoutMs > 0 && !endStream && !this.wantsSwitch) {
      this.#requestAlarm = new Alarm(() => this.#onRequestTimeout());
      this.#requestAlarm.arm(config.requestTimeoutMs);
    }
    if (config.maxStreamDurationMs > 0) {
      this.#durationAlarm = new Alarm(() => this.#give(REPLIES.maxStreamDuration, -1));
      this.#durationAlarm.arm(config.maxStreamDurationMs);
    }
    if (endStream) this.#completeRequest();
    this.touch();
    this.request.start(headers, endStream);
  }

  /** Facts of the request that a reply needs even when no filter ever sees it. */
  prepare(headers: HeaderMap): void {
    this.info.requestHeaders = headers;
    this.#grpc = isGrpcContentType(headers.get("content-type"));
    this.#head = headers.get(":method") === "HEAD";
  }

  onRequestData(chunk: Buffer, endStream: boolean): void {
    this.info.bytesReceived += chunk.length;
    if (endStream) this.#completeRequest();
    this.touch();
    this.request.push(chunk, endStream);
  }

  onRequestTrailers(trailers: HeaderMap): void {
    this.#completeRequest();
    this.touch();
    this.request.pushTrailers(trailers);
  }

  /** All bytes of one read have been delivered. */
  onRequestReadComplete(): void {
    this.router.flush();
  }

  onDownstreamWritable(): void {
    if (!this.#downstreamFull) return;
    this.#downstreamFull = false;
    this.resumeResponse();
  }

  /** Downstream is gone: everything is given up. */
  onDownstreamGone(): void {
    if (this.#finished) return;
    this.info.setFlag(ResponseFlag.DC);
    if (this.info.responseCodeDetails === "" || !this.responseStarted)
      this.info.responseCodeDetails = "downstream_remote_disconnect";
    this.#finish(false);
  }

  /** Upstream answered; true when it agreed: what follows, in both directions, is the other protocol's. */
  onSwitchAnswer(status: number): boolean {
    this.#switched = this.tunnel ? isSuccess(status) : status === SWITCHING_PROTOCOLS;
    return this.#switched;
  }

  #completeRequest(): void {
    this.#requestComplete = true;
    this.info.requestCompleteMs = now();
    this.#requestAlarm?.disarm();
  }

  // ---- route ----------------------------------------------------------------------------------

  /** The route, computed at most once until the cache is cleared; null when none matches. */
  route(): ResolvedRoute | null {
    if (this.#resolved !== undefined) return this.#resolved;
    const headers = this.info.requestHeaders!;
    const resolved = this.manager.routes.resolve(headers, this.info);
    this.#resolved = resolved;
    this.info.route = resolved === null ? null : resolved.route;
    this.info.virtualHost = resolved === null ? null : resolved.virtualHost;
    const action = resolved?.action;
    if (action?.kind === "route") {
      this.info.cluster = this.manager.clusterConfig(resolved!.clusterName);
      if (action.idleTimeoutMs !== undefined) {
        this.#setIdleTimeout(action.idleTimeoutMs);
      }
    }
    return resolved;
  }

  clearRouteCache(): void {
    // Once the request has reached the router its route is fixed (Envoy: the route is blocked then).
    if (this.request.delivered) return;
    this.#resolved = undefined;
    this.info.route = null;
    this.info.virtualHost = null;
    this.info.cluster = null;
  }

  // ---- response, from the router --------------------------------------------------------------

  onResponseHeaders(headers: HeaderMap, endStream: boolean): void {
    this.touch();
    this.response.start(headers, endStream);
  }
  /** The bytes are lent: they may lie in the thread's read buffer. */
  onResponseData(chunk: Buffer, endStream: boolean): void {
    this.touch();
    this.response.push(chunk, endStream);
  }
  onResponseTrailers(trailers: HeaderMap): void {
    this.touch();
    this.response.pushTrailers(trailers);
  }

  /**
   * A response of our own. False when the stream is over, or response headers are out already, in which case it is
   * reset instead. A second one takes the place of a first one that filters still hold (Envoy: `sendDirectLocalReply`).
   */
  sendLocalReply(from: LocalReply): boolean {
    if (this.#finished) return false;
    if (this.responseStarted) {
      if (from.flag >= 0) this.info.setFlag(from.flag);
      this.reset(from.details);
      return false;
    }
    const info = this.info;
    info.responseCodeDetails = from.details;
    if (from.flag >= 0) info.setFlag(from.flag);
    this.request.closed = true;
    this.router.abandon();
    const body =
      typeof from.body === "string"
        ? Buffer.from(from.body, "utf8")
        : Buffer.from(from.body.buffer, from.body.byteOffset, from.body.byteLength);
    const headers = replyHeaders(from, this.#grpc, body.length);
    if (this.#resolved != null) finalizeResponseHeaders(this.#resolved, headers, info);
    const bodiless = this.#grpc || this.#head || body.length === 0;
    if (this.response.headers === null) {
      this.response.start(headers, bodiless);
      if (!bodiless) this.response.push(body, true);
    } else {
      // Upstream's response is somewhere in the filters: they have had their say, the reply goes out past them.
      this.response.closed = true;
      this.deliverHeaders(headers, bodiless);
      if (!bodiless) this.deliverData(body, true);
    }
    this.session.flushResponse();
    return true;
  }

  // ---- the end of the response walk -----------------------------------------------------------

  deliverHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.#finished) return;
    const info = this.info;
    const status = statusOf(headers.get(":status"));
    // A guest can write anything into :status; what cannot be sent is our failure, not the peer's.
    const sendable = (status >= 200 && status <= 999) || (status === SWITCHING_PROTOCOLS && this.#switched);
    info.responseCode = sendable ? status : 502;
    if (!sendable) headers.set(":status", "502");
    // Whatever else it is, it answers a request that has no body.
    if (this.wantsSwitch && !this.switchesWith(status)) this.#completeRequest();
    info.responseHeaders = headers;
    info.responseFirstByteMs = now();
    this.session.sendResponseHeaders(headers, endStream);
    if (endStream) this.#finish(true);
  }

  deliverData(chunk: Buffer, endStream: boolean): void {
    if (this.#finished) return;
    if (this.#pacer !== null) this.#pacer.push(chunk, endStream);
    else this.sendPaced(chunk, endStream);
  }

  deliverTrailers(trailers: HeaderMap): void {
    if (this.#finished) return;
    if (this.#pacer !== null) this.#pacer.pushTrailers(trailers);
    else this.sendPacedTrailers(trailers);
  }

  sendPaced(chunk: Buffer, endStream: boolean): void {
    this.info.bytesSent += chunk.length;
    const room = this.session.sendResponseData(chunk, endStream);
    if (endStream) {
      this.#finish(true);
    } else if (this.#pacer !== null) {
      this.touch();
      this.session.flushResponse();
    }
    if (!room && !this.#downstreamFull && !this.#finished) {
      this.#downstreamFull = true;
      this.pauseResponse();
    }
  }

  sendPacedTrailers(trailers: HeaderMap): void {
    this.info.responseTrailers = trailers;
    this.session.sendResponseTrailers(trailers);
    this.#finish(true);
  }

  pacerFull(full: boolean): void {
    if (full) this.pauseResponse();
    else this.resumeResponse();
  }

  /** Response body bytes leave at this rate from now on. */
  paceResponse(bytesPerSecond: number): void {
    if (bytesPerSecond > 0) this.#pacer ??= new Pacer(bytesPerSecond, this.response.bufferLimit, this);
  }

  // ---- flow control ---------------------------------------------------------------------------

  /** Downstream shall send no more of the request; each pause needs its resume, or the end of the stream. */
  pauseRequest(): void {
    if (this.#finished) return;
    if (this.#requestPauses++ === 0) this.session.pauseRequest();
  }
  resumeRequest(): void {
    if (this.#requestPauses > 0 && --this.#requestPauses === 0) this.session.resumeRequest();
  }

  pauseResponse(): void {
    if (this.#responsePauses++ === 0) this.router.pauseReading();
  }
  resumeResponse(): void {
    if (this.#responsePauses > 0 && --this.#responsePauses === 0) this.router.resumeReading();
  }

  // ---- time -----------------------------------------------------------------------------------

  /** Something happened: the idle timeout starts again. */
  touch(): void {
    this.#touchedMs = now();
    if (!this.armed && this.#idleTimeoutMs > 0) this.arm(this.#idleTimeoutMs);
  }

  /** A route has a timeout of its own. */
  #setIdleTimeout(ms: number): void {
    this.#idleTimeoutMs = ms;
    this.disarm();
    this.touch();
  }

  /** Armed once and not at every event: it looks how long nothing has happened, and waits on if that is not enough. */
  onDeadline(): void {
    const left = this.#idleTimeoutMs - (now() - this.#touchedMs);
    if (left > 0.5) {
      // In steps, so that few durations are in use (timers.ts has a list for each).
      const step = this.#idleTimeoutMs / IDLE_STEPS;
      this.arm(Math.ceil(left / step) * step);
      return;
    }
    this.manager.stats.rqIdleTimeout.inc();
    this.#give(this.#requestComplete ? REPLIES.idleWhileResponding : REPLIES.idleWhileRequesting, ResponseFlag.SI);
    // A filter may hold the reply back: it gets this long again, then the next one passes it by.
    if (!this.#finished) this.touch();
  }

  #onRequestTimeout(): void {
    this.manager.stats.rqTimeout.inc();
    this.#give(REPLIES.requestTimeout, -1);
  }

  /** Answers while that is possible, resets afterwards. */
  #give(from: LocalReply, flag: number): void {
    if (this.#finished) return;
    if (!this.responseStarted) {
      this.sendLocalReply(from);
      return;
    }
    if (flag >= 0) this.info.setFlag(flag);
    this.reset(from.details);
  }

  // ---- end ------------------------------------------------------------------------------------

  /** Gives the stream up; the downstream connection cannot go on. */
  reset(details: string): void {
    if (this.#finished) return;
    this.info.responseCodeDetails = details;
    this.#finish(false);
  }

  #finish(complete: boolean): void {
    if (this.#finished) return;
    this.#finished = true;
    this.disarm();
    this.#requestAlarm?.disarm();
    this.#durationAlarm?.disarm();
    this.#pacer?.disarm();
    this.request.closed = true;
    this.response.closed = true;
    this.router.abandon();
    // Whoever pushed the request back may never let it go now; the connection's next request must be read.
    if (this.#requestPauses > 0) this.session.resumeRequest();
    this.#requestPauses = 0;
    const info = this.info;
    info.completeMs = now();
    const slots = this.slots;
    for (let at = 0; at < slots.length; at++) {
      const slot = slots[at]!;
      if (slot.filter !== null && (slot.phases & Phase.LOG) !== 0) slot.filter.onLog();
    }
    this.manager.onStreamComplete(this);
    for (let at = 0; at < slots.length; at++) slots[at]!.destroy();
    this.session.onStreamFinished(complete && this.#requestComplete);
  }
}

/** What agrees to CONNECT: RFC 9110 section 9.3.6. */
function isSuccess(status: number): boolean {
  return status >= 200 && status <= 299;
}

/** The number of a `:status` of three digits, 0 for anything else. */
function statusOf(text: string | undefined): number {
  if (text === undefined || text.length !== 3) return 0;
  let status = 0;
  for (let at = 0; at < 3; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (digit < 0 || digit > 9) return 0;
    status = status * 10 + digit;
  }
  return status;
}
