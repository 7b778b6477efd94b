/** What all pools of one cluster in one worker share: configuration, statistics, circuit breakers. */
import type { ClusterConfig } from "../config/snapshot.ts";
import type { Stats } from "../observe/stats.ts";
import { ClusterStats } from "./cluster-stats.ts";

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
}
