/** envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager. */
import * as limits from "../../limits.ts";
import type { Message } from "../document/message.ts";
import type { ClientCertForwarding, HttpConnectionManagerConfig, RouteConfig } from "../snapshot.ts";
import { buildAccessLogs } from "./access-log.ts";
import { buildCidrs } from "./address.ts";
import type { BuildContext } from "./context.ts";
import { buildHttpFilters, httpFilterNames } from "./http-filter.ts";
import type { FilterNames } from "./per-filter.ts";
import { buildRouteConfig } from "./route.ts";
import { buildUpgrades } from "./upgrade.ts";

/** A connection manager; `direction` is its listener's traffic direction. */
export function buildConnectionManager(
  context: BuildContext,
  manager: Message,
  direction: number,
): HttpConnectionManagerConfig {
  const statPrefix = manager.text("stat_prefix");
  const httpFilters = buildHttpFilters(context, manager, { statPrefix: `http.${statPrefix}.`, direction });
  return {
    statPrefix,
    codecType: codecType(context, manager),
    routeConfig: routes(context, manager, httpFilterNames(manager, httpFilters)),
    httpFilters,
    ...identity(context, manager),
    ...commonOptions(context, manager),
    ...http1Options(manager),
    ...timeouts(context, manager),
    ...pathOptions(context, manager),
    internalCidrs: internalCidrs(context, manager),
    accessLogs: buildAccessLogs(context, manager, "access_log", { statPrefix: `http.${statPrefix}.`, direction }),
    ...http2Options(context, manager),
    ...clientCert(context, manager),
    upgrades: buildUpgrades(context, manager),
  };
}

function http2Options(context: BuildContext, manager: Message): Pick<HttpConnectionManagerConfig, "http2"> {
  const options = manager.message("http2_protocol_options");
  if (options === undefined) return {};
  const wanted = options.wrappedNumber("max_concurrent_streams", limits.H2_DOWNSTREAM_STREAMS);
  if (wanted > limits.H2_CONCURRENT_STREAMS)
    context.warn(
      options,
      "max_concurrent_streams",
      "limit",
      `a connection has at most ${limits.H2_CONCURRENT_STREAMS} streams: each may hold bytes for a reader that is slow`,
    );
  return {
    http2: {
      maxConcurrentStreams: Math.min(wanted, limits.H2_CONCURRENT_STREAMS),
      streamWindowBytes: options.wrappedNumber("initial_stream_window_size", limits.H2_STREAM_WINDOW_BYTES),
      connectionWindowBytes: options.wrappedNumber("initial_connection_window_size", limits.H2_CONNECTION_WINDOW_BYTES),
      allowConnect: options.flag("allow_connect"),
    },
  };
}

function clientCert(context: BuildContext, manager: Message): Pick<HttpConnectionManagerConfig, "clientCert"> {
  const mode = context.enumName(manager, "forward_client_cert_details") as ClientCertForwarding["mode"] | "";
  if (mode === "" || mode === "SANITIZE") return {};
  const wanted = manager.message("set_current_client_cert_details");
  const details = CLIENT_CERT_DETAILS.filter((detail) =>
    detail === "subject" ? wanted?.wrappedFlag(detail, false) : wanted?.flag(detail),
  );
  return { clientCert: { mode, details } };
}

/** In the order in which they are written. */
const CLIENT_CERT_DETAILS: readonly ClientCertForwarding["details"][number][] = [
  "cert",
  "chain",
  "subject",
  "uri",
  "dns",
];

function codecType(context: BuildContext, manager: Message): HttpConnectionManagerConfig["codecType"] {
  const type = context.enumName(manager, "codec_type");
  if (type === "HTTP3") context.unsupported(manager, "codec_type", "HTTP/3");
  return type === "HTTP1" || type === "HTTP2" ? type : "AUTO";
}

function routes(context: BuildContext, manager: Message, filters: FilterNames): RouteConfig {
  const table = manager.message("route_config");
  if (table !== undefined) return buildRouteConfig(context, filters, table);
  const other = manager.which("route_specifier");
  if (other !== undefined) context.unsupported(manager, other, `${other}; use route_config`);
  const none = { add: [], remove: [] };
  return {
    name: "",
    virtualHosts: [],
    requestHeaders: none,
    responseHeaders: none,
    internalOnlyHeaders: [],
    mostSpecificHeaderMutationsWins: false,
    ignorePortInHostMatching: false,
    perFilter: {},
  };
}

type Part<K extends keyof HttpConnectionManagerConfig> = Pick<HttpConnectionManagerConfig, K>;

function identity(
  context: BuildContext,
  manager: Message,
): Part<
  | "serverName"
  | "serverHeaderTransformation"
  | "via"
  | "useRemoteAddress"
  | "xffNumTrustedHops"
  | "skipXffAppend"
  | "generateRequestId"
  | "preserveExternalRequestId"
  | "alwaysSetRequestIdInResponse"
  | "addUserAgent"
  | "proxy100Continue"
