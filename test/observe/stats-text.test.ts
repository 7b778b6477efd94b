import assert from "node:assert/strict";
import { test } from "node:test";
import { formatPrometheus } from "../../runtime/observe/prometheus.ts";
import { extractTags } from "../../runtime/observe/stat-tags.ts";
import { type Stat, StatsRegistry } from "../../runtime/observe/stats-registry.ts";
import { formatStatsJson, formatStatsText, selectStats } from "../../runtime/observe/stats-text.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";

function sample(fill: (store: StatsStore) => void): Stat[] {
  const registry = new StatsRegistry();
  const store = new StatsStore((announcement) => registry.add(1, announcement));
  fill(store);
  store.announceNow();
  return registry.collect().filter((stat) => stat.name !== "server.stats_overflow");
}

const small = sample((store) => {
  store.counter("cluster.a.upstream_rq_200").add(3);
  store.gauge("cluster.a.membership_total").set(2);
  store.counter("http.in.no_route");
  const histogram = store.histogram("cluster.a.upstream_rq_time");
  for (const value of [1, 2, 3, 4]) histogram.record(value);
  store.histogram("http.in.downstream_rq_time");
});

test("text", () => {
  assert.equal(
    formatStatsText(small),
    [
      "cluster.a.membership_total: 2",
      "cluster.a.upstream_rq_200: 3",
      "http.in.no_route: 0",
      "cluster.a.upstream_rq_time: P0(nan,1) P25(nan,1) P50(nan,2) P75(nan,3) P90(nan,3.6) " +
        "P95(nan,3.8) P99(nan,3.96) P99.5(nan,3.98) P99.9(nan,3.996) P100(nan,4)",
      "http.in.downstream_rq_time: No recorded values",
      "",
    ].join("\n"),
  );
  const line = formatStatsText(small, "cumulative").split("\n")[3]!;
  assert.match(line, /^cluster\.a\.upstream_rq_time: B0\.5\(0,0\) B1\(0,1\) B5\(0,4\) B10\(0,4\) .* B3600000\(0,4\)$/);
  assert.match(formatStatsText(small, "disjoint"), /B1\(0,1\) B5\(0,3\) B10\(0,0\)/);
});

test("a name cannot forge a line", () => {
  const stats = sample((store) => store.counter("wasmcustom.x\nserver.live").inc());
  assert.equal(formatStatsText(stats), "wasmcustom.x\\x0aserver.live: 1\n");
});

test("selection", () => {
  const names = (selection: Parameters<typeof selectStats>[1]): string[] =>
    selectStats(small, selection).map((stat) => stat.name);
  assert.deepEqual(names({ usedOnly: true }), [
    "cluster.a.membership_total",
    "cluster.a.upstream_rq_200",
    "cluster.a.upstream_rq_time",
  ]);
  assert.deepEqual(names({ filter: "rq_(200|time)$" }), [
    "cluster.a.upstream_rq_200",
    "cluster.a.upstream_rq_time",
    "http.in.downstream_rq_time",
  ]);
  assert.deepEqual(names({ type: "Gauges" }), ["cluster.a.membership_total"]);
  assert.deepEqual(names({ type: "TextReadouts" }), []);
  assert.equal(names({ filter: "" }).length, small.length);
  assert.throws(() => names({ filter: "(" }), { code: "STATS_FILTER_INVALID" });
});

test("JSON", () => {
  const { stats } = JSON.parse(formatStatsJson(small)) as { stats: Record<string, unknown>[] };
  assert.deepEqual(stats.slice(0, 3), [
    { name: "cluster.a.membership_total", value: 2 },
    { name: "cluster.a.upstream_rq_200", value: 3 },
    { name: "http.in.no_route", value: 0 },
  ]);
  const { histograms } = stats[3] as {
    histograms: { supported_quantiles: number[]; computed_quantiles: { name: string; values: object[] }[] };
  };
  assert.deepEqual(histograms.supported_quantiles, [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100]);
  assert.equal(histograms.computed_quantiles[0]!.name, "cluster.a.upstream_rq_time");
  assert.deepEqual(histograms.computed_quantiles[0]!.values[9], { interval: null, cumulative: 4 });
  assert.deepEqual(histograms.computed_quantiles[1]!.values[0], { interval: null, cumulative: null });
});

