/** envoy.config.cluster.v3.Cluster: STATIC, DNS and ORIGINAL_DST clusters over TCP or TLS. */
import {
  CLUSTER_CONNECTIONS,
  CLUSTER_PENDING_REQUESTS,
  CLUSTER_REQUESTS,
  CLUSTER_RETRIES,
  CONNECT_TIMEOUT_MS,
  CONNECTION_BUFFER_BYTES,
  DNS_REFRESH_MS,
  RETRY_BUDGET_PERCENT,
  UPSTREAM_IDLE_TIMEOUT_MS,
} from "../../limits.ts";
import type { Message } from "../document/message.ts";
import type { CircuitBreakers, ClusterConfig, EndpointConfig } from "../snapshot.ts";
import { addressText } from "../../observe/address-text.ts";
import { buildAddress } from "./address.ts";
import type { BuildContext } from "./context.ts";
import { buildLoadBalancing } from "./load-balancing.ts";
import { buildOutlier } from "./outlier.ts";
import { buildSources } from "./source-addresses.ts";
import { filterMetadata } from "./metadata.ts";
import { type ChosenSocket, TransportSockets } from "./transport-sockets.ts";
import { buildOriginalDst } from "./original-dst.ts";

const PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/** HealthStatus values whose hosts get requests: UNKNOWN, HEALTHY, DEGRADED. */
const USABLE = new Set([0, 1, 5]);
const FAMILIES = ["AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"] as const;

/** A cluster; parts that cannot be used are reported and left at their defaults. */
export function buildCluster(context: BuildContext, cluster: Message): ClusterConfig {
  const name = cluster.text("name");
  const type = clusterType(context, cluster);
  const http = httpOptions(context, cluster);
  const outlier = buildOutlier(context, cluster);
  const refresh = context.millis(cluster, "dns_refresh_rate", DNS_REFRESH_MS);
  const failureRate = cluster.message("dns_failure_refresh_rate");
  const sockets = new TransportSockets(context, cluster);
  if (sockets.contexts.length > 0) checkServerNames(context, cluster);
  return {
    name,
    statName: (cluster.text("alt_stat_name") || name).replaceAll(":", "_"),
    type,
    ...buildLoadBalancing(context, cluster, type),
    ...(outlier === undefined ? {} : { outlier }),
    ...buildSources(context, cluster.message("upstream_bind_config")),
    ...(type === "ORIGINAL_DST" ? { originalDst: buildOriginalDst(context, cluster) } : {}),
    connectTimeoutMs: context.timerMillis(cluster, "connect_timeout", CONNECT_TIMEOUT_MS),
    perConnectionBufferLimitBytes: cluster.wrappedNumber("per_connection_buffer_limit_bytes", CONNECTION_BUFFER_BYTES),
    protocol: http.protocol,
    endpoints: buildEndpoints(context, cluster, { type, sockets }),
    ...(sockets.contexts.length === 0 ? {} : { tls: sockets.contexts, defaultTls: sockets.fallback.tls }),
    ...(sockets.fallback.proxyProtocol === undefined ? {} : { defaultProxyProtocol: sockets.fallback.proxyProtocol }),
    dnsRefreshRateMs: refresh,
    dnsFailureRefreshRateMs:
      failureRate === undefined ? refresh : context.millis(failureRate, "base_interval", refresh),
    dnsLookupFamily: FAMILIES[cluster.number("dns_lookup_family")] ?? "AUTO",
    idleTimeoutMs: http.idleTimeoutMs,
    maxRequestsPerConnection: http.maxRequestsPerConnection,
    circuitBreakers: circuitBreakers(context, cluster.message("circuit_breakers")),
    metadata: filterMetadata(cluster),
  };
}

/** Server names of single requests; harmless to leave out only where there is no TLS. */
function checkServerNames(context: BuildContext, cluster: Message): void {
  const extensions = cluster.map("typed_extension_protocol_options").values();
  const inner = [...extensions].map((value) => (typeof value === "object" && "any" in value ? value.any : undefined));
  for (const owner of [cluster, ...inner]) {
    const options = owner?.message("upstream_http_protocol_options");
    for (const field of ["auto_sni", "auto_san_validation", "override_auto_sni_header"])
      if (options?.has(field) === true)
        context.unsupported(
          options,
          field,
          `${field}; name the server with sni or auto_host_sni of the UpstreamTlsContext`,
        );
  }
}

function clusterType(context: BuildContext, cluster: Message): ClusterConfig["type"] {
  const type = context.enumName(cluster, "type");
  if (type === "STATIC" || type === "STRICT_DNS" || type === "LOGICAL_DNS" || type === "ORIGINAL_DST") return type;
  if (cluster.has("cluster_type")) context.unsupported(cluster, "cluster_type", "custom cluster types");
  else if (type !== "") context.unsupported(cluster, "type", `clusters of the type ${type}`);
  return "STATIC";
}

interface HttpOptions {
  readonly protocol: "HTTP1" | "HTTP2";
  readonly idleTimeoutMs: number;
  readonly maxRequestsPerConnection: number;
}

