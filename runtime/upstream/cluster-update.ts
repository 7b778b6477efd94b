/** Another list of clusters beside the one in force: what stays, what is made anew, what goes. */
import { sameConfig } from "../config/same.ts";
import type { ClusterConfig } from "../config/snapshot.ts";
import type { Cluster } from "./cluster.ts";

export class ClusterUpdate {
  /** By name, in configured order. */
  readonly clusters: ReadonlyMap<string, Cluster>;
  /** Those of them that are not in force yet. */
  readonly fresh: readonly Cluster[];
  /** Those in whose place there is another one. */
  readonly replaced: readonly Cluster[];
  readonly removed: readonly Cluster[];

  /** Throws what `make` throws; what it has made by then is closed. */
  constructor(
    current: ReadonlyMap<string, Cluster>,
    configs: readonly ClusterConfig[],
    make: (config: ClusterConfig) => Cluster,
  ) {
    const clusters = new Map<string, Cluster>();
    const fresh: Cluster[] = [];
    try {
      for (const config of configs) {
        const old = current.get(config.name);
        if (old !== undefined && sameConfig(old.config, config)) clusters.set(config.name, old);
        else {
          const made = make(config);
          fresh.push(made);
          clusters.set(config.name, made);
        }
      }
    } catch (error) {
      for (const cluster of fresh) cluster.close();
      throw error;
    }
    this.clusters = clusters;
    this.fresh = fresh;
    this.replaced = fresh.flatMap(({ name }) => current.get(name) ?? []);
    this.removed = [...current.values()].filter(({ name }) => !clusters.has(name));
  }

  /** One that is not in force yet. */
  get(name: string): Cluster | undefined {
    return this.fresh.find((cluster) => cluster.name === name);
  }
}
