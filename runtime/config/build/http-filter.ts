/** The HTTP filters of a connection manager. */
import type { Message } from "../document/message.ts";
import type { HttpFilterConfig } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import type { FilterNames } from "./per-filter.ts";
import { buildBundledPlugin, buildWasmPlugin } from "./plugin.ts";

const ROUTER = "envoy.extensions.filters.http.router.v3.Router";
const WASM = "envoy.extensions.filters.http.wasm.v3.Wasm";

/** What per-route configuration needs to know of the filters, by name. */
export function httpFilterNames(manager: Message, built: readonly HttpFilterConfig[]): FilterNames {
  const plugins = new Map(built.map((filter) => [filter.name, filter.kind === "wasm" ? filter.plugin : undefined]));
  return new Map(
    manager.messages("http_filters").map((filter) => {
      const any = filter.message("typed_config");
      const name = filter.text("name");
      return [name, { type: any?.anyType ?? "", config: any?.any, plugin: plugins.get(name) }];
    }),
  );
}

/** The filters in order; what cannot be used is reported and left out. */
export function buildHttpFilters(
  context: BuildContext,
  manager: Message,
  place: { statPrefix: string; direction: number },
): HttpFilterConfig[] {
  const filters = manager.messages("http_filters");
  checkOrder(context, manager, filters);
  const names = new Set<string>();
  const result: HttpFilterConfig[] = [];
  for (const filter of filters) {
    const name = filter.text("name");
    if (names.has(name))
      context.error(
        filter,
        "name",
        "duplicate",
        `two HTTP filters have the name "${name}"; per-route configuration could not tell them apart`,
      );
    names.add(name);
    const built = buildHttpFilter(context, filter, { ...place, filterName: name });
    if (built !== undefined) result.push(built);
  }
  return result;
}

/** Envoy's rule: exactly one terminal filter, the router, at the end. */
function checkOrder(context: BuildContext, manager: Message, filters: readonly Message[]): void {
  const isRouter = (filter: Message): boolean => filter.message("typed_config")?.anyType === ROUTER;
  const last = filters.at(-1);
  if (last === undefined) {
    context.error(manager, "http_filters", "terminal-filter", "at least one HTTP filter is needed: the router");
    return;
  }
  for (const filter of filters.slice(0, -1)) {
    if (isRouter(filter))
      context.error(
        filter,
        "name",
        "terminal-filter",
        `terminal filter named ${filter.text("name")} of type ${ROUTER} must be the last filter in an http filter chain`,
      );
  }
  if (!isRouter(last))
    context.error(
      last,
      "name",
      "terminal-filter",
      `non-terminal filter named ${last.text("name")} must not be the last filter in an http filter chain; add ${ROUTER} behind it`,
    );
}

function buildHttpFilter(
  context: BuildContext,
  filter: Message,
  place: { filterName: string; statPrefix: string; direction: number },
): HttpFilterConfig | undefined {
  const name = place.filterName;
  const disabled = filter.flag("disabled");
  const typed = context.typedConfig(filter);
  if (typed === undefined) return undefined;
  const { type, config } = typed;
  if (type === ROUTER) {
    if (disabled) context.error(filter, "disabled", "terminal-filter", "the router cannot be disabled");
    return {
      kind: "router",
      name,
      disabled,
      suppressEnvoyHeaders: config.flag("suppress_envoy_headers"),
      respectExpectedRqTimeout: config.flag("respect_expected_rq_timeout"),
    };
  }
  if (type === WASM) {
    const plugin = buildWasmPlugin(context, config, place);
    return plugin === undefined ? undefined : { kind: "wasm", name, disabled, plugin };
  }
  if (context.isBundled(type, "http"))
    return { kind: "wasm", name, disabled, plugin: buildBundledPlugin(context, config, place) };
  context.error(filter, "typed_config", "any", `${type} is not an HTTP filter`);
  return undefined;
}
