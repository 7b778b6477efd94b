/** The part of a snapshot that says how plugins are replaced while the proxy runs. */

/** sluice.v1.HotLoad, and the rollouts of single plugins. */
export interface HotLoadConfig {
  /** undefined: plugins are changed over the loopback only. */
  readonly token: string | undefined;
  /** The one in force included. */
  readonly keepVersions: number;
  readonly drainMs: number;
  readonly bounds: RollbackBounds;
  /** By plugin name; "" is the default. */
  readonly rollouts: Readonly<Record<string, RolloutConfig>>;
}
/** sluice.v1.RollbackBounds. */
export interface RollbackBounds {
  /** 0: never. */
  readonly maxFailures: number;
  readonly maxAddedLatencyMs: number | undefined;
  readonly minStreams: number;
  /** Percent of the streams at which their latency is compared. */
  readonly latencyPercentiles: readonly number[];
  readonly windowMs: number;
}
/** sluice.v1.Rollout. */
export interface RolloutConfig {
  readonly shadow: boolean;
  readonly percent: number;
  /** Lower case; "": none. */
  readonly header: string;
  /** "": any. */
  readonly headerValue: string;
  readonly headerPercent: number;
  readonly sticky: boolean;
}
