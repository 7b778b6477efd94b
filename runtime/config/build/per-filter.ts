/** typed_per_filter_config: a filter's override on a route, virtual host, route table or weighted cluster. */
import type { Message } from "../document/message.ts";
import { didYouMean } from "../document/suggest.ts";
import { encodeMessage } from "../schema/wire.ts";
import type { PerFilterConfig } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import { anyBytes } from "./plugin.ts";
import { buildFilterRateLimits } from "./rate-limit.ts";

/** The filters of one connection manager: name to the type of its configuration. */
export type FilterNames = ReadonlyMap<string, string>;

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
    const filterType = filters.get(name);
    if (filterType === undefined) {
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
    const bytes = config?.any === undefined ? undefined : overrideBytes(context, { name, type: filterType }, config);
    const disabled = wrapped && inner.flag("disabled");
    if (bytes === undefined && !wrapped) continue;
    const message = config?.any;
    const bundled = bytes !== undefined && message !== undefined && Object.hasOwn(context.bundled, filterType);
    const rateLimits = bundled ? buildFilterRateLimits(context, message) : undefined;
    // Without own bytes there is nothing that a guest could ask for: the id stays 0, "none".
    const id = bytes === undefined ? 0 : context.nextOverrideId();
    Object.defineProperty(result, name, {
      value: { disabled, id, bytes, ...(rateLimits === undefined ? {} : { rateLimits }) },
      enumerable: true,
    });
  }
  return result;
}

function overrideBytes(
  context: BuildContext,
  filter: { name: string; type: string },
  config: Message,
): Uint8Array | undefined {
  const message = config.any;
  if (message === undefined) return undefined;
  if (filter.type === ROUTER) {
    context.error(config, "", "per-filter", "the router has no configuration per route");
    return undefined;
  }
  if (filter.type === WASM) {
    if (message.type.name !== WASM) return anyBytes(config);
    const plugin = message.message("config");
    const configuration = plugin?.message("configuration");
    return configuration === undefined ? new Uint8Array(0) : anyBytes(configuration);
  }
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
  return encodeMessage(message);
}
