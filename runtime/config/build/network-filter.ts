/** The network filters of the host itself: tcp_proxy and its small companions. */
import { isPath } from "../../codec/h1-target.ts";
import { MAX_DIRECT_RESPONSE_BYTES, MAX_TOTAL_WEIGHT, TCP_BACKOFF_BASE_MS, TCP_IDLE_TIMEOUT_MS } from "../../limits.ts";
import type { Message } from "../document/message.ts";
import type {
  ConnectionLimitConfig,
  NativeFilterConfig,
  TcpProxyConfig,
  TunnelingConfig,
} from "../network-snapshot.ts";
import { buildAccessLogs } from "./access-log.ts";
import { buildBackoff } from "./backoff.ts";
import type { BuildContext } from "./context.ts";
import { readDataSource } from "./data-source.ts";
import { buildConnectionHashPolicy } from "./hash-policy.ts";
import { buildHeadersToAdd } from "./header-mutation.ts";
import { metadataMatch } from "./metadata.ts";
import { buildNetworkRbac } from "./rbac.ts";

const NETWORK = "envoy.extensions.filters.network.";
const TCP_PROXY = `${NETWORK}tcp_proxy.v3.TcpProxy`;
const ECHO = `${NETWORK}echo.v3.Echo`;
const DIRECT_RESPONSE = `${NETWORK}direct_response.v3.Config`;

/** Messages of filters that end a chain, beside http_connection_manager. */
export const TERMINAL_FILTERS: ReadonlySet<string> = new Set([TCP_PROXY, ECHO, DIRECT_RESPONSE]);

/** A filter of the host itself; undefined for any other message. */
export function buildNativeFilter(
  context: BuildContext,
  { name, direction }: { readonly name: string; readonly direction: number },
  config: Message,
): NativeFilterConfig | undefined {
  switch (config.type.name) {
    case TCP_PROXY:
      return { kind: "tcp_proxy", name, tcp: buildTcpProxy(context, config, direction) };
    case ECHO:
      return { kind: "echo", name };
    case DIRECT_RESPONSE:
      return { kind: "direct_response", name, response: response(context, config) };
    case `${NETWORK}sni_cluster.v3.SniCluster`:
      return { kind: "sni_cluster", name };
    case `${NETWORK}connection_limit.v3.ConnectionLimit`:
      return { kind: "connection_limit", name, limit: buildConnectionLimit(context, config) };
    case `${NETWORK}rbac.v3.RBAC`:
      return { kind: "rbac", name, rbac: buildNetworkRbac(context, config) };
    default:
      return undefined;
  }
}

function buildTcpProxy(context: BuildContext, proxy: Message, direction: number): TcpProxyConfig {
  const options = proxy.message("access_log_options");
  if (options !== undefined) {
    for (const field of ["access_log_flush_interval", "flush_access_log_on_connected"]) {
      if (proxy.has(field) && (field !== "flush_access_log_on_connected" || proxy.flag(field)))
        context.error(proxy, field, "tcp-proxy", `${field} stands in access_log_options already; set one of them`);
    }
  }
  const log = options ?? proxy;
  const hashPolicy = buildConnectionHashPolicy(proxy);
  const tunneling = buildTunneling(context, proxy);
  return {
    statPrefix: proxy.text("stat_prefix"),
    clusters: clusters(context, proxy),
    ...metadataMatch(proxy),
    ...(hashPolicy === undefined ? {} : { hashPolicy }),
    ...(tunneling === undefined ? {} : { tunneling }),
    idleTimeoutMs: context.millis(proxy, "idle_timeout", TCP_IDLE_TIMEOUT_MS),
    maxConnectionDurationMs: context.millis(proxy, "max_downstream_connection_duration", 0),
    maxConnectionDurationJitterPercent:
      proxy.message("max_downstream_connection_duration_jitter_percentage")?.number("value") ?? 0,
    maxConnectAttempts: proxy.wrappedNumber("max_connect_attempts", 1),
    connectOnData: connectsOnData(context, proxy),
    maxEarlyDataBytes: proxy.wrappedNumber("max_early_data_bytes", 0),
    backoff: backoff(context, proxy),
    accessLogs: buildAccessLogs(context, proxy, "access_log", { statPrefix: "", direction }),
    accessLogFlushIntervalMs: context.millis(log, "access_log_flush_interval", 0),
    accessLogOnConnected: log.flag("flush_access_log_on_connected"),
    accessLogOnStart: options?.flag("flush_access_log_on_start") ?? false,
  };
}

