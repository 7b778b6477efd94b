/**
 * The data plane of one worker, assembled from top to bottom. A connection is accepted by a listener, goes through the
 * network filters of its chain to a connection manager, whose HTTP filters are plugins and whose router sends requests
 * to clusters. Everything here belongs to one thread.
 */
import { readSecrets } from "../config/secret-reader.ts";
import type { FilterChainConfig, ListenerConfig, NetworkFilterConfig, Snapshot } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { ConnectionManager } from "../http/connection-manager.ts";
import type { HttpEnvironment } from "../http/connection-manager.ts";
import { ListenerSet } from "../listener/listener-set.ts";
import { openFrom } from "../listener/native-sockets.ts";
import type { Departure } from "../listener/departures.ts";
import type { ListenerUpdate } from "../listener/listener-update.ts";
import type { NetworkEnvironment } from "../network/environment.ts";
import { Peers } from "../listener/peers.ts";
import type { PeerLink } from "../listener/peers.ts";
import type { NetworkFilterFactory } from "../network/filter.ts";
import { nativeFilter } from "../network/native.ts";
import { AccessLog } from "../observe/access-log.ts";
import { drainLogFiles } from "../observe/log-file.ts";
import { ProcessLog } from "../observe/log.ts";
import type { StatsStore } from "../observe/stats.ts";
import { clusterStatuses } from "../upstream/cluster-status.ts";
import type { ClusterUpdate } from "../upstream/cluster-update.ts";
import { ClusterSet } from "../upstream/clusters.ts";
import type { LoadedModule } from "../wasm/module/module.ts";
import { PluginSet } from "../wasm/plugin-set.ts";
import { SharedStore } from "../wasm/shared.ts";
import { Draining } from "./draining.ts";
import type { FromWorker, KnownSockets, LogLevels, ReloadCommit, ToWorker, WorkerSetup } from "./messages.ts";

/** What the main thread can ask of a worker once it is set up. */
export class DataPlane {
  readonly #log: ProcessLog;
  readonly #clusters: ClusterSet;
  readonly #shared: SharedStore;
  readonly #plugins: PluginSet;
  readonly #listeners: ListenerSet;
  readonly #draining = new Draining();
  readonly #boundPorts: Record<string, number> = {};
  readonly #sharedSockets: Record<string, number> = {};
  readonly #inheritedSockets: Record<string, readonly number[]> = {};
  readonly #counts: Record<string, SharedArrayBuffer> = {};
  readonly #peers: Peers;
  /** Lists of clusters and of listeners that are prepared, by the number of the change. */
  readonly #clusterUpdates = new Map<number, ClusterUpdate>();
  readonly #updates = new Map<number, ListenerUpdate>();
  /** Lists of listeners that are being prepared. */
  readonly #preparing = new Set<number>();
  /** Chains of former configurations that somebody still uses. */
  readonly #departures = new Set<Departure>();
  readonly #say: (message: FromWorker) => void;

