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

export class RetryState {
  readonly perTryTimeoutMs: number;
  readonly #on: ReadonlySet<string>;
  readonly #codes: ReadonlySet<number>;
  readonly #baseMs: number;
  readonly #maxMs: number;
  #left: number;
  #attempts = 0;

  private constructor(
    on: ReadonlySet<string>,
    codes: ReadonlySet<number>,
    retries: number,
    perTryMs: number,
    policy: RetryPolicy | undefined,
  ) {
    this.#on = on;
    this.#codes = codes;
    this.#left = retries;
    this.perTryTimeoutMs = perTryMs;
    this.#baseMs = policy?.baseIntervalMs ?? RETRY_BASE_INTERVAL_MS;
    this.#maxMs = policy?.maxIntervalMs ?? this.#baseMs * BACKOFF_MAX_FACTOR;
  }

  /** Undefined when neither policy nor headers ask for retries. Takes the retry headers off the request. */
  static of(policy: RetryPolicy | undefined, headers: HeaderMap): RetryState | undefined {
    const tokens = new Set(policy?.retryOn);
    for (const name of ["x-envoy-retry-on", "x-envoy-retry-grpc-on"]) {
      for (const token of headers.get(name)?.split(",") ?? []) tokens.add(token.trim());
    }
    const codes = new Set(policy?.retriableStatusCodes);
    for (const code of headers.get("x-envoy-retriable-status-codes")?.split(",") ?? []) codes.add(Number(code));
    const max = wholeNumber(headers.get("x-envoy-max-retries"));
    const perTryMs = wholeNumber(headers.get("x-envoy-upstream-rq-per-try-timeout-ms")) || undefined;
    for (const name of CONSUMED) headers.remove(name);
    if (tokens.size === 0) return undefined;
    return new RetryState(
      tokens,
      codes,
      max ?? policy?.numRetries ?? NUM_RETRIES,
      perTryMs ?? policy?.perTryTimeoutMs ?? 0,
      policy,
    );
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