/** Filters see a connection once its TLS handshake is over, so that waiting for the handshake is no mode of its own. */
function connectsOnData(context: BuildContext, proxy: Message): boolean {
  const onData = context.enumName(proxy, "upstream_connect_mode") === "ON_DOWNSTREAM_DATA";
  if (onData && !proxy.has("max_early_data_bytes"))
    context.error(proxy, "upstream_connect_mode", "tcp-proxy", "ON_DOWNSTREAM_DATA needs max_early_data_bytes");
  return onData;
}

function clusters(context: BuildContext, proxy: Message): TcpProxyConfig["clusters"] {
  const weighted = proxy.message("weighted_clusters");
  if (weighted === undefined) return [{ name: context.cluster(proxy, "cluster"), weight: 1 }];
  const entries = weighted.messages("clusters").map((entry) => ({
    name: context.cluster(entry, "name"),
    weight: entry.number("weight"),
    ...metadataMatch(entry),
  }));
  if (entries.reduce((sum, { weight }) => sum + weight, 0) > MAX_TOTAL_WEIGHT)
    context.error(weighted, "clusters", "weighted-cluster", "the weights must add up to less than 2^32");
  return entries;
}

function buildTunneling(context: BuildContext, proxy: Message): TunnelingConfig | undefined {
  const tunneling = proxy.message("tunneling_config");
  if (tunneling === undefined) return undefined;
  const post = tunneling.flag("use_post");
  const postPath = tunneling.text("post_path");
  if (postPath !== "" && !post)
    context.error(
      tunneling,
      "post_path",
      "tunneling",
      "Can't set a post path when POST method isn't used; add use_post: true",
    );
  if (postPath !== "" && !isPath(postPath))
    context.error(tunneling, "post_path", "tunneling", `${JSON.stringify(postPath)} is no path`);
  return {
    hostname: context.format(tunneling, "hostname", tunneling.text("hostname")),
    post,
    postPath: postPath || "/",
    headers: buildHeadersToAdd(context, tunneling, "headers_to_add"),
  };
}

function backoff(context: BuildContext, proxy: Message): TcpProxyConfig["backoff"] {
  const options = proxy.message("backoff_options");
  return options === undefined ? undefined : buildBackoff(context, options, TCP_BACKOFF_BASE_MS, "backoff");
}

function response(context: BuildContext, config: Message): Uint8Array {
  const source = config.message("response");
  const bytes = source === undefined ? undefined : readDataSource(context, source, MAX_DIRECT_RESPONSE_BYTES);
  return bytes ?? new Uint8Array(0);
}

function buildConnectionLimit(context: BuildContext, limit: Message): ConnectionLimitConfig {
  if (!limit.has("max_connections") && !limit.hasFailed("max_connections"))
    context.error(limit, "max_connections", "connection-limit", "the field is required; add it");
  const enabled = limit.message("runtime_enabled");
  return {
    statPrefix: limit.text("stat_prefix"),
    maxConnections: limit.wrappedNumber("max_connections", 1),
    delayMs: context.millis(limit, "delay", 0),
    enabled: enabled?.wrappedFlag("default_value", true) ?? true,
    runtimeKey: enabled?.text("runtime_key") ?? "",
    countKey: `connection_limit ${context.placeOf(limit)}`,
  };
}
