/**
 * One VM of a worker: module, VM configuration and the plugins that share it. Keeps one instance alive: when it
 * traps, the streams in it get their plugins' failure policies and a fresh instance takes over.
 */
import type { PluginConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { INSTANCE_RESTARTS_PER_SECOND, MAX_RESTART_BACKOFF_MS, RESTART_BACKOFF_MS } from "../limits.ts";
import { Alarm } from "../timers.ts";
import { httpCallbacks } from "./instance/callbacks.ts";
import type { WasmEnvironment } from "./environment.ts";
import { GuestStrings } from "./instance/guest-strings.ts";
import { describeFailure, Instance } from "./instance/instance.ts";
import type { GuestFailure, VmFacts } from "./instance/instance.ts";
import { hostImports } from "./instance/link.ts";
import type { LoadedModule } from "./module/module.ts";
import type { Plugin } from "./plugin.ts";
import { RootContext } from "./contexts/root-context.ts";

export class Vm {
  readonly plugins: Plugin[] = [];
  readonly #facts: VmFacts;
  readonly #name: string;
  #instance: Instance | null = null;
  #closed = false;
  /** Restarts in the second that began at `#windowMs`. */
  #restarts = 0;
  #windowMs = 0;
  #backoffMs = RESTART_BACKOFF_MS;
  /** Armed while a restart has to wait. */
  readonly #wait: Alarm;

  constructor(config: PluginConfig, module: LoadedModule, environment: WasmEnvironment) {
    this.#name = config.name;
    this.#facts = {
      vmId: config.vmId,
      module,
      vmConfiguration: config.vmConfiguration,
      environ: Object.entries(config.environment).map(([key, value]) => Buffer.from(`${key}=${value}\0`)),
      allowedCapabilities: config.allowedCapabilities === undefined ? undefined : new Set(config.allowedCapabilities),
      strings: new GuestStrings(),
      environment,
    };
    this.#wait = new Alarm(() => this.#restart());
  }

  /** Starts the instance and all plugins in it. Throws ProxyError naming the plugin and the reason. */
  start(): void {
    const instance = new Instance(this.#facts, (failure) => this.#onFailure(instance, failure));
    let name = this.#name;
    try {
      instance.link(hostImports(instance));
      for (const plugin of this.plugins) {
        name = plugin.config.name;
        const root = new RootContext(instance, plugin);
        plugin.root = root;
        root.start();
      }
    } catch (error) {
      instance.failed = true;
      this.#abandon(instance);
      if (!(error instanceof ProxyError)) throw error;
      const reason = error.message.slice(error.code.length + 2);
      throw new ProxyError(error.code, error.side, `plugin ${name}: ${reason}`, error.cause);
    }
    this.#instance = instance;
    const callbacks = httpCallbacks(instance);
    for (const plugin of this.plugins) plugin.callbacks = callbacks;
  }

  /** Brings a fresh instance up if the last one failed and no backoff forbids it. */
  revive(): void {
    if (this.#instance !== null || this.#closed || this.#wait.armed) return;
    const nowMs = performance.now();
    if (nowMs - this.#windowMs >= 1000) {
      this.#windowMs = nowMs;
      this.#restarts = 0;
    }
    if (this.#restarts >= INSTANCE_RESTARTS_PER_SECOND) {
      this.#count("vm_reload_backoff");
      this.#wait.arm(1000);
      return;
    }
    this.#restarts++;
    this.#restart();
  }

  /** Ends all root contexts; streams that are still there finish in the instance. */
  close(): void {
    this.#closed = true;
    this.#wait.disarm();
    for (const plugin of this.plugins) plugin.root?.close();
  }

  #restart(): void {
    if (this.#instance !== null || this.#closed) return;
    this.#count("vm_reload");
    try {
      this.start();
      this.#backoffMs = RESTART_BACKOFF_MS;
      this.#count("vm_reload_success");
    } catch (error) {
      this.#count("vm_reload_failure");
      const reason = error instanceof Error ? error.message : String(error);
      this.#facts.environment.log.error(`no fresh instance, next try in ${this.#backoffMs} ms: ${reason}`);
      this.#wait.arm(this.#backoffMs);
      this.#backoffMs = Math.min(this.#backoffMs * 2, MAX_RESTART_BACKOFF_MS);
    }
  }

  #onFailure(instance: Instance, failure: GuestFailure): void {
    const plugin = failure.context.root?.plugin;
    const reason = describeFailure(failure.error);
    for (const one of this.plugins) one.lastFailure = reason;
    plugin?.traps.inc();
    const stack = failure.error instanceof Error ? (failure.error.stack ?? "") : "";
    this.#facts.environment.log.error(
      `plugin ${plugin?.config.name ?? this.#name}: ${reason} in ${failure.callback}, context ${failure.context.id}\n${stack}`,
    );
    // A failing start is told by exception, to whoever started it.
    if (this.#instance !== instance) return;
    this.#instance = null;
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
  }

  #count(name: string): void {
    const { stats } = this.#facts.environment;
    for (const plugin of this.plugins) stats.counter(`wasm.${plugin.config.name}.${name}`).inc();
  }
}
