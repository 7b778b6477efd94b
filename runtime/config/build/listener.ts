/** envoy.config.listener.v3.Listener: TCP listeners. */
import { CONNECTION_BUFFER_BYTES, LISTEN_BACKLOG, LISTENER_FILTERS_TIMEOUT_MS } from "../../limits.ts";
import { canonicalIp } from "../../observe/ip-mask.ts";
import type { Message } from "../document/message.ts";
import type { Address, FilterChainConfig, ListenerConfig, NetworkFilterConfig } from "../snapshot.ts";
import { buildAccessLogs } from "./access-log.ts";
import { addressText } from "../../observe/address-text.ts";
import { buildAddress } from "./address.ts";
import { buildConnectionManager } from "./connection-manager.ts";
import type { BuildContext } from "./context.ts";
import { buildFilterChainMatch, checkFilterChainMatches } from "./filter-chain-match.ts";
import { buildListenerFilters } from "./listener-filter.ts";
import { buildNativeFilter, TERMINAL_FILTERS } from "./network-filter.ts";
import { buildBundledPlugin, buildWasmPlugin } from "./plugin.ts";
import { buildSocketSettings } from "./socket-settings.ts";
import { buildDownstreamTls } from "./tls.ts";
import { ipFamily } from "../../observe/ip-family.ts";

const NETWORK = "envoy.extensions.filters.network.";
const CONNECTION_MANAGER = `${NETWORK}http_connection_manager.v3.HttpConnectionManager`;
const WASM = `${NETWORK}wasm.v3.Wasm`;

/** Listener.DrainType. */
const MODIFY_ONLY = 1;

/** A listener, or undefined when it has no usable address. */
export function buildListener(context: BuildContext, listener: Message): ListenerConfig | undefined {
  const address = buildAddress(context, listener, { field: "address", literal: true });
  const chains = buildFilterChains(context, listener);
  const fallback = listener.message("default_filter_chain");
  if (address === undefined) {
    if (!listener.has("address")) context.error(listener, "address", "listener", "a listener needs an address");
    return undefined;
  }
  const additional = listener
    .messages("additional_addresses")
    .map((entry) => buildAddress(context, entry, { field: "address", literal: true }));
  const text = addressText(address);
  const direction = listener.number("traffic_direction");
  return {
    name: listener.text("name") || text,
    address,
    additionalAddresses: additional.filter((entry): entry is Address => entry !== undefined),
    statPrefix: (listener.text("stat_prefix") || text).replaceAll(":", "_"),
    bindToPort: bindsToPort(listener),
    reusePort: listener.wrappedFlag("enable_reuse_port", true),
    backlog: listener.wrappedNumber("tcp_backlog_size", LISTEN_BACKLOG),
    socket: buildSocketSettings(context, listener),
    connectionBalance: buildBalance(context, listener),
    useOriginalDst: listener.wrappedFlag("use_original_dst", false),
    ignoreGlobalConnectionLimit: listener.flag("ignore_global_conn_limit"),
    drainsOnHealthCheckFail: listener.number("drain_type") !== MODIFY_ONLY,
    perConnectionBufferLimitBytes: listener.wrappedNumber("per_connection_buffer_limit_bytes", CONNECTION_BUFFER_BYTES),
    trafficDirection: direction,
    listenerFilters: buildListenerFilters(context, listener, chains),
    listenerFiltersTimeoutMs: context.millis(listener, "listener_filters_timeout", LISTENER_FILTERS_TIMEOUT_MS),
    continueOnListenerFiltersTimeout: listener.flag("continue_on_listener_filters_timeout"),
    filterChains: chains,
    defaultFilterChain: fallback === undefined ? undefined : buildFilterChain(context, fallback, direction),
    accessLogs: buildAccessLogs(context, listener, "access_log", { statPrefix: "", direction }),
  };
}

function buildBalance(context: BuildContext, listener: Message): ListenerConfig["connectionBalance"] {
  const balance = listener.message("connection_balance_config");
  if (balance?.has("extend_balance") === true)
    context.unsupported(balance, "extend_balance", "balancers other than exact_balance");
  return balance?.has("exact_balance") === true ? "exact" : "none";
}

