/** What one worker knows of its hosts, for `/clusters`. */
import type { ClusterSet } from "../upstream/clusters.ts";
import type { HostReport } from "./messages.ts";

export function describeHosts(clusters: ClusterSet): HostReport[] {
  const reports: HostReport[] = [];
  for (const { name, hosts } of clusters.all()) {
    for (const host of hosts) {
      const { address, hostname, weight, priority, healthy } = host;
      const counts = {
        cx_active: host.cxActive,
        cx_connect_fail: host.cxConnectFail,
        cx_total: host.cxTotal,
        rq_active: host.rqActive,
        rq_error: host.rqError,
        rq_success: host.rqSuccess,
        rq_timeout: host.rqTimeout,
        rq_total: host.rqTotal,
      };
      reports.push({ cluster: name, address, hostname, weight, priority, healthy, counts });
    }
  }
  return reports;
}