> {
  const transformation = context.enumName(manager, "server_header_transformation");
  return {
    serverName: manager.text("server_name") || "envoy",
    serverHeaderTransformation:
      transformation === "APPEND_IF_ABSENT" || transformation === "PASS_THROUGH" ? transformation : "OVERWRITE",
    via: manager.text("via"),
    useRemoteAddress: manager.wrappedFlag("use_remote_address", false),
    xffNumTrustedHops: manager.number("xff_num_trusted_hops"),
    skipXffAppend: manager.flag("skip_xff_append"),
    generateRequestId: manager.wrappedFlag("generate_request_id", true),
    preserveExternalRequestId: manager.flag("preserve_external_request_id"),
    alwaysSetRequestIdInResponse: manager.flag("always_set_request_id_in_response"),
    addUserAgent: manager.wrappedFlag("add_user_agent", false),
    proxy100Continue: manager.flag("proxy_100_continue"),
  };
}

function commonOptions(
  context: BuildContext,
  manager: Message,
): Part<
  | "idleTimeoutMs"
  | "maxHeadersCount"
  | "maxConnectionDurationMs"
  | "maxStreamDurationMs"
  | "maxRequestsPerConnection"
  | "headersWithUnderscores"
> {
  const common = manager.message("common_http_protocol_options");
  const underscores = common === undefined ? "" : context.enumName(common, "headers_with_underscores_action");
  const millis = (field: string, unset: number): number =>
    common === undefined ? unset : context.millis(common, field, unset);
  return {
    idleTimeoutMs: millis("idle_timeout", limits.CONNECTION_IDLE_TIMEOUT_MS),
    maxHeadersCount: common?.wrappedNumber("max_headers_count", limits.MAX_HEADERS) ?? limits.MAX_HEADERS,
    maxConnectionDurationMs: millis("max_connection_duration", 0),
    maxStreamDurationMs: millis("max_stream_duration", 0),
    maxRequestsPerConnection: common?.wrappedNumber("max_requests_per_connection", 0) ?? 0,
    headersWithUnderscores: underscores === "REJECT_REQUEST" || underscores === "DROP_HEADER" ? underscores : "ALLOW",
  };
}

function http1Options(manager: Message): Part<"acceptHttp10" | "defaultHostForHttp10" | "enableTrailers"> {
  const options = manager.message("http_protocol_options");
  return {
    acceptHttp10: options?.flag("accept_http_10") ?? false,
    defaultHostForHttp10: options?.text("default_host_for_http_10") ?? "",
    enableTrailers: options?.flag("enable_trailers") ?? false,
  };
}

function timeouts(
  context: BuildContext,
  manager: Message,
): Part<
  | "maxRequestHeadersBytes"
  | "streamIdleTimeoutMs"
  | "requestTimeoutMs"
  | "requestHeadersTimeoutMs"
  | "delayedCloseTimeoutMs"
  | "drainTimeoutMs"
> {
  return {
    maxRequestHeadersBytes: manager.wrappedNumber("max_request_headers_kb", limits.MAX_HEAD_BYTES / 1024) * 1024,
    streamIdleTimeoutMs: context.millis(manager, "stream_idle_timeout", limits.STREAM_IDLE_TIMEOUT_MS),
    requestTimeoutMs: context.millis(manager, "request_timeout", 0),
    requestHeadersTimeoutMs: context.millis(manager, "request_headers_timeout", limits.REQUEST_HEAD_TIMEOUT_MS),
    delayedCloseTimeoutMs: context.millis(manager, "delayed_close_timeout", limits.DELAYED_CLOSE_TIMEOUT_MS),
    drainTimeoutMs: context.millis(manager, "drain_timeout", limits.HTTP_DRAIN_TIMEOUT_MS),
  };
}

function pathOptions(
  context: BuildContext,
  manager: Message,
): Part<"normalizePath" | "mergeSlashes" | "stripPort" | "stripTrailingHostDot"> {
  const matching = manager.flag("strip_matching_host_port");
  const any = manager.flag("strip_any_host_port");
  if (matching && any)
    context.error(
      manager,
      "strip_any_host_port",
      "host-port",
      "only one of strip_matching_host_port and strip_any_host_port may be set",
    );
  return {
    normalizePath: manager.wrappedFlag("normalize_path", false),
    mergeSlashes: manager.flag("merge_slashes"),
    stripPort: any ? "any" : matching ? "matching" : "none",
    stripTrailingHostDot: manager.flag("strip_trailing_host_dot"),
  };
}

function internalCidrs(context: BuildContext, manager: Message): readonly string[] {
  const internal = manager.message("internal_address_config");
  return internal === undefined ? [] : buildCidrs(context, internal, "cidr_ranges");
}