/** Reports listeners that share a name or an address. */
export function checkListeners(context: BuildContext, messages: readonly Message[]): void {
  const names = new Set<string>();
  const owners = new Map<string, string>();
  for (const [index, message] of messages.entries()) {
    const name = message.text("name");
    if (name !== "" && names.has(name))
      context.error(message, "name", "duplicate", `duplicate listener name '${name}'`);
    names.add(name);
    const label = name === "" ? `number ${index + 1}` : `'${name}'`;
    for (const owner of [message, ...message.messages("additional_addresses")]) {
      const address = owner.message("address");
      const key = address === undefined ? undefined : addressKey(address, bindsToPort(message));
      if (key === undefined) continue;
      const other = owners.get(key);
      if (other === undefined) owners.set(key, label);
      else
        context.error(
          owner,
          "address",
          "duplicate",
          `listener ${label} has duplicate address '${key}' as existing listener ${other}`,
        );
    }
  }
}

/** What two addresses have in common when they are the same; undefined: any number of listeners may have it. */
function addressKey(address: Message, binds: boolean): string | undefined {
  const socket = address.message("socket_address");
  if (socket === undefined) return address.message("pipe")?.text("path");
  // Who binds port 0 gets a port of its own.
  if (binds && socket.number("port_value") === 0) return undefined;
  const host = socket.text("address");
  return `${ipFamily(host) === 6 ? `[${canonicalIp(host)}]` : host}:${socket.number("port_value")}`;
}

function bindsToPort(listener: Message): boolean {
  const deprecated = listener.message("deprecated_v1")?.wrappedFlag("bind_to_port", true);
  return listener.wrappedFlag("bind_to_port", deprecated ?? true);
}

function buildFilterChains(context: BuildContext, listener: Message): FilterChainConfig[] {
  const messages = listener.messages("filter_chains");
  if (messages.length === 0 && !listener.has("default_filter_chain"))
    context.error(
      listener,
      "",
      "filter-chain",
      `no filter chains specified for the listener '${listener.text("name")}'`,
    );
  const chains = messages.map((chain) => buildFilterChain(context, chain, listener.number("traffic_direction")));
  checkFilterChainMatches(context, messages, chains);
  return chains;
}

function buildFilterChain(context: BuildContext, chain: Message, direction: number): FilterChainConfig {
  const filters = chain.messages("filters");
  const last = filters.at(-1);
  if (last === undefined) context.warn(chain, "", "no-filters", "without filters every connection is closed at once");
  for (const filter of filters) {
    const type = filter.message("typed_config")?.anyType ?? "";
    const terminal = type === CONNECTION_MANAGER || TERMINAL_FILTERS.has(type);
    if (terminal && filter !== last)
      context.error(
        filter,
        "name",
        "terminal-filter",
        `terminal filter named ${filter.text("name")} must be the last filter in a network filter chain`,
      );
    if (!terminal && filter === last && filter.message("typed_config")?.any !== undefined) {
      context.error(
        filter,
        "name",
        "terminal-filter",
        `non-terminal filter named ${filter.text("name")} must not be the last filter in a network filter chain`,
      );
    }
  }
  const built = filters.map((filter) => buildNetworkFilter(context, filter, direction));
  return {
    name: chain.text("name"),
    match: buildFilterChainMatch(context, chain),
    filters: built.filter((filter) => filter !== undefined),
    tls: buildDownstreamTls(context, chain),
    transportConnectTimeoutMs: context.millis(chain, "transport_socket_connect_timeout", 0),
  };
}

function buildNetworkFilter(
  context: BuildContext,
  filter: Message,
  direction: number,
): NetworkFilterConfig | undefined {
  const name = filter.text("name");
  const typed = context.typedConfig(filter);
  if (typed === undefined) return undefined;
  const { type, config } = typed;
  if (type === CONNECTION_MANAGER)
    return { kind: "http_connection_manager", name, hcm: buildConnectionManager(context, config, direction) };
  const place = { filterName: name, statPrefix: "", direction, network: true } as const;
  if (context.isBundled(type, "network"))
    return { kind: "wasm", name, plugin: buildBundledPlugin(context, config, place) };
  if (type !== WASM) {
    const native = buildNativeFilter(context, { name, direction }, config);
    if (native !== undefined) return native;
    context.unknownFilter(filter, type, "network filter", NETWORK);
    return undefined;
  }
  const plugin = buildWasmPlugin(context, config, place);
  return plugin === undefined ? undefined : { kind: "wasm", name, plugin };
}
