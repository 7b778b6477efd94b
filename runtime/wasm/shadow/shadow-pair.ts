/**
 * Two versions of a filter on one stream: the live one serves it, the other one (the shadow) is shown a copy first, and what
 * they decided is compared when the stream is over: see trial.ts for what. A shadow that waits for a call that nobody
 * answers, or that has been shown more than it may hold, has not decided what follows.
 */
import type { BodyBuffer } from "../../codec/body.ts";
import type { HeaderMap } from "../../codec/headers.ts";
import { DataStatus, HeadersStatus, Phase, TrailersStatus } from "../../http/filter.ts";
import type { HttpFilter, StreamView } from "../../http/filter.ts";
import type { Trial } from "../trial.ts";
import { compare } from "./decision.ts";
import type { ShadowExamples } from "./examples.ts";
import { LiveView } from "./live-view.ts";
import { ShadowView } from "./shadow-view.ts";

/** Where the outcome goes. */
export interface Outcomes {
  readonly trial: Pick<Trial, "shadowed"> | null;
  readonly examples: ShadowExamples;
}

export class ShadowPair implements HttpFilter {
  readonly phases: number;
  readonly #live: HttpFilter;
  readonly #shadow: HttpFilter;
  readonly #liveView: LiveView;
  readonly #view: ShadowView;
  readonly #outcomes: Outcomes;

  constructor(
    stream: StreamView,
    makeLive: (view: StreamView) => HttpFilter,
    makeShadow: (view: StreamView) => HttpFilter,
    outcomes: Outcomes,
  ) {
    this.#liveView = new LiveView(stream);
    this.#view = new ShadowView(stream);
    this.#live = makeLive(this.#liveView);
    this.#view.request.head = stream.requestHeaders?.clone() ?? null;
    const shadow = (this.#shadow = makeShadow(this.#view));
    this.#outcomes = outcomes;
    const own = this.#live.phases ?? 0;
    const its = shadow.phases ?? 0;
    // Trailers let go on what was held, whoever sees them.
    this.phases = own | (its & ~blind(own)) | Phase.REQUEST_TRAILERS | Phase.RESPONSE_TRAILERS;
    this.#liveView.begin(own);
    this.#view.request.begin({
      blind: (blind(own) & Phase.REQUEST_DATA) !== 0,
      seesBody: (its & Phase.REQUEST_DATA) !== 0,
      seesTrailers: (its & Phase.REQUEST_TRAILERS) !== 0,
      onHeaders: (headers, endStream) => shadow.onRequestHeaders(headers, endStream),
      onData: (body, endStream) => shadow.onRequestData(body, endStream),
      onTrailers: (trailers) => shadow.onRequestTrailers(trailers),
    });
    this.#view.response.begin({
      blind: (blind(own) & Phase.RESPONSE_DATA) !== 0,
      seesBody: (its & Phase.RESPONSE_DATA) !== 0,
      seesTrailers: (its & Phase.RESPONSE_TRAILERS) !== 0,
      onHeaders: (headers, endStream) => shadow.onResponseHeaders(headers, endStream),
      onData: (body, endStream) => shadow.onResponseData(body, endStream),
      onTrailers: (trailers) => shadow.onResponseTrailers(trailers),
    });
  }

  onRequestHeaders(headers: HeaderMap, endStream: boolean): number {
    this.#view.request.head = headers.clone();
    this.#view.refresh();
    this.#view.request.showHead(endStream);
    const live = this.#liveView;
    const status = this.#live.onRequestHeaders(headers, endStream);
    return live.request.headAnswered(status, live.requestParts(), endStream);
  }

  onRequestData(body: BodyBuffer, endStream: boolean): number {
    const live = this.#liveView;
    this.#view.request.showData(body.bytes().subarray(live.request.heldBytes), endStream);
    const call = (): number => this.#live.onRequestData(body, endStream);
    return live.request.data(call, body, endStream, () => live.requestParts());
  }

  onRequestTrailers(trailers: HeaderMap): number {
    const live = this.#liveView;
    this.#view.request.showTrailers(trailers);
    return live.request.trailers(
      () => this.#live.onRequestTrailers(trailers),
      () => live.requestParts(),
    );
  }

  onResponseHeaders(headers: HeaderMap, endStream: boolean): number {
    const view = this.#view;
    const live = this.#liveView;
    if (view.skips.head) view.response.pass(headers, endStream);
    else if (!view.response.stopped) {
      view.response.head = headers.clone();
      view.refresh();
      view.response.showHead(endStream);
    }
    const status = live.skips.head ? HeadersStatus.CONTINUE : this.#live.onResponseHeaders(headers, endStream);
    return live.response.headAnswered(status, live.responseParts(), endStream);
  }

  onResponseData(body: BodyBuffer, endStream: boolean): number {
    const { response, skips } = this.#view;
    const live = this.#liveView;
    const fresh = body.bytes().subarray(live.response.heldBytes);
    if (skips.body) response.passData(fresh, endStream);
    else response.showData(fresh, endStream);
    const call = (): number => (live.skips.body ? DataStatus.CONTINUE : this.#live.onResponseData(body, endStream));
    return live.response.data(call, body, endStream, () => live.responseParts());
  }

  onResponseTrailers(trailers: HeaderMap): number {
    const { response, skips } = this.#view;
    const live = this.#liveView;
    if (skips.body) response.passTrailers(trailers);
    else response.showTrailers(trailers);
    const call = (): number => (live.skips.body ? TrailersStatus.CONTINUE : this.#live.onResponseTrailers(trailers));
    return live.response.trailers(call, () => live.responseParts());
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
    const { trial, examples } = this.#outcomes;
    if (trial === null) return;
    const difference = compare(this.#liveView.decision, this.#view.decision);
    trial.shadowed(difference);
    if (difference.kinds.length === 0) return;
    const id = this.#liveView.requestHeaders?.get("x-request-id");
    examples.add(id === undefined ? "" : `request ${id}`, difference.text);
  }
}

/**
 * Bodies that the pair must not ask for, for a live filter of these phases: one with a callback for trailers and none for
 * bodies is shown trailers late while it holds its head, and is not when it has a body callback. What its shadow would do
 * with a body is not known then.
 */
function blind(phases: number): number {
  const lateTrailers = (data: number, trailers: number): number =>
    (phases & data) === 0 && (phases & trailers) !== 0 ? data : 0;
  return (
    lateTrailers(Phase.REQUEST_DATA, Phase.REQUEST_TRAILERS) |
    lateTrailers(Phase.RESPONSE_DATA, Phase.RESPONSE_TRAILERS)
  );
}
