/** Configurations of the host's own network filters: what becomes of them, and what is refused. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { NetworkFilterConfig } from "../../runtime/config/snapshot.ts";
import { brief, load, snapshotOf } from "./fixture.ts";

const TYPE = "type.googleapis.com/envoy.extensions.filters.network";

function withFilters(...filters: string[]): string {
  return `
static_resources:
  listeners:
  - { name: l, address: { socket_address: { address: 127.0.0.1, port_value: 0 } },
      filter_chains: [ { filters: [ ${filters.join(", ")} ] } ] }
  clusters:
  - { name: c, load_assignment: { cluster_name: c } }
  - { name: d, load_assignment: { cluster_name: d } }
`;
}

const tcp = (fields: string): string =>
  `{ name: tcp, typed_config: { "@type": ${TYPE}.tcp_proxy.v3.TcpProxy, stat_prefix: s, ${fields} } }`;
const rbac = (fields: string): string =>
  `{ name: rbac, typed_config: { "@type": ${TYPE}.rbac.v3.RBAC, stat_prefix: s, ${fields} } }`;

function filtersOf(...filters: string[]): readonly NetworkFilterConfig[] {
  return snapshotOf(withFilters(...filters)).listeners[0]!.filterChains[0]!.filters;
}

test("tcp_proxy: tunnels", () => {
  const tunnelOf = (fields: string): unknown => {
    const [filter] = filtersOf(tcp(`cluster: c, tunneling_config: { ${fields} }`));
    return filter?.kind === "tcp_proxy" ? filter.tcp.tunneling : undefined;
  };
  const headers = { add: [], remove: [] };
  assert.deepEqual(tunnelOf("hostname: 'a:1'"), { hostname: "a:1", post: false, postPath: "/", headers });
  assert.deepEqual(
    tunnelOf(
      "hostname: '%DYNAMIC_METADATA(a:b)%:443', use_post: true, post_path: /p, headers_to_add: [ { header: { key: X-A, value: b } } ]",
    ),
    {
      hostname: "%DYNAMIC_METADATA(a:b)%:443",
      post: true,
      postPath: "/p",
      headers: {
        add: [{ name: "x-a", value: "b", action: "APPEND_IF_EXISTS_OR_ADD", keepEmptyValue: false }],
        remove: [],
      },
    },
  );
  const cases = [
    ["", "hostname string.min_len"],
    ["hostname: '%NO_SUCH%'", "hostname format"],
    ["hostname: a, post_path: /p", "post_path tunneling"],
    ["hostname: a, use_post: true, post_path: p", "post_path tunneling"],
    [
      "hostname: a, headers_to_add: [ { header: { key: host, value: b } } ]",
      "headers_to_add[0].header.key header-name",
    ],
    ["hostname: a, propagate_response_headers: true", "propagate_response_headers not-supported"],
  ] as const;
  for (const [fields, wanted] of cases) {
    const { errors } = load(withFilters(tcp(`cluster: c, tunneling_config: { ${fields} }`)));
    assert.deepEqual(
      brief(errors).map((line) => line.slice(line.indexOf("tunneling_config.") + 17)),
      [wanted],
    );
  }
});

test("tcp_proxy: defaults, and every field", () => {
  assert.deepEqual(filtersOf(tcp("cluster: c")), [
    {
      kind: "tcp_proxy",
      name: "tcp",
      tcp: {
        statPrefix: "s",
        clusters: [{ name: "c", weight: 1 }],
        idleTimeoutMs: 3_600_000,
        maxConnectionDurationMs: 0,
        maxConnectionDurationJitterPercent: 0,
        maxConnectAttempts: 1,
        connectOnData: false,
        maxEarlyDataBytes: 0,
        backoff: undefined,
        accessLogs: [],
        accessLogFlushIntervalMs: 0,
        accessLogOnConnected: false,
        accessLogOnStart: false,
      },
    },
  ]);
  const [filter] = filtersOf(
    tcp(`weighted_clusters: { clusters: [ { name: c, weight: 3 }, { name: d, weight: 1 } ] }, idle_timeout: 0s,
      max_downstream_connection_duration: 5s, max_downstream_connection_duration_jitter_percentage: { value: 10 },
      max_connect_attempts: 3, upstream_connect_mode: ON_DOWNSTREAM_DATA, max_early_data_bytes: 10, backoff_options: { base_interval: 0.1s, max_interval: 2s },
      access_log_options: { access_log_flush_interval: 1s, flush_access_log_on_connected: true, flush_access_log_on_start: true }`),
  );
  assert.ok(filter?.kind === "tcp_proxy");
  assert.deepEqual(filter.tcp, {
    statPrefix: "s",
    clusters: [
      { name: "c", weight: 3 },
      { name: "d", weight: 1 },
    ],
    idleTimeoutMs: 0,
    maxConnectionDurationMs: 5000,
    maxConnectionDurationJitterPercent: 10,
    maxConnectAttempts: 3,
    connectOnData: true,
    maxEarlyDataBytes: 10,
    backoff: { baseMs: 100, maxMs: 2000 },
    accessLogs: [],
    accessLogFlushIntervalMs: 1000,
    accessLogOnConnected: true,
    accessLogOnStart: true,
  });
});

test("the small filters", () => {
  const filters = filtersOf(
    `{ name: sni, typed_config: { "@type": ${TYPE}.sni_cluster.v3.SniCluster } }`,
    `{ name: limit, typed_config: { "@type": ${TYPE}.connection_limit.v3.ConnectionLimit, stat_prefix: s,
       max_connections: 7, delay: 0.5s, runtime_enabled: { default_value: false, runtime_key: k } } }`,
    `{ name: say, typed_config: { "@type": ${TYPE}.direct_response.v3.Config, response: { inline_string: hello } } }`,
  );
  assert.deepEqual(
    filters.map((filter) => ({ ...filter })),
    [
      { kind: "sni_cluster", name: "sni" },
      {
        kind: "connection_limit",
        name: "limit",
        limit: {
          statPrefix: "s",
          maxConnections: 7,
          delayMs: 500,
          enabled: false,
          runtimeKey: "k",
          countKey: "connection_limit listener l.filter_chains[0].filters[1].typed_config",
        },
      },
      { kind: "direct_response", name: "say", response: Buffer.from("hello") },
    ],
  );
  assert.deepEqual(filtersOf(`{ name: e, typed_config: { "@type": ${TYPE}.echo.v3.Echo } }`), [
    { kind: "echo", name: "e" },
  ]);
});

test("rbac: rules become matchers, policies in the order of their names", () => {
  const [filter] = filtersOf(
    rbac(`enforcement_type: CONTINUOUS, shadow_rules_stat_prefix: trial_, delay_deny: 1s, rules: { action: DENY, policies: {
      b: { permissions: [ { any: true } ], principals: [ { any: true } ] },
      a: { permissions: [ { and_rules: { rules: [ { destination_port: 80 }, { not_rule: { destination_ip: { address_prefix: 10.0.0.0, prefix_len: 8 } } } ] } } ],
           principals: [ { metadata: { filter: ns, path: [ { key: x } ], value: { list_match: { one_of: { string_match: { exact: update } } } } } } ] } } }`),
    tcp("cluster: c"),
  );
  assert.ok(filter?.kind === "rbac");
  assert.equal(filter.rbac.continuous, true);
  assert.equal(filter.rbac.shadowStatPrefix, "trial_");
  assert.equal(filter.rbac.delayDenyMs, 1000);
  assert.equal(filter.rbac.shadowRules, undefined);
  const or = (...of: unknown[]): unknown => ({ kind: "or", of });
  assert.deepEqual(filter.rbac.rules, {
    action: "DENY",
    policies: [
      {
        name: "a",
        match: {
          kind: "and",
          of: [
            or({
              kind: "and",
              of: [
                { kind: "port", start: 80, end: 81 },
                { kind: "not", of: { kind: "ip", whose: "destination", cidr: "10.0.0.0/8" } },
              ],
            }),
            or({
              kind: "metadata",
              metadata: {
                namespace: "ns",
                path: ["x"],
                value: {
                  kind: "one_of",
                  value: { kind: "string", string: { kind: "exact", value: "update", ignoreCase: false } },
                },
                invert: false,
              },
            }),
          ],
        },
      },
      { name: "b", match: { kind: "and", of: [or({ kind: "any" }), or({ kind: "any" })] } },
    ],
  });
});

test("the example of the README is a configuration", () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const example = /^### TCP\n[^]*?```yaml\n([^]*?)```/m.exec(readme)![1]!;
  const indented = example.replaceAll(/^/gm, "    ").trimEnd();
  const { filterChains } = snapshotOf(`
static_resources:
  listeners:
  - name: l
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
${indented}
  clusters: [ { name: db, load_assignment: { cluster_name: db } } ]
`).listeners[0]!;
  assert.deepEqual(
    filterChains[0]!.filters.map(({ kind }) => kind),
    ["rbac", "tcp_proxy"],
  );
});

test("mistakes are told with place and rule", () => {
  const policy = (permission: string, principal: string): string =>
    rbac(`rules: { policies: { p: { permissions: [ ${permission} ], principals: [ ${principal} ] } } }`);
  const any = "{ any: true }";
  const cases: readonly [filters: readonly string[], problem: RegExp][] = [
    [[tcp("cluster: x")], /cluster unknown-cluster/],
    [[tcp("idle_timeout: 1s")], /oneof\.required/],
    [
      [tcp("cluster: c, tunneling_config: { hostname: x, propagate_response_trailers: true }")],
      /propagate_response_trailers not-supported/,
    ],
    [[tcp("cluster: c, on_demand: { resources_locator: x }")], /on_demand not-supported/],
    [[tcp("cluster: c, upstream_connect_mode: ON_DOWNSTREAM_DATA")], /upstream_connect_mode tcp-proxy/],
    [[tcp("cluster: c, max_connect_attempts: 0")], /max_connect_attempts/],
    [[tcp("cluster: c, backoff_options: { base_interval: 2s, max_interval: 1s }")], /max_interval backoff/],
    [[tcp("weighted_clusters: { clusters: [ { name: c, weight: 0 } ] }")], /weight/],
    [[tcp("cluster: c"), tcp("cluster: c")], /terminal-filter/],
    [[rbac("rules: {}")], /terminal-filter/],
    [[policy("{ header: { name: a, present_match: true } }", any), tcp("cluster: c")], /header rbac/],
    [[policy(any, "{ url_path: { path: { exact: a } } }"), tcp("cluster: c")], /url_path rbac/],
    [
      [policy("{ destination_port_range: { start: 5, end: 5 } }", any), tcp("cluster: c")],
      /destination_port_range rbac/,
    ],
    [[policy("{ destination_ip: { address_prefix: no, prefix_len: 8 } }", any), tcp("cluster: c")], /ip-address/],
    [
      [
        `{ name: n, typed_config: { "@type": ${TYPE}.connection_limit.v3.ConnectionLimit, stat_prefix: s } }`,
        tcp("cluster: c"),
      ],
      /max_connections connection-limit/,
    ],
  ];
  for (const [filters, problem] of cases) {
    const told = brief(load(withFilters(...filters)).errors);
    assert.ok(
      told.some((line) => problem.test(line)),
      `${filters[0]} → ${told.join("; ")}`,
    );
  }
});
