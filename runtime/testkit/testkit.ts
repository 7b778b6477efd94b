/**
 * What filter authors test with (`import … from "sluice/test"`): their module in the real Wasm host and the real HTTP
 * engine, in this process, without a socket. Downstream, upstreams and, if asked for, the clock are the test's own.
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { loadBootstrap } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import type { Problem } from "../config/problem.ts";
import type { HttpConnectionManagerConfig, ListenerConfig, PluginConfig, Snapshot } from "../config/snapshot.ts";
import { ProxyError, RESPONSE_FLAG_LONG_NAMES } from "../errors.ts";
import { BUNDLED_FILTERS } from "../extensions.ts";
import { GUEST_PAGE_BYTES } from "../limits.ts";
import { ConnectionManager } from "../http/connection-manager.ts";
import { ProcessLog } from "../observe/log.ts";
import type { LogLevel } from "../observe/log.ts";
import { StatsStore } from "../observe/stats.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { PluginSet } from "../wasm/plugin-set.ts";
import { SharedStore } from "../wasm/shared.ts";
import { loadModules } from "../worker/modules.ts";
import { FakeClock, settled } from "./clock.ts";
import { coverage } from "./coverage.ts";
import { TestConnection } from "./connection.ts";
import { connectionFrom, Downstream, PEER } from "./downstream.ts";
import { MemoryConnection } from "./memory-connection.ts";
import type { Reply, Request } from "./downstream.ts";
import { ScriptedUpstreams } from "./upstream.ts";
import type { Responder, UpstreamSeen } from "./upstream.ts";

export { grpcAnswer } from "./upstream.ts";
export type { Sending, TestConnection } from "./connection.ts";
export type { Reply, Request } from "./downstream.ts";
export type { Responder, UpstreamAnswer, UpstreamSeen } from "./upstream.ts";

/** JSON of a protobuf message, as in a configuration file. */
type Json = Readonly<Record<string, unknown>>;

export interface FilterOptions {
  /** The module; default: the one that `sluice test` has just built. Any language's. */
  readonly module?: string | URL;
  /** Name of the plugin. Default: the one in the module's manifest. */
  readonly name?: string;
  readonly rootId?: string;
  /** Where it stands, for a module that filters both; default: among the HTTP filters. */
  readonly kind?: "http" | "network";
  /**
   * The plugin's configuration: the fields of the filter's own message (checked against the schema in the module), any
   * message with its `@type`, or a text that the filter gets as it is.
   */
  readonly configuration?: Json | string;
  /** Further fields of `envoy.extensions.wasm.v3.PluginConfig`. */
  readonly plugin?: Json;
  /** Further fields of `vm_config`. */
  readonly vm?: Json;
  /** For a bundled filter: its configuration with the `@type` of Envoy's message; no other field of the plugin counts then. */
  readonly typedConfig?: Json;
  /** `envoy.config.route.v3.Route`s in JSON. Default: everything goes to the cluster "upstream". */
  readonly routes?: readonly Json[];
  /** What clusters answer, by name. Default: "upstream" answers 200 with an empty body. */
  readonly upstreams?: Readonly<Record<string, Responder>>;
  /** Settings of our bootstrap extension `sluice.v1.WasmRuntime` for this plugin: isolation, fuel, memory … */
  readonly sandbox?: Json;
  /** Runtime keys. */
  readonly runtime?: Json;
  /** Least level of {@link TestFilter.log}. Default "info". */
  readonly logLevel?: LogLevel;
  /** Stops the clock at this time, milliseconds since 1970: {@link TestFilter.advance} moves it. Close the filter to let it go. */
  readonly clock?: number;
  /** A failing guest (trap, out of fuel …) makes `send` reject with its backtrace; true: it shows in the answer instead. */
  readonly allowFailures?: boolean;
}

/** The answer to a request, and what the proxy says of it. */
export interface Answer extends Reply {
  /** RESPONSE_CODE_DETAILS: `via_upstream`, or why the proxy answered itself. */
  readonly details: string;
  /** Long names of the response flags. */
  readonly flags: readonly string[];
  /** Dynamic metadata of the stream, by namespace. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Requests that upstreams got meanwhile, calls of the filter included, oldest first. */
  readonly upstream: readonly UpstreamSeen[];
  /** What the filter and its host logged meanwhile. */
  readonly log: readonly string[];
}

/** A guest failed while a request was under way. The message has the backtrace. */
export class GuestFailed extends Error {}

