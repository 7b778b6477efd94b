/**
 * The one list of what is built in, by message type. An extension is found by the type of its
 * configuration, never by its name, as in Envoy. HTTP filters other than the router, and mysql_proxy, are Wasm modules
 * that `sluice build` compiles from `filters/`.
 */
import { fileURLToPath } from "node:url";

/** A bundled filter: its configuration message, and the module that implements it. */
export interface BundledFilter {
  /** The name that Envoy's documentation gives the filter. */
  readonly name: string;
  /** Absolute path of the compiled module. */
  readonly module: string;
}

const BUILT = new URL("../build/filters/", import.meta.url);

function bundled(name: string, file: string): BundledFilter {
  return { name, module: fileURLToPath(new URL(`${file}.wasm`, BUILT)) };
}

/** Filters that ship as modules, by full message name, which also says whether they are HTTP or network filters. */
export const BUNDLED_FILTERS: Readonly<Record<string, BundledFilter>> = {
  "envoy.extensions.filters.http.fault.v3.HTTPFault": bundled("envoy.filters.http.fault", "fault"),
  "envoy.extensions.filters.http.ratelimit.v3.RateLimit": bundled("envoy.filters.http.ratelimit", "ratelimit"),
  "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit": bundled(
    "envoy.filters.http.local_ratelimit",
    "local_ratelimit",
  ),
  "envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy": bundled(
    "envoy.filters.network.mysql_proxy",
    "mysql_proxy",
  ),
};

/** What the host itself implements, by full message name. */
export const NATIVE_EXTENSIONS: Readonly<Record<string, string>> = {
  "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager":
    "envoy.filters.network.http_connection_manager",
  "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit": "envoy.filters.network.connection_limit",
  "envoy.extensions.filters.network.direct_response.v3.Config": "envoy.filters.network.direct_response",
  "envoy.extensions.filters.network.echo.v3.Echo": "envoy.filters.network.echo",
  "envoy.extensions.filters.network.rbac.v3.RBAC": "envoy.filters.network.rbac",
  "envoy.extensions.filters.network.sni_cluster.v3.SniCluster": "envoy.filters.network.sni_cluster",
  "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": "envoy.filters.network.tcp_proxy",
  "envoy.extensions.filters.http.router.v3.Router": "envoy.filters.http.router",
  "envoy.extensions.filters.http.wasm.v3.Wasm": "envoy.filters.http.wasm",
  "envoy.extensions.filters.network.wasm.v3.Wasm": "envoy.filters.network.wasm",
  "envoy.extensions.access_loggers.file.v3.FileAccessLog": "envoy.access_loggers.file",
  "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog": "envoy.access_loggers.stdout",
  "envoy.extensions.access_loggers.stream.v3.StderrAccessLog": "envoy.access_loggers.stderr",
  "envoy.extensions.access_loggers.wasm.v3.WasmAccessLog": "envoy.access_loggers.wasm",
  "envoy.extensions.wasm.v3.WasmService": "envoy.bootstrap.wasm",
  "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": "envoy.upstreams.http.http_protocol_options",
};
