/** What all pools of one cluster in one worker share: configuration, statistics, circuit breakers. */
import type { ClusterConfig } from "../config/snapshot.ts";
import type { Stats } from "../observe/stats.ts";
import { ClusterStats } from "./cluster-stats.ts";
import type { Host } from "./host.ts";

/** Counts are of this worker alone: threads share nothing mutable but statistics. */
export class ClusterResources {
  readonly config: ClusterConfig;
  readonly stats: ClusterStats;
  connections = 0;
  pendingRequests = 0;
  requests = 0;

  constructor(config: ClusterConfig, stats: Stats) {
    this.config = config;
    this.stats = new ClusterStats(stats, config.statName);
  }

  get canConnect(): boolean {
    return this.connections < this.config.circuitBreakers.maxConnections;
  }
  get canQueue(): boolean {
    return this.pendingRequests < this.config.circuitBreakers.maxPendingRequests;
  }
  get canRequest(): boolean {
    return this.requests < this.config.circuitBreakers.maxRequests;
  }

  connectionOpened(host: Host): void {
    if (++this.connections === this.config.circuitBreakers.maxConnections) this.stats.cxOpen.set(1);
    host.cxTotal++;
    host.cxActive++;
    this.stats.cxTotal.inc();
    this.stats.cxActive.inc();
  }

  connectionGone(host: Host): void {
    if (this.connections-- === this.config.circuitBreakers.maxConnections) this.stats.cxOpen.set(0);
    host.cxActive--;
    this.stats.cxActive.dec();
  }

  /** A connection that had been made was closed, by this side (`local`) or the host. */
  connectionClosed(local: boolean, withRequest: boolean, lengthMs: number): void {
    const { stats } = this;
    stats.cxDestroy.inc();
    (local ? stats.cxDestroyLocal : stats.cxDestroyRemote).inc();
    stats.cxLengthMs.record(lengthMs);
    if (!withRequest) return;
    stats.cxDestroyWithActiveRq.inc();
    (local ? stats.cxDestroyLocalWithActiveRq : stats.cxDestroyRemoteWithActiveRq).inc();
  }

  requestQueued(): void {
    if (++this.pendingRequests === this.config.circuitBreakers.maxPendingRequests) this.stats.rqPendingOpen.set(1);
    this.stats.rqPendingTotal.inc();
    this.stats.rqPendingActive.inc();
  }

  requestLeftQueue(): void {
    if (this.pendingRequests-- === this.config.circuitBreakers.maxPendingRequests) this.stats.rqPendingOpen.set(0);
    this.stats.rqPendingActive.dec();
  }

  /** A request was given to a connection. */
  requestBegun(host: Host): void {
    if (++this.requests === this.config.circuitBreakers.maxRequests) this.stats.rqOpen.set(1);
    host.rqTotal++;
    host.rqActive++;
    this.stats.rqTotal.inc();
    this.stats.rqActive.inc();
  }

  requestOver(host: Host): void {
    if (this.requests-- === this.config.circuitBreakers.maxRequests) this.stats.rqOpen.set(0);
    host.rqActive--;
    this.stats.rqActive.dec();
  }
}
