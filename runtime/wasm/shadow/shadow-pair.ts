/**
 * Two versions of a filter on one stream: the live one serves it, the other one (the shadow) is shown a copy first, and what
 * they decided is compared when the stream is over.
 *
 * Compared: request and response heads as they leave the filter, `:status`, answers and resets of their own. Not compared:
 * bodies, trailers, metadata. A shadow that waits for a call, which nobody answers, has decided nothing.
 */
import { BodyBuffer } from "../../codec/body.ts";
import type { HeaderMap } from "../../codec/headers.ts";
import { DataStatus, HeadersStatus, TrailersStatus } from "../../http/filter.ts";
import type { HttpFilter, StreamView } from "../../http/filter.ts";
import { SHADOW_BODY_BYTES } from "../../limits.ts";
import { TrialCell } from "../trial.ts";
import type { Trial } from "../trial.ts";
import { compare } from "./decision.ts";
import { LiveView } from "./live-view.ts";
import { ShadowView } from "./shadow-view.ts";

/** One direction of the message, as the shadow is shown it. */
interface Course {
  /** Bytes of body that the live filter held back when it was called last: they come again with the next ones. */
  liveHeld: number;
  /** Nothing more is shown: the shadow waits, or has seen too much. */
  stopped: boolean;
}

export class ShadowPair implements HttpFilter {
  readonly phases: number;
  readonly #live: HttpFilter;
  readonly #shadow: HttpFilter;
  readonly #liveView: LiveView;
  readonly #view: ShadowView;
  readonly #trial: Trial | null;
  readonly #request: Course = { liveHeld: 0, stopped: false };
  readonly #response: Course = { liveHeld: 0, stopped: false };

  constructor(
    stream: StreamView,
    makeLive: (view: StreamView) => HttpFilter,
    makeShadow: (view: StreamView) => HttpFilter,
    trial: Trial | null,
  ) {
    this.#liveView = new LiveView(stream);
    this.#view = new ShadowView(stream);
    this.#live = makeLive(this.#liveView);
    this.#view.requestHeaders = stream.requestHeaders?.clone() ?? null;
    this.#shadow = makeShadow(this.#view);
    this.#trial = trial;
    this.phases = (this.#live.phases ?? 0) | (this.#shadow.phases ?? 0);
  }

  onRequestHeaders(headers: HeaderMap, endStream: boolean): number {
    const view = this.#view;
    view.requestHeaders = headers.clone();
    view.refresh();
    this.#took(this.#request, this.#shadow.onRequestHeaders(view.requestHeaders, endStream), () =>
      view.continueRequest(),
    );
    const status = this.#live.onRequestHeaders(headers, endStream);
    if (status === HeadersStatus.CONTINUE) this.#liveView.passRequest();
    return status;
  }

  onRequestData(body: BodyBuffer, endStream: boolean): number {
    const { liveHeld } = this.#request;
    if (this.#shown(this.#request)) {
      const view = this.#view;
      const held = (view.bufferedRequestBody ??= new BodyBuffer());
      held.append(Buffer.from(body.bytes().subarray(liveHeld)));
      const status = this.#shadow.onRequestData(held, endStream);
      this.#kept(this.#request, held, status);
      if (status === DataStatus.CONTINUE) view.continueRequest();
      if (status === DataStatus.STOP_NO_BUFFER) view.bufferedRequestBody = null;
    }
    const status = this.#live.onRequestData(body, endStream);
    if (status === DataStatus.CONTINUE) this.#liveView.passRequest();
    this.#request.liveHeld = holds(status) ? body.length : 0;
    return status;
  }

  onRequestTrailers(trailers: HeaderMap): number {
    if (this.#shown(this.#request)) {
      const view = this.#view;
      view.requestTrailers = trailers.clone();
      const status = this.#shadow.onRequestTrailers(view.requestTrailers);
      if (status === TrailersStatus.CONTINUE) view.continueRequest();
    }
    const status = this.#live.onRequestTrailers(trailers);
    if (status === TrailersStatus.CONTINUE) this.#liveView.passRequest();
    return status;
  }

  onResponseHeaders(headers: HeaderMap, endStream: boolean): number {
    const view = this.#view;
    if (!view.over && !view.responseSkipped) {
      view.responseHeaders = headers.clone();
      view.refresh();
      this.#took(this.#response, this.#shadow.onResponseHeaders(view.responseHeaders, endStream), () =>
        view.continueResponse(),
      );
    }
    const status = this.#live.onResponseHeaders(headers, endStream);
    if (status === HeadersStatus.CONTINUE) this.#liveView.passResponse();
    return status;
  }

  onResponseData(body: BodyBuffer, endStream: boolean): number {
    const { liveHeld } = this.#response;
    if (this.#shown(this.#response) && !this.#view.responseSkipped) {
      const view = this.#view;
      const held = (view.bufferedResponseBody ??= new BodyBuffer());
      held.append(Buffer.from(body.bytes().subarray(liveHeld)));
      const status = this.#shadow.onResponseData(held, endStream);
      this.#kept(this.#response, held, status);
      if (status === DataStatus.CONTINUE) view.continueResponse();
      if (status === DataStatus.STOP_NO_BUFFER) view.bufferedResponseBody = null;
    }
    const status = this.#live.onResponseData(body, endStream);
    if (status === DataStatus.CONTINUE) this.#liveView.passResponse();
    this.#response.liveHeld = holds(status) ? body.length : 0;
    return status;
  }

  onResponseTrailers(trailers: HeaderMap): number {
    if (this.#shown(this.#response) && !this.#view.responseSkipped) {
      const view = this.#view;
      view.responseTrailers = trailers.clone();
      const status = this.#shadow.onResponseTrailers(view.responseTrailers);
      if (status === TrailersStatus.CONTINUE) view.continueResponse();
    }
    const status = this.#live.onResponseTrailers(trailers);
    if (status === TrailersStatus.CONTINUE) this.#liveView.passResponse();
    return status;
  }

  onLog(): void {
    this.#view.refresh();
    this.#shadow.onLog();
    this.#live.onLog();
  }

  onDestroy(): void {
    this.#view.refresh();
    this.#shadow.onDestroy();
    this.#live.onDestroy();
    const trial = this.#trial;
    if (trial === null) return;
    trial.add(TrialCell.SHADOWED);
    const difference = compare(this.#liveView.decision, this.#view.decision);
    if (difference === null) trial.add(TrialCell.UNDECIDED);
    if (difference?.headers === true) trial.add(TrialCell.HEADERS);
    if (difference?.status === true) trial.add(TrialCell.STATUS);
    if (difference?.localReply === true) trial.add(TrialCell.LOCAL_REPLIES);
  }

  /** The shadow has answered a head with `status`. */
  #took(course: Course, status: number, goOn: () => void): void {
    if (this.#view.over) return;
    if (status === HeadersStatus.CONTINUE) goOn();
    else if (status !== HeadersStatus.STOP_ITERATION) course.stopped = true;
  }

  #shown(course: Course): boolean {
    return !course.stopped && !this.#view.over;
  }

  /** A shadow costs only so much memory. */
  #kept(course: Course, held: BodyBuffer, status: number): void {
    if (holds(status) && held.length > SHADOW_BODY_BYTES) course.stopped = true;
  }
}

function holds(status: number): boolean {
  return status === DataStatus.STOP_AND_BUFFER || status === DataStatus.STOP_AND_WATERMARK;
}
