/** `/clusters?format=json`: admin.v3.Clusters in protobuf JSON (the text form is the upstream room's). */
import { isIP } from "node:net";
import type { ClusterStatus, HostStatus } from "../upstream/cluster-status.ts";

/** Envoy's host statistics: name, member, whether it is a gauge. */
const HOST_STATS = [
  ["cx_connect_fail", "cxConnectFail", false],
  ["cx_total", "cxTotal", false],
  ["rq_error", "rqError", false],
  ["rq_success", "rqSuccess", false],
  ["rq_timeout", "rqTimeout", false],
  ["rq_total", "rqTotal", false],
  ["cx_active", "cxActive", true],
  ["rq_active", "rqActive", true],
] as const;

export function clustersJson(clusters: readonly ClusterStatus[]): object {
  return {
    cluster_statuses: clusters.map(({ name, statName, circuitBreakers: breakers, hosts }) => ({
      name,
      observability_name: statName,
      circuit_breakers: {
        thresholds: [
          {
            max_connections: breakers.maxConnections,
            max_pending_requests: breakers.maxPendingRequests,
            max_requests: breakers.maxRequests,
            max_retries: breakers.maxRetries,
          },
        ],
      },
      host_statuses: hosts.map(hostJson),
    })),
  };
}

/** Members that hold their default value are left out, as protobuf JSON does; 64-bit numbers are strings. */
function hostJson(host: HostStatus): object {
  return {
    address: addressJson(host.address),
    stats: HOST_STATS.map(([name, member, gauge]) => ({
      name,
      ...(host[member] === 0 ? {} : { value: String(host[member]) }),
      ...(gauge ? { type: "GAUGE" } : {}),
    })),
    health_status: healthJson(host.healthFlags),
    weight: host.weight,
    ...(host.hostname === "" ? {} : { hostname: host.hostname }),
    ...(host.priority === 0 ? {} : { priority: host.priority }),
  };
}

function healthJson(flags: string): object {
  const eds = flags.includes("/failed_eds_health")
    ? "UNHEALTHY"
    : flags.includes("/degraded_eds_health")
      ? "DEGRADED"
      : "HEALTHY";
  return { ...(flags.includes("/failed_outlier_check") ? { failed_outlier_check: true } : {}), eds_health_status: eds };
}

function addressJson(text: string): object {
  const colon = text.lastIndexOf(":");
  const ip = text.slice(0, Math.max(0, colon)).replace(/^\[(.*)\]$/, "$1");
  if (isIP(ip) === 0) return { pipe: { path: text } };
  return { socket_address: { address: ip, port_value: Number(text.slice(colon + 1)) } };
}
