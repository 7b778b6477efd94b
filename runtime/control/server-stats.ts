/** The process's own statistics, under Envoy's names: `server.*`, `listener_manager.*`, `cluster_manager.*`. */
import type { Snapshot } from "../config/snapshot.ts";
import type { Stat, StatsRegistry } from "../observe/stats-registry.ts";
import { StatsStore } from "../observe/stats.ts";
import type { Counter, Gauge, Stats } from "../observe/stats.ts";
import { ServerState } from "./subject.ts";

/** The main thread's number in the registry; workers have theirs from Node, which begin at 1. */
const MAIN_THREAD = 0;

export class ServerStats {
  readonly #registry: StatsRegistry;
  readonly #store: StatsStore;
  readonly #concurrency: number;
  readonly #live: Gauge;
  readonly #state: Gauge;
  readonly #uptime: Gauge;
  readonly #memoryAllocated: Gauge;
  readonly #memoryHeapSize: Gauge;
  readonly #memoryPhysicalSize: Gauge;
  readonly #totalConnections: Gauge;
  readonly #workersStarted: Gauge;
  readonly #workerRestarts: Counter;
  readonly #watchdogMegaMiss: Counter;

  constructor(registry: StatsRegistry, concurrency: number) {
    this.#registry = registry;
    this.#concurrency = concurrency;
    const store = new StatsStore((announcement) => registry.add(MAIN_THREAD, announcement));
    this.#store = store;
    store.gauge("server.concurrency").set(concurrency);
    this.#live = store.gauge("server.live");
    this.#state = store.gauge("server.state");
    this.#uptime = store.gauge("server.uptime");
    this.#memoryAllocated = store.gauge("server.memory_allocated");
    this.#memoryHeapSize = store.gauge("server.memory_heap_size");
    this.#memoryPhysicalSize = store.gauge("server.memory_physical_size");
    this.#totalConnections = store.gauge("server.total_connections");
    this.#workersStarted = store.gauge("listener_manager.workers_started");
    this.#workerRestarts = store.counter("server.worker_restarts");
    this.#watchdogMegaMiss = store.counter("workers.watchdog_mega_miss");
  }

  /** For statistics of other parts of the main thread. */
  get store(): Stats {
    return this.#store;
  }

  /** A configuration is being put in force. */
  configured({ listeners, clusters }: Snapshot): void {
    const store = this.#store;
    store.counter("listener_manager.listener_added").add(listeners.length);
    store.gauge("listener_manager.total_listeners_warming").set(0);
    store.counter("cluster_manager.cluster_added").add(clusters.length);
    store.gauge("cluster_manager.active_clusters").set(clusters.length);
    store.gauge("cluster_manager.warming_clusters").set(0);
    this.#state.set(ServerState.INITIALIZING);
  }

  /** Everything serves; `initializationMs` since the process began. */
  live(initializationMs: number, listeners: number): void {
    this.#workersStarted.set(1);
    // As in Envoy, once per listener and worker.
    this.#store.counter("listener_manager.listener_create_success").add(listeners * this.#concurrency);
    this.#store.histogram("server.initialization_time_ms").record(initializationMs);
  }

  workerLost(hung: boolean): void {
    this.#workerRestarts.inc();
    if (hung) this.#watchdogMegaMiss.inc();
  }

  /** Every statistic of the process, sorted by name. */
  collect(state: ServerState, uptimeMs: number): readonly Stat[] {
    this.#live.set(state === "LIVE" ? 1 : 0);
    this.#state.set(ServerState[state]);
    this.#uptime.set(Math.floor(uptimeMs / 1000));
    const memory = process.memoryUsage();
    this.#memoryAllocated.set(memory.heapUsed + memory.external);
    this.#memoryHeapSize.set(memory.heapTotal);
    this.#memoryPhysicalSize.set(memory.rss);
    this.#store.announceNow();
    const stats = this.#registry.collect();
    const connections = activeConnections(stats);
    this.#totalConnections.set(connections);
    return stats.map((stat) =>
      stat.name === "server.total_connections" && stat.type === "gauge"
        ? { ...stat, value: connections, used: true }
        : stat,
    );
  }
}

function activeConnections(stats: readonly Stat[]): number {
  let connections = 0;
  for (const stat of stats) {
    if (stat.type === "gauge" && stat.name.startsWith("listener.") && stat.name.endsWith(".downstream_cx_active"))
      connections += stat.value;
  }
  return connections;
}
