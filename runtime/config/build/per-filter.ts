/** typed_per_filter_config: a filter's override on a route, virtual host, route table or weighted cluster. */
import { isDeepStrictEqual } from "node:util";

import { MAX_ROUTE_CONFIGURATIONS } from "../../limits.ts";
import { dumpMessage } from "../document/dump.ts";
import type { Message } from "../document/message.ts";
import { didYouMean } from "../document/suggest.ts";
import { encodeMessage } from "../schema/wire.ts";
import type { FilterOverride, PerFilterConfig } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import { anyBytes } from "./plugin.ts";
import { buildFilterRateLimits } from "./rate-limit.ts";

/** One filter of a connection manager, as its overrides see it. */
interface KnownFilter {
  readonly name: string;
  /** Full name of its configuration's type. */
  readonly type: string;
  readonly config: Message | undefined;
  /** Index of its plugin; undefined for the router, and when the plugin cannot be used. */
  readonly plugin: number | undefined;
}

/** The filters of one connection manager by name. */
export type FilterNames = ReadonlyMap<string, Omit<KnownFilter, "name">>;

const FILTER_CONFIG = "envoy.config.route.v3.FilterConfig";
const HTTP_FILTERS = "envoy.extensions.filters.http.";
const WASM = `${HTTP_FILTERS}wasm.v3.Wasm`;
const ROUTER = `${HTTP_FILTERS}router.v3.Router`;
/** Where the override is another message than the filter's own. */
const OVERRIDE_TYPES: Readonly<Record<string, string>> = {
  [`${HTTP_FILTERS}ratelimit.v3.RateLimit`]: `${HTTP_FILTERS}ratelimit.v3.RateLimitPerRoute`,
};

/** The overrides that a message holds. */
export function buildPerFilter(context: BuildContext, filters: FilterNames, owner: Message): PerFilterConfig {
  const result: Record<string, PerFilterConfig[string]> = {};
  for (const [name, value] of owner.map("typed_per_filter_config")) {
    if (typeof value !== "object" || !("slots" in value)) continue;
    const inner = value.any;
    const wrapped = inner?.type.name === FILTER_CONFIG;
    const config = wrapped ? inner.message("config") : value;
    const known = filters.get(name);
    if (known === undefined) {
      if (!(wrapped && inner.flag("is_optional"))) {
        context.error(
          value,
          "",
          "unknown-filter",
          `no HTTP filter has the name "${name}"${didYouMean(name, filters.keys())}`,
        );
      }
      continue;
    }
    const override = config?.any === undefined ? undefined : buildOverride(context, { ...known, name }, config);
    if (override === undefined && !wrapped) continue;
    const disabled = wrapped && inner.flag("disabled");
    // Without own bytes there is nothing that a guest could ask for: the id stays 0, "none".
    Object.defineProperty(result, name, {
      value: { disabled, ...(override ?? { id: 0, bytes: undefined }) },
      enumerable: true,
    });
  }
  return result;
}

/** What an override says beyond `disabled`; undefined when it is not usable, which is reported. */
function buildOverride(
  context: BuildContext,
  filter: KnownFilter,
  config: Message,
): Omit<FilterOverride, "disabled"> | undefined {
  const message = config.any;
  if (message === undefined) return undefined;
  if (filter.type === ROUTER) {
    context.error(config, "", "per-filter", "the router has no configuration per route");
    return undefined;
  }
  if (filter.type === WASM) return buildPluginOverride(context, filter, config);
  const wanted = OVERRIDE_TYPES[filter.type] ?? filter.type;
  if (message.type.name !== wanted) {
    context.error(
      config,
      "",
      "per-filter",
      `the filter "${filter.name}" takes ${wanted} per route, not ${message.type.name}`,
    );
    return undefined;
  }
  const rateLimits = buildFilterRateLimits(context, message);
  const bytes = encodeMessage(message);
  return {
    // Each place has its own, equal or not: guests keep state by it, such as token buckets.
    id: context.overrideId(context.placeOf(config), bytes),
    bytes,
    ...(rateLimits === undefined ? {} : { rateLimits }),
  };
}

/** A module's configuration on a route: the bare message, or a Wasm message that differs in `configuration` only. */
function buildPluginOverride(
  context: BuildContext,
  filter: KnownFilter,
  config: Message,
): Omit<FilterOverride, "disabled"> | undefined {
  const message = config.any;
  if (message === undefined || filter.plugin === undefined) return undefined;
  const bytes = message.type.name === WASM ? wasmConfiguration(context, filter, message) : anyBytes(config);
  const id = context.routeConfiguration(filter.plugin, bytes);
  if (id !== undefined) return { id, bytes };
  context.error(
    config,
    "",
    "per-filter",
    `the filter "${filter.name}" has more than ${MAX_ROUTE_CONFIGURATIONS} different configurations`,
  );
  return undefined;
}

function wasmConfiguration(context: BuildContext, filter: KnownFilter, wasm: Message): Uint8Array {
  const plugin = wasm.message("config");
  const own = filter.config?.message("config");
  for (const name of plugin?.slots.keys() ?? []) {
    if (name === "configuration" || plugin === undefined) continue;
    if (own !== undefined && sameField(context, plugin, own, name)) continue;
    context.error(
      plugin,
      name,
      "per-filter",
      `a route changes the configuration only: ${name} must be absent, or what the filter "${filter.name}" has`,
    );
  }
  const configuration = plugin?.message("configuration");
  return configuration === undefined ? new Uint8Array(0) : anyBytes(configuration);
}

function sameField(context: BuildContext, a: Message, b: Message, name: string): boolean {
  const read = (message: Message): unknown => {
    const dump = dumpMessage(message, context.schema);
    return typeof dump === "object" && dump !== null ? Object.entries(dump).find(([key]) => key === name)?.[1] : dump;
  };
  return isDeepStrictEqual(read(a), read(b));
}