/** HttpProtocolOptions, or the older fields of the cluster itself. */
function httpOptions(context: BuildContext, cluster: Message): HttpOptions {
  const extensions = cluster.map("typed_extension_protocol_options");
  let options: Message | undefined;
  for (const [key, value] of extensions) {
    const inner = typeof value === "object" && "any" in value ? value.any : undefined;
    if (inner?.type.name === PROTOCOL_OPTIONS) options = inner;
    else if (inner !== undefined)
      context.unsupported(cluster, "typed_extension_protocol_options", `protocol options of ${key}`);
  }
  const common = options?.message("common_http_protocol_options") ?? cluster.message("common_http_protocol_options");
  const perConnection = common?.wrappedNumber("max_requests_per_connection", 0) ?? 0;
  return {
    protocol:
      options === undefined
        ? cluster.has("http2_protocol_options")
          ? "HTTP2"
          : "HTTP1"
        : explicitProtocol(context, options),
    idleTimeoutMs:
      common === undefined
        ? UPSTREAM_IDLE_TIMEOUT_MS
        : context.millis(common, "idle_timeout", UPSTREAM_IDLE_TIMEOUT_MS),
    maxRequestsPerConnection: perConnection || cluster.wrappedNumber("max_requests_per_connection", 0),
  };
}

function explicitProtocol(context: BuildContext, options: Message): "HTTP1" | "HTTP2" {
  const explicit = options.message("explicit_http_config");
  const chosen = explicit?.which("protocol_config");
  if (explicit !== undefined && chosen === "http3_protocol_options") context.unsupported(explicit, chosen, "HTTP/3");
  const http2 = explicit?.message("http2_protocol_options");
  // Used of downstream's alone.
  for (const field of http2?.slots.keys() ?? [])
    if (HTTP2_SIZES.has(field)) context.warn(http2!, field, "ignored", `the field has no effect for clusters`);
  return chosen === "http2_protocol_options" ? "HTTP2" : "HTTP1";
}

const HTTP2_SIZES = new Set(["max_concurrent_streams", "initial_stream_window_size", "initial_connection_window_size"]);

function circuitBreakers(context: BuildContext, message: Message | undefined): CircuitBreakers {
  // Only requests of the priority DEFAULT exist here.
  const thresholds = message?.messages("thresholds").find((entry) => context.enumName(entry, "priority") === "DEFAULT");
  const budget = thresholds?.message("retry_budget");
  const bound = (field: string, unset: number): number => thresholds?.wrappedNumber(field, unset) ?? unset;
  return {
    maxConnections: bound("max_connections", CLUSTER_CONNECTIONS),
    maxPendingRequests: bound("max_pending_requests", CLUSTER_PENDING_REQUESTS),
    maxRequests: bound("max_requests", CLUSTER_REQUESTS),
    maxRetries: bound("max_retries", CLUSTER_RETRIES),
    ...(budget === undefined
      ? {}
      : {
          retryBudget: {
            percent: budget.message("budget_percent")?.number("value") ?? RETRY_BUDGET_PERCENT,
            minConcurrency: budget.wrappedNumber("min_retry_concurrency", CLUSTER_RETRIES),
          },
        }),
  };
}

function buildEndpoints(
  context: BuildContext,
  cluster: Message,
  { type, sockets }: { readonly type: ClusterConfig["type"]; readonly sockets: TransportSockets },
): EndpointConfig[] {
  const assignment = cluster.message("load_assignment");
  if (type === "ORIGINAL_DST") {
    if (assignment !== undefined)
      context.error(
        cluster,
        "load_assignment",
        "cluster",
        "ORIGINAL_DST clusters must have no load assignment configured",
      );
    return [];
  }
  if (assignment === undefined) {
    context.warn(
      cluster,
      "",
      "no-endpoints",
      `cluster ${cluster.text("name")} has no load_assignment: every request to it will be answered 503`,
    );
    return [];
  }
  const localities = assignment.messages("endpoints");
  const endpoints: EndpointConfig[] = [];
  const seen = new Set<string>();
  for (const locality of localities) {
    for (const entry of locality.messages("lb_endpoints")) {
      const endpoint = buildEndpoint(context, entry, {
        priority: locality.number("priority"),
        literal: type === "STATIC",
        socket: sockets.choose(entry, locality),
      });
      if (endpoint === undefined) continue;
      const key = `${endpoint.priority} ${addressText(endpoint.address)}`;
      if (!seen.has(key)) endpoints.push(endpoint);
      seen.add(key);
    }
  }
  const single = localities.length === 1 && localities[0]?.messages("lb_endpoints").length === 1;
  if (type === "LOGICAL_DNS" && !single) {
    context.error(
      cluster,
      "load_assignment",
      "cluster",
      "LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint",
    );
  }
  return endpoints;
}

function buildEndpoint(
  context: BuildContext,
  entry: Message,
  options: { priority: number; literal: boolean; socket: ChosenSocket },
): EndpointConfig | undefined {
  const endpoint = entry.message("endpoint");
  const address =
    endpoint === undefined
      ? undefined
      : buildAddress(context, endpoint, { field: "address", literal: options.literal });
  if (endpoint === undefined || address === undefined) {
    if (!entry.has("endpoint_name")) context.error(entry, "endpoint", "endpoint", "an endpoint needs an address");
    return undefined;
  }
  if (!options.literal && address.kind === "pipe")
    context.error(endpoint, "address", "endpoint", "a DNS cluster needs host names; pipes belong into STATIC clusters");
  return {
    address,
    hostname: endpoint.text("hostname"),
    weight: entry.wrappedNumber("load_balancing_weight", 1),
    priority: options.priority,
    ...(options.socket.tls === undefined ? {} : { tls: options.socket.tls }),
    ...(options.socket.proxyProtocol === undefined ? {} : { proxyProtocol: options.socket.proxyProtocol }),
    ...(entry.has("metadata") ? { metadata: filterMetadata(entry) } : {}),
    healthy: USABLE.has(entry.number("health_status")),
    ...(context.enumName(entry, "health_status") === "DEGRADED" ? { degraded: true } : {}),
  };
}
