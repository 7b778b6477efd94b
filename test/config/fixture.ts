/** What the tests of the configuration share: a bootstrap that is right, and short forms of the results. */
import assert from "node:assert/strict";

import { loadBootstrap, type LoadOptions, type LoadResult } from "../../runtime/config/load.ts";
import type { Problem } from "../../runtime/config/problem.ts";
import type { HttpConnectionManagerConfig, Snapshot } from "../../runtime/config/snapshot.ts";

const HTTP = "envoy.extensions.filters.http";

/** This file stands for modules whose content does not matter. */
export const OPTIONS: LoadOptions = {
  bundledFilters: {
    [`${HTTP}.fault.v3.HTTPFault`]: { name: "fault", module: import.meta.filename },
    [`${HTTP}.ratelimit.v3.RateLimit`]: { name: "ratelimit", module: import.meta.filename },
    [`${HTTP}.local_ratelimit.v3.LocalRateLimit`]: { name: "local_ratelimit", module: import.meta.filename },
  },
};

/** Loads one text. */
export function load(text: string, options: Partial<LoadOptions> = {}, base = import.meta.dirname): LoadResult {
  return loadBootstrap([{ name: "test.yaml", text, base }], { ...OPTIONS, ...options });
}

/** The snapshot of a text that must be right. */
export function snapshotOf(text: string, options: Partial<LoadOptions> = {}): Snapshot {
  const { snapshot, errors } = load(text, options);
  assert.deepEqual(errors, []);
  assert.ok(snapshot);
  return snapshot;
}

/** `line:column path rule` of each problem. */
export function brief(problems: readonly Problem[]): string[] {
  return problems.map((p) => `${p.line}:${p.column} ${p.path} ${p.rule}`);
}

export interface Parts {
  readonly manager?: string;
  readonly filters?: string;
  readonly routes?: string;
  readonly host?: string;
  readonly table?: string;
  readonly listener?: string;
  readonly chain?: string;
  readonly cluster?: string;
  /** More virtual hosts, each begun by a comma. */
  readonly hosts?: string;
  /** More clusters, each begun by a dash. */
  readonly clusters?: string;
  readonly rest?: string;
}

/** A whole bootstrap in flow style; each part is put in where it belongs, ended by a comma. */
export function bootstrap(parts: Parts = {}): string {
  return `
${parts.rest ?? ""}
static_resources:
  listeners:
  - { name: l, address: { socket_address: { address: 127.0.0.1, port_value: 0 } }, ${parts.listener ?? ""}
      filter_chains: [ { ${parts.chain ?? ""} filters: [ { name: hcm, typed_config: {
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
        stat_prefix: in, ${parts.manager ?? ""}
        http_filters: [ ${parts.filters ?? ""}
          { name: router, typed_config: { "@type": type.googleapis.com/${HTTP}.router.v3.Router } } ],
        route_config: { ${parts.table ?? ""} virtual_hosts: [ { name: h, domains: ["*"], ${parts.host ?? ""}
          routes: [ ${parts.routes ?? "{ match: { prefix: / }, route: { cluster: up } }"} ] } ${parts.hosts ?? ""} ] }
      } } ] } ] }
  clusters:
  - { name: up, connect_timeout: 1s, ${parts.cluster ?? ""}
      load_assignment: { cluster_name: up, endpoints: [ { lb_endpoints: [
        { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 80 } } } } ] } ] } }
  ${parts.clusters ?? ""}
`;
}

/** The connection manager of a snapshot. */
export function managerOf(snapshot: Snapshot): HttpConnectionManagerConfig {
  const filter = snapshot.listeners[0]?.filterChains[0]?.filters[0];
  assert.ok(filter?.kind === "http_connection_manager");
  return filter.hcm;
}
