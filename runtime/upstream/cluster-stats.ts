/** Statistics of one cluster, created once when the cluster is set up; names are Envoy's. */
import type { Counter, Gauge, Histogram, Stats } from "../observe/stats.ts";
import type { TableSizes } from "./consistent-hash.ts";

export class ClusterStats {
  readonly cxTotal: Counter;
  readonly cxHttp1Total: Counter;
  readonly cxHttp2Total: Counter;
  readonly cxActive: Gauge;
  readonly cxConnectFail: Counter;
  readonly cxConnectTimeout: Counter;
  readonly cxConnectAttemptsExceeded: Counter;
  readonly cxConnectMs: Histogram;
  readonly cxLengthMs: Histogram;
  readonly cxDestroy: Counter;
  readonly cxDestroyLocal: Counter;
  readonly cxDestroyRemote: Counter;
  readonly cxDestroyWithActiveRq: Counter;
  readonly cxDestroyLocalWithActiveRq: Counter;
  readonly cxDestroyRemoteWithActiveRq: Counter;
  readonly cxNoneHealthy: Counter;
  readonly cxOverflow: Counter;
  readonly cxIdleTimeout: Counter;
  readonly cxMaxRequests: Counter;
  readonly cxProtocolError: Counter;
  readonly cxCloseNotify: Counter;
  readonly cxRxBytes: Counter;
  readonly cxTxBytes: Counter;
  readonly rqTotal: Counter;
  readonly rqActive: Gauge;
  readonly rqPendingTotal: Counter;
  readonly rqPendingActive: Gauge;
  readonly rqPendingOverflow: Counter;
  readonly rqPendingFailureEject: Counter;
  readonly rqCancelled: Counter;
  readonly rqRxReset: Counter;
  readonly rqTxReset: Counter;
  readonly flowPausedReading: Counter;
  readonly flowResumedReading: Counter;
  readonly flowBackedUp: Counter;
  readonly flowDrained: Counter;
  readonly lbHealthyPanic: Counter;
  /** 1 while a circuit breaker lets nothing more through. */
  readonly cxOpen: Gauge;
  readonly rqPendingOpen: Gauge;
  readonly rqOpen: Gauge;
  readonly membershipChange: Counter;
  readonly membershipTotal: Gauge;
  readonly membershipHealthy: Gauge;
  readonly membershipDegraded: Gauge;
  readonly updateAttempt: Counter;
  readonly updateSuccess: Counter;
  readonly updateFailure: Counter;
  readonly updateEmpty: Counter;
  readonly updateNoRebuild: Counter;

  constructor(stats: Stats, statName: string) {
    const counter = (name: string): Counter => stats.counter(`cluster.${statName}.${name}`);
    const gauge = (name: string): Gauge => stats.gauge(`cluster.${statName}.${name}`);
    // Every thread resolves the same names: the sum over threads would count hosts several times.
    const fact = (name: string): Gauge => stats.gauge(`cluster.${statName}.${name}`, "max");
    this.cxTotal = counter("upstream_cx_total");
    this.cxHttp1Total = counter("upstream_cx_http1_total");
    this.cxHttp2Total = counter("upstream_cx_http2_total");
    this.cxActive = gauge("upstream_cx_active");
    this.cxConnectFail = counter("upstream_cx_connect_fail");
    this.cxConnectTimeout = counter("upstream_cx_connect_timeout");
    this.cxConnectAttemptsExceeded = counter("upstream_cx_connect_attempts_exceeded");
    this.cxConnectMs = stats.histogram(`cluster.${statName}.upstream_cx_connect_ms`);
    this.cxLengthMs = stats.histogram(`cluster.${statName}.upstream_cx_length_ms`);
    this.cxDestroy = counter("upstream_cx_destroy");
    this.cxDestroyLocal = counter("upstream_cx_destroy_local");
    this.cxDestroyRemote = counter("upstream_cx_destroy_remote");
    this.cxDestroyWithActiveRq = counter("upstream_cx_destroy_with_active_rq");
    this.cxDestroyLocalWithActiveRq = counter("upstream_cx_destroy_local_with_active_rq");
    this.cxDestroyRemoteWithActiveRq = counter("upstream_cx_destroy_remote_with_active_rq");
    this.cxNoneHealthy = counter("upstream_cx_none_healthy");
    this.cxOverflow = counter("upstream_cx_overflow");
    this.cxIdleTimeout = counter("upstream_cx_idle_timeout");
    this.cxMaxRequests = counter("upstream_cx_max_requests");
    this.cxProtocolError = counter("upstream_cx_protocol_error");
    this.cxCloseNotify = counter("upstream_cx_close_notify");
    this.cxRxBytes = counter("upstream_cx_rx_bytes_total");
    this.cxTxBytes = counter("upstream_cx_tx_bytes_total");
    this.rqTotal = counter("upstream_rq_total");
    this.rqActive = gauge("upstream_rq_active");
    this.rqPendingTotal = counter("upstream_rq_pending_total");
    this.rqPendingActive = gauge("upstream_rq_pending_active");
    this.rqPendingOverflow = counter("upstream_rq_pending_overflow");
    this.rqPendingFailureEject = counter("upstream_rq_pending_failure_eject");
    this.rqCancelled = counter("upstream_rq_cancelled");
    this.rqRxReset = counter("upstream_rq_rx_reset");
    this.rqTxReset = counter("upstream_rq_tx_reset");
    this.flowPausedReading = counter("upstream_flow_control_paused_reading_total");
    this.flowResumedReading = counter("upstream_flow_control_resumed_reading_total");
    this.flowBackedUp = counter("upstream_flow_control_backed_up_total");
    this.flowDrained = counter("upstream_flow_control_drained_total");
    this.lbHealthyPanic = counter("lb_healthy_panic");
    this.cxOpen = fact("circuit_breakers.default.cx_open");
    this.rqPendingOpen = fact("circuit_breakers.default.rq_pending_open");
    this.rqOpen = fact("circuit_breakers.default.rq_open");
    this.membershipChange = counter("membership_change");
    this.membershipTotal = fact("membership_total");
    this.membershipHealthy = fact("membership_healthy");
    this.membershipDegraded = fact("membership_degraded");
    this.updateAttempt = counter("update_attempt");
    this.updateSuccess = counter("update_success");
    this.updateFailure = counter("update_failure");
    this.updateEmpty = counter("update_empty");
    this.updateNoRebuild = counter("update_no_rebuild");
  }
}

/** Of clusters that choose hosts by hashes: places of the table, and of the hosts with the fewest and the most. */
export class HashTableStats {
  readonly #size: Gauge | null;
  readonly #min: Gauge;
  readonly #max: Gauge;

  constructor(stats: Stats, statName: string, policy: string) {
    const ring = policy === "RING_HASH";
    const gauge = (name: string): Gauge =>
      stats.gauge(`cluster.${statName}.${ring ? "ring_hash_lb" : "maglev_lb"}.${name}`, "max");
    const unit = ring ? "hashes" : "entries";
    this.#size = ring ? gauge("size") : null;
    this.#min = gauge(`min_${unit}_per_host`);
    this.#max = gauge(`max_${unit}_per_host`);
  }

  set({ size, min, max }: TableSizes): void {
    this.#size?.set(size);
    this.#min.set(min);
    this.#max.set(max);
  }
}