  /** `say` tells the main thread what it has not asked for. Throws what building plugins, clusters or chains throws. */
  constructor(index: number, setup: WorkerSetup, stats: StatsStore, say: (message: FromWorker) => void) {
    const { snapshot } = setup;
    this.#say = say;
    this.#shared = new SharedStore(setup.shared);
    this.#shared.resetInstances(index);
    const log = new ProcessLog({ level: setup.logLevels.level, format: setup.logFormat });
    this.#log = log;
    const upstreamLog = log.component("upstream");
    this.#clusters = new ClusterSet(snapshot.clusters, stats, {
      readSecrets,
      openFrom: process.platform === "linux" ? openFrom : undefined,
      log: (level, message) => upstreamLog[level === "warn" ? "warning" : level](message),
    });
    this.#plugins = new PluginSet(
      snapshot.plugins,
      modulesOf(setup),
      {
        upstreams: this.#clusters.early,
        stats,
        log: log.component("wasm"),
        shared: this.#shared,
        node: snapshot.node,
        runtime: snapshot.runtime,
        workerIndex: index,
      },
      { numbers: setup.numberOfPlugin, places: setup.placeOfPlugin },
    );
    const http = this.#httpEnvironment(snapshot, stats);
    const network = { ...http, upstreams: this.#clusters, counts: this.#counts, workerIndex: index };
    const listenerLog = log.component("listener");
    this.#peers = new Peers(index, {
      receive: (parcel) => this.#listeners.receive(parcel),
      takeBack: (parcel) => this.#listeners.takeBack(parcel),
    });
    this.#listeners = new ListenerSet(snapshot.listeners, {
      stats,
      chainFactories: (chain, listener) => {
        const drainState = this.#draining.of(listener);
        return chainFactories(chain, listener, { http: { ...http, drainState }, network, plugins: this.#plugins });
      },
      accessLog: http.accessLog,
      boundPorts: this.#boundPorts,
      sharedSockets: this.#sharedSockets,
      inheritedSockets: this.#inheritedSockets,
      readSecrets,
      counts: this.#counts,
      peers: this.#peers,
      maxConnections: snapshot.maxDownstreamConnections,
      runtime: snapshot.runtime,
      workerIndex: index,
      log: (level, message) => listenerLog[level === "warn" ? "warning" : level](message),
    });
    this.setLogLevels(setup.logLevels);
  }

  /** Clusters know their hosts and plugins are configured when this resolves. Rejects with ProxyError. */
  async start(): Promise<void> {
    await this.#clusters.start();
    this.#plugins.start();
  }

  async listen({ boundPorts, sharedSockets, inheritedSockets, counts }: KnownSockets): Promise<FromWorker> {
    Object.assign(this.#boundPorts, boundPorts);
    Object.assign(this.#counts, counts);
    Object.assign(this.#sharedSockets, sharedSockets);
    Object.assign(this.#inheritedSockets, inheritedSockets);
    await this.#listeners.start();
    return { kind: "listening", bound: this.#listeners.bound };
  }

  connectPeer(link: PeerLink): void {
    this.#peers.connect(link);
  }

  async drain(ms: number): Promise<FromWorker> {
    return { kind: "drained", cut: await this.#listeners.drain(ms) };
  }

  stop(): void {
    this.#listeners.close();
    this.#plugins.close();
    this.#clusters.close();
    this.#shared.close();
  }

  /** Ends the thread once its logs are written. */
  async end(): Promise<void> {
    this.stop();
    await drainLogFiles();
    process.exit(0);
  }

  stopAccepting(inboundOnly: boolean): void {
    this.#listeners.stopAccepting(inboundOnly);
  }

  setDrainClose({ reason, on, overMs, elapsedMs }: Extract<ToWorker, { kind: "drain_close" }>): void {
    if (on) this.#draining.begin(reason, overMs, elapsedMs);
    else this.#draining.end(reason);
  }

  /** Sockets that cannot be lent stay here: the process that takes over binds its own. */
  lendSockets(id: number): FromWorker {
    try {
      return { kind: "sockets_lent", id, sockets: this.#listeners.lend() };
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      this.#log.component("listener").warning(`cannot lend listening sockets: ${error.message}`);
      return { kind: "sockets_lent", id, sockets: [] };
    }
  }

  handOver(id: number): FromWorker {
    this.#listeners.handOver();
    return { kind: "handed_over", id };
  }

  setLogLevels({ level, components }: LogLevels): void {
    this.#log.setLevel(level);
    for (const [name, componentLevel] of components) {
      this.#log.component(name);
      this.#log.setLevel(componentLevel, name);
    }
  }

  describeClusters(id: number): FromWorker {
    return { kind: "clusters", id, clusters: clusterStatuses(this.#clusters.all()) };
  }

  describeCertificates(id: number): FromWorker {
    const ofClusters = [...this.#clusters.all()].flatMap(({ certificates }) => certificates);
    return { kind: "certificates", id, contexts: [...this.#listeners.certificates, ...ofClusters] };
  }

  describePlugins(id: number): FromWorker {
    return { kind: "plugins", id, plugins: this.#plugins.statuses() };
  }

  /** One step of a change of plugins; answers what became of it. */
  changePlugins(message: Extract<ToWorker, { kind: "prepare_plugins" | "commit_plugins" }>): FromWorker {
    const { id } = message;
    const from = performance.now();
    const onBad = this.#onBad(id);
    const error = attempt(() => {
      if (message.kind === "prepare_plugins") this.#plugins.prepare(id, message.versions, message.silent);
      else this.#plugins.commit(id, message.drainMs, { trial: message.trial, onBad });
    });
    return { kind: "plugins_changed", id, error, ms: performance.now() - from };
  }

  async prepareClusters({ id, clusters }: Extract<ToWorker, { kind: "prepare_clusters" }>): Promise<FromWorker> {
    try {
      const update = this.#clusters.prepare(clusters);
      // Before it is warm: it may be given up meanwhile.
      this.#clusterUpdates.set(id, update);
      await this.#clusters.warm(update);
      return { kind: "clusters_changed", id, error: undefined };
    } catch (error) {
      return { kind: "clusters_changed", id, error: refusal(error) };
    }
  }

  /** All of it in one turn: nothing begins between one part and the next. */
  commitReload({ id, clusters, listeners, plugins, order, drain, drainMs }: ReloadCommit): FromWorker {
    const from = performance.now();
    const gone = (index: number): Promise<void> => this.#gone(index);
    // First: what drains is still to find its clusters.
    const listenerUpdate = this.#updates.get(listeners ?? NONE);
    this.#updates.delete(listeners ?? NONE);
    if (listenerUpdate !== undefined) this.#noteDepartures(this.#listeners.commit(listenerUpdate, drain));
    const clusterUpdate = this.#clusterUpdates.get(clusters ?? NONE);
    this.#clusterUpdates.delete(clusters ?? NONE);
    if (clusterUpdate !== undefined) this.#clusters.commit(clusterUpdate);
    const error = attempt(() => {
      for (const { id: change, trial } of plugins)
        this.#plugins.commit(change, drainMs, { trial, onBad: this.#onBad(change) }, gone);
    });
    this.#plugins.arrange(order, gone, drainMs);
    return { kind: "plugins_changed", id, error, ms: performance.now() - from };
  }

  #noteDepartures(departures: readonly Departure[]): void {
    for (const departure of departures) {
      this.#departures.add(departure);
      void departure.gone.then(() => this.#departures.delete(departure));
    }
  }

  /** Resolves when chains of former configurations that have this plugin are gone. */
  async #gone(plugin: number): Promise<void> {
    const having = [...this.#departures].filter(({ plugins }) => plugins.has(plugin));
    await Promise.all(having.map(({ gone }) => gone));
  }

  dropClusters(id: number): void {
    const update = this.#clusterUpdates.get(id);
    this.#clusterUpdates.delete(id);
    if (update !== undefined) this.#clusters.abort(update);
  }

  async prepareListeners({
    id,
    listeners,
    sockets,
  }: Extract<ToWorker, { kind: "prepare_listeners" }>): Promise<FromWorker> {
    replaceAll(this.#boundPorts, sockets.boundPorts);
    replaceAll(this.#counts, sockets.counts);
    replaceAll(this.#sharedSockets, sockets.sharedSockets);
    this.#preparing.add(id);
    try {
      const update = await this.#listeners.prepare(listeners);
      // It may have been given up meanwhile: nobody would ever accept from its sockets.
      if (this.#preparing.has(id)) this.#updates.set(id, update);
      else update.abort();
      return { kind: "listeners_changed", id, error: undefined, bound: update.bound };
    } catch (error) {
      return { kind: "listeners_changed", id, error: refusal(error), bound: [] };
    } finally {
      this.#preparing.delete(id);
    }
  }

  dropListeners(id: number): void {
    this.#preparing.delete(id);
    this.#updates.get(id)?.abort();
    this.#updates.delete(id);
  }

  tryPlugins({ id, routing, trial }: Extract<ToWorker, { kind: "try_plugins" }>): void {
    this.#plugins.tryOut(id, routing, trial, this.#onBad(id));
  }

  dropPlugins(id: number, drainMs: number): void {
    this.#plugins.drop(id, drainMs);
  }

  watchPlugins({ id, indices, trial }: Extract<ToWorker, { kind: "watch_plugins" }>): void {
    this.#plugins.watch(indices, trial, this.#onBad(id));
  }

  endTrials(indices: readonly number[]): void {
    this.#plugins.endTrials(indices);
  }

  /** Versions of plugins that are on trial fail, under the number of their change. */
  #onBad(id: number): () => void {
    return () => this.#say({ kind: "plugins_failing", id });
  }

  #httpEnvironment(snapshot: Snapshot, stats: StatsStore): HttpEnvironment {
    return {
      stats,
      upstreams: this.#clusters,
      clusterConfig: (name) => this.#clusters.get(name)?.config,
      runtime: snapshot.runtime,
      node: snapshot.node,
      filterFactory: ({ plugin }) => this.#plugins.httpFilter(plugin),
      accessLog: (configs) =>
        configs.length === 0
          ? undefined
          : new AccessLog(configs, stats, snapshot.runtime, (plugin) => this.#plugins.accessLogger(plugin)),
    };
  }
}

/** No change has this number. */
const NONE = -1;

/** What the main thread is told of what cannot be done. */
interface Refusal {
  readonly code: string;
  readonly message: string;
}

/** Anything but a ProxyError is a fault of ours, and thrown again. */
function refusal(error: unknown): Refusal {
  if (!(error instanceof ProxyError)) throw error;
  return { code: error.code, message: error.message };
}

function attempt(what: () => void): Refusal | undefined {
  try {
    what();
    return undefined;
  } catch (error) {
    return refusal(error);
  }
}

/** Makes `target`, which others hold, equal to `source`. */
function replaceAll<T>(target: Record<string, T>, source: Readonly<Record<string, T>>): void {
  for (const key of Object.keys(target)) delete target[key];
  Object.assign(target, source);
}

/** What each kind of network filter is made with. */
interface FilterMakers {
  readonly http: HttpEnvironment;
  readonly network: NetworkEnvironment;
  readonly plugins: PluginSet;
}

function chainFactories(
  chain: FilterChainConfig,
  listener: ListenerConfig,
  makers: FilterMakers,
): NetworkFilterFactory[] {
  return chain.filters.map((filter) => networkFilter(filter, listener, makers));
}

function networkFilter(
  filter: NetworkFilterConfig,
  listener: ListenerConfig,
  { http, network, plugins }: FilterMakers,
): NetworkFilterFactory {
  switch (filter.kind) {
    case "http_connection_manager":
      return new ConnectionManager(filter.name, filter.hcm, listener.perConnectionBufferLimitBytes, http);
    case "wasm":
      return plugins.networkFilter(filter.plugin);
    default:
      return nativeFilter(filter, network);
  }
}

/** The code of each plugin. Not in the constructor, whose closures would hold the setup, and with it the first modules, for ever. */
function modulesOf({ modules, moduleOfPlugin }: WorkerSetup): LoadedModule[] {
  return moduleOfPlugin.map((module) => modules[module]!);
}
