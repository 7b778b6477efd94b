/** A configured use of a module in one worker: its configuration, its root context in the live instance, its numbers. */
import type { BodyBuffer } from "../codec/body.ts";
import type { PluginConfig, RateLimitConfig } from "../config/snapshot.ts";
import type { HttpFilter, HttpFilterFactory, StreamView } from "../http/filter.ts";
import { NetworkStatus } from "../network/filter.ts";
import type { FilterView, NetworkFilter, PassingFilterFactory } from "../network/filter.ts";
import type { StreamLogger } from "../observe/access-log.ts";
import type { Counter, Stats } from "../observe/stats.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import type { FailureReason } from "./instance/failure.ts";
import type { Instance } from "./instance/instance.ts";
import { AbsentFilter, AbsentNetworkFilter } from "./contexts/failure-policy.ts";
import { HttpContext } from "./contexts/http-context.ts";
import { NetworkContext } from "./contexts/network-context.ts";
import type { RootContext } from "./contexts/root-context.ts";
import type { LastFailure, PluginStatus } from "./plugin-status.ts";
import type { Vm } from "./vm.ts";

export interface DeclaredProperty {
  readonly readonly: boolean;
  /** Texts are strings to CEL, all else is bytes. */
  readonly text: boolean;
  readonly instance: Instance;
}

export class Plugin {
  readonly config: PluginConfig;
  readonly vm: Vm;
  /** Failures of all kinds, and of each. */
  readonly traps: Counter;
  readonly #failures: Map<FailureReason, Counter>;
  readonly #stats: Stats;
  readonly failedStreams: Counter;
  readonly skippedStreams: Counter;
  /** What the last trap was, one line. */
  lastFailure = "";
  /** The same as it was logged, and when. */
  lastReport: LastFailure | undefined;
  /** What `declare_property` said, by name, and which instance it came from. */
  readonly declaredProperties = new Map<string, DeclaredProperty>();
  /** In the live instance; null while there is none. */
  root: RootContext | null = null;
  /** Number among the plugins of its VM, and so among the root contexts of each instance; the VM sets it. */
  place = 0;

  /** `main`: the plugin that this one stands in for on some routes; they are counted together. */
  constructor(config: PluginConfig, vm: Vm, stats: Stats, main?: Plugin) {
    this.config = config;
    this.vm = vm;
    this.#failures = main === undefined ? new Map() : main.#failures;
    this.#stats = stats;
    this.traps = stats.counter(`wasm.${config.name}.traps`);
    this.failedStreams = stats.counter(`wasm.${config.name}.failed_streams`);
    this.skippedStreams = stats.counter(`wasm.${config.name}.skipped_streams`);
  }

  countFailure(reason: FailureReason): void {
    this.traps.inc();
    let counter = this.#failures.get(reason);
    if (counter === undefined) {
      this.#failures.set(reason, (counter = this.#stats.counter(`wasm.${this.config.name}.failures.${reason}`)));
    }
    counter.inc();
  }

  /** For the admin interface. */
  status(): PluginStatus {
    const { name, rootId, vmId } = this.config;
    const failures: Record<string, number> = {};
    for (const [reason, counter] of this.#failures) failures[reason] = counter.value;
    return { name, rootId, vmId, ...this.vm.status(), failures, lastFailure: this.lastReport };
  }

  onRootDeleted(root: RootContext): void {
    if (this.root !== root) return;
    this.root = null;
    this.vm.rootGone();
  }
}

/** A plugin as access logger: its root context hears of each stream, as in Envoy. */
export class PluginLogger implements StreamLogger {
  readonly #plugin: Plugin;

  constructor(plugin: Plugin) {
    this.#plugin = plugin;
  }

  log(info: StreamInfo): void {
    const root = this.#plugin.vm.rootFor(this.#plugin, info.connection);
    if (root === null) {
      this.#plugin.skippedStreams.inc();
      return;
    }
    root.logStream(info);
    root.instance.onUnused?.();
  }
}

/** Makes the filter of each stream from a plugin. */
export class PluginFilterFactory implements HttpFilterFactory {
  readonly name: string;
  readonly phases: number;
  readonly rateLimits: readonly RateLimitConfig[] | undefined;
  readonly #plugin: Plugin;
  readonly #routes: ReadonlyMap<number, Plugin> | null;

  /** `routes`: what stands in for the plugin on routes with a configuration of their own, by its id. */
  constructor(plugin: Plugin, phases: number, routes: ReadonlyMap<number, Plugin> = new Map()) {
    this.name = plugin.config.filterName;
    this.phases = phases;
    this.rateLimits = plugin.config.rateLimits;
    this.#plugin = plugin;
    this.#routes = routes.size === 0 ? null : routes;
  }

  create(stream: StreamView): HttpFilter {
    // The route as it is when the request comes to the filter: a context keeps the root that it was made under.
    const plugin = this.#routes === null ? this.#plugin : (this.#routes.get(stream.perRouteConfigId()) ?? this.#plugin);
    const root = plugin.vm.rootFor(plugin, stream.info.connection);
    if (root === null || root.callbacks === null) return new AbsentFilter(plugin, stream);
    return new HttpContext(root, stream, root.callbacks);
  }
}

const READ_CALLBACK = "proxy_on_downstream_data";
/** The end of what comes from upstream is told by the second. */
const WRITE_CALLBACKS = ["proxy_on_upstream_data", "proxy_on_upstream_connection_close"];

/** Makes the network filter of each connection from a plugin. */
export class PluginNetworkFactory implements PassingFilterFactory {
  readonly name: string;
  readonly terminal = false;
  readonly reads: boolean;
  readonly writes: boolean;
  readonly #plugin: Plugin;

  /** `exports`: callbacks that the module has. */
  constructor(plugin: Plugin, exports: readonly string[]) {
    this.name = plugin.config.filterName;
    this.reads = exports.includes(READ_CALLBACK);
    this.writes = WRITE_CALLBACKS.some((name) => exports.includes(name));
    this.#plugin = plugin;
  }

  create(connection: FilterView): NetworkFilter {
    return new PluginConnection(this.#plugin, connection);
  }
}

/** Takes an instance only when the connection comes to its place in the chain: others have to tell of its end as well. */
class PluginConnection implements NetworkFilter {
  readonly #plugin: Plugin;
  readonly #view: FilterView;
  #filter: NetworkFilter | null = null;

  constructor(plugin: Plugin, view: FilterView) {
    this.#plugin = plugin;
    this.#view = view;
  }

  onNewConnection(): number {
    const root = this.#plugin.vm.rootFor(this.#plugin, this.#view.info);
    const callbacks = root === null ? null : root.callbacks;
    this.#filter =
      root === null || callbacks === null
        ? new AbsentNetworkFilter(this.#plugin, this.#view)
        : new NetworkContext(root, this.#view, callbacks);
    return this.#filter.onNewConnection();
  }
  onData(bytes: BodyBuffer, endStream: boolean): number {
    return this.#filter === null ? NetworkStatus.CONTINUE : this.#filter.onData(bytes, endStream);
  }
  onWrite(bytes: BodyBuffer, endStream: boolean): number {
    return this.#filter === null ? NetworkStatus.CONTINUE : this.#filter.onWrite(bytes, endStream);
  }
  onClose(local: boolean): void {
    this.#filter?.onClose(local);
  }
}
