/**
 * A plugin as a filter of one HTTP stream: the context of that stream inside the plugin's instance.
 *
 * Life: context_create(id, root) at the first callback → request and response callbacks → on_log → on_done → on_delete
 * (Envoy's order for HTTP). When the instance fails, `orphan` applies the plugin's failure policy to the stream.
 */
import * as Action from "../../../abi/action.ts";
import * as BufferType from "../../../abi/buffer.ts";
import * as MapType from "../../../abi/map.ts";
import * as StreamType from "../../../abi/stream.ts";
import type { BodyBuffer } from "../../codec/body.ts";
import type { HeaderMap } from "../../codec/headers.ts";
import { DataStatus, HeadersStatus, TrailersStatus } from "../../http/filter.ts";
import type { HttpFilter, LocalReply, StreamView } from "../../http/filter.ts";
import { EarlyHeaders } from "./early-headers.ts";
import type { StreamCallbacks } from "../instance/callbacks.ts";
import { applyFailurePolicy } from "./failure-policy.ts";
import { Pending } from "./context.ts";
import type { RootContext } from "./root-context.ts";
import { StreamContext } from "./stream-context.ts";

/** Where the stream stands, as bits. */
const State = {
  /** Maps that may be changed. */
  REQUEST_HEADERS_OPEN: 1,
  REQUEST_TRAILERS_OPEN: 2,
  RESPONSE_HEADERS_OPEN: 4,
  RESPONSE_TRAILERS_OPEN: 8,
  /** The body callback that runs now has end_of_stream: trailers may be added. */
  REQUEST_ENDING: 16,
  RESPONSE_ENDING: 32,
  REQUEST_PAUSED: 64,
  RESPONSE_PAUSED: 128,
  LOGGING: 256,
  /** The stream is over for the guest: answered by its failure policy, or destroyed. */
  DETACHED: 512,
  /** on_done and on_delete are running. */
  CLOSING: 1024,
  /** The guest has taken pseudo-headers away: look before headers go on. */
  MAY_LACK: 2048,
} as const;
const REQUEST_OPEN = State.REQUEST_HEADERS_OPEN | State.REQUEST_TRAILERS_OPEN;
const RESPONSE_OPEN = State.RESPONSE_HEADERS_OPEN | State.RESPONSE_TRAILERS_OPEN;

export class HttpContext extends StreamContext implements HttpFilter {
  readonly phases: number;
  readonly #view: StreamView;
  #state = 0;
  #requestHeaders: HeaderMap | null = null;
  #responseHeaders: HeaderMap | null = null;
  /** Bodies of the callbacks that run now. */
  #requestBody: BodyBuffer | null = null;
  #responseBody: BodyBuffer | null = null;
  /** What the guest has for the response before there is one. */
  #early: EarlyHeaders | null = null;
  #reply: LocalReply | null = null;
  #replied = false;

  constructor(root: RootContext, view: StreamView, callbacks: StreamCallbacks) {
    super(root, callbacks);
    this.#view = view;
    this.phases = root.plugin.vm.phases;
  }

