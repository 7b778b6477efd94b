/** envoy.config.listener.v3.ListenerFilter, by the type of its configuration. */
import type { Message } from "../document/message.ts";
import type { ListenerFilterConfig, ListenerFilterKind, ListenerFilterPredicate } from "../listener-snapshot.ts";
import type { BuildContext } from "./context.ts";

const ORIGINAL_DST = "original_dst";
const LISTENER = "envoy.extensions.filters.listener.";

/** The listener filters that are built in, by the full name of their configuration. */
const KINDS: ReadonlyMap<string, (context: BuildContext, config: Message) => ListenerFilterKind> = new Map([
  [`${LISTENER}original_dst.v3.OriginalDst`, () => ({ kind: ORIGINAL_DST })],
]);

/** The listener filters of a listener, in order. `use_original_dst` brings its filter along. */
export function buildListenerFilters(context: BuildContext, listener: Message): ListenerFilterConfig[] {
  const filters = listener
    .messages("listener_filters")
    .map((filter) => buildListenerFilter(context, filter))
    .filter((filter) => filter !== undefined);
  if (listener.wrappedFlag("use_original_dst", false) && !filters.some(({ filter }) => filter.kind === ORIGINAL_DST))
    filters.push({ name: "envoy.filters.listener.original_dst", disabled: undefined, filter: { kind: ORIGINAL_DST } });
  return filters;
}

function buildListenerFilter(context: BuildContext, filter: Message): ListenerFilterConfig | undefined {
  const any = filter.message("typed_config");
  if (any === undefined || any.anyType === "") {
    if (!filter.has("config_discovery") && !filter.hasFailed("typed_config"))
      context.error(filter, "typed_config", "any", `typed_config with "@type" is missing`);
    return undefined;
  }
  const build = KINDS.get(any.anyType);
  if (any.any === undefined) return undefined;
  if (build === undefined) {
    if (any.anyType.startsWith(LISTENER))
      context.unsupported(filter, "typed_config", `the listener filter ${any.anyType}`);
    else context.error(filter, "typed_config", "any", `${any.anyType} is not a listener filter`);
    return undefined;
  }
  const predicate = filter.message("filter_disabled");
  return {
    name: filter.text("name"),
    disabled: predicate === undefined ? undefined : buildPredicate(predicate),
    filter: build(context, any.any),
  };
}

function buildPredicate(predicate: Message): ListenerFilterPredicate {
  switch (predicate.which("rule")) {
    case "or_match":
    case "and_match": {
      const kind = predicate.has("or_match") ? "or" : "and";
      return { kind, rules: (predicate.message(`${kind}_match`)?.messages("rules") ?? []).map(buildPredicate) };
    }
    case "not_match":
      return { kind: "not", rule: buildPredicate(predicate.message("not_match")!) };
    case "destination_port_range": {
      const range = predicate.message("destination_port_range");
      return { kind: "destination_port", start: range?.number("start") ?? 0, end: range?.number("end") ?? 0 };
    }
    default:
      return { kind: "any" };
  }
}
