/** The bootstrap's extensions: plugins that serve no streams; isolation, bounds and hot load of all plugins (sluice.v1.WasmRuntime). */
import {
  GUEST_PAGE_BYTES,
  KEPT_VERSIONS,
  LATENCY_PERCENTILES,
  MAX_TOKEN_BYTES,
  PLUGIN_DRAIN_MS,
  TRIAL_FAILURES,
  TRIAL_STREAMS,
  TRIAL_WINDOW_MS,
} from "../../limits.ts";
import type { Message } from "../document/message.ts";
import { didYouMean } from "../document/suggest.ts";
import type { HotLoadConfig, RollbackBounds, RolloutConfig } from "../hot-load-snapshot.ts";
import type { Isolation, PluginConfig, RegistriesConfig, TrustRuleConfig } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import { readDataSource } from "./data-source.ts";
import { buildWasmPlugin } from "./plugin.ts";
import { buildRegistries, buildTrust } from "./registries.ts";

const WASM_SERVICE = "envoy.extensions.wasm.v3.WasmService";
const WASM_RUNTIME = "sluice.v1.WasmRuntime";
/** sluice.v1.Isolation by number. */
const ISOLATIONS: readonly (Isolation | undefined)[] = [undefined, "worker", "connection", "stream"];

/** The plugins with what the bootstrap's extensions say of them, and how they may be replaced. */
export function buildWasmRuntime(
  context: BuildContext,
  bootstrap: Message,
): {
  readonly plugins: readonly PluginConfig[];
  readonly hotLoad: HotLoadConfig;
  readonly registries: RegistriesConfig;
  readonly trust: readonly TrustRuleConfig[];
} {
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
  const hotLoad = buildHotLoad(context, runtime?.message("hot_load"));
  const registries = buildRegistries(context, runtime?.message("registries"));
  if (runtime === undefined) return { plugins: context.plugins, hotLoad, registries, trust: [] };
  const byName = settingsByName(context, runtime);
  const defaults = runtime.message("defaults");
  if (defaults?.has("name") === true) context.error(defaults, "name", "wasm-runtime", "the defaults have no name");
  const rollouts: [string, RolloutConfig][] = [];
  for (const [name, settings] of [["", defaults] as const, ...byName]) {
    const rollout = settings?.message("rollout");
    if (rollout === undefined) continue;
    // Those that nothing else is said of have the defaults.
    const own = (plugin: PluginConfig): boolean => byName.get(plugin.name)?.has("rollout") === true;
    const plugins = context.plugins.filter((plugin) => (name === "" ? !own(plugin) : plugin.name === name));
    rollouts.push([name, buildRollout(context, rollout, plugins)]);
  }
  return {
    plugins: context.plugins.map((plugin) => settle(settle(plugin, defaults), byName.get(plugin.name))),
    hotLoad: { ...hotLoad, rollouts: Object.fromEntries(rollouts) },
    registries,
    trust: buildTrust(context, runtime),
  };
}

function buildHotLoad(context: BuildContext, message: Message | undefined): HotLoadConfig {
  const source = message?.message("token");
  const bytes = source === undefined ? undefined : readDataSource(context, source, MAX_TOKEN_BYTES);
  const token = bytes === undefined ? undefined : Buffer.from(bytes).toString("utf8").trim();
  if (message !== undefined && token === "") context.error(message, "token", "hot-load", "the token is empty");
  return {
    token,
    keepVersions: message?.wrappedNumber("keep_versions", KEPT_VERSIONS) ?? KEPT_VERSIONS,
    drainMs: message === undefined ? PLUGIN_DRAIN_MS : context.timerMillis(message, "drain_time", PLUGIN_DRAIN_MS),
    bounds: buildBounds(context, message?.message("rollback")),
    rollouts: {},
  };
}

function buildBounds(context: BuildContext, message: Message | undefined): RollbackBounds {
  if (message === undefined)
    return {
      maxFailures: TRIAL_FAILURES,
      maxAddedLatencyMs: undefined,
      minStreams: TRIAL_STREAMS,
      latencyPercentiles: LATENCY_PERCENTILES,
      windowMs: TRIAL_WINDOW_MS,
    };
  const windowMs = context.millis(message, "window", TRIAL_WINDOW_MS);
  if (message.has("window") && windowMs === 0)
    context.error(
      message,
      "window",
      "hot-load",
      "a window of no length holds nothing; for no bounds set max_failures: 0",
    );
  if (message.has("latency_percentiles") && !message.has("max_added_latency"))
    context.error(
      message,
      "latency_percentiles",
      "hot-load",
      "percentiles say nothing without max_added_latency, which is compared at them",
    );
  const percentiles = message.numbers("latency_percentiles");
  return {
    maxFailures: message.wrappedNumber("max_failures", TRIAL_FAILURES),
    maxAddedLatencyMs: message.has("max_added_latency") ? context.millis(message, "max_added_latency", 0) : undefined,
    latencyPercentiles: percentiles.length === 0 ? LATENCY_PERCENTILES : percentiles,
    minStreams: message.wrappedNumber("min_streams", TRIAL_STREAMS),
    windowMs,
  };
}

/** `plugins`: those that it is for. */
function buildRollout(context: BuildContext, message: Message, plugins: readonly PluginConfig[]): RolloutConfig {
  const shadow = message.flag("shadow");
  const header = context.header(message, "header");
  const headerValue = message.text("header_value");
  const sticky = message.flag("sticky_connection");
  const percent = message.number("percent");
  const headerPercent = message.wrappedNumber("header_percent", 100);
  if (shadow && (header !== "" || headerValue !== "" || sticky))
    context.error(
      message,
      "shadow",
      "rollout",
      "a shadow serves nobody: header and sticky_connection say nothing here",
    );
  for (const field of ["header_value", "header_percent"])
    if (message.has(field) && header === "") context.error(message, field, "rollout", "there is no header");
  if (header !== "") checkHeader(context, message, plugins);
  if (percent === 0 && (header === "" || headerPercent === 0))
    context.error(message, "percent", "rollout", "nothing would reach the candidate: set percent or header");
  return { shadow, percent, header, headerValue, headerPercent, sticky };
}

/** Refuses a header where nobody sees one, or where it alone would bring streams to the candidate. */
function checkHeader(context: BuildContext, message: Message, plugins: readonly PluginConfig[]): void {
  const networks = plugins.filter(({ network }) => network === true);
  const others = plugins.some(({ network, service }) => network !== true && service === undefined);
  if (networks.length === 0 || (others && message.number("percent") > 0)) return;
  const names = [...new Set(networks.map(({ name }) => name))];
  const what = names.length > 1 ? "are network filters" : "is a network filter";
  const instead = others ? "set percent as well, or give them a rollout of their own" : "set percent instead";
  context.error(
    message,
    "header",
    "rollout",
    `${names.join(", ")} ${what}, and connections have no headers: ${instead}`,
  );
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
    isolation: plugin.service === undefined ? (ISOLATIONS[settings.number("isolation")] ?? plugin.isolation) : "worker",
    fuel: settings.wrappedNumber("fuel", plugin.fuel),
    memoryBytes: pages * GUEST_PAGE_BYTES,
    maxInstances: settings.wrappedNumber("max_instances", plugin.maxInstances),
    ownRouteVms: settings.wrappedFlag("own_route_vms", plugin.ownRouteVms ?? false),
  };
}
