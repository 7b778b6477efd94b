/** `/clusters`: clusters and their hosts, counts added up over the workers, as text and as admin.v3.Clusters. */
import { isIP } from "node:net";
import type { ClusterConfig } from "../config/snapshot.ts";
import type { HostReport } from "../worker/messages.ts";

/** Envoy's host statistics in its print order, and which of them are gauges. */
const HOST_STATS = ["cx_active", "cx_connect_fail", "cx_total", "rq_active", "rq_error", "rq_success", "rq_timeout", "rq_total"] as const;
const HOST_GAUGES: ReadonlySet<string> = new Set(["cx_active", "rq_active"]);

/** One fact per line, `cluster::fact::value`, as Envoy prints it. */
export function clustersText(clusters: readonly ClusterConfig[], reports: readonly HostReport[]): string {
  const hosts = mergeHosts(reports);
  const lines: string[] = [];
  for (const { name, statName, circuitBreakers: breakers } of clusters) {
    lines.push(`${name}::observability_name::${statName}`);
    lines.push(`${name}::default_priority::max_connections::${breakers.maxConnections}`);
    lines.push(`${name}::default_priority::max_pending_requests::${breakers.maxPendingRequests}`);
    lines.push(`${name}::default_priority::max_requests::${breakers.maxRequests}`);
    lines.push(`${name}::default_priority::max_retries::${breakers.maxRetries}`);
    lines.push(`${name}::added_via_api::false`);
    for (const host of hosts) {
      if (host.cluster !== name) continue;
      const start = `${name}::${host.address}::`;
      for (const stat of HOST_STATS) lines.push(`${start}${stat}::${host.counts[stat] ?? 0}`);
      lines.push(`${start}hostname::${host.hostname}`);
      lines.push(`${start}health_flags::${host.healthy ? "healthy" : "/failed_eds_health"}`);
      lines.push(`${start}weight::${host.weight}`, `${start}priority::${host.priority}`);
    }
  }
  return lines.map((line) => `${line}\n`).join("");
}

/** The same as admin.v3.Clusters. */
export function clustersJson(clusters: readonly ClusterConfig[], reports: readonly HostReport[]): object {
  const hosts = mergeHosts(reports);
  return {
    cluster_statuses: clusters.map(({ name, statName, circuitBreakers: breakers }) => ({
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
      host_statuses: hosts.filter((host) => host.cluster === name).map(hostJson),
    })),
  };
}

function hostJson(host: HostReport): object {
  return {
    address: addressJson(host.address),
    stats: HOST_STATS.map((name) => ({
      name,
      ...(host.counts[name] === undefined || host.counts[name] === 0 ? {} : { value: String(host.counts[name]) }),
      ...(HOST_GAUGES.has(name) ? { type: "GAUGE" } : {}),
    })),
    health_status: { eds_health_status: host.healthy ? "HEALTHY" : "UNHEALTHY" },
    weight: host.weight,
    ...(host.hostname === "" ? {} : { hostname: host.hostname }),
    ...(host.priority === 0 ? {} : { priority: host.priority }),
  };
}

function addressJson(text: string): object {
  const colon = text.lastIndexOf(":");
  const ip = text.slice(0, Math.max(0, colon)).replace(/^\[(.*)\]$/, "$1");
  if (isIP(ip) === 0) return { pipe: { path: text } };
  return { socket_address: { address: ip, port_value: Number(text.slice(colon + 1)) } };
}

/** Every worker has its own connections to a host; what it is (address, weight, health) they agree on. */
function mergeHosts(reports: readonly HostReport[]): HostReport[] {
  const merged = new Map<string, HostReport>();
  for (const report of reports) {
    const key = `${report.cluster}\0${report.address}`;
    const known = merged.get(key);
    if (known === undefined) {
      merged.set(key, report);
      continue;
    }
    const counts: Record<string, number> = { ...known.counts };
    for (const [name, count] of Object.entries(report.counts)) counts[name] = (counts[name] ?? 0) + count;
    merged.set(key, { ...known, healthy: known.healthy && report.healthy, counts });
  }
  return [...merged.values()].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
}
