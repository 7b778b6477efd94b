/** `envoy.filters.network.sni_cluster`: the server name that downstream asked for is the cluster of tcp_proxy. */
import { NetworkStatus } from "./filter.ts";
import type { FilterView, NetworkFilter, PassingFilterFactory } from "./filter.ts";
import { CLUSTER_STATE } from "./filter-state.ts";

export function sniCluster(name: string): PassingFilterFactory {
  return { name, terminal: false, reads: false, writes: false, create: (connection) => new SniCluster(connection) };
}

class SniCluster implements NetworkFilter {
  readonly #connection: FilterView;

  constructor(connection: FilterView) {
    this.#connection = connection;
  }

  onNewConnection(): number {
    const { info, stream } = this.#connection;
    if (info.serverName !== "") {
      stream.filterState ??= new Map();
      stream.filterState.set(CLUSTER_STATE, Buffer.from(info.serverName));
    }
    return NetworkStatus.CONTINUE;
  }

  onData(): number {
    return NetworkStatus.CONTINUE;
  }
  onWrite(): number {
    return NetworkStatus.CONTINUE;
  }
  onClose(): void {}
}
