/** A filter's place in one stream: the filter itself, once the request has reached it, and its view of the stream. */
import type { BodyBuffer } from "../codec/body.ts";
import { HeaderMap } from "../codec/headers.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { Phase } from "./filter.ts";
import type { HttpFilter, HttpFilterFactory, LocalReply, StreamView } from "./filter.ts";
import { VirtualHostMode } from "./rate-limit-descriptors.ts";
import type { Stream } from "./stream.ts";

const RESPONSE_PHASES = Phase.RESPONSE_HEADERS | Phase.RESPONSE_DATA | Phase.RESPONSE_TRAILERS;
const NO_DESCRIPTORS: readonly Uint8Array[] = [];

export class FilterSlot implements StreamView {
  readonly #stream: Stream;
  readonly #factory: HttpFilterFactory;
  readonly #index: number;
  phases: number;
  filter: HttpFilter | null = null;

  constructor(stream: Stream, factory: HttpFilterFactory, index: number) {
    this.#stream = stream;
    this.#factory = factory;
    this.#index = index;
    this.phases = factory.phases;
  }

  /** The request has come to this filter: makes it, unless it is disabled here. */
  enter(): HttpFilter | null {
    if (this.filter === null) {
      const stream = this.#stream;
      if (stream.manager.mayDisable && this.#disabled()) return null;
      const filter = this.#factory.create(this);
      this.phases = filter.phases ?? this.#factory.phases;
      this.filter = filter;
    }
    return this.filter;
  }

  destroy(): void {
    this.filter?.onDestroy();
  }

  get info(): StreamInfo {
    return this.#stream.info;
  }
  get requestHeaders(): HeaderMap | null {
    return this.#stream.request.headers;
  }
  get requestTrailers(): HeaderMap | null {
    return this.#stream.request.trailers;
  }
  get responseHeaders(): HeaderMap | null {
    return this.#stream.response.headers;
  }
  get responseTrailers(): HeaderMap | null {
    return this.#stream.response.trailers;
  }
  get bufferedRequestBody(): BodyBuffer | null {
    return this.#stream.request.heldBody(this.#index);
  }
  get bufferedResponseBody(): BodyBuffer | null {
    return this.#stream.response.heldBody(this.#responsePosition());
  }
  get responseStarted(): boolean {
    return this.#stream.responseStarted || this.#stream.response.passed(this.#responsePosition());
  }

  continueRequest(): void {
    const stream = this.#stream;
    stream.request.resume(this.#index);
    if (!stream.finished) stream.router.flush();
  }

  continueResponse(): void {
    const stream = this.#stream;
    stream.response.resume(this.#responsePosition());
    stream.session.flushResponse();
  }

  addRequestTrailers(): HeaderMap | null {
    const walk = this.#stream.request;
    return walk.closed ? null : (walk.trailers ??= new HeaderMap());
  }
  addResponseTrailers(): HeaderMap | null {
    const walk = this.#stream.response;
    return walk.closed ? null : (walk.trailers ??= new HeaderMap());
  }

  sendLocalReply(reply: LocalReply): boolean {
    return this.#stream.sendLocalReply(reply);
  }
  resetStream(details: string): void {
    this.#stream.reset(details);
  }
  clearRouteCache(): void {
    this.#stream.clearRouteCache();
  }
  resolveRoute(): void {
    this.#stream.route();
  }

  perRouteConfigId(): number {
    if (!this.#stream.manager.mayOverride) return 0;
    return this.#stream.route()?.perFilter(this.#factory.name)?.id ?? 0;
  }
  perRouteConfig(id: number): Uint8Array | undefined {
    const found = this.#stream.route()?.perFilter(this.#factory.name);
    return found?.id === id ? found.bytes : undefined;
  }

  rateLimitDescriptors(stage: number, virtualHostMode: number): readonly Uint8Array[] {
    const stream = this.#stream;
    const resolved = stream.route();
    if (resolved === null) return NO_DESCRIPTORS;
    if (virtualHostMode !== VirtualHostMode.OWN)
      return stream.manager.describeRateLimits(resolved, stage, virtualHostMode, stream.info);
    const own = resolved.perFilter(this.#factory.name)?.rateLimits ?? this.#factory.rateLimits;
    return own === undefined ? NO_DESCRIPTORS : stream.manager.describeOwnRateLimits(resolved, own, stream.info);
  }

  skipResponse(): void {
    this.phases &= ~RESPONSE_PHASES;
  }

  joinResponse(): void {
    this.phases |= Phase.RESPONSE_HEADERS;
  }

  paceResponse(bytesPerSecond: number): void {
    this.#stream.paceResponse(bytesPerSecond);
  }

  #responsePosition(): number {
    return this.#stream.slots.length - 1 - this.#index;
  }

  /** HttpFilter.disabled, or FilterConfig.disabled of the route; a route's override switches a disabled filter on. */
  #disabled(): boolean {
    const override = this.#stream.route()?.perFilter(this.#factory.name);
    if (override !== undefined) return override.disabled;
    return this.#stream.manager.disabledByDefault(this.#index);
  }
}
