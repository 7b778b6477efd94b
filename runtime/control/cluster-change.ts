/** A new list of clusters on all workers: warmed everywhere beside the one in force, then put in force, or given up everywhere. */
import type { ClusterConfig } from "../config/snapshot.ts";
import type { Stats } from "../observe/stats.ts";
import type { PluginChange } from "../worker/plugin-change.ts";
import { namedChanges } from "./named-changes.ts";
import type { NamedChanges } from "./named-changes.ts";
import { stepAnswers } from "./step-answers.ts";

export class ClusterChange {
  readonly changes: NamedChanges;
  readonly id: number;
  readonly #after: readonly ClusterConfig[];
  readonly #stats: Stats;

  constructor(id: number, before: readonly ClusterConfig[], after: readonly ClusterConfig[], stats: Stats) {
    this.id = id;
    this.#after = after;
    this.#stats = stats;
    this.changes = namedChanges(before, after);
  }

  /** Resolves once every worker knows the hosts of what is new. Rejects with ProxyError; the caller drops it then. */
  async prepare(change: PluginChange): Promise<void> {
    const { added, modified } = this.changes;
    const warming = this.#stats.gauge("cluster_manager.warming_clusters");
    warming.set(added.length + modified.length);
    try {
      const replies = await change.ask({ kind: "prepare_clusters", id: this.id, clusters: this.#after });
      stepAnswers(replies, "clusters_changed", "clusters");
    } finally {
      warming.set(0);
    }
  }

  drop(change: PluginChange): void {
    change.post({ kind: "drop_clusters", id: this.id });
  }

  /** It is put in force: counts it. */
  settle(): void {
    const { added, modified, removed } = this.changes;
    this.#stats.counter("cluster_manager.cluster_added").add(added.length);
    this.#stats.counter("cluster_manager.cluster_modified").add(modified.length);
    this.#stats.counter("cluster_manager.cluster_removed").add(removed.length);
    this.#stats.gauge("cluster_manager.active_clusters").set(this.#after.length);
  }
}
