/** envoy.config.listener.v3.ListenerFilter, by the type of its configuration. */
import { MAX_CLIENT_HELLO_BYTES } from "../../limits.ts";
import type { Message } from "../document/message.ts";
import type { ListenerFilterConfig, ListenerFilterKind, ListenerFilterPredicate } from "../listener-snapshot.ts";
import { needsHello } from "../../tls/secure-context.ts";
import type { FilterChainConfig } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import { passedFields, PROXY_VERSIONS } from "./proxy-protocol.ts";

const ORIGINAL_DST = "original_dst";
const LISTENER = "envoy.extensions.filters.listener.";

/** The listener filters that are built in, by the full name of their configuration. */
const KINDS: ReadonlyMap<string, (context: BuildContext, config: Message) => ListenerFilterKind> = new Map([
  [`${LISTENER}original_dst.v3.OriginalDst`, () => ({ kind: ORIGINAL_DST })],
  [`${LISTENER}tls_inspector.v3.TlsInspector`, (_context, config) => buildTlsInspector(config)],
  [`${LISTENER}http_inspector.v3.HttpInspector`, () => ({ kind: "http_inspector" })],
  [`${LISTENER}proxy_protocol.v3.ProxyProtocol`, buildProxyProtocol],
]);

/** The namespace of a rule that names none. */
const PROXY_PROTOCOL_METADATA = "envoy.filters.listener.proxy_protocol";

function buildTlsInspector(config: Message): ListenerFilterKind {
  return {
    kind: "tls_inspector",
    ja3: config.wrappedFlag("enable_ja3_fingerprinting", false),
    ja4: config.wrappedFlag("enable_ja4_fingerprinting", false),
    maxHelloBytes: config.wrappedNumber("max_client_hello_size", MAX_CLIENT_HELLO_BYTES),
    closeOnBrokenHello: config.flag("close_connection_on_client_hello_parsing_errors"),
  };
}

function buildProxyProtocol(context: BuildContext, config: Message): ListenerFilterKind {
  if (context.enumName(config, "tlv_location") === "FILTER_STATE")
    context.unsupported(config, "tlv_location", "fields in filter state; DYNAMIC_METADATA has them");
  return {
    kind: "proxy_protocol",
    allowMissing: config.flag("allow_requests_without_proxy_protocol"),
    disallowedVersions: config.numbers("disallowed_versions").map((version) => PROXY_VERSIONS[version] ?? 1),
    statPrefix: config.text("stat_prefix"),
    passed: passedFields(context, config),
    rules: config.messages("rules").flatMap((rule) => {
      const target = rule.message("on_tlv_present");
      if (target === undefined) return [];
      const namespace = target.text("metadata_namespace") || PROXY_PROTOCOL_METADATA;
      return [{ type: rule.number("tlv_type"), namespace, key: target.text("key") }];
    }),
  };
}

/** The listener filters of a listener, in order. `use_original_dst` and chains that look at TLS bring their filters along. */
export function buildListenerFilters(
  context: BuildContext,
  listener: Message,
  chains: readonly FilterChainConfig[],
): ListenerFilterConfig[] {
  const filters = listener
    .messages("listener_filters")
    .map((filter) => buildListenerFilter(context, filter))
    .filter((filter) => filter !== undefined);
  if (listener.wrappedFlag("use_original_dst", false) && !filters.some(({ filter }) => filter.kind === ORIGINAL_DST))
    filters.push({ name: "envoy.filters.listener.original_dst", disabled: undefined, filter: { kind: ORIGINAL_DST } });
  if (chains.some(looksAtHello) && !filters.some(({ filter }) => filter.kind === "tls_inspector")) {
    context.warn(
      listener,
      "listener_filters",
      "tls-inspector",
      "filter chains need the TLS inspector listener filter, but it isn't configured: it is put in at the end",
    );
    filters.push({
      name: "envoy.filters.listener.tls_inspector",
      disabled: undefined,
      filter: {
        kind: "tls_inspector",
        ja3: false,
        ja4: false,
        maxHelloBytes: MAX_CLIENT_HELLO_BYTES,
        closeOnBrokenHello: false,
      },
    });
  }
  return filters;
}

/** True for a chain that is chosen by what only a hello tells, or whose certificates are. */
function looksAtHello({ match, tls }: FilterChainConfig): boolean {
  const { transportProtocol, serverNames, applicationProtocols } = match;
  const asked = serverNames.length > 0 || applicationProtocols.length > 0;
  return transportProtocol === "tls" || (transportProtocol === "" && asked) || (tls !== undefined && needsHello(tls));
}

function buildListenerFilter(context: BuildContext, filter: Message): ListenerFilterConfig | undefined {
  const typed = context.typedConfig(filter);
  if (typed === undefined) return undefined;
  const { type, config } = typed;
  const build = KINDS.get(type);
  if (build === undefined) {
    context.unknownFilter(filter, type, "listener filter", LISTENER);
    return undefined;
  }
  const predicate = filter.message("filter_disabled");
  return {
    name: filter.text("name"),
    disabled: predicate === undefined ? undefined : buildPredicate(predicate),
    filter: build(context, config),
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
