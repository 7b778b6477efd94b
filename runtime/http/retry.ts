/**
 * When a request is sent again (Envoy: `RetryStateImpl`). One object per request that may be retried by
 * policy; the safe retry on a dead reused connection is the router's own and needs none.
 */
import * as GrpcStatus from "../../abi/grpc-status.ts";
import type { HeaderMap } from "../codec/headers.ts";
import type { HostSelection, RetryPolicy } from "../config/snapshot.ts";
import { ResetReason } from "../errors.ts";
import { BACKOFF_MAX_FACTOR, NUM_RETRIES, RETRY_BASE_INTERVAL_MS } from "../limits.ts";
import type { Host } from "../upstream/host.ts";
import { hasMetadata } from "../upstream/metadata-match.ts";

/** What steers retries is for this proxy alone. */
const CONSUMED = [
  "x-envoy-retry-on",
  "x-envoy-retry-grpc-on",
  "x-envoy-max-retries",
  "x-envoy-hedge-on-per-try-timeout",
  "x-envoy-retriable-header-names",
  "x-envoy-retriable-status-codes",
  "x-envoy-upstream-rq-per-try-timeout-ms",
];
/** Tokens of `retry_grpc_on`, and the value of `grpc-status` that each stands for. */
const GRPC_STATUSES = [
  ["cancelled", String(GrpcStatus.CANCELLED)],
  ["deadline-exceeded", String(GrpcStatus.DEADLINE_EXCEEDED)],
  ["resource-exhausted", String(GrpcStatus.RESOURCE_EXHAUSTED)],
  ["internal", String(GrpcStatus.INTERNAL)],
  ["unavailable", String(GrpcStatus.UNAVAILABLE)],
] as const;

/** What a header says that counts something; undefined when it is absent or no whole number. */
export function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** A retry policy of the configuration, worked out once for all requests. */
export class RetryRules {
  readonly policy: RetryPolicy;
  /** Tokens of `retry_on`. */
  readonly on: ReadonlySet<string>;
  readonly codes: ReadonlySet<number>;

  constructor(policy: RetryPolicy) {
    this.policy = policy;
    this.on = new Set(policy.retryOn);
    this.codes = new Set(policy.retriableStatusCodes);
  }
}

export class RetryState {
  /** Milliseconds of one attempt; 0: no bound of its own. */
  perTryTimeoutMs: number;
  readonly #on: ReadonlySet<string>;
  readonly #codes: ReadonlySet<number>;
  readonly #baseMs: number;
  readonly #maxMs: number;
  #left: number;
  #attempts = 0;

  private constructor(on: ReadonlySet<string>, codes: ReadonlySet<number>, rules: RetryRules | null) {
    this.#on = on;
    this.#codes = codes;
    this.#baseMs = rules?.policy.baseIntervalMs ?? RETRY_BASE_INTERVAL_MS;
    this.#maxMs = rules?.policy.maxIntervalMs ?? this.#baseMs * BACKOFF_MAX_FACTOR;
    this.#left = rules?.policy.numRetries ?? NUM_RETRIES;
    this.perTryTimeoutMs = rules?.policy.perTryTimeoutMs ?? 0;
  }

  /** Undefined when neither the route's rules nor headers ask for retries. Takes the retry headers off the request. */
  static of(rules: RetryRules | null, headers: HeaderMap): RetryState | undefined {
    const on = joined(rules?.on, headers.get("x-envoy-retry-on"), headers.get("x-envoy-retry-grpc-on"));
    const codes = headers.get("x-envoy-retriable-status-codes");
    const retries = wholeNumber(headers.get("x-envoy-max-retries"));
    const perTryMs = wholeNumber(headers.get("x-envoy-upstream-rq-per-try-timeout-ms"));
    for (const name of CONSUMED) headers.remove(name);
    if (on.size === 0) return undefined;
    const state = new RetryState(on, joinedNumbers(rules?.codes, codes), rules);
    if (retries !== undefined) state.#left = retries;
    if (perTryMs !== undefined && perTryMs > 0) state.perTryTimeoutMs = perTryMs;
    return state;
  }

  /** Retries that are still allowed. */
  get left(): number {
    return this.#left;
  }

  /** Whether a response with these headers is worth another attempt. */
  wantsHeaders(status: number, headers: HeaderMap): boolean {
    const on = this.#on;
    if (headers.has("x-envoy-ratelimited") && !on.has("envoy-ratelimited")) return false;
    if (on.has("envoy-ratelimited") && headers.has("x-envoy-ratelimited")) return true;
    if (on.has("5xx") && status >= 500) return true;
    if (on.has("gateway-error") && status >= 502 && status <= 504) return true;
    if (on.has("retriable-4xx") && status === 409) return true;
    if (on.has("retriable-status-codes") && this.#codes.has(status)) return true;
    const grpc = headers.get("grpc-status");
    if (grpc === undefined) return false;
    for (const [token, code] of GRPC_STATUSES) if (code === grpc && on.has(token)) return true;
    return false;
  }

  /** Whether a reset before response headers is worth another attempt. */
  wantsReset(reason: ResetReason, requestUnsent: boolean): boolean {
    const on = this.#on;
    if (reason === ResetReason.OVERFLOW) return false;
    if (on.has("5xx") || on.has("gateway-error") || on.has("reset")) return true;
    if (on.has("refused-stream") && reason === ResetReason.REFUSED_STREAM) return true;
    if (on.has("reset-before-request") && requestUnsent) return true;
    return (
      on.has("connect-failure") &&
      (reason === ResetReason.REMOTE_CONNECTION_FAILURE ||
        reason === ResetReason.LOCAL_CONNECTION_FAILURE ||
        reason === ResetReason.CONNECTION_TIMEOUT)
    );
  }

  /** Takes one retry; returns the wait in milliseconds: fully jittered exponential back-off. */
  take(): number {
    this.#left--;
    this.#attempts++;
    return Math.random() * Math.min((2 ** this.#attempts - 1) * this.#baseMs, this.#maxMs);
  }
}

/** Tokens of the rules with those that headers list; most requests have no such header, and nothing is copied. */
function joined(
  rules: ReadonlySet<string> | undefined,
  list: string | undefined,
  grpcList: string | undefined,
): ReadonlySet<string> {
  if (rules !== undefined && list === undefined && grpcList === undefined) return rules;
  const all = new Set(rules);
  for (const tokens of [list, grpcList]) for (const token of tokens?.split(",") ?? []) all.add(token.trim());
  return all;
}

/** The same for numbers. */
function joinedNumbers(rules: ReadonlySet<number> | undefined, list: string | undefined): ReadonlySet<number> {
  if (rules !== undefined && list === undefined) return rules;
  return new Set([...(rules ?? []), ...(list?.split(",").map(Number) ?? [])]);
}

/** Whether a retry had better go to another host; `tried`: the addresses of those before. */
export function refusesHost(
  selection: HostSelection | undefined,
  tried: readonly string[] | null,
  host: Host,
): boolean {
  if (selection === undefined) return false;
  const { previous, canaries, metadata } = selection;
  if (previous && tried?.includes(host.address) === true) return true;
  if (canaries && host.lbMetadata?.["canary"] === true) return true;
  return metadata !== undefined && hasMetadata(host, metadata, true);
}
