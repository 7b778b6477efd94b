/** All plugins of one worker's configuration. */
import type { PluginConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { HttpFilterFactory } from "../http/filter.ts";
import type { WasmEnvironment } from "./environment.ts";
import type { LoadedModule } from "./module/module.ts";
import { Plugin, PluginFilterFactory } from "./plugin.ts";
import type { PluginStatus } from "./plugin-status.ts";
import { Vm } from "./vm.ts";
import { refreshRegularly } from "./vm-stats.ts";

export class PluginSet {
  readonly #plugins: Plugin[] = [];
  readonly #factories: PluginFilterFactory[] = [];
  readonly #vms = new Map<string, Vm>();
  #stopRefreshing = (): void => {};

  /** `modules[n]` is the loaded code of `plugins[n]`; the same module may stand there more than once. */
  constructor(plugins: readonly PluginConfig[], modules: readonly LoadedModule[], environment: WasmEnvironment) {
    plugins.forEach((config, index) => {
      const module = modules[index];
      if (module === undefined)
        throw new ProxyError("PLUGIN_MODULE", "internal", `plugin ${config.name} has no module`);
      const key = vmKey(config, module, index);
      let vm = this.#vms.get(key);
      if (vm === undefined) this.#vms.set(key, (vm = new Vm(config, module, environment)));
      const plugin = new Plugin(config, vm, environment.stats);
      vm.plugins.push(plugin);
      this.#plugins.push(plugin);
      this.#factories.push(new PluginFilterFactory(plugin, module.phases));
    });
  }

  /** Starts every VM and configures every plugin. Throws ProxyError naming the plugin and the reason; nothing stays started then. */
  start(): void {
    try {
      for (const vm of this.#vms.values()) vm.start();
      this.#stopRefreshing = refreshRegularly(() => this.#vms.values().map(({ stats }) => stats));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The factory of plugin `index` of the snapshot. */
  httpFilter(index: number): HttpFilterFactory {
    const factory = this.#factories[index];
    if (factory === undefined) throw new ProxyError("PLUGIN_INDEX", "internal", `there is no plugin ${index}`);
    return factory;
  }

  /** For the admin interface, in the order of the snapshot. */
  statuses(): PluginStatus[] {
    return this.#plugins.map((plugin) => plugin.status());
  }

  /** Ends the plugins: on_done and on_delete of each root context. Streams still open finish first in their instances. */
  close(): void {
    this.#stopRefreshing();
    for (const vm of this.#vms.values()) vm.close();
  }
}

/**
 * Plugins share a VM, as in Envoy, when code, VM configuration and vm_id are the same; but only if a vm_id is given,
 * since a trap in a shared VM hits all of them.
 */
function vmKey(config: PluginConfig, module: LoadedModule, index: number): string {
  if (config.vmId === "") return String(index);
  const environment = JSON.stringify(Object.entries(config.environment));
  const capabilities = config.allowedCapabilities?.join() ?? "*";
  return [
    module.sha256,
    config.vmId,
    Buffer.from(config.vmConfiguration).toString("base64"),
    environment,
    capabilities,
    config.isolation ?? module.manifest?.isolation ?? "worker",
    config.fuel,
    config.memoryBytes,
    config.failurePolicy,
  ].join("|");
}
