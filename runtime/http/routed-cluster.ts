/**
 * A cluster as the routes of one connection manager see it: the statistics of what is sent to it, and the places for
 * retries. Kept with the manager, so that a request looks up none of it by name.
 */
import type { ClusterConfig } from "../config/snapshot.ts";
import { ResponseCodeStats } from "../observe/response-code-stats.ts";
import type { Counter, Gauge, Histogram, Stats } from "../observe/stats.ts";
import type { Upstream } from "../upstream/request.ts";

export class RoutedCluster {
  readonly config: ClusterConfig;
  readonly upstream: Upstream;
  readonly codes: ResponseCodeStats;
  readonly retryCodes: ResponseCodeStats;
  readonly time: Histogram;
  readonly timeout: Counter;
  readonly perTryTimeout: Counter;
  readonly retryLimitExceeded: Counter;
  readonly retrySuccess: Counter;
  readonly retryOrShadowAbandoned: Counter;
  readonly #retry: Counter;
  readonly #retryBackoff: Counter;
  readonly #retryOverflow: Counter;
  readonly #retryOpen: Gauge;
  readonly #active: Gauge;
  readonly #pending: Gauge;
  #retries = 0;

  constructor(config: ClusterConfig, upstream: Upstream, stats: Stats) {
    const prefix = `cluster.${config.statName}.`;
    this.config = config;
    this.upstream = upstream;
    this.codes = new ResponseCodeStats(stats, `${prefix}upstream_rq_`, true);
    this.retryCodes = new ResponseCodeStats(stats, `${prefix}retry.upstream_rq_`, true);
    this.time = stats.histogram(`${prefix}upstream_rq_time`);
    this.timeout = stats.counter(`${prefix}upstream_rq_timeout`);
    this.perTryTimeout = stats.counter(`${prefix}upstream_rq_per_try_timeout`);
    this.retrySuccess = stats.counter(`${prefix}upstream_rq_retry_success`);
    this.retryLimitExceeded = stats.counter(`${prefix}upstream_rq_retry_limit_exceeded`);
    this.retryOrShadowAbandoned = stats.counter(`${prefix}retry_or_shadow_abandoned`);
    this.#retryBackoff = stats.counter(`${prefix}upstream_rq_retry_backoff_exponential`);
    this.#retry = stats.counter(`${prefix}upstream_rq_retry`);
    this.#retryOpen = stats.gauge(`${prefix}circuit_breakers.default.rq_retry_open`, "max");
    this.#active = stats.gauge(`${prefix}upstream_rq_active`);
    this.#pending = stats.gauge(`${prefix}upstream_rq_pending_active`);
    this.#retryOverflow = stats.counter(`${prefix}upstream_rq_retry_overflow`);
  }

  /** Takes a place for a retry; false when the circuit breaker is open. */
  beginRetry(): boolean {
    if (this.#retries >= this.#maxRetries) {
      this.#retryOverflow.inc();
      return false;
    }
    this.#retries++;
    this.#tellRetries();
    this.#retry.inc();
    this.#retryBackoff.inc();
    return true;
  }

  endRetry(): void {
    this.#retries--;
    this.#tellRetries();
  }

  /** A budget is a share of the requests that there are now, in this worker as all bounds. */
  get #maxRetries(): number {
    const { maxRetries, retryBudget } = this.config.circuitBreakers;
    if (retryBudget === undefined) return maxRetries;
    const requests = this.#active.value + this.#pending.value;
    return Math.max(retryBudget.minConcurrency, Math.floor((requests * retryBudget.percent) / 100));
  }

  #tellRetries(): void {
    this.#retryOpen.set(this.#retries >= this.#maxRetries ? 1 : 0);
  }
}
