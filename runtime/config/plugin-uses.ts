/** Where listeners name plugins, by number, and how they are given other numbers. */
import type {
  AccessLogConfig,
  FilterChainConfig,
  HttpConnectionManagerConfig,
  ListenerConfig,
  NetworkFilterConfig,
} from "./snapshot.ts";

/** The number that stands there now; `use` tells the place in words that outlive changes around it. */
export type Renumber = (plugin: number, use: string) => number;

/** The same listeners with other numbers of plugins. */
export function renumberPlugins(listeners: readonly ListenerConfig[], renumber: Renumber): readonly ListenerConfig[] {
  return listeners.map((listener): ListenerConfig => {
    const chain = (one: FilterChainConfig): FilterChainConfig => {
      const use = `${listener.name}/${one.name}/${JSON.stringify(one.match)}`;
      return { ...one, filters: one.filters.map((filter) => networkFilter(filter, use, renumber)) };
    };
    return {
      ...listener,
      filterChains: listener.filterChains.map(chain),
      defaultFilterChain: listener.defaultFilterChain && chain(listener.defaultFilterChain),
      accessLogs: accessLogs(listener.accessLogs, `${listener.name}/log`, renumber),
    };
  });
}

/** Numbers of the plugins that some chains of a listener name. */
export function pluginsOf(chains: readonly FilterChainConfig[], listener: ListenerConfig): ReadonlySet<number> {
  const found = new Set<number>();
  renumberPlugins([{ ...listener, filterChains: chains, defaultFilterChain: undefined }], (plugin) => {
    found.add(plugin);
    return plugin;
  });
  return found;
}

function networkFilter(filter: NetworkFilterConfig, use: string, renumber: Renumber): NetworkFilterConfig {
  switch (filter.kind) {
    case "wasm":
      return { ...filter, plugin: renumber(filter.plugin, use) };
    case "http_connection_manager":
      return { ...filter, hcm: connectionManager(filter.hcm, use, renumber) };
    case "tcp_proxy": {
      const logs = accessLogs(filter.tcp.accessLogs, `${use}/log`, renumber);
      return { ...filter, tcp: { ...filter.tcp, accessLogs: logs } };
    }
    default:
      return filter;
  }
}

function connectionManager(
  hcm: HttpConnectionManagerConfig,
  use: string,
  renumber: Renumber,
): HttpConnectionManagerConfig {
  return {
    ...hcm,
    httpFilters: hcm.httpFilters.map((filter) =>
      filter.kind === "wasm" ? { ...filter, plugin: renumber(filter.plugin, `${use}/http`) } : filter,
    ),
    accessLogs: accessLogs(hcm.accessLogs, `${use}/http/log`, renumber),
  };
}

function accessLogs(logs: readonly AccessLogConfig[], use: string, renumber: Renumber): readonly AccessLogConfig[] {
  return logs.map((log) => ("plugin" in log ? { ...log, plugin: renumber(log.plugin, use) } : log));
}