const TAGS: [string, string, Record<string, string>][] = [
  ["cluster.svc.upstream_rq_200", "cluster.upstream_rq", { "envoy.response_code": "200", "envoy.cluster_name": "svc" }],
  [
    "cluster.svc.upstream_rq_5xx",
    "cluster.upstream_rq_xx",
    { "envoy.response_code_class": "5", "envoy.cluster_name": "svc" },
  ],
  [
    "cluster.svc.retry.upstream_rq_503",
    "cluster.retry.upstream_rq",
    { "envoy.response_code": "503", "envoy.cluster_name": "svc" },
  ],
  ["cluster.svc.upstream_rq_time", "cluster.upstream_rq_time", { "envoy.cluster_name": "svc" }],
  [
    "http.in.downstream_rq_2xx",
    "http.downstream_rq_xx",
    { "envoy.response_code_class": "2", "envoy.http_conn_manager_prefix": "in" },
  ],
  [
    "http.in.fault.client.aborts_injected",
    "http.fault.aborts_injected",
    { "envoy.fault_downstream_cluster": "client", "envoy.http_conn_manager_prefix": "in" },
  ],
  ["http.in.fault.aborts_injected", "http.fault.aborts_injected", { "envoy.http_conn_manager_prefix": "in" }],
  [
    "listener.0.0.0.0_10000.downstream_cx_total",
    "listener.downstream_cx_total",
    { "envoy.listener_address": "0.0.0.0_10000" },
  ],
  [
    "listener.[__]_10000.downstream_cx_total",
    "listener.downstream_cx_total",
    { "envoy.listener_address": "[__]_10000" },
  ],
  [
    "listener.0.0.0.0_80.worker_3.downstream_cx_total",
    "listener.downstream_cx_total",
    { "envoy.worker_id": "worker_3", "envoy.listener_address": "0.0.0.0_80" },
  ],
  [
    "listener.0.0.0.0_80.http.in.downstream_rq_2xx",
    "listener.http.downstream_rq_xx",
    {
      "envoy.response_code_class": "2",
      "envoy.http_conn_manager_prefix": "in",
      "envoy.listener_address": "0.0.0.0_80",
    },
  ],
  ["listener.admin.downstream_cx_total", "listener.admin.downstream_cx_total", {}],
  [
    "vhost.v.vcluster.vc.upstream_rq_200",
    "vhost.vcluster.upstream_rq",
    { "envoy.response_code": "200", "envoy.virtual_cluster": "vc", "envoy.virtual_host": "v" },
  ],
  ["tcp.t.downstream_cx_total", "tcp.downstream_cx_total", { "envoy.tcp_prefix": "t" }],
  [
    "edge.http_local_rate_limit.rate_limited",
    "http_local_rate_limit.rate_limited",
    { "envoy.local_http_ratelimit_prefix": "edge" },
  ],
  [
    "cluster.up.ssl.certificate.spiffe://t/own.expiration_unix_time_seconds",
    "cluster.ssl.certificate.expiration_unix_time_seconds",
    { "envoy.tls_certificate": "spiffe://t/own", "envoy.cluster_name": "up" },
  ],
  ["server.uptime", "server.uptime", {}],
];
for (const [name, rest, tags] of TAGS) {
  test(`tags of ${name}`, () => {
    const extracted = extractTags(name);
    assert.equal(extracted.name, rest);
    assert.deepEqual(Object.fromEntries(extracted.tags), tags);
  });
}

/** A strict reader of the text format: throws on anything it does not know. */
function parsePrometheus(text: string): { types: Map<string, string>; samples: Map<string, number> } {
  const types = new Map<string, string>();
  const samples = new Map<string, number>();
  assert.ok(text === "" || text.endsWith("\n"));
  let current = "";
  for (const line of text.split("\n").slice(0, -1)) {
    const type = /^# TYPE ([a-zA-Z_][a-zA-Z0-9_]*) (counter|gauge|histogram)$/.exec(line);
    if (type !== null) {
      current = type[1]!;
      assert.ok(!types.has(current), `${current} has two types`);
      types.set(current, type[2]!);
      continue;
    }
    const match = /^([a-zA-Z_][a-zA-Z0-9_]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)$/.exec(
      line,
    );
    assert.ok(match !== null, `bad line: ${line}`);
    assert.ok(
      match[1] === current || (types.get(current) === "histogram" && match[1]!.startsWith(`${current}_`)),
      line,
    );
    const key = match[1]! + (match[2] ?? "");
    assert.ok(!samples.has(key), `${key} twice`);
    samples.set(key, Number(match[3]));
  }
  return { types, samples };
}

test("prometheus, read back", () => {
  const stats = sample((store) => {
    store.counter("cluster.a.upstream_rq_200").add(3);
    store.counter("cluster.b.upstream_rq_200").add(4);
    store.counter('cluster.q"\\\n.upstream_rq_total').inc();
    store.counter("wasmcustom.my-counter.x").add(9);
    store.counter("wasmcustom.9lives").add(9);
    store.gauge("server.live").set(1);
    store.counter("a.b").inc();
    store.counter("a_b").inc();
    store.gauge("a-b").inc();
    for (const value of [0.2, 7, 7, 1e9]) store.histogram("http.in.downstream_rq_time").record(value);
  });
  const text = formatPrometheus(stats);
  const { types, samples } = parsePrometheus(text);
  assert.deepEqual(
    [...types],
    [
      ["_9lives", "counter"],
      ["envoy_a_b", "gauge"],
      ["envoy_cluster_upstream_rq", "counter"],
      ["envoy_cluster_upstream_rq_total", "counter"],
      ["envoy_http_downstream_rq_time", "histogram"],
      ["envoy_server_live", "gauge"],
      ["my_counter_x", "counter"],
    ],
  );
  assert.equal(samples.get('envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="a"}'), 3);
  assert.equal(samples.get('envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="b"}'), 4);
  assert.equal(samples.get('envoy_cluster_upstream_rq_total{envoy_cluster_name="q\\"\\\\\\n"}'), 1);
  assert.equal(samples.get("my_counter_x"), 9);
  const label = 'envoy_http_conn_manager_prefix="in"';
  const bucket = (le: string): number | undefined =>
    samples.get(`envoy_http_downstream_rq_time_bucket{${label},le="${le}"}`);
  assert.deepEqual([bucket("0.5"), bucket("5"), bucket("10"), bucket("3600000"), bucket("+Inf")], [1, 1, 3, 3, 4]);
  assert.equal(samples.get(`envoy_http_downstream_rq_time_count{${label}}`), 4);
  assert.equal(samples.get(`envoy_http_downstream_rq_time_sum{${label}}`), 1e9 + 14.2);
});
