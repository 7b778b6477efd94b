/** All clusters of one worker. */
import type { ClusterConfig } from "../config/snapshot.ts";
import { DNS_START_TIMEOUT_MS } from "../limits.ts";
import type { Stats } from "../observe/stats.ts";
import { Alarm } from "../timers.ts";
import { Cluster, type ClusterTools } from "./cluster.ts";
import { lookupBySystem } from "./dns-target.ts";
import type { Upstreams } from "./request.ts";

/** Create → start → serve → close. */
export class ClusterSet implements Upstreams {
  readonly #clusters: ReadonlyMap<string, Cluster>;

  /** Throws ProxyError `TLS_CONTEXT`. `log` is told of certificate files that change. */
  constructor(configs: readonly ClusterConfig[], stats: Stats, tools: Partial<ClusterTools> = {}) {
    const all: ClusterTools = { lookup: lookupBySystem, log: () => {}, ...tools };
    this.#clusters = new Map(configs.map((config) => [config.name, new Cluster(config, stats, all)]));
  }

  /**
   * Waits for the first answer to every DNS name, at most DNS_START_TIMEOUT_MS. Never rejects: a cluster
   * without hosts answers `no healthy upstream` until its names resolve.
   */
  async start(): Promise<void> {
    const started = Promise.all([...this.#clusters.values()].map((cluster) => cluster.start()));
    let alarm: Alarm | undefined;
    const late = new Promise<void>((resolve) => {
      alarm = new Alarm(resolve);
      alarm.arm(DNS_START_TIMEOUT_MS);
    });
    await Promise.race([started, late]);
    alarm?.disarm();
  }

  get(name: string): Cluster | undefined {
    return this.#clusters.get(name);
  }

  /** In configured order. */
  all(): IterableIterator<Cluster> {
    return this.#clusters.values();
  }

  /** Closes idle connections and stops resolving; requests under way end by themselves. */
  drain(): void {
    for (const cluster of this.#clusters.values()) cluster.drain();
  }

  /** Closes every connection; requests under way are reset. */
  close(): void {
    for (const cluster of this.#clusters.values()) cluster.close();
  }
}
