/**
 * Where guests attack: a worker's engines with the hostile plugin in one chain and not in the other, a neighbour plugin
 * in both, over real sockets, while well-behaved traffic runs through both. An attack is one request; what it got is
 * read off the wire and off the stream's record.
 */
import { once } from "node:events";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";
import * as LogLevel from "../../abi/log-level.ts";
import type { Isolation, PluginConfig } from "../../runtime/config/snapshot.ts";
import type { StreamInfo } from "../../runtime/observe/stream-info.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { PluginSet } from "../../runtime/wasm/plugin-set.ts";
import { SharedStore } from "../../runtime/wasm/shared.ts";
import { cluster, Engine, exchange, forward, route } from "../http/engine.ts";
import { until } from "../integration/troupe.ts";
import { Reader } from "../integration/wire.ts";
import { built } from "../languages/toolchains.ts";
import { environmentFor, pluginConfig, RecordingLog, RecordingStats } from "../wasm/stage.ts";

export type ToLoad =
  | { readonly kind: "start"; readonly ports: readonly number[]; readonly connections: number }
  | { readonly kind: "report" | "stop" };
export type FromLoad =
  | { readonly kind: "ready"; readonly port: number }
  | { readonly kind: "report"; readonly targets: readonly LoadReport[] }
  | { readonly kind: "stopped" };

/** What well-behaved traffic to one engine met. */
export interface LoadReport {
  readonly streams: number;
  /** One text per stream that did not get the upstream's answer through the filters. */
  readonly failures: readonly string[];
  /** Milliseconds of each stream. */
  readonly times: readonly number[];
}

/** What downstream saw ("cut": the response broke off; "none": no response), and what the stream's record says. */
export interface Outcome {
  readonly seen: number | "cut" | "none";
  readonly details: string;
}

const REQUEST = (attack: string, path: string): string =>
  `POST ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-attack: ${attack}\r\n` +
  "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n";

/** Takes warnings and worse, as a proxy in production does, and forgets them. */
class QuietLog extends RecordingLog {
  override level: number = LogLevel.WARN;
  override guest(): void {}
}

/** Callbacks of the hostile plugin may use this much: a few milliseconds, so that many attacks fit into a test. */
const FUEL = 50_000_000;
const CONNECTIONS = 3;
const hostile = loadModule(built("hostile"), "hostile");
const harmless = loadModule(built("harmless"), "harmless");

export interface ArenaOptions {
  readonly isolation: Isolation;
  /** Attack of the plugin's own callbacks. */
  readonly configuration?: string;
  readonly more?: Partial<PluginConfig>;
}

export class Arena {
  readonly stats: RecordingStats;
  /** The chain with the hostile plugin, and the one without. */
  readonly shared: Engine;
  readonly beside: Engine;
  readonly #load: Worker;
  readonly #plugins: PluginSet;
  readonly #side: ClusterSet;
  #attacks = 0;

  private constructor(
    shared: Engine,
    beside: Engine,
    load: Worker,
    plugins: PluginSet,
    side: ClusterSet,
    stats: RecordingStats,
  ) {
    this.shared = shared;
    this.stats = stats;
    this.beside = beside;
    this.#load = load;
    this.#plugins = plugins;
    this.#side = side;
  }

  /** Starts everything. Throws what the plugin's start throws. */
  static async start({ isolation, configuration = "", more = {} }: ArenaOptions): Promise<Arena> {
    const load = new Worker(new URL("load.ts", import.meta.url));
    const [ready] = (await once(load, "message")) as [FromLoad];
    const port = ready.kind === "ready" ? ready.port : 0;
    const stats = new RecordingStats();
    const side = new ClusterSet([cluster("side", [port])], new RecordingStats());
    await side.start();
    const shared = SharedStore.create();
    const configs = [
      pluginConfig({
        name: "hostile",
        isolation,
        fuel: FUEL,
        maxInstances: 64,
        configuration: Buffer.from(configuration),
        ...more,
      }),
      pluginConfig({ name: "neighbour", isolation: "worker", configuration: Buffer.alloc(0) }),
    ];
    const plugins = new PluginSet(
      configs,
      [hostile, harmless],
      environmentFor({ upstreams: side, shared }, new QuietLog(), stats),
    );
    try {
      plugins.start();
      const upstream = { routes: [route("/", forward("up"))], clusters: [cluster("up", [port])] };
      const manager = { enableTrailers: true };
      const both = [plugins.httpFilter(0), plugins.httpFilter(1)];
      const one = await Engine.start({ ...upstream, manager, filters: both });
      const two = await Engine.start({ ...upstream, manager, filters: both.slice(1) });
      const arena = new Arena(one, two, load, plugins, side, stats);
      arena.#tell({ kind: "start", ports: [one.port, two.port], connections: CONNECTIONS });
      return arena;
    } catch (error) {
      plugins.close();
      side.close();
      await load.terminate();
      throw error;
    }
  }

  #tell(message: ToLoad): void {
    this.#load.postMessage(message);
  }

  /** One request that attacks; resolves when its stream is over. */
  async attack(name: string): Promise<Outcome> {
    const path = `/attack/${++this.#attacks}`;
    const text = await exchange(this.shared.port, REQUEST(name, path));
    const record = (): StreamInfo | undefined =>
      this.shared.finished.find((info) => info.requestHeaders?.get(":path") === path);
    await until(() => record() !== undefined);
    return { seen: seenOf(text), details: record()?.responseCodeDetails ?? "no record" };
  }

  /** Streams since the last call that were no attacks and were not answered by the upstream: of each chain. */
  losses(): { readonly shared: string[]; readonly beside: string[] } {
    return { shared: lossesOf(this.shared), beside: lossesOf(this.beside) };
  }

  /** What the well-behaved traffic met since the last call: through the hostile chain, and through the other. */
  async report(): Promise<readonly LoadReport[]> {
    const answer = once(this.#load, "message") as Promise<[FromLoad]>;
    this.#tell({ kind: "report" });
    const [report] = await answer;
    return report.kind === "report" ? report.targets : [];
  }

  value(name: string): number {
    return this.stats.values.get(name) ?? 0;
  }

  async close(): Promise<void> {
    const stopped = once(this.#load, "exit");
    this.#tell({ kind: "stop" });
    await stopped;
    this.shared.close();
    this.beside.close();
    this.#plugins.close();
    this.#side.close();
  }
}

function lossesOf(engine: Engine): string[] {
  return engine.finished
    .splice(0)
    .filter((info) => info.requestHeaders?.get(":path") === "/calm")
    .map((info) => `${info.responseCode} ${info.responseCodeDetails}`)
    .filter((text) => text !== "200 via_upstream");
}

function seenOf(received: string): Outcome["seen"] {
  if (received === "") return "none";
  const reader = new Reader(false);
  if (reader.add(received) === 0) return "cut";
  return Number(reader.messages[0]!.start.slice(9, 12));
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Bytes of the process that are resident, after garbage has been collected. */
export function residentBytes(): number {
  collect();
  collect();
  return process.memoryUsage.rss();
}
