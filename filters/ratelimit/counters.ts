/** Counters of one cluster: what became of the requests that were to go to it. */
import { Counter } from "../sdk/metric.ts";

export class Counters {
  readonly ok: Counter;
  readonly error: Counter;
  readonly overLimit: Counter;
  readonly failureModeAllowed: Counter;
  private readonly completed: Counter;
  private readonly code4xx: Counter;
  private readonly code429: Counter;

  /** `prefix` is the filter's `stat_prefix` with a dot behind it, or "". */
  constructor(cluster: string, prefix: string) {
    const own = "cluster." + cluster + ".ratelimit." + prefix;
    this.ok = new Counter(own + "ok");
    this.error = new Counter(own + "error");
    this.overLimit = new Counter(own + "over_limit");
    this.failureModeAllowed = new Counter(own + "failure_mode_allowed");
    const codes = "cluster." + cluster + ".upstream_rq_";
    this.completed = new Counter(codes + "completed");
    this.code4xx = new Counter(codes + "4xx");
    this.code429 = new Counter(codes + "429");
  }

  /** Over the limit; charged to the cluster as if it had answered 429. */
  countOverLimit(): void {
    this.overLimit.increment();
    this.completed.increment();
    this.code4xx.increment();
    this.code429.increment();
  }
}
