/** The network filters that the host itself implements, from their configuration. */
import type { NativeFilterConfig } from "../config/network-snapshot.ts";
import { ConnectionLimit } from "./connection-limit.ts";
import { directResponse } from "./direct-response.ts";
import { echo } from "./echo.ts";
import type { NetworkEnvironment } from "./environment.ts";
import type { NetworkFilterFactory } from "./filter.ts";
import { NetworkRbac } from "./rbac.ts";
import { sniCluster } from "./sni-cluster.ts";
import { TcpProxy } from "./tcp-proxy.ts";

/** The factory of one entry of a filter chain. */
export function nativeFilter(config: NativeFilterConfig, environment: NetworkEnvironment): NetworkFilterFactory {
  switch (config.kind) {
    case "tcp_proxy":
      return new TcpProxy(config.name, config.tcp, environment);
    case "echo":
      return echo(config.name);
    case "direct_response":
      return directResponse(config.name, Buffer.from(config.response));
    case "sni_cluster":
      return sniCluster(config.name);
    case "connection_limit":
      return new ConnectionLimit(config.name, config.limit, environment);
    case "rbac":
      return new NetworkRbac(config.name, config.rbac, environment.stats);
  }
}