/** Loads the filter, starts and configures it. Rejects with everything that is wrong with module or configuration. */
export async function loadFilter(options: FilterOptions = {}): Promise<TestFilter> {
  const path = modulePath(options.module);
  const snapshot = readSnapshot(options, path);
  const clock = options.clock === undefined ? null : new FakeClock(options.clock);
  try {
    const filter = new TestFilter(options, snapshot, clock);
    await settled();
    return filter;
  } catch (error) {
    clock?.restore();
    throw error;
  }
}

export class TestFilter {
  readonly #log: string[] = [];
  readonly #upstreams: ScriptedUpstreams;
  readonly #shared = SharedStore.create();
  readonly #plugins: PluginSet;
  readonly #plugin: PluginConfig;
  readonly #manager: ConnectionManager;
  readonly #clock: FakeClock | null;
  readonly #allowFailures: boolean;
  readonly #ended = new Map<number, StreamInfo>();

  constructor(options: FilterOptions, snapshot: Snapshot, clock: FakeClock | null) {
    this.#clock = clock;
    this.#allowFailures = options.allowFailures === true;
    this.#upstreams = new ScriptedUpstreams(responders(options));
    const log = new ProcessLog({
      level: options.logLevel ?? "info",
      write: (line) => this.#log.push(line.trimEnd().replace(LOG_PREFIX, "$1 ")),
    });
    const stats = new StatsStore(() => {});
    const hardening = coverage === null ? {} : { coverage: true };
    const { modules, moduleOfPlugin } = loadModules(snapshot.plugins, undefined, undefined, hardening);
    const memoryPages = (snapshot.plugins[0]?.memoryBytes ?? 0) / GUEST_PAGE_BYTES;
    this.#plugins = new PluginSet(
      snapshot.plugins,
      moduleOfPlugin.map((index) => modules[index]!),
      {
        upstreams: this.#upstreams,
        stats,
        log: log.component("wasm"),
        shared: this.#shared,
        node: snapshot.node,
        runtime: snapshot.runtime,
        workerIndex: 0,
        ...(coverage === null
          ? {}
          : { onInstance: (module, exports) => coverage?.add(this, module, memoryPages, exports) }),
      },
    );
    this.#plugins.start();
    this.#plugin = snapshot.plugins[0]!;
    this.#manager = new ConnectionManager(
      "test",
      managerOf(snapshot),
      listenerOf(snapshot).perConnectionBufferLimitBytes,
      {
        stats,
        upstreams: this.#upstreams,
        clusterConfig: (name) => snapshot.clusters.find((cluster) => cluster.name === name),
        runtime: snapshot.runtime,
        node: snapshot.node,
        filterFactory: ({ plugin }) => this.#plugins.httpFilter(plugin),
        accessLog: () => ({ log: (info) => void this.#ended.set(info.connection.id, info), close: () => {} }),
      },
    );
  }

