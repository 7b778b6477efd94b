/**
 * The closed sets of what can go wrong on the path of a request, and the one error type of the host.
 * Every room may import this file; it imports nothing.
 */

/** Who caused a failure. */
export type Side = "downstream" | "upstream" | "guest" | "config" | "internal";

/**
 * The one error type of the host. `code` is stable and made for matching, `message` is for people and
 * begins with the code, so that a log line shows it.
 */
export class ProxyError extends Error {
  readonly code: string;
  readonly side: Side;
  constructor(code: string, side: Side, message: string, cause?: unknown) {
    super(`${code}: ${message}`, cause === undefined ? undefined : { cause });
    this.name = "ProxyError";
    this.code = code;
    this.side = side;
  }
}

/**
 * Response flags as bit numbers of a 32-bit set, with Envoy's short and long names
 * (access log command RESPONSE_FLAGS, RESPONSE_FLAGS_LONG). The order is Envoy's print order.
 */
export const ResponseFlag = {
  LH: 0,
  UH: 1,
  UT: 2,
  LR: 3,
  UR: 4,
  UF: 5,
  UC: 6,
  UO: 7,
  NR: 8,
  DI: 9,
  FI: 10,
  RL: 11,
  UAEX: 12,
  RLSE: 13,
  DC: 14,
  URX: 15,
  SI: 16,
  IH: 17,
  DPE: 18,
  UMSDR: 19,
  RFCF: 20,
  NFCF: 21,
  DT: 22,
  UPE: 23,
  NC: 24,
  OM: 25,
  DF: 26,
  DO: 27,
  DR: 28,
  UDO: 29,
} as const;
export type ResponseFlag = (typeof ResponseFlag)[keyof typeof ResponseFlag];

/** Long names, by the bit number of {@link ResponseFlag}. */
export const RESPONSE_FLAG_LONG_NAMES: readonly string[] = [
  "FailedLocalHealthCheck",
  "NoHealthyUpstream",
  "UpstreamRequestTimeout",
  "LocalReset",
  "UpstreamRemoteReset",
  "UpstreamConnectionFailure",
  "UpstreamConnectionTermination",
  "UpstreamOverflow",
  "NoRouteFound",
  "DelayInjected",
  "FaultInjected",
  "RateLimited",
  "UnauthorizedExternalService",
  "RateLimitServiceError",
  "DownstreamConnectionTermination",
  "UpstreamRetryLimitExceeded",
  "StreamIdleTimeout",
  "InvalidEnvoyRequestHeaders",
  "DownstreamProtocolError",
  "UpstreamMaxStreamDurationReached",
  "ResponseFromCacheFilter",
  "NoFilterConfigFound",
  "DurationTimeout",
  "UpstreamProtocolError",
  "NoClusterFound",
  "OverloadManagerTerminated",
  "DnsResolutionFailed",
  "DropOverload",
  "DownstreamRemoteReset",
  "UnconditionalDropOverload",
];

/**
 * Why an upstream request ended without a whole response. The texts are the ones Envoy prints in
 * `upstream connect error or disconnect/reset before headers. reset reason: <text>`.
 */
export const ResetReason = {
  LOCAL_RESET: "local reset",
  LOCAL_CONNECTION_FAILURE: "local connection failure",
  REMOTE_CONNECTION_FAILURE: "remote connection failure",
  CONNECTION_TIMEOUT: "connection timeout",
  CONNECTION_TERMINATION: "connection termination",
  OVERFLOW: "overflow",
  REMOTE_RESET: "remote reset",
  /** Of HTTP/2: the host has not looked at the request. */
  REFUSED_STREAM: "remote refused stream reset",
  PROTOCOL_ERROR: "protocol error",
  /** No host could be picked; becomes `no healthy upstream`, not a reset text. */
  NO_HEALTHY_UPSTREAM: "no healthy upstream",
} as const;
export type ResetReason = (typeof ResetReason)[keyof typeof ResetReason];
