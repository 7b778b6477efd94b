/** envoy.extensions.wasm.v3.PluginConfig, and the plugins that bundled filters are. */
import { existsSync } from "node:fs";

import { EXPORTS, HOST_FUNCTIONS } from "../../../abi/functions.ts";
import { GUEST_FUEL, GUEST_MEMORY_BYTES, MAX_PLUGIN_INSTANCES, RELOAD_INTERVAL_MS } from "../../limits.ts";
import type { Message } from "../document/message.ts";
import { didYouMean } from "../document/suggest.ts";
import { encodeMessage } from "../schema/wire.ts";
import type { PluginConfig } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import { buildFilterRateLimits } from "./rate-limit.ts";
import { checkRuntime, environment, moduleCode } from "./vm-config.ts";

/** What the place of a plugin adds to its configuration. */
export interface PluginPlace {
  readonly filterName: string;
  /** `http.<stat_prefix>.`, or "". */
  readonly statPrefix: string;
  readonly direction: number;
  /** It serves no streams: a WasmService or an access logger. */
  readonly service?: PluginConfig["service"];
  readonly network?: true;
}

const SANDBOX = {
  reloadIntervalMs: RELOAD_INTERVAL_MS,
  isolation: undefined,
  fuel: GUEST_FUEL,
  memoryBytes: GUEST_MEMORY_BYTES,
  maxInstances: MAX_PLUGIN_INSTANCES,
} as const;

const FAILURE_POLICIES = ["FAIL_CLOSED", "FAIL_RELOAD", "FAIL_CLOSED", "FAIL_OPEN"] as const;

/** The plugin of a Wasm filter, as an index into the snapshot's list; undefined when its module cannot be used. */
export function buildWasmPlugin(context: BuildContext, wasm: Message, place: PluginPlace): number | undefined {
  const config = wasm.message("config");
  const vm = config?.message("vm_config");
  if (config === undefined || vm === undefined) {
    context.error(
      config ?? wasm,
      config === undefined ? "config" : "vm_config",
      "plugin",
      "a plugin needs config.vm_config with its code",
    );
    return undefined;
  }
  checkRuntime(context, vm);
  const code = moduleCode(context, vm);
  if (code === undefined) return undefined;
  const configuration = config.message("configuration");
  const vmConfiguration = vm.message("configuration");
  return context.addPlugin({
    ...place,
    name: config.text("name"),
    rootId: config.text("root_id"),
    vmId: vm.text("vm_id"),
    code,
    configuration: configuration === undefined ? new Uint8Array(0) : anyBytes(configuration),
    vmConfiguration: vmConfiguration === undefined ? new Uint8Array(0) : anyBytes(vmConfiguration),
    environment: environment(context, vm.message("environment_variables")),
    allowedCapabilities: capabilities(context, config),
    failurePolicy: failurePolicy(context, config),
    ...SANDBOX,
    reloadIntervalMs: reloadInterval(context, config),
    // What serves no streams has nothing to keep apart, and its state is what it is for.
    isolation: place.service === undefined ? undefined : "worker",
    allowOnHeadersStopIteration: config.wrappedFlag("allow_on_headers_stop_iteration", false),
    bundled: false,
  });
}

/** The plugin of a filter that ships with us. */
export function buildBundledPlugin(context: BuildContext, filter: Message, place: PluginPlace): number {
  const module = context.bundled[filter.type.name]?.module ?? "";
  if (!existsSync(module))
    context.error(filter, "", "module", `the module ${module} is not there; run "npm run build"`);
  const rateLimits = buildFilterRateLimits(context, filter);
  return context.addPlugin({
    ...place,
    ...(rateLimits === undefined ? {} : { rateLimits }),
    name: place.filterName,
    rootId: "",
    vmId: "",
    code: { kind: "file", path: module },
    configuration: encodeMessage(filter),
    vmConfiguration: new Uint8Array(0),
    environment: {},
    allowedCapabilities: undefined,
    failurePolicy: "FAIL_CLOSED",
    ...SANDBOX,
    allowOnHeadersStopIteration: true,
    bundled: true,
  });
}

/**
 * The bytes a plugin is configured with: Struct as JSON text, StringValue and BytesValue without their wrapper,
 * any other message serialized.
 */
export function anyBytes(any: Message): Uint8Array {
  const inner = any.any;
  if (inner === undefined) return new Uint8Array(0);
  if (inner.type.name === "google.protobuf.Struct")
    return new Uint8Array(Buffer.from(JSON.stringify(inner.json ?? {})));
  if (inner.type.name === "google.protobuf.StringValue") return new Uint8Array(Buffer.from(inner.text("value")));
  if (inner.type.name === "google.protobuf.BytesValue") return inner.bytes("value") ?? new Uint8Array(0);
  return encodeMessage(inner);
}

/** Everything that a capability list may name. */
const CAPABILITIES = new Set([...HOST_FUNCTIONS, ...EXPORTS].map(({ name }) => name));

/** An empty list restricts nothing, as in Envoy. */
function capabilities(context: BuildContext, config: Message): readonly string[] | undefined {
  const restriction = config.message("capability_restriction_config");
  const allowed = restriction?.map("allowed_capabilities");
  if (restriction === undefined || allowed === undefined || allowed.size === 0) return undefined;
  for (const name of allowed.keys()) {
    if (CAPABILITIES.has(name)) continue;
    const text = `no function of the host and no callback has the name "${name}"${didYouMean(name, CAPABILITIES)}`;
    context.warn(restriction, "allowed_capabilities", "unknown-capability", text);
  }
  return [...allowed.keys()];
}

/** ReloadConfig.backoff.base_interval; the jitter comes on top. */
function reloadInterval(context: BuildContext, config: Message): number {
  const backoff = config.message("reload_config")?.message("backoff");
  return backoff === undefined ? RELOAD_INTERVAL_MS : context.millis(backoff, "base_interval", RELOAD_INTERVAL_MS);
}

function failurePolicy(context: BuildContext, config: Message): PluginConfig["failurePolicy"] {
  const policy = config.number("failure_policy");
  if (policy !== 0 && config.flag("fail_open"))
    context.error(
      config,
      "fail_open",
      "plugin",
      "only one of fail_open and failure_policy may be set; keep failure_policy",
    );
  if (policy === 0) return config.flag("fail_open") ? "FAIL_OPEN" : "FAIL_CLOSED";
  return FAILURE_POLICIES[policy] ?? "FAIL_CLOSED";
}