  /**
   * Sends a request over a connection of its own and waits for the answer, or the end of the connection.
   * Rejects with {@link GuestFailed} when the filter fails meanwhile.
   */
  async send(request: Request = {}): Promise<Answer> {
    const downstream = new Downstream(this.#manager, request.from);
    const seen = this.#upstreams.seen.length;
    const logged = this.#log.length;
    const reply = await downstream.send(request);
    await settled();
    downstream.abort();
    const log = this.#log.slice(logged);
    if (!this.#allowFailures) this.#refuseFailures(log);
    const info = this.#ended.get(downstream.info.id);
    this.#ended.delete(downstream.info.id);
    return {
      ...reply,
      details: info?.responseCodeDetails ?? "",
      flags: RESPONSE_FLAG_LONG_NAMES.filter((_name, bit) => ((info?.flags ?? 0) & (1 << bit)) !== 0),
      metadata: Object.fromEntries(info?.dynamicMetadata ?? []),
      upstream: this.#upstreams.seen.slice(seen),
      log,
    };
  }

  /**
   * Opens a connection through a network filter; the test plays both of its ends. `from` is where it comes from, `ip:port`.
   * What the connection does rejects with {@link GuestFailed} when the filter fails meanwhile.
   */
  async connect(from = PEER): Promise<TestConnection> {
    const memory = new MemoryConnection(this.#plugins.networkFilter(0), connectionFrom(from));
    let logged = this.#log.length;
    const failures = (): void => {
      const log = this.#log.slice(logged);
      logged = this.#log.length;
      if (!this.#allowFailures) this.#refuseFailures(log);
    };
    const connection = new TestConnection(memory, () => this.#upstreams.busy, failures);
    memory.open();
    await connection.send("");
    return connection;
  }

  /** Begins a request without waiting; `abort` is downstream going away. */
  begin(request: Request = {}): { readonly answer: Promise<Reply>; abort(): void } {
    const downstream = new Downstream(this.#manager, request.from);
    return { answer: downstream.send(request), abort: () => downstream.abort() };
  }

  /** Lets time pass: ticks, timeouts and timers of the filter come. Needs the option `clock`. */
  async advance(ms: number): Promise<void> {
    if (this.#clock === null) throw new Error("advance() needs loadFilter({ clock: … })");
    await this.#clock.advance(ms);
    if (!this.#allowFailures) this.#refuseFailures(this.#log);
  }

  /** Everything logged so far, `level text`. */
  get log(): readonly string[] {
    return this.#log;
  }

  /** Requests that upstreams got so far, oldest first. */
  get upstream(): readonly UpstreamSeen[] {
    return this.#upstreams.seen;
  }

  /** A counter or gauge that the filter defined, or the number of a histogram's samples; undefined when there is none. */
  metric(name: string): number | undefined {
    const stat = this.#shared.readMetrics().find((one) => one.name === name || one.name === `wasmcustom.${name}`);
    if (stat === undefined) return undefined;
    return stat.type === "histogram" ? stat.cumulative.count : stat.value;
  }

  /** Shared data under a key, as text; undefined when there is none. */
  sharedData(key: string): string | undefined {
    return this.#shared.data.get(this.#plugin.vmId, Buffer.from(key))?.value.toString("utf8");
  }

  /** Stores shared data, as another plugin of the same vm_id would. */
  setSharedData(key: string, value: string): void {
    this.#shared.data.set(this.#plugin.vmId, Buffer.from(key), Buffer.from(value), 0);
  }

  /** Ends the plugin (done, delete) and gives the clock back. */
  close(): void {
    this.#plugins.close();
    coverage?.settle(this);
    this.#shared.close();
    this.#clock?.restore();
  }

  #refuseFailures(log: readonly string[]): void {
    if (!log.some((line) => FAILURE.test(line))) return;
    // What the guest said last tells why: an abort's message, a panic's.
    throw new GuestFailed(log.filter((line) => /^(?:error|critical) /.test(line)).join("\n"));
  }
}

/** The cluster that everything goes to by default. */
const UPSTREAM = "upstream";
/** What a log line begins with: time, thread, level and component. */
const LOG_PREFIX = /^\[[^\]]*\]\[[^\]]*\]\[([^\]]*)\]\[[^\]]*\] /;
/** The first line of a guest's failure (instance/backtrace.ts). */
const FAILURE = /^error plugin .* in (?:proxy|sluice)_on_\w+, context \d+/;

function modulePath(module: string | URL | undefined): string {
  const given = module ?? process.env["SLUICE_TEST_MODULE"];
  if (given === undefined)
    throw new Error('no module: run the test with "sluice test", or name it: loadFilter({ module })');
  return given instanceof URL ? fileURLToPath(given) : resolve(given);
}

function responders(options: FilterOptions): Readonly<Record<string, Responder>> {
  return { [UPSTREAM]: () => ({}), ...options.upstreams };
}

/** The snapshot that a worker would get, by way of a whole configuration: schema, rules and cross checks are the real ones. */
function readSnapshot(options: FilterOptions, path: string): Snapshot {
  const bootstrap = JSON.stringify(bootstrapOf(options, path));
  const { snapshot, errors } = loadBootstrap([{ name: "test", text: bootstrap, base: process.cwd() }], {
    bundledFilters: bundledWith(options.typedConfig, path),
  });
  if (snapshot === undefined) {
    throw new ProxyError("TEST_CONFIGURATION", "config", errors.map(told).join("\n"));
  }
  return snapshot;
}

/** A problem of the filter's own configuration by its own field, any other by its place in the whole. */
function told(problem: Problem): string {
  return formatProblem(problem).replace(/^.*\berror: \S*\b(?:http_)?filters\[0\]\.typed_config\.(?:config\.)?/, "");
}

/** The bundled filters, with this module in place of the one that was built for the proxy. */
function bundledWith(typedConfig: Json | undefined, path: string): typeof BUNDLED_FILTERS {
  const type = typeof typedConfig?.["@type"] === "string" ? typedConfig["@type"].replace(/^.*\//, "") : "";
  const own = BUNDLED_FILTERS[type];
  return own === undefined ? BUNDLED_FILTERS : { ...BUNDLED_FILTERS, [type]: { ...own, module: path } };
}

function bootstrapOf(options: FilterOptions, path: string): Json {
  const manifest = readManifest(path);
  const name = options.name ?? manifest.name ?? "filter";
  const network = isNetworkFilter(options, manifest);
  const filter = options.typedConfig ?? {
    "@type": type(`envoy.extensions.filters.${network ? "network" : "http"}.wasm.v3.Wasm`),
    config: {
      name,
      root_id: options.rootId ?? "",
      vm_config: { runtime: "envoy.wasm.runtime.v8", code: { local: { filename: path } }, ...options.vm },
      ...(options.configuration === undefined
        ? {}
        : { configuration: typed(options.configuration, manifest.configuration) }),
      ...options.plugin,
    },
  };
  return {
    node: { id: "test", cluster: "test" },
    ...(options.runtime === undefined
      ? {}
      : { layered_runtime: { layers: [{ name: "test", static_layer: options.runtime }] } }),
    ...(options.sandbox === undefined
      ? {}
      : {
          bootstrap_extensions: [
            {
              name: "sluice.wasm_runtime",
              typed_config: { "@type": type("sluice.v1.WasmRuntime"), plugins: [{ name, ...options.sandbox }] },
            },
          ],
        }),
    static_resources: {
      listeners: [listener(options, name, filter, network)],
      clusters: Object.keys(responders(options)).map((cluster) => ({
        name: cluster,
        load_assignment: {
          cluster_name: cluster,
          endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress() } }] }],
        },
      })),
    },
  };
}

