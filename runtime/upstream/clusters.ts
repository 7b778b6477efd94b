/** All clusters of one worker. */
import type { ClusterConfig } from "../config/snapshot.ts";
import { DNS_START_TIMEOUT_MS } from "../limits.ts";
import type { Stats } from "../observe/stats.ts";
import { Alarm } from "../timers.ts";
import { Cluster, type ClusterTools } from "./cluster.ts";
import { ClusterUpdate } from "./cluster-update.ts";
import { lookupBySystem } from "./dns-target.ts";
import type { Upstreams } from "./request.ts";

/** Create → start → serve (prepare → warm → commit or abort)* → close. */
export class ClusterSet implements Upstreams {
  #clusters: ReadonlyMap<string, Cluster>;
  readonly #make: (config: ClusterConfig) => Cluster;
  /** Warm, but not in force yet. */
  readonly #prepared = new Set<ClusterUpdate>();
  /** Replaced or removed; requests may be left. */
  readonly #retired = new Set<Cluster>();

  /** Throws ProxyError `TLS_CONTEXT`. `log` is told of certificate files that change. */
  constructor(configs: readonly ClusterConfig[], stats: Stats, tools: Partial<ClusterTools> = {}) {
    const all: ClusterTools = { lookup: lookupBySystem, log: () => {}, readSecrets: noSecrets, ...tools };
    this.#make = (config) => new Cluster(config, stats, all);
    this.#clusters = new Map(configs.map((config) => [config.name, this.#make(config)]));
    for (const cluster of this.#clusters.values()) cluster.serve();
  }

  /**
   * Waits for the first answer to every DNS name, at most DNS_START_TIMEOUT_MS. Never rejects: a cluster
   * without hosts answers `no healthy upstream` until its names resolve.
   */
  start(): Promise<void> {
    return warm(this.#clusters.values());
  }

  get(name: string): Cluster | undefined {
    return this.#clusters.get(name);
  }

  /** The same, for those who are prepared together with clusters that are not in force yet. */
  readonly early: Upstreams = {
    get: (name) => {
      const known = this.#clusters.get(name);
      if (known !== undefined) return known;
      for (const update of this.#prepared) {
        const fresh = update.get(name);
        if (fresh !== undefined) return fresh;
      }
      return undefined;
    },
  };

  /** In configured order. */
  all(): IterableIterator<Cluster> {
    return this.#clusters.values();
  }

  /**
   * Makes another list of clusters ready: what stays the same stays, what is new or other is made beside. Throws
   * ProxyError `TLS_CONTEXT`; then nothing has changed.
   */
  prepare(configs: readonly ClusterConfig[]): ClusterUpdate {
    const update = new ClusterUpdate(this.#clusters, configs, this.#make);
    this.#prepared.add(update);
    return update;
  }

  /** Resolves once what is new knows its hosts, as after {@link start}. */
  warm(update: ClusterUpdate): Promise<void> {
    return warm(update.fresh);
  }

  /** Puts it in force. What has no place in it ends with its last request; whoever holds it may still have some. */
  commit(update: ClusterUpdate): void {
    this.#prepared.delete(update);
    this.#clusters = update.clusters;
    for (const cluster of update.fresh) cluster.serve();
    for (const cluster of update.replaced) this.#retire(cluster);
    for (const cluster of update.removed) {
      this.#retire(cluster);
      cluster.withdraw();
    }
  }

  /** Gives up what was prepared. */
  abort(update: ClusterUpdate): void {
    if (!this.#prepared.delete(update)) return;
    for (const cluster of update.fresh) cluster.close();
  }

  #retire(cluster: Cluster): void {
    for (const one of this.#retired) if (one.idle) this.#retired.delete(one);
    this.#retired.add(cluster);
    cluster.drain();
  }

  /** Closes idle connections and stops resolving; requests under way end by themselves. */
  drain(): void {
    for (const cluster of this.#clusters.values()) cluster.drain();
  }

  /** Closes every connection; requests under way are reset. */
  close(): void {
    for (const update of this.#prepared) this.abort(update);
    for (const cluster of [...this.#clusters.values(), ...this.#retired]) cluster.close();
  }
}

/** Resolves when all know their hosts, at the latest in DNS_START_TIMEOUT_MS. */
async function warm(clusters: Iterable<Cluster>): Promise<void> {
  const started = Promise.all(Array.from(clusters, (cluster) => cluster.start()));
  let alarm: Alarm | undefined;
  const late = new Promise<void>((resolve) => {
    alarm = new Alarm(resolve);
    alarm.arm(DNS_START_TIMEOUT_MS);
  });
  await Promise.race([started, late]);
  alarm?.disarm();
}

/** For owners whose configurations have no files of secrets. */
function noSecrets(): Promise<never> {
  return Promise.reject(new Error("nobody reads files of secrets here"));
}
