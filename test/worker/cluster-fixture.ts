/** A cluster with one host, as a worker reports it. */
import type { ClusterStatus } from "../../runtime/upstream/cluster-status.ts";

export function clusterStatus(cxTotal: number): ClusterStatus {
  const circuitBreakers = { maxConnections: 1024, maxPendingRequests: 1024, maxRequests: 1024, maxRetries: 3 };
  const counts = {
    cxActive: 1,
    cxConnectFail: 0,
    cxTotal,
    rqActive: 0,
    rqError: 0,
    rqSuccess: 0,
    rqTimeout: 0,
    rqTotal: 0,
  };
  const host = { address: "127.0.0.1:8080", hostname: "", healthFlags: "healthy", weight: 1, priority: 0, ...counts };
  return { name: "up", statName: "up", circuitBreakers, hosts: [host] };
}