/** What is not said shows by the module. */
function isNetworkFilter({ kind, typedConfig }: FilterOptions, { kinds = [] }: ModuleManifest): boolean {
  if (kind !== undefined) return kind === "network";
  const message = typedConfig?.["@type"];
  if (typeof message === "string") return message.includes(".filters.network.");
  return kinds.includes("network") && !kinds.includes("http");
}

function listener(options: FilterOptions, name: string, filter: Json, network: boolean): Json {
  const manager = {
    "@type": type("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
    stat_prefix: "test",
    http_filters: [
      ...(network ? [] : [{ name, typed_config: filter }]),
      {
        name: "envoy.filters.http.router",
        typed_config: { "@type": type("envoy.extensions.filters.http.router.v3.Router") },
      },
    ],
    route_config: {
      virtual_hosts: [
        {
          name: "test",
          domains: ["*"],
          routes: options.routes ?? [{ match: { prefix: "/" }, route: { cluster: UPSTREAM } }],
        },
      ],
    },
  };
  return {
    name: "test",
    address: socketAddress(),
    filter_chains: [
      {
        filters: [
          ...(network ? [{ name, typed_config: filter }] : []),
          { name: "envoy.filters.network.http_connection_manager", typed_config: manager },
        ],
      },
    ],
  };
}

/** Never connected to, nor listened on. */
function socketAddress(): Json {
  return { socket_address: { address: "192.0.2.1", port_value: 80 } };
}

function typed(configuration: Json | string, message: string | undefined): Json {
  if (typeof configuration === "string") return { "@type": type("google.protobuf.StringValue"), value: configuration };
  if ("@type" in configuration) return configuration;
  if (message === undefined) return { "@type": type("google.protobuf.Struct"), value: configuration };
  return { "@type": type(message), ...configuration };
}

function type(message: string): string {
  return `type.googleapis.com/${message}`;
}

interface ModuleManifest {
  readonly name?: string;
  readonly configuration?: string;
  readonly kinds?: readonly string[];
}

function readManifest(path: string): ModuleManifest {
  const module = new WebAssembly.Module(readFileSync(path));
  const [section] = WebAssembly.Module.customSections(module, "sluice.manifest");
  return section === undefined ? {} : (JSON.parse(Buffer.from(section).toString("utf8")) as object);
}

function listenerOf({ listeners }: Snapshot): ListenerConfig {
  return listeners[0]!;
}

function managerOf(snapshot: Snapshot): HttpConnectionManagerConfig {
  const terminal = listenerOf(snapshot).filterChains[0]!.filters.at(-1);
  if (terminal?.kind !== "http_connection_manager") throw new Error("the chain of a test ends in a connection manager");
  return terminal.hcm;
}