  protected override get attached(): boolean {
    return (this.#state & State.DETACHED) === 0;
  }
  protected override get running(): boolean {
    return (this.#state & (State.DETACHED | State.LOGGING | State.CLOSING)) === 0;
  }

  // ---- callbacks of the HTTP engine -----------------------------------------------------------

  onRequestHeaders(headers: HeaderMap, endStream: boolean): number {
    if (!this.enter()) return HeadersStatus.STOP_ALL_AND_WATERMARK * this.#outcome();
    const callback = this.callbacks.requestHeaders;
    if (callback === null) return HeadersStatus.CONTINUE;
    this.#requestHeaders = headers;
    this.#state |= State.REQUEST_HEADERS_OPEN;
    const action = this.instance.call(this, callback, "proxy_on_request_headers", headers.size, endStream ? 1 : 0);
    const status = this.#after(this.#headersStatus(action), Pending.CONTINUE_REQUEST, State.REQUEST_PAUSED);
    if (status === HeadersStatus.CONTINUE) this.#state &= ~State.REQUEST_HEADERS_OPEN;
    this.instance.settle();
    return status;
  }

  onRequestData(body: BodyBuffer, endStream: boolean): number {
    if (!this.enter()) return DataStatus.STOP_NO_BUFFER * this.#outcome();
    const callback = this.callbacks.requestData;
    if (callback === null) return DataStatus.CONTINUE;
    this.#requestBody = body;
    if (endStream) this.#state |= State.REQUEST_ENDING;
    const action = this.instance.call(this, callback, "proxy_on_request_body", body.length, endStream ? 1 : 0);
    this.#requestBody = null;
    this.#state &= ~State.REQUEST_ENDING;
    const status = this.#after(dataStatus(action), Pending.CONTINUE_REQUEST, State.REQUEST_PAUSED);
    if (status === DataStatus.CONTINUE) this.#state &= ~State.REQUEST_HEADERS_OPEN;
    this.instance.settle();
    return status;
  }

  onRequestTrailers(trailers: HeaderMap): number {
    if (!this.enter()) return TrailersStatus.STOP * this.#outcome();
    const callback = this.callbacks.requestTrailers;
    if (callback === null) return TrailersStatus.CONTINUE;
    this.#state |= State.REQUEST_TRAILERS_OPEN;
    const action = this.instance.call(this, callback, "proxy_on_request_trailers", trailers.size, 0);
    const status = this.#after(trailersStatus(action), Pending.CONTINUE_REQUEST, State.REQUEST_PAUSED);
    if (status === TrailersStatus.CONTINUE) this.#state &= ~REQUEST_OPEN;
    this.instance.settle();
    return status;
  }

  onResponseHeaders(headers: HeaderMap, endStream: boolean): number {
    if (!this.enter()) return HeadersStatus.STOP_ALL_AND_WATERMARK * this.#outcome();
    this.#early?.applyTo(headers);
    this.#early = null;
    const callback = this.callbacks.responseHeaders;
    if (callback === null) return HeadersStatus.CONTINUE;
    this.#responseHeaders = headers;
    this.#state |= State.RESPONSE_HEADERS_OPEN;
    const action = this.instance.call(this, callback, "proxy_on_response_headers", headers.size, endStream ? 1 : 0);
    const status = this.#after(this.#headersStatus(action), Pending.CONTINUE_RESPONSE, State.RESPONSE_PAUSED);
    if (status === HeadersStatus.CONTINUE) this.#state &= ~State.RESPONSE_HEADERS_OPEN;
    this.instance.settle();
    return status;
  }

  onResponseData(body: BodyBuffer, endStream: boolean): number {
    if (!this.enter()) return DataStatus.STOP_NO_BUFFER * this.#outcome();
    const callback = this.callbacks.responseData;
    if (callback === null) return DataStatus.CONTINUE;
    this.#responseBody = body;
    if (endStream) this.#state |= State.RESPONSE_ENDING;
    const action = this.instance.call(this, callback, "proxy_on_response_body", body.length, endStream ? 1 : 0);
    this.#responseBody = null;
    this.#state &= ~State.RESPONSE_ENDING;
    const status = this.#after(dataStatus(action), Pending.CONTINUE_RESPONSE, State.RESPONSE_PAUSED);
    if (status === DataStatus.CONTINUE) this.#state &= ~State.RESPONSE_HEADERS_OPEN;
    this.instance.settle();
    return status;
  }

  onResponseTrailers(trailers: HeaderMap): number {
    if (!this.enter()) return TrailersStatus.STOP * this.#outcome();
    const callback = this.callbacks.responseTrailers;
    if (callback === null) return TrailersStatus.CONTINUE;
    this.#state |= State.RESPONSE_TRAILERS_OPEN;
    const action = this.instance.call(this, callback, "proxy_on_response_trailers", trailers.size, 0);
    const status = this.#after(trailersStatus(action), Pending.CONTINUE_RESPONSE, State.RESPONSE_PAUSED);
    if (status === TrailersStatus.CONTINUE) this.#state &= ~RESPONSE_OPEN;
    this.instance.settle();
    return status;
  }

  onLog(): void {
    // The outcome of the stream is settled: a dead instance only means that nobody logs.
    if (this.instance.failed || (this.#state & State.DETACHED) !== 0) return;
    const callback = this.callbacks.log;
    if (callback === null || !this.enter()) return;
    this.#state = (this.#state & ~(REQUEST_OPEN | RESPONSE_OPEN)) | State.LOGGING;
    this.instance.call(this, callback, "proxy_on_log", 0, 0);
    this.pending = 0;
    this.instance.settle();
  }

  onDestroy(): void {
    this.disarm();
    this.#state = (this.#state & ~(REQUEST_OPEN | RESPONSE_OPEN | State.LOGGING)) | State.CLOSING;
    if (this.id !== 0 && !this.instance.failed) {
      const { done, remove } = this.callbacks;
      if (done !== null) this.instance.call(this, done, "proxy_on_done", 0, 0);
      if (remove !== null && !this.instance.failed) this.instance.call(this, remove, "proxy_on_delete", 0, 0);
    }
    this.#state |= State.DETACHED;
    this.end(this.#view.info);
  }

  /** What remains to be done with a status once the guest has returned: failure, local reply, a continue of its own. */
  #after(status: number, ownContinue: number, pausedBit: number): number {
    if (this.instance.failed) return this.#outcome() === 0 ? 0 : STOPPED;
    let result = status;
    if (this.pending !== 0) {
      const pending = this.pending;
      this.pending &= ~ownContinue;
      if ((pending & (Pending.LOCAL_REPLY | Pending.CLOSE)) !== 0) {
        this.perform();
        return STOPPED;
      }
      if ((pending & ownContinue) !== 0) result = 0;
    }
    if (result !== 0) {
      this.#state |= pausedBit;
      return result;
    }
    this.#state &= ~pausedBit;
    return (this.#state & State.MAY_LACK) === 0 || this.#isWhole() ? 0 : STOPPED;
  }

  #headersStatus(action: number): number {
    switch (action) {
      case Action.CONTINUE:
      case 2: // ContinueAndEndStream, which no host supports.
        return HeadersStatus.CONTINUE;
      case Action.PAUSE:
        return this.root.plugin.config.allowOnHeadersStopIteration
          ? HeadersStatus.STOP_ITERATION
          : HeadersStatus.STOP_ALL_AND_WATERMARK;
      case Action.STOP_ALL_AND_BUFFER:
        return HeadersStatus.STOP_ALL_AND_BUFFER;
      default:
        return HeadersStatus.STOP_ALL_AND_WATERMARK;
    }
  }

  // ---- what host functions see ----------------------------------------------------------------

  override get stream(): StreamView | null {
    return this.attached ? this.#view : null;
  }

  override get logging(): boolean {
    return (this.#state & State.LOGGING) !== 0;
  }

  /** Stricter hosts hide a map once its own callback is over; reading it later harms nobody and suits more modules. */
  override map(type: number): HeaderMap | null {
    switch (type) {
      case MapType.HTTP_REQUEST_HEADERS:
        return this.#requestHeaders ?? this.stream?.requestHeaders ?? null;
      case MapType.HTTP_RESPONSE_HEADERS:
        return this.#responseHeaders ?? this.stream?.responseHeaders ?? this.#early;
      case MapType.HTTP_REQUEST_TRAILERS:
        return this.stream?.requestTrailers ?? null;
      case MapType.HTTP_RESPONSE_TRAILERS:
        return this.stream?.responseTrailers ?? null;
      default:
        return super.map(type);
    }
  }

  override mutableMap(type: number): HeaderMap | null {
    const state = this.#state;
    switch (type) {
      case MapType.HTTP_REQUEST_HEADERS:
        return (state & State.REQUEST_HEADERS_OPEN) === 0 ? null : this.#requestHeaders;
      case MapType.HTTP_RESPONSE_HEADERS:
        return (state & State.RESPONSE_HEADERS_OPEN) === 0 ? this.#beforeResponse() : this.#responseHeaders;
      case MapType.HTTP_REQUEST_TRAILERS:
        if ((state & State.REQUEST_TRAILERS_OPEN) !== 0) return this.#view.requestTrailers;
        return (state & State.REQUEST_ENDING) !== 0 ? this.#view.addRequestTrailers() : null;
      case MapType.HTTP_RESPONSE_TRAILERS:
        if ((state & State.RESPONSE_TRAILERS_OPEN) !== 0) return this.#view.responseTrailers;
        return (state & State.RESPONSE_ENDING) !== 0 ? this.#view.addResponseTrailers() : null;
      default:
        return null;
    }
  }

  /** Null once response headers have come to this filter, or when none can come any more. */
  #beforeResponse(): EarlyHeaders | null {
    const over = State.DETACHED | State.LOGGING | State.CLOSING;
    if (this.#responseHeaders !== null || (this.#state & over) !== 0 || this.#view.responseStarted) return null;
    if (this.#early === null) {
      this.#early = new EarlyHeaders();
      this.#view.joinResponse();
    }
    return this.#early;
  }

  override mapChanged(type: number, pseudoRemoved: boolean): void {
    if (pseudoRemoved) this.#state |= State.MAY_LACK;
    if (type === MapType.HTTP_REQUEST_HEADERS) this.#view.clearRouteCache();
  }

  /** False when the guest took something away that a message cannot be without; the stream is answered then. */
  #isWhole(): boolean {
    const state = this.#state;
    const request = (state & State.REQUEST_HEADERS_OPEN) === 0 ? null : this.#requestHeaders;
    if (request !== null && !(request.has(":method") && request.has(":path") && request.has(":authority"))) {
      this.#stripped(false);
      return false;
    }
    const response = (state & State.RESPONSE_HEADERS_OPEN) === 0 ? null : this.#responseHeaders;
    if (response !== null && !response.has(":status")) {
      this.#stripped(true);
      return false;
    }
    return true;
  }

  #stripped(response: boolean): void {
    this.#state = (this.#state | State.DETACHED) & ~(REQUEST_OPEN | RESPONSE_OPEN);
    if (!this.#view.sendLocalReply(strippedReply(response))) this.#view.resetStream(strippedReply(response).details);
  }

  override body(type: number): BodyBuffer | null {
    if (!this.running) return null;
    switch (type) {
      case BufferType.HTTP_REQUEST_BODY:
        return this.#requestBody ?? this.#view.bufferedRequestBody;
      case BufferType.HTTP_RESPONSE_BODY:
        return this.#responseBody ?? this.#view.bufferedResponseBody;
      default:
        return null;
    }
  }

  override continuation(type: number): number {
    if (!this.attached) return 0;
    if (type === StreamType.REQUEST) return Pending.CONTINUE_REQUEST;
    return type === StreamType.RESPONSE ? Pending.CONTINUE_RESPONSE : 0;
  }

  override closable(type: number): boolean {
    return this.attached && type <= StreamType.RESPONSE;
  }

  override localReply(reply: LocalReply): boolean {
    const closed = State.DETACHED | State.LOGGING | State.CLOSING;
    if (this.#replied || (this.#state & closed) !== 0 || this.#view.responseStarted) return false;
    this.#replied = true;
    this.#reply = reply;
    this.instance.defer(this, Pending.LOCAL_REPLY);
    return true;
  }

  // ---- deferred actions and failure -----------------------------------------------------------

  override perform(): void {
    const pending = this.pending;
    this.pending = 0;
    if ((this.#state & State.DETACHED) !== 0) return;
    if ((pending & (Pending.LOCAL_REPLY | Pending.CLOSE)) !== 0)
      this.#state &= ~(State.REQUEST_PAUSED | State.RESPONSE_PAUSED);
    if ((pending & Pending.LOCAL_REPLY) !== 0 && this.#reply !== null) {
      const reply = this.#reply;
      this.#reply = null;
      this.#view.sendLocalReply(reply);
      return;
    }
    if ((pending & Pending.CLOSE) !== 0) {
      this.#view.resetStream("wasm_close_stream");
      return;
    }
    if ((pending & Pending.CONTINUE_REQUEST) !== 0) this.#continue(false);
    if ((pending & Pending.CONTINUE_RESPONSE) !== 0 && (this.#state & State.DETACHED) === 0) this.#continue(true);
  }

  #continue(response: boolean): void {
    if ((this.#state & State.MAY_LACK) !== 0 && !this.#isWhole()) return;
    this.#state &= response ? ~(State.RESPONSE_PAUSED | RESPONSE_OPEN) : ~(State.REQUEST_PAUSED | REQUEST_OPEN);
    if (response) this.#view.continueResponse();
    else this.#view.continueRequest();
  }

  /** The instance is dead. Streams that wait for the guest would wait for ever: they get the policy now, others at their next event. */
  override orphan(): void {
    this.disarm();
    this.pending = 0;
    const paused = this.#state & (State.REQUEST_PAUSED | State.RESPONSE_PAUSED);
    if (paused === 0 || (this.#state & State.CLOSING) !== 0) return;
    if (this.#outcome() === 1 || this.root.plugin.config.failurePolicy !== "FAIL_OPEN") return;
    if ((paused & State.REQUEST_PAUSED) !== 0) this.#view.continueRequest();
    if ((paused & State.RESPONSE_PAUSED) !== 0) this.#view.continueResponse();
  }

  /** Applies the failure policy once; 0: the stream goes on without this filter, 1: it stops here. */
  #outcome(): 0 | 1 {
    if ((this.#state & State.DETACHED) !== 0) return 0;
    this.#state |= State.DETACHED;
    if (!applyFailurePolicy(this.root.plugin, this.#view, this.instance.failureReason)) return 1;
    // The stream goes on, but not with what the guest left unfinished.
    return (this.#state & State.MAY_LACK) === 0 || this.#isWhole() ? 0 : 1;
  }
}

function strippedReply(response: boolean): LocalReply {
  const details = `filter_removed_required_${response ? "response" : "request"}_headers`;
  return { status: response ? 500 : 503, body: "", headers: undefined, details, flag: -1, grpcStatus: -1 };
}

/** Nonzero in every phase: the stream is answered or reset, the value does not matter any more. */
const STOPPED = HeadersStatus.STOP_ALL_AND_BUFFER;

function dataStatus(action: number): number {
  return action >>> 0 > DataStatus.STOP_NO_BUFFER ? DataStatus.STOP_NO_BUFFER : action;
}

function trailersStatus(action: number): number {
  return action === 0 ? TrailersStatus.CONTINUE : TrailersStatus.STOP;
}
