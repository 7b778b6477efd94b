/** The bootstrap's extensions: plugins that serve no streams, and isolation and bounds of all plugins (sluice.v1.WasmRuntime). */
import { GUEST_PAGE_BYTES } from "../../limits.ts";
import type { Message } from "../document/message.ts";
import { didYouMean } from "../document/suggest.ts";
import type { Isolation, PluginConfig } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import { buildWasmPlugin } from "./plugin.ts";

const WASM_SERVICE = "envoy.extensions.wasm.v3.WasmService";
const WASM_RUNTIME = "sluice.v1.WasmRuntime";
/** sluice.v1.Isolation by number. */
const ISOLATIONS: readonly (Isolation | undefined)[] = [undefined, "worker", "connection", "stream"];

/** The plugins with what the bootstrap's extensions say of them. */
export function applyWasmRuntime(context: BuildContext, bootstrap: Message): readonly PluginConfig[] {
  let runtime: Message | undefined;
  for (const extension of bootstrap.messages("bootstrap_extensions")) {
    const any = extension.message("typed_config")?.any;
    if (any === undefined) continue;
    if (any.type.name === WASM_SERVICE) buildService(context, any);
    else if (any.type.name !== WASM_RUNTIME)
      context.unsupported(extension, "typed_config", `the extension ${any.type.name}`);
    else if (runtime === undefined) runtime = any;
    else context.error(extension, "", "duplicate", `there is another ${WASM_RUNTIME}; keep one`);
  }
  if (runtime === undefined) return context.plugins;
  const byName = settingsByName(context, runtime);
  const defaults = runtime.message("defaults");
  if (defaults?.has("name") === true) context.error(defaults, "name", "wasm-runtime", "the defaults have no name");
  return context.plugins.map((plugin) => settle(settle(plugin, defaults), byName.get(plugin.name)));
}

function buildService(context: BuildContext, service: Message): void {
  buildWasmPlugin(context, service, {
    filterName: "",
    statPrefix: "",
    direction: 0,
    service: service.flag("singleton") ? "process" : "worker",
  });
}

function settingsByName(context: BuildContext, runtime: Message): ReadonlyMap<string, Message> {
  const known = new Set(context.plugins.map(({ name }) => name));
  const byName = new Map<string, Message>();
  for (const settings of runtime.messages("plugins")) {
    const name = settings.text("name");
    if (!known.has(name)) {
      context.error(settings, "name", "unknown-plugin", `no plugin has the name "${name}"${didYouMean(name, known)}`);
    } else if (byName.has(name)) {
      context.error(settings, "name", "duplicate", `the plugin "${name}" stands here twice`);
    } else byName.set(name, settings);
  }
  return byName;
}

function settle(plugin: PluginConfig, settings: Message | undefined): PluginConfig {
  if (settings === undefined) return plugin;
  const pages = Math.ceil(settings.wrappedNumber("memory", plugin.memoryBytes) / GUEST_PAGE_BYTES);
  return {
    ...plugin,
    // A service has no streams, so nothing to keep apart.
    isolation: plugin.service === undefined ? (ISOLATIONS[settings.number("isolation")] ?? plugin.isolation) : "worker",
    fuel: settings.wrappedNumber("fuel", plugin.fuel),
    memoryBytes: pages * GUEST_PAGE_BYTES,
    maxInstances: settings.wrappedNumber("max_instances", plugin.maxInstances),
    ownRouteVms: settings.wrappedFlag("own_route_vms", plugin.ownRouteVms ?? false),
  };
}
