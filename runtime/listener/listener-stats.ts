/** The statistics of a listener: `listener.<stat_prefix>.`, and the share of this worker. */
import type { Counter, Gauge, Histogram, Stats } from "../observe/stats.ts";

export class ListenerStats {
  readonly cxTotal: Counter;
  readonly cxActive: Gauge;
  readonly cxDestroy: Counter;
  readonly cxLength: Histogram;
  readonly cxOverflow: Counter;
  readonly globalCxOverflow: Counter;
  readonly noFilterChainMatch: Counter;
  readonly handshakeTimeout: Counter;
  /** Filter chains that are gone and have connections still; of all listeners, alike in every worker. */
  readonly chainsDraining: Gauge;
  readonly workerCxTotal: Counter;
  readonly workerCxActive: Gauge;

  constructor(statPrefix: string, worker: number, stats: Stats) {
    const scope = `listener.${statPrefix}.`;
    this.cxTotal = stats.counter(`${scope}downstream_cx_total`);
    this.cxActive = stats.gauge(`${scope}downstream_cx_active`);
    this.cxDestroy = stats.counter(`${scope}downstream_cx_destroy`);
    this.cxLength = stats.histogram(`${scope}downstream_cx_length_ms`);
    this.cxOverflow = stats.counter(`${scope}downstream_cx_overflow`);
    this.globalCxOverflow = stats.counter(`${scope}downstream_global_cx_overflow`);
    this.noFilterChainMatch = stats.counter(`${scope}no_filter_chain_match`);
    this.handshakeTimeout = stats.counter(`${scope}downstream_cx_transport_socket_connect_timeout`);
    this.chainsDraining = stats.gauge("listener_manager.total_filter_chains_draining", "max");
    this.workerCxTotal = stats.counter(`${scope}worker_${worker}.downstream_cx_total`);
    this.workerCxActive = stats.gauge(`${scope}worker_${worker}.downstream_cx_active`);
  }

  onConnection(): void {
    this.cxTotal.inc();
    this.cxActive.inc();
    this.workerCxTotal.inc();
    this.workerCxActive.inc();
  }

  onClosed(lengthMs: number): void {
    this.cxActive.dec();
    this.workerCxActive.dec();
    this.cxDestroy.inc();
    this.cxLength.record(lengthMs);
  }
}
