/**
 * One VM of a worker: module, VM configuration and the plugins that share it.
 *
 * With isolation `worker` it keeps one instance alive that all streams share: when that traps, its streams get their
 * plugins' failure policies and a fresh instance takes over. With `connection` and `stream` that instance is the template:
 * it is started and configured, runs ticks and queue notices, and what streams get are copies of it from a pool.
 */
import type { Isolation, PluginConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import {
  INSTANCE_RESTARTS_PER_SECOND,
  MAX_PROCESS_INSTANCES,
  MAX_RESTART_BACKOFF_MS,
  NO_INSTANCE_LOG_MS,
  RESTART_BACKOFF_MS,
  SMALL_TEMPLATE_BYTES,
  TEMPLATE_AGE_MS_PER_MIB,
} from "../limits.ts";
import type { ConnectionInfo } from "../observe/stream-info.ts";
import { Alarm } from "../timers.ts";
import { CallbackMeter } from "./callback-meter.ts";
import { RootContext } from "./contexts/root-context.ts";
import type { WasmEnvironment } from "./environment.ts";
import { FailureReport } from "./instance/backtrace.ts";
import { streamCallbacks } from "./instance/callbacks.ts";
import { describeFailure } from "./instance/failure.ts";
import type { FailureReason } from "./instance/failure.ts";
import { GuestStrings } from "./instance/guest-strings.ts";
import { Instance } from "./instance/instance.ts";
import { LogGate } from "./instance/log-gate.ts";
import type { GuestFailure, Snapshot, VmFacts } from "./instance/instance.ts";
import { hostImports } from "./instance/link.ts";
import type { LoadedModule } from "./module/module.ts";
import type { Plugin } from "./plugin.ts";
import { moduleStatus } from "./plugin-status.ts";
import type { VmStatus } from "./plugin-status.ts";
import { InstancePool } from "./pool.ts";
import type { Pooled, PoolOwner } from "./pool.ts";
import { VmStats } from "./vm-stats.ts";

/** In which INSTANCE_RESTARTS_PER_SECOND are counted. */
const SECOND_MS = 1000;

export class Vm implements PoolOwner {
  readonly plugins: Plugin[] = [];
  readonly isolation: Isolation;
  /** Number of the template's present state, for the pool. */
  version = 1;
  readonly #facts: VmFacts;
  readonly #name: string;
  readonly #config: PluginConfig;
  readonly stats: VmStats;
  readonly #report: FailureReport;
  readonly #pool: InstancePool | null;
  #instance: Instance | null = null;
  /** Instances that run or wait, the template included. */
  readonly #instances = new Set<Instance>();
  #closed = false;
  /** The template's state; null until it is needed, and when `#version` says that it is older than the template. */
  #snapshot: Snapshot | null = null;
  #snapshotVersion = 0;
  /** Copying memory and globals of the template does not catch its state: each instance starts by itself. */
  #freshOnly = false;
  #loggedMs = -Infinity;
  /** Restarts in the second that began at `#windowMs`. */
  #restarts = 0;
  #windowMs = 0;
  #backoffMs = RESTART_BACKOFF_MS;
  /** Armed while a restart has to wait. */
  readonly #wait: Alarm;
  /** Armed while a change of a large template waits to be seen; and when the last one was. */
  readonly #change: Alarm;
  #changedMs = -Infinity;
  /** Armed while the last streams of a version that was replaced may finish. */
  readonly #drain: Alarm;
  #onGone = (): void => {};

  constructor(config: PluginConfig, module: LoadedModule, environment: WasmEnvironment) {
    this.#name = config.name;
    this.#config = config;
    this.isolation = config.isolation ?? module.manifest?.isolation ?? "worker";
    this.#facts = {
      vmId: config.vmId,
      module,
      vmConfiguration: config.vmConfiguration,
      environ: Object.entries(config.environment).map(([key, value]) => Buffer.from(`${key}=${value}\0`)),
      allowedCapabilities: config.allowedCapabilities === undefined ? undefined : new Set(config.allowedCapabilities),
      fuel: config.fuel,
      gate: new LogGate((dropped) =>
        environment.log.warning(
          `plugin ${config.name}: ${dropped} lines were dropped, more than the log takes in a second`,
        ),
      ),
      meter: new CallbackMeter(environment.stats),
      strings: new GuestStrings(),
      environment,
    };
    this.#report = new FailureReport(module);
    this.stats = new VmStats(config.name, environment.stats, this.#instances);
    this.#pool = this.isolation === "worker" ? null : new InstancePool(this, this.stats);
    this.#wait = new Alarm(() => this.#restart());
    this.#drain = new Alarm(() => this.#expire());
    this.#change = new Alarm(() => {
      if (this.#instance !== null) this.templateChanged(this.#instance);
    });
  }

  /** The code has not been fetched yet: there will be no instance of this VM. */
  get absent(): boolean {
    return this.#facts.module.absent === true;
  }

  /** Why a stream that asks in vain gets no instance. */
  get refusal(): FailureReason {
    return this.absent ? "not_loaded" : "no_instance";
  }

  /** Starts the instance and all plugins in it. Throws ProxyError naming the plugin and the reason. */
  start(): void {
    if (this.absent) return;
    const instance = this.#startInstance(false);
    this.#instance = instance;
    this.version++;
    this.#freshOnly = false;
    this.#pool?.warm();
  }

  /** A started instance with configured plugins: the one that streams share or copy, or (`leased`) one for a stream. */
  #startInstance(leased: boolean): Instance {
    const instance = new Instance(this.#facts, (failure) => this.#onFailure(instance, failure));
    let name = this.#name;
    try {
      instance.link(hostImports(instance));
      for (const [place, plugin] of this.plugins.entries()) {
        name = plugin.config.name;
        plugin.place = place;
        const root = new RootContext(instance, plugin, leased);
        if (!leased) plugin.root = root;
        root.start();
      }
    } catch (error) {
      instance.failed = true;
      this.#abandon(instance);
      if (!(error instanceof ProxyError)) throw error;
      const trace = this.#report.trace(error.cause);
      const reason = error.message.slice(error.code.length + 2);
      throw new ProxyError(error.code, error.side, `plugin ${name}: ${reason}${trace}`, error.cause);
    }
    instance.started();
    this.#enlist(instance);
    const callbacks = streamCallbacks(instance);
    for (const root of instance.roots) root.callbacks = callbacks;
    return instance;
  }

  /** Brings a fresh instance up if the last one failed and nothing forbids it. */
  revive(): void {
    if (this.#instance !== null || this.#closed || this.#wait.armed) return;
    const { failurePolicy, reloadIntervalMs } = this.#config;
    if (failurePolicy === "FAIL_RELOAD") {
      // A little later than asked, so that workers do not all restart at once (Envoy's lower-bounded jitter).
      this.stats.count("vm_reload_backoff");
      this.#wait.arm(Math.ceil(reloadIntervalMs * (1 + Math.random() / 2)));
      return;
    }
    const nowMs = performance.now();
    if (nowMs - this.#windowMs >= SECOND_MS) {
      this.#windowMs = nowMs;
      this.#restarts = 0;
    }
    if (this.#restarts >= INSTANCE_RESTARTS_PER_SECOND) {
      this.stats.count("vm_reload_backoff");
      this.#wait.arm(SECOND_MS);
      return;
    }
    this.#restarts++;
    this.#restart();
  }

  /** The root context that a new stream of `plugin` begins under; null when there is no instance for it. */
  rootFor(plugin: Plugin, connection: ConnectionInfo): RootContext | null {
    if (this.absent) return null;
    if (this.#pool === null) {
      if (plugin.root === null || plugin.root.instance.failed) this.revive();
      return plugin.root;
    }
    if (this.#instance === null) this.revive();
    const pooled = this.isolation === "stream" ? this.#pool.lease() : this.#pool.leaseFor(connection);
    return pooled === null ? null : pooled.instance.roots[plugin.place]!;
  }

  /** It runs without streams: once in the process, or once in each worker. */
  get service(): PluginConfig["service"] {
    return this.#config.service;
  }

  /** Names of its module's callbacks. */
  get exports(): readonly string[] {
    return this.#facts.module.exports;
  }

  /** Callbacks of its module, as http/filter.ts Phase bits. */
  get phases(): number {
    return this.#facts.module.phases;
  }

  /** No new stream comes here: ends when the last one does, at the latest in `ms`. `onGone`: no instance is left. */
  retire(ms: number, onGone: () => void): void {
    this.#onGone = onGone;
    this.#drain.arm(ms);
    this.unused();
  }

  /** A plugin of it has no stream now. */
  unused(): void {
    if (!this.#drain.armed || this.plugins.some(({ streams }) => streams > 0)) return;
    this.#drain.disarm();
    // Not now: the last stream may still be on its way out of its instance.
    queueMicrotask(() => this.close());
  }

  /** Streams outlived the drain time: those that wait for the guest get their failure policy now, others at their next event. */
  #expire(): void {
    const left = this.plugins.reduce((sum, { streams }) => sum + streams, 0);
    this.#facts.environment.log.warning(
      `plugin ${this.#name}: ${left} streams outlived the drain time of version ${this.plugins[0]?.number}`,
    );
    this.#closed = true;
    this.#instance = null;
    // A copy: letting go of an instance takes it out.
    for (const instance of [...this.#instances]) {
      instance.failed = true;
      instance.failureReason = "replaced";
      instance.onUnused = null;
      this.#abandon(instance);
    }
    this.close();
  }

  /** Ends all root contexts; streams that are still there finish in their instances. */
  close(): void {
    this.#closed = true;
    this.#drain.disarm();
    this.#wait.disarm();
    this.#change.disarm();
    this.#pool?.close();
    for (const plugin of this.plugins) plugin.root?.close();
    if (this.#instances.size === 0) this.#onGone();
  }

  /** A plugin of a closed VM is done; streams may still be finishing in the instance, which goes with the last of them. */
  rootGone(): void {
    const instance = this.#instance;
    if (!this.#closed || instance === null || this.plugins.some(({ root }) => root !== null)) return;
    this.#instance = null;
    this.#dismiss(instance);
  }

  /** A root context of the template has run: its state is another one now. */
  templateChanged(instance: Instance): void {
    if (instance !== this.#instance || this.#pool === null || this.#freshOnly) return;
    const { size } = instance.memory;
    if (size > SMALL_TEMPLATE_BYTES) {
      // Copies of a large state take milliseconds each: streams see what its ticks change a little later then.
      const leftMs = this.#changedMs + (size * TEMPLATE_AGE_MS_PER_MIB) / (1024 * 1024) - performance.now();
      if (leftMs > 0) {
        if (!this.#change.armed) this.#change.arm(Math.ceil(leftMs));
        return;
      }
      this.#changedMs = performance.now();
    }
    this.version++;
  }

  #restart(): void {
    if (this.#instance !== null || this.#closed) return;
    this.stats.count("vm_reload");
    try {
      this.start();
      this.#backoffMs = RESTART_BACKOFF_MS;
      this.stats.count("vm_reload_success");
    } catch (error) {
      this.stats.count("vm_reload_failure");
      const reason = error instanceof Error ? error.message : String(error);
      this.#facts.environment.log.error(`no fresh instance, next try in ${this.#backoffMs} ms: ${reason}`);
      this.#wait.arm(this.#backoffMs);
      this.#backoffMs = Math.min(this.#backoffMs * 2, MAX_RESTART_BACKOFF_MS);
    }
  }

  /** For the admin interface. */
  status(): VmStatus {
    const { fuel, memoryBytes } = this.#config;
    const facts = { ...moduleStatus(this.#facts.module), isolation: this.isolation, fuelLimit: fuel };
    return { ...facts, memoryLimit: memoryBytes, instances: this.#instances.size, ...this.stats.refresh() };
  }

  // ---- the pool's instances -------------------------------------------------------------------

  create(): Pooled | null {
    const { shared } = this.#facts.environment;
    if (this.#instance === null && this.#snapshot === null) return null;
    if (this.#instances.size > this.#config.maxInstances || shared.instances() >= MAX_PROCESS_INSTANCES) {
      this.#tellExhausted("the bound is reached");
      return null;
    }
    try {
      const snapshot = this.#currentSnapshot();
      const pooled = snapshot === null ? this.#createFresh() : this.#createCopy(snapshot);
      if (this.isolation === "stream") pooled.instance.onUnused = () => this.#pool?.release(pooled);
      return pooled;
    } catch (error) {
      // V8 has no room for another memory, or the plugin cannot start any more. Anything else is a fault of ours.
      if (!(error instanceof RangeError || error instanceof ProxyError)) throw error;
      this.#tellExhausted(error instanceof Error ? error.message : String(error));
      return null;
    }
  }

  renew(pooled: Pooled): boolean {
    const snapshot = this.#currentSnapshot();
    if (snapshot === null) return false;
    const { instance } = pooled;
    if (pooled.snapshot === null || !instance.restore(pooled.snapshot)) return false;
    for (const root of instance.roots) root.recycle();
    if (pooled.snapshot !== snapshot) {
      // The template's memory may have grown since; a memory cannot be made smaller, but larger.
      if (!instance.takeOver(snapshot)) return false;
      pooled.snapshot = snapshot;
    }
    instance.forget();
    pooled.version = this.version;
    return true;
  }

  discard({ instance }: Pooled): void {
    for (const root of instance.roots) root.orphan();
    instance.failed = true;
    this.#dismiss(instance);
  }

  /** The template's state now; null when it cannot be copied. While no template is alive, the last one's goes on. */
  #currentSnapshot(): Snapshot | null {
    if (this.#freshOnly) return null;
    if (this.#snapshotVersion === this.version || this.#instance === null) return this.#snapshot;
    const snapshot = this.#instance.snapshot();
    if (snapshot === undefined) {
      this.#freshOnly = true;
      this.#facts.environment.log.info(
        `plugin ${this.#name}: the state of an instance cannot be copied; each ${this.isolation} gets one that starts by itself`,
      );
    }
    this.#snapshot = snapshot ?? null;
    this.#snapshotVersion = this.version;
    return this.#snapshot;
  }

  #createCopy(snapshot: Snapshot): Pooled {
    const instance = new Instance(this.#facts, (failure) => this.#onFailure(instance, failure));
    instance.linkCopy(hostImports(instance), snapshot);
    const callbacks = streamCallbacks(instance);
    for (const { id, plugin } of snapshot.roots) {
      const root = new RootContext(instance, plugin, true);
      root.callbacks = callbacks;
      instance.contexts.place(root, id);
    }
    this.#enlist(instance);
    return { instance, snapshot, version: this.version };
  }

  #createFresh(): Pooled {
    return { instance: this.#startInstance(true), snapshot: null, version: this.version };
  }

  #tellExhausted(reason: string): void {
    const nowMs = performance.now();
    if (nowMs - this.#loggedMs < NO_INSTANCE_LOG_MS) return;
    this.#loggedMs = nowMs;
    this.#facts.environment.log.error(
      `plugin ${this.#name}: no instance for another ${this.isolation}, ${this.#instances.size} are there: ${reason}`,
    );
  }

  #enlist(instance: Instance): void {
    this.#instances.add(instance);
    const { shared, workerIndex } = this.#facts.environment;
    shared.countInstance(workerIndex, 1);
    this.stats.created();
  }

  #dismiss(instance: Instance): void {
    if (!this.#instances.delete(instance)) return;
    const { shared, workerIndex } = this.#facts.environment;
    shared.countInstance(workerIndex, -1);
    this.stats.dismissed(instance);
    if (this.#closed && this.#instances.size === 0) this.#onGone();
  }

  // ---- failure --------------------------------------------------------------------------------

  #onFailure(instance: Instance, failure: GuestFailure): void {
    const plugin = failure.context.root?.plugin;
    const reason = describeFailure(failure.error, failure.reason);
    const text = this.#report.describe(failure, plugin?.config.name ?? this.#name);
    for (const one of this.plugins) {
      one.lastFailure = reason;
      one.lastReport = { atMs: Date.now(), text };
    }
    plugin?.countFailure(failure.reason);
    this.#facts.environment.log.error(text);
    // A failing start is told by exception, to whoever started it.
    if (!this.#instances.has(instance)) return;
    if (this.#instance === instance) this.#instance = null;
    else this.#pool?.lost(instance);
    // Not now: an engine callback of a stream in this instance may be on the stack.
    queueMicrotask(() => {
      this.#abandon(instance);
      this.revive();
    });
  }

  /** Lets go of everything in a dead instance. */
  #abandon(instance: Instance): void {
    for (const plugin of this.plugins) {
      if (plugin.root?.instance === instance) plugin.root = null;
    }
    for (const context of instance.contexts.all()) context.orphan();
    this.#dismiss(instance);
  }
}
