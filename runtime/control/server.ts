/**
 * The whole process as the control plane sees it. Life: create (threads load their code) → start
 * (modules, workers, listeners, admin: LIVE) → drain (DRAINING) → stop. The command line drives it.
 */
import { writeFileSync } from "node:fs";
import type { OciCode, OciModule } from "../artifact/oci-code.ts";
import type { PluginCode } from "../artifact/plugin-code.ts";
import type { RemoteCode, Snapshot } from "../config/snapshot.ts";
import { STATS_FLUSH_INTERVAL_MS } from "../limits.ts";
import type { BoundAddress } from "../listener/bind.ts";
import type { Log, LogLevel, ProcessLog } from "../observe/log.ts";
import { StatsRegistry } from "../observe/stats-registry.ts";
import type { Stat } from "../observe/stats-registry.ts";
import type { StatsAnnouncement } from "../observe/stats.ts";
import type { TlsContextStatus } from "../tls/certificate-status.ts";
import type { ClusterStatus } from "../upstream/cluster-status.ts";
import { SharedStore } from "../wasm/shared.ts";
import type { LogLevels } from "../worker/messages.ts";
import { loadModules } from "../worker/modules.ts";
import { WorkerPool } from "../worker/pool.ts";
import type { WorkerReport } from "../worker/place.ts";
import type { PluginsInForce } from "../worker/plugin-change.ts";
import type { PoolOwner } from "../worker/pool.ts";
import type { AdminListener } from "./admin.ts";
import type { Configuration, ConfigurationOrigin } from "./configuration.ts";
import type { HotLoad } from "./hot-load.ts";
import { HAND_OVER_VERSION } from "./hand-over-protocol.ts";
import type { RestartPlace } from "./hand-over-protocol.ts";
import type { HotRestart } from "./hot-restart.ts";
import { ServerStats } from "./server-stats.ts";
import type { AdminSubject, ListenerDrain, ServerState } from "./subject.ts";
import { logged, Watches } from "./watches.ts";
import type { WatchedServer } from "./watches.ts";

/** Components that log; a level can be set for each, whichever thread it is in. */
const LOG_COMPONENTS = ["admin", "listener", "main", "wasm"];

export interface ServerOptions {
  readonly concurrency: number;
  readonly drainTimeMs: number;
  /** Whether responses ask downstream to leave by and by, or at once. */
  readonly drainStrategy: "gradual" | "immediate";
  /** Its place among processes that take over from each other; undefined: it stands alone. */
  readonly restart?: RestartPlace | undefined;
  readonly version: string;
  readonly processLog: ProcessLog;
  /** Of the workers' process logs. */
  readonly logFormat: "text" | "json";
  /** Levels of single components, for the workers' logs too. */
  readonly componentLogLevels: readonly (readonly [name: string, level: LogLevel])[];
  /** Where the bound admin address is written; undefined: nowhere. */
  readonly adminAddressPath?: string | undefined;
  /** admin.v3.CommandLineOptions in protobuf JSON. */
  readonly commandLine: Readonly<Record<string, unknown>>;
}

export class Server implements AdminSubject, PoolOwner, WatchedServer {
  readonly version: string;
  readonly startedAt = new Date();
  configuredAt = this.startedAt;
  readonly commandLine: Readonly<Record<string, unknown>>;
  readonly #options: ServerOptions;
  readonly #log: Log;
  readonly #registry = new StatsRegistry();
  readonly #stats: ServerStats;
  readonly #pool: WorkerPool;
  readonly #endRequested: Promise<string>;
  #requestEnd: (why: string) => void = () => {};
  #componentLevels: Map<string, LogLevel>;
  #snapshot: Snapshot | null = null;
  #origin: ConfigurationOrigin | null = null;
  #inForce: PluginsInForce | null = null;
  /** By name of the plugin; the first one of a name counts. */
  readonly #configuredCodes = new Map<string, string>();
  #hotLoad: Promise<HotLoad> | null = null;
  #code: PluginCode | null = null;
  #configuration: Configuration | null = null;
  readonly #watches: Watches;
  #admin: AdminListener | null = null;
  #adminAddress = "";
  #started = false;
  /** Workers accept, although it may not be live yet. */
  #accepting = false;
  #stopped = false;
  #restart: HotRestart | null = null;
  readonly #drainTimers = new Set<NodeJS.Timeout>();
  #draining = false;
  #healthCheckFailed = false;
  #flush: NodeJS.Timeout | null = null;

