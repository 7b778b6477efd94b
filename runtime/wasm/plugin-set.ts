/** All plugins of one worker's configuration. */
import type { PluginConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { HttpFilterFactory } from "../http/filter.ts";
import type { PassingFilterFactory } from "../network/filter.ts";
import type { StreamLogger } from "../observe/access-log.ts";
import type { WasmEnvironment } from "./environment.ts";
import type { LoadedModule } from "./module/module.ts";
import { Plugin, PluginFilterFactory, PluginLogger, PluginNetworkFactory } from "./plugin.ts";
import { mergePluginStatuses } from "./plugin-status.ts";
import type { PluginStatus } from "./plugin-status.ts";
import { Vm } from "./vm.ts";
import { refreshRegularly } from "./vm-stats.ts";

export class PluginSet {
  /** Each of the snapshot's, followed by what stands in for it on some routes. */
  readonly #plugins: (readonly [Plugin, ...Plugin[]])[] = [];
  readonly #factories: PluginFilterFactory[] = [];
  readonly #networkFactories: PluginNetworkFactory[] = [];
  /** Those that run here. */
  readonly #vms = new Map<string, Vm>();
  #stopRefreshing = (): void => {};

  /** `modules[n]` is the loaded code of `plugins[n]`; the same module may stand there more than once. */
  constructor(plugins: readonly PluginConfig[], modules: readonly LoadedModule[], environment: WasmEnvironment) {
    plugins.forEach((config, index) => {
      const module = modules[index];
      if (module === undefined)
        throw new ProxyError("PLUGIN_MODULE", "internal", `plugin ${config.name} has no module`);
      const key = vmKey(config, module, index);
      const plugin = new Plugin(config, this.#vm(config, module, key, environment), environment.stats);
      plugin.vm.plugins.push(plugin);
      const routes = new Map<number, Plugin>();
      // A module that asks for its routes' configurations knows what to do with them; to any other each is another
      // plugin of the same VM, which is what plugins that share one are to every host: another root context.
      for (const { id, bytes } of module.asksForRoutes ? [] : (config.routeConfigurations ?? [])) {
        const vm = config.ownRouteVms === true ? this.#vm(config, module, `${key}/${id}`, environment) : plugin.vm;
        const route = new Plugin({ ...config, configuration: bytes }, vm, environment.stats, plugin);
        vm.plugins.push(route);
        routes.set(id, route);
      }
      this.#plugins.push([plugin, ...routes.values()]);
      this.#factories.push(new PluginFilterFactory(plugin, module.phases, routes));
      this.#networkFactories.push(new PluginNetworkFactory(plugin, module.exports));
    });
  }

  #vm(config: PluginConfig, module: LoadedModule, key: string, environment: WasmEnvironment): Vm {
    let vm = this.#vms.get(key);
    if (vm !== undefined) return vm;
    vm = new Vm(config, module, environment);
    // What runs once in the process runs here: with upstreams at hand, and watched; a replaced worker takes it over.
    if (config.service !== "process" || environment.workerIndex === 0) this.#vms.set(key, vm);
    return vm;
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
    return known(this.#factories, index);
  }

  /** The same for connections. */
  networkFilter(index: number): PassingFilterFactory {
    return known(this.#networkFactories, index);
  }

  /** The access logger that plugin `index` of the snapshot is. */
  accessLogger(index: number): StreamLogger {
    return new PluginLogger(known(this.#plugins, index)[0]);
  }

  /** For the admin interface, in the order of the snapshot. */
  statuses(): PluginStatus[] {
    return this.#plugins.map(([plugin, ...routes]) => {
      const others = routes.filter(({ vm }) => vm !== plugin.vm);
      // Failures are counted together already.
      const statuses = others.map((route) => [{ ...route.status(), failures: {} }]);
      return mergePluginStatuses([[plugin.status()], ...statuses])[0]!;
    });
  }

  /** Ends the plugins: on_done and on_delete of each root context. Streams still open finish first in their instances. */
  close(): void {
    this.#stopRefreshing();
    for (const vm of this.#vms.values()) vm.close();
  }
}

function known<T>(entries: readonly T[], index: number): T {
  const entry = entries[index];
  if (entry === undefined) throw new ProxyError("PLUGIN_INDEX", "internal", `there is no plugin ${index}`);
  return entry;
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
    config.service ?? "",
  ].join("|");
}
