/**
 * The extension point of the HTTP engine: what a filter is, and what it may touch.
 *
 * Life of a filter: create (at request headers) → onRequestHeaders → onRequestData* → onRequestTrailers?
 * → onResponseHeaders → onResponseData* → onResponseTrailers? → onLog → onDestroy.
 * Requests walk the filters in configured order, responses in reverse. A filter whose request headers
 * callback never ran (an earlier filter answered) sees no response callback either.
 */
import type { BodyBuffer } from "../codec/body.ts";
import type { HeaderMap } from "../codec/headers.ts";
import type { RateLimitConfig } from "../config/rate-limit-snapshot.ts";
import type { StreamInfo } from "../observe/stream-info.ts";

/** Answers of header callbacks (Proxy-Wasm FilterHeadersStatus). */
export const HeadersStatus = {
  CONTINUE: 0,
  /** Headers wait; this filter still gets body and trailers; its Continue from there releases them. */
  STOP_ITERATION: 1,
  /** Nothing more is delivered, not even to this filter; over the buffer limit the stream fails (413/500). */
  STOP_ALL_AND_BUFFER: 3,
  /** The same, but over the limit the peer is pushed back instead. */
  STOP_ALL_AND_WATERMARK: 4,
} as const;
/** Answers of body callbacks. */
export const DataStatus = {
  CONTINUE: 0,
  /** Keep what is there; the next call sees everything so far. Over the limit: 413/500. */
  STOP_AND_BUFFER: 1,
  STOP_AND_WATERMARK: 2,
  /** This data is dropped unless the filter keeps it. */
  STOP_NO_BUFFER: 3,
} as const;
/** Answers of trailer callbacks. */
export const TrailersStatus = { CONTINUE: 0, STOP: 1 } as const;

/** Which callbacks a filter has at all, so that the others cost nothing. Bits of HttpFilterFactory.phases. */
export const Phase = {
  REQUEST_HEADERS: 1,
  REQUEST_DATA: 2,
  REQUEST_TRAILERS: 4,
  RESPONSE_HEADERS: 8,
  RESPONSE_DATA: 16,
  RESPONSE_TRAILERS: 32,
  LOG: 64,
} as const;

/** One filter of one stream. Only callbacks whose Phase bit the factory claims are called. */
export interface HttpFilter {
  /** Phase bits of this filter, where its factory makes several kinds; default: the factory's. */
  readonly phases?: number;
  onRequestHeaders(headers: HeaderMap, endStream: boolean): number;
  /** `body` holds this chunk, or all that was buffered for this filter; edits are what goes on. */
  onRequestData(body: BodyBuffer, endStream: boolean): number;
  onRequestTrailers(trailers: HeaderMap): number;
  onResponseHeaders(headers: HeaderMap, endStream: boolean): number;
  onResponseData(body: BodyBuffer, endStream: boolean): number;
  onResponseTrailers(trailers: HeaderMap): number;
  /** Once, when the stream is complete and `info` is final. */
  onLog(): void;
  /** Once, last. The stream must not be touched afterwards. */
  onDestroy(): void;
}

/** Makes the filter of each stream; one per filter chain entry and worker. */
export interface HttpFilterFactory {
  /** HttpFilter.name: the key of typed_per_filter_config. */
  readonly name: string;
  /** Of all filters it has made or makes; more may be added while it lives. */
  readonly phases: number;
  /** Rate limits of the filter's own configuration, for StreamView.rateLimitDescriptors. */
  readonly rateLimits?: readonly RateLimitConfig[] | undefined;
  create(stream: StreamView): HttpFilter;
}

/** A response made by the proxy itself. */
export interface LocalReply {
  readonly status: number;
  readonly body: Uint8Array | string;
  /** name, value, … appended after the host's own fields; undefined for none. */
  readonly headers?: readonly string[] | undefined;
  readonly details: string;
  /** errors.ts ResponseFlag, or -1. */
  readonly flag: number;
  /** gRPC status for gRPC requests; -1: mapped from `status`. */
  readonly grpcStatus: number;
}

/** One stream as one of its filters sees it (one object per filter and stream). */
export interface StreamView {
  readonly info: StreamInfo;
  /** Maps of this stream as they stand; null when there is none (yet). */
  readonly requestHeaders: HeaderMap | null;
  readonly requestTrailers: HeaderMap | null;
  readonly responseHeaders: HeaderMap | null;
  readonly responseTrailers: HeaderMap | null;
  /** Body held for this filter while it is paused; null when nothing is. Edits are what goes on. */
  readonly bufferedRequestBody: BodyBuffer | null;
  readonly bufferedResponseBody: BodyBuffer | null;
  /** True once response headers have left this filter's position towards downstream. */
  readonly responseStarted: boolean;

  /** Go on after this filter stopped. No-ops when it did not. Never call from inside its own callback. */
  continueRequest(): void;
  continueResponse(): void;
  /** Legal from request trailers-less ends: creates trailers that follow the body. Null when too late. */
  addRequestTrailers(): HeaderMap | null;
  addResponseTrailers(): HeaderMap | null;
  /** A later reply replaces one that a filter still holds. False when the stream is over, or reset since response headers are out. */
  sendLocalReply(reply: LocalReply): boolean;
  /** Ends the stream abruptly (both sides). */
  resetStream(details: string): void;
  /** The next look at the route computes it anew. */
  clearRouteCache(): void;
  /** Computes the route if that has not happened; fills info.route, info.virtualHost, info.cluster. */
  resolveRoute(): void;
  /** The most specific typed_per_filter_config of this filter for the route; id 0 when none. */
  perRouteConfigId(): number;
  perRouteConfig(id: number): Uint8Array | undefined;
  /**
   * Rate limit descriptors of the route as serialized `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor`
   * messages, one per applicable RateLimit of the stage. mode: 0 default, 1 include, 2 ignore virtual host limits,
   * 3 the limits in the filter's own configuration instead, those of its override for the route if that has any.
   */
  rateLimitDescriptors(stage: number, virtualHostMode: number): readonly Uint8Array[];
  /** This filter's response callbacks are not called for this stream. */
  skipResponse(): void;
  /** This filter has something for the response headers: it sees them, whatever its factory claims. */
  joinResponse(): void;
  /** Sends response body bytes at this rate from now on, in slices of 50 ms. */
  paceResponse(bytesPerSecond: number): void;
}