  /** Spawns the worker threads. */
  constructor(options: ServerOptions) {
    this.#options = options;
    this.version = options.version;
    this.commandLine = options.commandLine;
    this.#log = options.processLog.component("main");
    this.#watches = new Watches(this, this.#log);
    this.#componentLevels = new Map(options.componentLogLevels);
    this.#stats = new ServerStats(this.#registry, options.concurrency);
    this.#endRequested = new Promise((resolve) => (this.#requestEnd = resolve));
    this.#stats.store.gauge("server.hot_restart_epoch").set(options.restart?.epoch ?? 0);
    this.#pool = new WorkerPool({ concurrency: options.concurrency, owner: this, log: this.#log });
  }

  /** Serves. Rejects with ProxyError when a module, a worker, a listener or the admin interface cannot be had; the caller stops it then. */
  async start(given: Snapshot, origin: ConfigurationOrigin): Promise<void> {
    this.#snapshot = given;
    this.#origin = origin;
    this.#stats.configured(given);
    const code = needsCode(given) ? await this.#codeOf(given) : null;
    const fetched = (await code?.fetch(given.plugins)) ?? new Map<string, Uint8Array>();
    const snapshot = given.typesWanted.length === 0 ? given : await withFetchedTypes(given, origin, fetched);
    this.#snapshot = snapshot;
    const { modules, moduleOfPlugin } = loadModules(snapshot.plugins, fetched, (plugin, bytes) =>
      code?.approve(plugin, bytes),
    );
    for (const { name, warnings } of modules) for (const one of warnings) this.#log.warning(`${name} ${one}`);
    this.#inForce = { snapshot, modules, moduleOfPlugin };
    for (const [at, { name }] of snapshot.plugins.entries())
      if (!this.#configuredCodes.has(name)) this.#configuredCodes.set(name, modules[moduleOfPlugin[at]!]!.sha256);
    const shared = SharedStore.create();
    this.#registry.provide(() => shared.readMetrics());
    const setup = {
      concurrency: this.#options.concurrency,
      snapshot,
      modules,
      moduleOfPlugin,
      shared,
      logLevels: this.#levels(),
      logFormat: this.#options.logFormat,
    };
    const restart = await this.#joinRow(snapshot);
    if (restart === null) await Promise.all([this.#pool.start(setup), this.#startAdmin(snapshot)]);
    else {
      // Once workers accept nothing may fail any more; and the address of the process before comes free last.
      if (!restart.takesAdmin) await this.#startAdmin(snapshot);
      await this.#pool.start(setup, restart.lent);
      this.#accepting = true;
      await restart.takeOver();
      if (restart.takesAdmin) await this.#startAdmin(snapshot, restart.adminDescriptor);
    }
    this.#started = true;
    this.#flush = setInterval(() => this.#registry.rollInterval(), STATS_FLUSH_INTERVAL_MS);
    this.#flush.unref();
    this.#stats.live(performance.now(), snapshot.listeners.length);
    const took = Math.round(performance.now());
    const { concurrency } = this.#options;
    this.#log.info(`live after ${took} ms with ${concurrency} worker${concurrency === 1 ? "" : "s"}: ${this.version}`);
    for (const { name, address } of this.#pool.bound) this.#log.info(`listener ${name} on ${address}`);
    this.#code?.pursue((code, bytes) => this.#takeLate(code, bytes));
    if (this.#code !== null) await this.#watches.watchRegistries(() => this.#codeOf(snapshot));
  }

  /** Resolves, with the reason, when the admin interface or a process that has taken over asks this one to end. */
  get endRequested(): Promise<string> {
    return this.#endRequested;
  }

  /** Stops accepting, lets streams finish for the drain time. */
  async drain(why: string): Promise<void> {
    this.#draining = true;
    const { drainTimeMs } = this.#options;
    this.#log.info(`${why}: draining for at most ${drainTimeMs / 1000} s; ${connections(this.#pool.openSockets)} open`);
    const cut = await this.#pool.drain(drainTimeMs);
    if (cut > 0) this.#log.warning(`the drain time is over: ${connections(cut)} cut`);
  }

  /** Ends what has not become live. Whatever it has accepted meanwhile, on trial beside the process before it, may finish. */
  async giveUp(): Promise<void> {
    if (this.#accepting) await this.drain("not live");
    await this.stop();
  }

  /** Ends everything at once. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#flush !== null) clearInterval(this.#flush);
    for (const timer of this.#drainTimers) clearTimeout(timer);
    this.#restart?.stop();
    this.#admin?.stop();
    this.#watches.stop();
    // One that could not be loaded has nothing to stop, and was told to whoever asked for it.
    (await this.#hotLoad?.catch(() => null))?.stop();
    this.#code?.stop();
    await this.#pool.stop();
  }

  /** Digest of the module that a plugin began with; undefined: there is no such plugin. */
  #configuredCode(name: string): string | undefined {
    return this.#configuredCodes.get(name);
  }

  // What the admin interface asks.

  get state(): ServerState {
    if (!this.#started) return "INITIALIZING";
    return this.#draining || this.#healthCheckFailed ? "DRAINING" : "LIVE";
  }

  get uptimeMs(): number {
    return Date.now() - this.startedAt.getTime();
  }

  get uptimeOfRowMs(): number {
    return Date.now() - (this.#restart?.firstStartMs ?? this.startedAt.getTime());
  }

  get snapshot(): Snapshot {
    return this.#snapshot!;
  }

  get bound(): readonly BoundAddress[] {
    return this.#pool.bound;
  }

  /** `ip:port` or path; "" without an admin interface. */
  get adminAddress(): string {
    return this.#adminAddress;
  }

  async stats(): Promise<readonly Stat[]> {
    await this.#pool.caughtUp();
    return this.#stats.collect(this.state, this.uptimeMs);
  }

  resetCounters(): void {
    this.#registry.resetCounters();
  }

  clusters(): Promise<readonly ClusterStatus[]> {
    return this.#pool.clusters();
  }

  certificates(): Promise<readonly TlsContextStatus[]> {
    return this.#pool.certificates();
  }

  hotLoad(): Promise<HotLoad> {
    return (this.#hotLoad ??= this.#loadHotLoad());
  }

  /** Reads the configuration anew; what comes of it is logged. `why` is for the log. */
  async reload(why: string): Promise<void> {
    if (this.state !== "LIVE") return;
    this.#log.info(`${why}: reading the configuration anew`);
    await logged(this.#log, async () => {
      const { state } = await (await this.hotLoad()).reload();
      if (state === "unchanged") this.#log.info("it changes nothing");
    });
  }

  /** From now on changes of the configuration's file and of the modules that it names are taken up. */
  async watch(configPath: string | undefined): Promise<void> {
    await this.#watches.watchFiles(configPath);
  }

  configurationIsNews(): boolean {
    return this.#configuration!.isNews();
  }

  /** Not at the start: most processes never change a plugin. */
  async #loadHotLoad(): Promise<HotLoad> {
    const [{ HotLoad: Loader }, { Configuration: Text }] = await Promise.all([
      import("./hot-load.ts"),
      import("./configuration.ts"),
    ]);
    this.#configuration = new Text(this.#origin!);
    const inForce = this.#inForce!;
    // From now on the versions know it; modules that are not kept any more must not stay here.
    this.#inForce = null;
    return new Loader(inForce, {
      pool: this.#pool,
      configuration: this.#configuration,
      stats: this.#stats.store,
      log: this.#log,
      concurrency: this.#options.concurrency,
      startedAt: this.startedAt,
      drainOverMs: this.#drainOverMs,
      code: await this.#codeOf(this.#snapshot!),
      onSnapshot: (snapshot) => this.#reloaded(snapshot),
    });
  }

  workers(): readonly WorkerReport[] {
    return this.#pool.workers();
  }

  replaceWorker(index: number): boolean {
    return this.#pool.replace(index);
  }

  logLevels(): readonly (readonly [component: string, level: LogLevel])[] {
    return LOG_COMPONENTS.map(
      (name) => [name, this.#componentLevels.get(name) ?? this.#options.processLog.level] as const,
    );
  }

  setLogLevel(level: LogLevel, component?: string): Promise<void> {
    if (component === undefined) this.#componentLevels.clear();
    else this.#componentLevels.set(component, level);
    this.#options.processLog.setLevel(level, component);
    return this.#pool.setLogLevels(this.#levels());
  }

  reopenLogs(): Promise<void> {
    this.#log.info("reopening access logs");
    return this.#pool.reopenLogs();
  }

  failHealthCheck(failed: boolean): Promise<void> {
    this.#healthCheckFailed = failed;
    return this.#pool.setDrainClose("health_check", failed);
  }

  drainListeners({ graceful, inboundOnly, skipExit }: ListenerDrain): Promise<void> {
    this.#log.info(`draining listeners${inboundOnly ? " of inbound traffic" : ""}${graceful ? " gracefully" : ""}`);
    if (!graceful) return this.#pool.stopAccepting(inboundOnly);
    if (!skipExit) {
      const stop = (): void => void this.#pool.stopAccepting(inboundOnly);
      this.#drainTimers.add(setTimeout(stop, this.#options.drainTimeMs).unref());
    }
    return this.#pool.setDrainClose(inboundOnly ? "drain_inbound" : "drain", true, this.#drainOverMs);
  }

  get #drainOverMs(): number {
    return this.#options.drainStrategy === "gradual" ? this.#options.drainTimeMs : 0;
  }

  get hotRestartVersion(): string {
    return this.#restart === null ? "disabled" : String(HAND_OVER_VERSION);
  }

  quit(): void {
    this.#requestEnd("quitquitquit");
  }

  async #joinRow({ admin }: Snapshot): Promise<HotRestart | null> {
    const { restart } = this.#options;
    if (restart === undefined) return null;
    const { HotRestart: Row } = await import("./hot-restart.ts");
    this.#restart = await Row.begin(restart, {
      pool: this.#pool,
      log: this.#log,
      startedAt: this.startedAt,
      drainOverMs: this.#drainOverMs,
      adminAddress: admin?.address,
      isLive: () => this.#started,
      lendAdmin: () => this.#admin?.lend() ?? null,
      plugins: async () => (await this.#hotLoad)?.notes() ?? [],
      configured: (plugin) => this.#configuredCode(plugin),
      onHandOver: () => {
        this.#draining = true;
        this.#admin?.stop();
      },
      end: (why) => this.#requestEnd(why),
    });
    return this.#restart;
  }

  // What the pool tells.

  onStats(thread: number, announcement: StatsAnnouncement): void {
    this.#registry.add(thread, announcement);
  }

  onThreadGone(thread: number): void {
    this.#registry.retire(thread);
  }

  onWorkerLost(_index: number, hung: boolean): void {
    this.#stats.workerLost(hung);
    this.#restart?.workerLost();
  }

  onPluginsFailing(id: number): void {
    void this.#hotLoad?.then((hotLoad) => hotLoad.onFailing(id));
  }

  /** Where plugins' code comes from that is not on this machine, and what lets code in. */
  async #codeOf(snapshot: Snapshot): Promise<PluginCode> {
    if (this.#code !== null) return this.#code;
    const { pluginCode } = await import("../artifact/plugin-code.ts");
    return (this.#code = pluginCode(snapshot, this.#stats.store, this.#log));
  }

  async pullArtifact(code: OciCode): Promise<OciModule> {
    return (await this.#codeOf(this.#snapshot!)).oci.pull(code);
  }

  async #reloaded(snapshot: Snapshot): Promise<void> {
    this.#snapshot = snapshot;
    this.configuredAt = new Date();
    await this.#watches.watchRegistries(() => this.#codeOf(snapshot));
  }

  /** Code that came after the start. */
  async #takeLate(code: RemoteCode, bytes: Buffer): Promise<void> {
    const hotLoad = await this.hotLoad();
    const evidence = this.#code?.evidence(code);
    const request = { bytes, source: code.uri, evidence, how: "at once", rehearse: false, watched: false } as const;
    await hotLoad.load({ missing: code }, request);
  }

  async #startAdmin({ admin }: Snapshot, inherited: number | null = null): Promise<void> {
    if (admin === undefined) return;
    // Loaded while the workers are busy, and not at all when nothing is configured.
    const { AdminListener } = await import("./admin.ts");
    if (this.#stopped) return;
    this.#admin = new AdminListener(this, this.#options.processLog.component("admin"));
    this.#adminAddress = await this.#admin.start(admin, inherited);
    if (this.#options.adminAddressPath !== undefined) writeFileSync(this.#options.adminAddressPath, this.#adminAddress);
    this.#log.info(`admin on ${this.#adminAddress}`);
  }

  #levels(): LogLevels {
    return { level: this.#options.processLog.level, components: [...this.#componentLevels] };
  }
}

/** False: all code lies on this machine, and nobody must have signed it. */
function needsCode({ plugins, trust }: Snapshot): boolean {
  return trust.length > 0 || plugins.some(({ code }) => code.kind === "remote");
}

/** The same configuration, read once more with the types that modules have brought. */
async function withFetchedTypes(
  snapshot: Snapshot,
  origin: ConfigurationOrigin,
  fetched: ReadonlyMap<string, Uint8Array>,
): Promise<Snapshot> {
  const { Configuration: Text, fetchedSchemas } = await import("./configuration.ts");
  return new Text(origin).withModules(fetchedSchemas(snapshot, fetched));
}

function connections(count: number): string {
  return count === 1 ? "1 connection is" : `${count} connections are`;
}
