/** Configurations of load balancing: policies, tables, subsets, and what routes and tcp_proxy want of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterConfig } from "../../runtime/config/snapshot.ts";
import { bootstrap, brief, load, managerOf, snapshotOf } from "./fixture.ts";

function clusterOf(text: string): Partial<ClusterConfig> {
  const { lbPolicy, hashing, subsets, healthyPanicPercent } = snapshotOf(bootstrap({ cluster: text })).clusters[0]!;
  return { lbPolicy, hashing, subsets, healthyPanicPercent };
}
const rules = (text: string): string[] =>
  brief(load(text).errors).map((line) => line.replace(/^\S+ static_resources\.clusters\[0\]\./, ""));
const errorsOf = (text: string): string[] => rules(bootstrap({ cluster: text }));

test("a policy that is misspelt is proposed", () => {
  const [problem] = load(bootstrap({ cluster: "lb_policy: RINGHASH," })).errors;
  assert.equal(
    problem?.message,
    'envoy.config.cluster.v3.Cluster.LbPolicy has no value "RINGHASH"; did you mean "RING_HASH"?',
  );
});

test("policies that choose by hashes", () => {
  const hashing = {
    minimumRingSize: 1024,
    maximumRingSize: 8_388_608,
    function: "XX_HASH",
    tableSize: 65_537,
    useHostname: false,
  };
  const none = { subsets: undefined, healthyPanicPercent: undefined };
  assert.deepEqual(clusterOf("lb_policy: RING_HASH,"), { lbPolicy: "RING_HASH", hashing, ...none });
  assert.deepEqual(clusterOf("lb_policy: MAGLEV,"), { lbPolicy: "MAGLEV", hashing, ...none });
  assert.deepEqual(
    clusterOf(
      `lb_policy: RING_HASH, ring_hash_lb_config: { minimum_ring_size: 10, maximum_ring_size: 20, hash_function: MURMUR_HASH_2 },
       common_lb_config: { healthy_panic_threshold: { value: 0 }, consistent_hashing_lb_config: { use_hostname_for_hashing: true } },`,
    ),
    {
      lbPolicy: "RING_HASH",
      hashing: { ...hashing, minimumRingSize: 10, maximumRingSize: 20, function: "MURMUR_HASH_2", useHostname: true },
      subsets: undefined,
      healthyPanicPercent: 0,
    },
  );
  assert.equal(
    clusterOf("lb_policy: MAGLEV, common_lb_config: { consistent_hashing_lb_config: { hash_balance_factor: 150 } },")
      .hashing?.balanceFactor,
    150,
  );
  assert.equal(clusterOf("lb_policy: MAGLEV, maglev_lb_config: { table_size: 65521 },").hashing?.tableSize, 65_521);
  assert.deepEqual(clusterOf("lb_policy: RANDOM,"), { lbPolicy: "RANDOM", hashing: undefined, ...none });
});

test("least request, health and priorities", () => {
  const more = (text: string, assignment = ""): Partial<ClusterConfig> => {
    const clusters = `- { name: c, ${text} load_assignment: { cluster_name: c, ${assignment} endpoints: [ { lb_endpoints: [
      { health_status: DEGRADED, endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 80 } } } } ] } ] } }`;
    const { leastRequest, overprovisioningPercent, endpoints } = snapshotOf(bootstrap({ clusters })).clusters[1]!;
    return { leastRequest, overprovisioningPercent, endpoints };
  };
  const [degraded] = more("").endpoints!;
  assert.deepEqual([degraded?.healthy, degraded?.degraded], [true, true]);
  assert.deepEqual(
    more(
      "lb_policy: LEAST_REQUEST, least_request_lb_config: { choice_count: 3, active_request_bias: { default_value: 0.5, runtime_key: a } },",
    ).leastRequest,
    { choices: 3, bias: 0.5 },
  );
  assert.equal(more("lb_policy: ROUND_ROBIN,").leastRequest, undefined);
  assert.equal(more("", "policy: { overprovisioning_factor: 100 },").overprovisioningPercent, 100);
  assert.equal(more("", "policy: { overprovisioning_factor: 140 },").overprovisioningPercent, undefined);
  assert.deepEqual(
    errorsOf(
      "lb_policy: LEAST_REQUEST, least_request_lb_config: { active_request_bias: { default_value: -1, runtime_key: a } },",
    ),
    ["least_request_lb_config.active_request_bias least-request"],
  );
});

test("outlier detection", () => {
  const outlierOf = (fields: string): ClusterConfig["outlier"] =>
    snapshotOf(bootstrap({ cluster: `outlier_detection: { ${fields} },` })).clusters[0]!.outlier;
  assert.deepEqual(outlierOf(""), {
    consecutive5xx: 5,
    consecutiveGatewayFailure: 5,
    consecutiveLocalOriginFailure: 5,
    split: false,
    intervalMs: 10_000,
    baseEjectionTimeMs: 30_000,
    maxEjectionTimeMs: 300_000,
    maxEjectionTimeJitterMs: 0,
    maxEjectionPercent: 10,
    alwaysEjectOneHost: false,
    successRateMinimumHosts: 5,
    successRateRequestVolume: 100,
    successRateStdevFactor: 1900,
    failurePercentageThreshold: 85,
    failurePercentageMinimumHosts: 5,
    failurePercentageRequestVolume: 50,
    enforcing: {
      consecutive_5xx: 100,
      consecutive_gateway_failure: 0,
      consecutive_local_origin_failure: 100,
      success_rate: 100,
      local_origin_success_rate: 100,
      failure_percentage: 0,
      local_origin_failure_percentage: 0,
    },
  });
  const given = outlierOf(
    "consecutive_5xx: 7, interval: 1s, base_ejection_time: 400s, max_ejection_percent: 100, split_external_local_origin_errors: true, enforcing_failure_percentage_local_origin: 40",
  );
  assert.deepEqual(
    [
      given?.consecutive5xx,
      given?.intervalMs,
      given?.baseEjectionTimeMs,
      given?.maxEjectionTimeMs,
      given?.maxEjectionPercent,
    ],
    [7, 1000, 400_000, 400_000, 100],
  );
  assert.deepEqual([given?.split, given?.enforcing.local_origin_failure_percentage], [true, 40]);
  assert.deepEqual(errorsOf("outlier_detection: { base_ejection_time: 30s, max_ejection_time: 20s },"), [
    "outlier_detection.max_ejection_time outlier",
  ]);
  assert.deepEqual(errorsOf("outlier_detection: { monitors: [ { name: a } ] },").slice(0, 1), [
    "outlier_detection.monitors not-supported",
  ]);
});

test("retry budgets", () => {
  const budgetOf = (budget: string): unknown =>
    snapshotOf(bootstrap({ cluster: `circuit_breakers: { thresholds: [ { ${budget} } ] },` })).clusters[0]!
      .circuitBreakers.retryBudget;
  assert.equal(budgetOf("max_retries: 9"), undefined);
  assert.deepEqual(budgetOf("retry_budget: {}"), { percent: 20, minConcurrency: 3 });
  assert.deepEqual(budgetOf("retry_budget: { budget_percent: { value: 12.5 }, min_retry_concurrency: 1 }"), {
    percent: 12.5,
    minConcurrency: 1,
  });
});

test("hosts that a retry is not to meet", () => {
  const selectionOf = (predicates: string, more = ""): unknown => {
    const routes = `{ match: { prefix: / }, route: { cluster: up, retry_policy: { retry_on: 5xx, retry_host_predicate: [ ${predicates} ], ${more} } } }`;
    const [route] = managerOf(snapshotOf(bootstrap({ routes }))).routeConfig.virtualHosts[0]!.routes;
    return route?.action.kind === "route" ? route.action.retryPolicy?.hostSelection : undefined;
  };
  const predicate = (name: string, type: string, more = ""): string =>
    `{ name: ${name}, typed_config: { "@type": type.googleapis.com/envoy.extensions.retry.host.${type}, ${more} } }`;
  // As Istio writes it.
  const previous = predicate("envoy.retry_host_predicates.previous_hosts", "previous_hosts.v3.PreviousHostsPredicate");
  const none = { previous: false, canaries: false };
  assert.deepEqual(selectionOf(previous, "host_selection_retry_max_attempts: '5'"), {
    ...none,
    more: 5,
    previous: true,
  });
  assert.deepEqual(selectionOf("{ name: envoy.retry_host_predicates.previous_hosts }"), {
    ...none,
    more: 1,
    previous: true,
  });
  assert.deepEqual(selectionOf(predicate("c", "omit_canary_hosts.v3.OmitCanaryHostsPredicate")), {
    ...none,
    more: 1,
    canaries: true,
  });
  const metadata = "metadata_match: { filter_metadata: { envoy.lb: { a: b } } }";
  assert.deepEqual(selectionOf(predicate("m", "omit_host_metadata.v3.OmitHostMetadataConfig", metadata)), {
    ...none,
    more: 1,
    metadata: { a: "b" },
  });
  assert.equal(selectionOf(""), undefined);
  const routes =
    "{ match: { prefix: / }, route: { cluster: up, retry_policy: { retry_host_predicate: [ { name: mine } ] } } }";
  assert.match(
    brief(load(bootstrap({ routes })).errors).join(),
    /retry_host_predicate\[0\]\.typed_config not-supported$/,
  );
});

test("tables that cannot be", () => {
  const cases = [
    [
      "lb_policy: RING_HASH, ring_hash_lb_config: { minimum_ring_size: 21, maximum_ring_size: 20 },",
      "ring_hash_lb_config.minimum_ring_size ring-hash",
    ],
    ["lb_policy: RING_HASH, ring_hash_lb_config: { minimum_ring_size: 0 },", "ring_hash_lb_config ring-hash"],
    [
      "lb_policy: RING_HASH, ring_hash_lb_config: { maximum_ring_size: 8388609 },",
      "ring_hash_lb_config.maximum_ring_size uint64.lte",
    ],
    ["lb_policy: MAGLEV, maglev_lb_config: { table_size: 65536 },", "maglev_lb_config.table_size maglev"],
    ["lb_policy: MAGLEV, maglev_lb_config: { table_size: 1 },", "maglev_lb_config.table_size maglev"],
    [
      "lb_policy: MAGLEV, common_lb_config: { consistent_hashing_lb_config: { hash_balance_factor: 99 } },",
      "common_lb_config.consistent_hashing_lb_config.hash_balance_factor uint32.gte",
    ],
  ] as const;
  for (const [text, wanted] of cases) assert.deepEqual(errorsOf(text), [wanted], text);
});

test("subsets", () => {
  assert.deepEqual(
    clusterOf(
      `lb_subset_config: { fallback_policy: DEFAULT_SUBSET, default_subset: { stage: prod, n: 1 }, panic_mode_any: true, list_as_any: true,
         metadata_fallback_policy: FALLBACK_LIST, subset_selectors: [ { keys: [ version, stage, version ] },
         { keys: [ a, b ], fallback_policy: KEYS_SUBSET, fallback_keys_subset: [ b ] }, { keys: [ id ], single_host_per_subset: true, fallback_policy: NO_FALLBACK } ] },`,
    ).subsets,
    {
      fallback: "DEFAULT_SUBSET",
      defaultSubset: { stage: "prod", n: 1 },
      selectors: [
        { keys: ["stage", "version"], fallback: "NOT_DEFINED", fallbackKeys: [], singleHost: false },
        { keys: ["a", "b"], fallback: "KEYS_SUBSET", fallbackKeys: ["b"], singleHost: false },
        { keys: ["id"], fallback: "NO_FALLBACK", fallbackKeys: [], singleHost: true },
      ],
      panicModeAny: true,
      listAsAny: true,
      fallbackList: true,
    },
  );
  assert.equal(clusterOf("lb_subset_config: { fallback_policy: ANY_ENDPOINT },").subsets, undefined);
  const selector = (text: string): string => `lb_subset_config: { subset_selectors: [ { keys: [ a, b ], ${text} } ] },`;
  const at = "lb_subset_config.subset_selectors[0].fallback_keys_subset subset";
  const cases = [
    [selector("fallback_policy: KEYS_SUBSET"), at],
    [selector("fallback_policy: KEYS_SUBSET, fallback_keys_subset: [ c ]"), at],
    [selector("fallback_policy: KEYS_SUBSET, fallback_keys_subset: [ b, a ]"), at],
    ["lb_subset_config: { scale_locality_weight: true },", "lb_subset_config.scale_locality_weight not-supported"],
    ["lb_subset_config: { locality_weight_aware: true },", "lb_subset_config.locality_weight_aware not-supported"],
  ] as const;
  for (const [text, wanted] of cases) assert.deepEqual(errorsOf(text), [wanted], text);
  const original = bootstrap({
    clusters:
      "- { name: o, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, lb_subset_config: { subset_selectors: [ { keys: [ a ] } ] } }",
  });
  assert.match(brief(load(original).errors).join(), /clusters\[1\]\.lb_subset_config cluster$/);
});

test("what routes want", () => {
  const metadata = (fields: string): string =>
    `metadata_match: { filter_metadata: { envoy.lb: { ${fields} }, other: { a: b } } }`;
  const routes = `{ match: { prefix: /a }, route: { cluster: up, ${metadata("version: '1'")}, hash_policy: [
      { header: { header_name: X-User, regex_rewrite: { pattern: { regex: a }, substitution: b } }, terminal: true },
      { cookie: { name: c } }, { cookie: { name: d, ttl: 90.5s, path: /p, attributes: [ { name: SameSite, value: Lax } ] } },
      { connection_properties: { source_ip: true } }, { connection_properties: {} }, { query_parameter: { name: q } }, { filter_state: { key: k } } ] } },
    { match: { prefix: / }, route: { weighted_clusters: { clusters: [ { name: up, weight: 1, ${metadata("n: 2")} } ] }, metadata_match: { filter_metadata: { other: {} } } } }`;
  const [first, second] = managerOf(snapshotOf(bootstrap({ routes }))).routeConfig.virtualHosts[0]!.routes;
  assert.ok(first?.action.kind === "route" && second?.action.kind === "route");
  assert.deepEqual(first.action.metadataMatch, { version: "1" });
  const terminal = false;
  assert.deepEqual(first.action.hashPolicy, [
    { kind: "header", name: "x-user", rewrite: { regex: "a", substitution: "b" }, terminal: true },
    { kind: "cookie", name: "c", generate: undefined, terminal },
    {
      kind: "cookie",
      name: "d",
      generate: { ttlSeconds: 90, path: "/p", attributes: [{ name: "SameSite", value: "Lax" }] },
      terminal,
    },
    { kind: "source_ip", terminal },
    { kind: "query_parameter", name: "q", terminal },
    { kind: "filter_state", key: "k", terminal },
  ]);
  assert.equal(second.action.metadataMatch, undefined);
  assert.ok(second.action.cluster.kind === "weighted");
  assert.deepEqual(second.action.cluster.clusters[0]?.metadataMatch, { n: 2 });
  const bad = (policy: string): string[] =>
    brief(
      load(bootstrap({ routes: `{ match: { prefix: / }, route: { cluster: up, hash_policy: [ ${policy} ] } }` }))
        .errors,
    ).map((line) => line.slice(line.indexOf("hash_policy")));
  assert.deepEqual(bad(`{ cookie: { name: "a b", ttl: 0s } }`), ["hash_policy[0].cookie.name cookie"]);
  assert.deepEqual(bad(`{ cookie: { name: a, path: "/;x", ttl: 0s } }`), ["hash_policy[0].cookie.path cookie"]);
  assert.deepEqual(bad(`{ cookie: { name: a, ttl: 0s, attributes: [ { name: b, value: "c; d" } ] } }`), [
    "hash_policy[0].cookie.attributes cookie",
  ]);
  assert.deepEqual(bad(`{ header: { header_name: a, regex_rewrite: { pattern: { regex: "(" } } } }`), [
    "hash_policy[0].header.regex_rewrite.pattern.regex regex",
  ]);
});

test("what tcp_proxy wants", () => {
  const proxy = (fields: string): unknown => {
    const chain = `filter_chain_match: {}, filters: [ { name: tcp, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: s, ${fields} } } ]`;
    const text = `static_resources: { listeners: [ { name: l, address: { socket_address: { address: 127.0.0.1, port_value: 0 } }, filter_chains: [ { ${chain} } ] } ],
      clusters: [ { name: up, load_assignment: { cluster_name: up } } ] }`;
    const filter = snapshotOf(text).listeners[0]?.filterChains[0]?.filters[0];
    assert.ok(filter?.kind === "tcp_proxy");
    const { clusters, metadataMatch, hashPolicy } = filter.tcp;
    return { clusters, metadataMatch, hashPolicy };
  };
  const match = (text: string): string => `metadata_match: { filter_metadata: { envoy.lb: { ${text} } } }`;
  assert.deepEqual(proxy(`cluster: up, ${match("a: 1")}, hash_policy: [ { source_ip: {} } ]`), {
    clusters: [{ name: "up", weight: 1 }],
    metadataMatch: { a: 1 },
    hashPolicy: { kind: "source_ip" },
  });
  assert.deepEqual(
    proxy(
      `weighted_clusters: { clusters: [ { name: up, weight: 1, ${match("b: 2")} } ] }, hash_policy: [ { filter_state: { key: k } } ]`,
    ),
    {
      clusters: [{ name: "up", weight: 1, metadataMatch: { b: 2 } }],
      metadataMatch: undefined,
      hashPolicy: { kind: "filter_state", key: "k" },
    },
  );
});
