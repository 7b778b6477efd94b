/** What the admin page `/clusters` shows: plain data of each worker, merged and printed on the main thread. */
import type { CircuitBreakers } from "../config/snapshot.ts";
import type { Cluster } from "./cluster.ts";
import type { Host } from "./host.ts";

export interface HostStatus {
  readonly address: string;
  readonly hostname: string;
  readonly cxActive: number;
  readonly cxConnectFail: number;
  readonly cxTotal: number;
  readonly rqActive: number;
  readonly rqError: number;
  readonly rqSuccess: number;
  readonly rqTimeout: number;
  readonly rqTotal: number;
  /** `healthy`, or Envoy's flags such as `/failed_eds_health`. */
  readonly healthFlags: string;
  readonly weight: number;
  readonly priority: number;
}

export interface ClusterStatus {
  readonly name: string;
  readonly statName: string;
  readonly circuitBreakers: CircuitBreakers;
  readonly hosts: readonly HostStatus[];
}

/** The state of one worker's clusters now; may be posted to another thread. */
export function clusterStatuses(clusters: Iterable<Cluster>): ClusterStatus[] {
  return Array.from(clusters, (cluster) => ({
    name: cluster.name,
    statName: cluster.config.statName,
    circuitBreakers: { ...cluster.config.circuitBreakers },
    hosts: cluster.hosts.map((host) => ({
      address: host.address,
      hostname: host.hostname,
      cxActive: host.cxActive,
      cxConnectFail: host.cxConnectFail,
      cxTotal: host.cxTotal,
      rqActive: host.rqActive,
      rqError: host.rqError,
      rqSuccess: host.rqSuccess,
      rqTimeout: host.rqTimeout,
      rqTotal: host.rqTotal,
      healthFlags: healthFlags(host),
      weight: host.weight,
      priority: host.priority,
    })),
  }));
}

function healthFlags({ configuredHealthy, degraded, ejected }: Host): string {
  const flags = [
    ejected ? "/failed_outlier_check" : "",
    configuredHealthy ? "" : "/failed_eds_health",
    configuredHealthy && degraded ? "/degraded_eds_health" : "",
  ];
  return flags.join("") || "healthy";
}

/** Adds up what the workers say; a host counts once however many workers know it. */
export function mergeClusterStatuses(workers: readonly (readonly ClusterStatus[])[]): ClusterStatus[] {
  const merged = new Map<string, { status: ClusterStatus; hosts: Map<string, HostStatus> }>();
  for (const status of workers.flat()) {
    let cluster = merged.get(status.name);
    if (cluster === undefined) merged.set(status.name, (cluster = { status, hosts: new Map() }));
    for (const host of status.hosts) {
      const key = `${host.priority} ${host.address}`;
      const known = cluster.hosts.get(key);
      cluster.hosts.set(key, known === undefined ? host : sum(known, host));
    }
  }
  return Array.from(merged.values(), ({ status, hosts }) => ({ ...status, hosts: [...hosts.values()] }));
}

/** Envoy's text format: one fact per line. */
export function clustersText(clusters: readonly ClusterStatus[]): string {
  const lines: string[] = [];
  for (const { name, statName, circuitBreakers, hosts } of clusters) {
    lines.push(`${name}::observability_name::${statName}`);
    // Routes of high priority share the thresholds: there is one pool for both.
    for (const priority of ["default_priority", "high_priority"]) {
      lines.push(
        `${name}::${priority}::max_connections::${circuitBreakers.maxConnections}`,
        `${name}::${priority}::max_pending_requests::${circuitBreakers.maxPendingRequests}`,
        `${name}::${priority}::max_requests::${circuitBreakers.maxRequests}`,
        `${name}::${priority}::max_retries::${circuitBreakers.maxRetries}`,
      );
    }
    lines.push(`${name}::added_via_api::false`);
    for (const host of hosts) lines.push(...hostLines(`${name}::${host.address}`, host));
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

function hostLines(prefix: string, host: HostStatus): string[] {
  const facts: readonly (readonly [string, string | number | boolean])[] = [
    ["cx_active", host.cxActive],
    ["cx_connect_fail", host.cxConnectFail],
    ["cx_total", host.cxTotal],
    ["rq_active", host.rqActive],
    ["rq_error", host.rqError],
    ["rq_success", host.rqSuccess],
    ["rq_timeout", host.rqTimeout],
    ["rq_total", host.rqTotal],
    ["hostname", host.hostname],
    ["health_flags", host.healthFlags],
    ["weight", host.weight],
    ["region", ""],
    ["zone", ""],
    ["sub_zone", ""],
    ["canary", false],
    ["priority", host.priority],
    ["success_rate", -1],
    ["local_origin_success_rate", -1],
  ];
  return facts.map(([key, value]) => `${prefix}::${key}::${value}`);
}

function sum(a: HostStatus, b: HostStatus): HostStatus {
  return {
    ...a,
    // Workers judge hosts each for itself: what one of them has against a host is shown.
    healthFlags: a.healthFlags === "healthy" ? b.healthFlags : a.healthFlags,
    cxActive: a.cxActive + b.cxActive,
    cxConnectFail: a.cxConnectFail + b.cxConnectFail,
    cxTotal: a.cxTotal + b.cxTotal,
    rqActive: a.rqActive + b.rqActive,
    rqError: a.rqError + b.rqError,
    rqSuccess: a.rqSuccess + b.rqSuccess,
    rqTimeout: a.rqTimeout + b.rqTimeout,
    rqTotal: a.rqTotal + b.rqTotal,
  };
}
