/**
 * The retries of one request as they go: a place in the cluster's budget for each, the wait before it, and the time
 * that an attempt may take. What deserves a retry is told in `retry.ts`; the router sends the request again.
 * The deadline of the base class is that of one attempt. Made only for requests that have a retry policy.
 */
import { ResponseFlag } from "../errors.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { Alarm, Deadline } from "../timers.ts";
import type { RetryState } from "./retry.ts";
import type { RoutedCluster } from "./routed-cluster.ts";

/** Whose request it is. */
export interface RetryOwner {
  /** The wait is over: the next attempt is to begin. */
  onRetryDue(): void;
  /** The attempt took longer than it may. */
  onTryTimeout(): void;
}

export class RetryCourse extends Deadline {
  readonly state: RetryState;
  readonly #cluster: RoutedCluster;
  readonly #owner: RetryOwner;
  readonly #info: StreamInfo;
  #begun = false;
  #backoff: Alarm | null = null;

  constructor(state: RetryState, cluster: RoutedCluster, owner: RetryOwner, info: StreamInfo) {
    super();
    this.state = state;
    this.#cluster = cluster;
    this.#owner = owner;
    this.#info = info;
  }

  /** There was a retry, or one waits to be sent. */
  get begun(): boolean {
    return this.#begun;
  }

  /** A retry waits to be sent. */
  get waiting(): boolean {
    return this.#backoff?.armed === true;
  }

  /** Begins the wait before the next attempt. False, with counters and flags, when no retry is left or the cluster has no place. */
  begin(): boolean {
    const { state } = this;
    if (state.left === 0) {
      this.#cluster.retryLimitExceeded.inc();
      this.#info.setFlag(ResponseFlag.URX);
      return false;
    }
    if (!this.#cluster.beginRetry()) {
      this.#info.setFlag(ResponseFlag.UO);
      return false;
    }
    this.#begun = true;
    this.#backoff ??= new Alarm(() => {
      this.#cluster.endRetry();
      this.#owner.onRetryDue();
    });
    this.#backoff.arm(state.take());
    return true;
  }

  /** An attempt has all of the request: its time runs, unless the `routeTimeoutMs` of all of them (0: none) is over earlier. */
  armTry(routeTimeoutMs: number): void {
    const { perTryTimeoutMs } = this.state;
    if (perTryTimeoutMs > 0 && (routeTimeoutMs === 0 || perTryTimeoutMs < routeTimeoutMs)) this.arm(perTryTimeoutMs);
  }

  /** The request is over: nothing is waited for any more. */
  stop(): void {
    this.disarm();
    if (this.#backoff?.armed !== true) return;
    this.#backoff.disarm();
    this.#cluster.endRetry();
  }

  onDeadline(): void {
    this.#owner.onTryTimeout();
  }
}
