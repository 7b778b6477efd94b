/** Clusters as a whole: hosts from configuration and DNS, statistics, the admin page. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ResetReason } from "../../runtime/errors.ts";
import { clustersText, clusterStatuses, mergeClusterStatuses } from "../../runtime/upstream/cluster-status.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import { lookupBySystem, resolve, type Lookup } from "../../runtime/upstream/dns-target.ts";
import { connectFailure } from "../../runtime/upstream/transport-failure.ts";
import { StillClock } from "../still-clock.ts";
import {
  clusterConfig,
  clusterUnderTest,
  endpoint,
  get,
  MemoryStats,
  onRequests,
  origin,
  turn,
  until,
} from "./fixtures.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

test("STATIC: round robin over its hosts, IPv6 and IPv4; the same address twice is one host", async (t) => {
  const four = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const six = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)), { host: "::1" });
  const config = clusterConfig([endpoint(four.port), endpoint(four.port), endpoint(six.port, { host: "::1" })]);
  const { cluster, stats } = clusterUnderTest(t, config);
  assert.equal(cluster.hostCount, 2);
  const addresses = new Set<string>();
  for (let n = 0; n < 4; n++) addresses.add((await get(cluster, "/")).address);
  assert.deepEqual([...addresses].sort(), [`127.0.0.1:${four.port}`, `[::1]:${six.port}`].sort());
  assert.equal(stats.read("membership_total"), 2);
  assert.equal(stats.read("membership_healthy"), 2);
  assert.equal(stats.read("membership_change"), 1);
});

test("a cluster without hosts answers from a later task", async (t) => {
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([]));
  const answer = await get(cluster, "/");
  assert.equal(answer.resetReason, ResetReason.NO_HEALTHY_UPSTREAM);
  assert.equal(answer.requestUnsent, true);
  assert.equal(stats.read("upstream_cx_none_healthy"), 1);
});

test("clusters are found by name only", () => {
  const set = new ClusterSet([clusterConfig([])], new MemoryStats());
  assert.equal(set.get("origin")?.name, "origin");
  assert.equal(set.get("other"), undefined);
  assert.equal(set.get("__proto__"), undefined);
});

// ---- DNS ---------------------------------------------------------------------------------------------

/** Answers that the test changes as it goes; what is asked is counted. */
function names(): { lookup: Lookup; v4: string[] | Error; v6: string[] | Error; asked: number } {
  const state = {
    v4: [] as string[] | Error,
    v6: [] as string[] | Error,
    asked: 0,
    lookup: async (_hostname: string, family: 4 | 6): Promise<readonly string[]> => {
      state.asked++;
      const answer = family === 4 ? state.v4 : state.v6;
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
  return state;
}

const dns = {
  type: "STRICT_DNS",
  dnsLookupFamily: "V4_ONLY",
  dnsRefreshRateMs: 5,
  dnsFailureRefreshRateMs: 5,
} as const;

// Before any other that waits for names: deadlines of equal length share a timer, and an earlier one would be real.
test("start waits for names no longer than its limit, and a late answer still counts", async (t) => {
  let answer: (addresses: string[]) => void = () => {};
  const lookup: Lookup = () => new Promise((resolve) => (answer = resolve));
  const { cluster, clusters } = clusterUnderTest(t, clusterConfig([endpoint(1, { host: "slow.test" })], dns), {
    lookup,
  });
  const clock = new StillClock(t);
  const started = clusters.start();
  clock.pass(6000);
  await started;
  assert.equal(cluster.hostCount, 0);
  answer(["127.0.0.1"]);
  await until(() => cluster.hostCount === 1);
});

test("STRICT_DNS: every address is a host; answers add and remove them; failures keep them", async (t) => {
  const { port, sockets } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const state = names();
  state.v4 = ["127.0.0.1", "127.0.0.1"];
  const { cluster, clusters, stats } = clusterUnderTest(
    t,
    clusterConfig([endpoint(port, { host: "origin.test" })], dns),
    { lookup: state.lookup },
  );
  assert.equal((await get(cluster, "/")).resetReason, ResetReason.NO_HEALTHY_UPSTREAM);
  await clusters.start();
  assert.equal(cluster.hostCount, 1);
  assert.equal((await get(cluster, "/")).address, `127.0.0.1:${port}`);
  await turn();
  state.v4 = ["127.0.0.2", "127.0.0.1"];
  await until(() => cluster.hostCount === 2);
  assert.equal(stats.read("upstream_cx_active"), 1, "a host that stays keeps its connections");
  state.v4 = new Error("SERVFAIL");
  await until(() => stats.read("update_failure") > 1);
  assert.equal(cluster.hostCount, 2);
  state.v4 = [];
  await until(() => stats.read("update_empty") > 1);
  assert.equal(cluster.hostCount, 2);
  state.v4 = ["127.0.0.2"];
  await until(() => cluster.hostCount === 1);
  await until(() => stats.read("upstream_cx_active") === 0);
  assert.equal(cluster.hosts[0]!.address, `127.0.0.2:${port}`);
  assert.equal(stats.read("membership_change"), 3);
  assert.equal(stats.read("update_attempt") >= 5, true);
  assert.equal(sockets.length, 1);
});

test("a host that leaves finishes what it has", async (t) => {
  const waiting: (() => void)[] = [];
  const { port } = await origin(t, (socket) => onRequests(socket, () => waiting.push(() => socket.write(OK))));
  const state = names();
  state.v4 = ["127.0.0.1"];
  const { cluster, clusters, stats } = clusterUnderTest(
    t,
    clusterConfig([endpoint(port, { host: "origin.test" })], dns),
    { lookup: state.lookup },
  );
  await clusters.start();
  const busy = get(cluster, "/");
  await until(() => waiting.length === 1);
  state.v4 = ["127.0.0.2"];
  await until(() => cluster.hosts[0]!.address.startsWith("127.0.0.2"));
  waiting[0]!();
  assert.equal((await busy).body, "ok");
  await until(() => stats.read("upstream_cx_active") === 0);
});

test("LOGICAL_DNS: one host follows the first answer; its connections stay", async (t) => {
  const { port, sockets } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const state = names();
  state.v4 = ["127.0.0.1", "127.0.0.9"];
  const config = clusterConfig([endpoint(port, { host: "origin.test" })], { ...dns, type: "LOGICAL_DNS" });
  const { cluster, clusters, stats } = clusterUnderTest(t, config, { lookup: state.lookup });
  await clusters.start();
  assert.equal(cluster.hostCount, 1);
  await get(cluster, "/");
  await turn();
  state.v4 = ["127.0.0.9"];
  await until(() => cluster.hosts[0]!.address === `127.0.0.9:${port}`);
  assert.equal((await get(cluster, "/")).address, `127.0.0.1:${port}`);
  assert.equal(sockets.length, 1);
  assert.equal(stats.read("membership_total"), 1);
});

test("after close nothing is asked any more", async (t) => {
  const state = names();
  state.v4 = ["127.0.0.1"];
  const { clusters } = clusterUnderTest(t, clusterConfig([endpoint(1, { host: "origin.test" })], dns), {
    lookup: state.lookup,
  });
  await clusters.start();
  clusters.close();
  const { asked } = state;
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(state.asked, asked);
});

for (const [family, v4, v6, expected] of [
  ["V4_ONLY", ["1.1.1.1"], ["::1"], ["1.1.1.1"]],
  ["V6_ONLY", ["1.1.1.1"], ["::1"], ["::1"]],
  ["AUTO", ["1.1.1.1"], ["::1"], ["::1"]],
  ["AUTO", ["1.1.1.1"], [], ["1.1.1.1"]],
  ["AUTO", ["1.1.1.1"], new Error("no"), ["1.1.1.1"]],
  ["AUTO", new Error("no"), [], "rejects"],
  ["V4_PREFERRED", ["1.1.1.1"], ["::1"], ["1.1.1.1"]],
  ["V4_PREFERRED", [], ["::1"], ["::1"]],
  ["ALL", ["1.1.1.1"], ["::1"], ["::1", "1.1.1.1"]],
  ["ALL", ["1.1.1.1"], new Error("no"), ["1.1.1.1"]],
  ["ALL", new Error("no"), new Error("no"), "rejects"],
] as const) {
  test(`lookup family ${family}: ${String(v4)} and ${String(v6)}`, async () => {
    const state = names();
    state.v4 = v4 instanceof Error ? v4 : [...v4];
    state.v6 = v6 instanceof Error ? v6 : [...v6];
    if (expected === "rejects") await assert.rejects(resolve(state.lookup, "x", family));
    else assert.deepEqual(await resolve(state.lookup, "x", family), expected);
  });
}

test("the system's resolver knows localhost, and says that a name does not exist", async () => {
  assert.deepEqual(await lookupBySystem("localhost", 4), ["127.0.0.1"]);
  const found = await lookupBySystem("no-such-host.invalid", 4).catch((error: unknown) => error);
  // Without a name server the question itself fails.
  assert.ok(Array.isArray(found) ? found.length === 0 : found instanceof Error);
});

// ---- What is told ----------------------------------------------------------------------------------------

test("errno becomes Envoy's words in one place", () => {
  const cases = [
    ["ECONNREFUSED", false, "remote connection failure", "delayed connect error: Connection refused"],
    ["ECONNREFUSED", true, "remote connection failure", "immediate connect error: Connection refused"],
    ["EHOSTUNREACH", false, "remote connection failure", "delayed connect error: No route to host"],
    ["ENETUNREACH", false, "remote connection failure", "immediate connect error: Network is unreachable"],
    ["EADDRNOTAVAIL", false, "local connection failure", "immediate connect error: Cannot assign requested address"],
    ["EACCES", true, "remote connection failure", "immediate connect error: Permission denied"],
    ["EWHATEVER", false, "remote connection failure", "delayed connect error: EWHATEVER"],
  ] as const;
  for (const [code, pipe, reason, text] of cases) {
    assert.deepEqual(connectFailure(Object.assign(new Error("x"), { code }), pipe), { reason, text });
  }
});

test("the admin page shows each host once, summed over workers", async (t) => {
  const { port } = await origin(t, (socket) =>
    onRequests(socket, (head) =>
      socket.write(head.includes("/bad") ? "HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n" : OK),
    ),
  );
  const config = clusterConfig([
    endpoint(port, { hostname: "a.test" }),
    endpoint(1, { healthy: false, weight: 3, priority: 1 }),
  ]);
  const one = clusterUnderTest(t, config);
  const two = clusterUnderTest(t, config);
  await get(one.cluster, "/");
  await get(one.cluster, "/bad");
  await get(two.cluster, "/");
  await turn();
  const statuses = [one, two].map(({ clusters }) => structuredClone(clusterStatuses(clusters.all())));
  const text = clustersText(mergeClusterStatuses(statuses));
  const host = `origin::127.0.0.1:${port}::`;
  for (const line of [
    "origin::observability_name::origin",
    "origin::default_priority::max_connections::1024",
    "origin::high_priority::max_retries::3",
    "origin::added_via_api::false",
    `${host}cx_active::2`,
    `${host}cx_total::2`,
    `${host}rq_total::3`,
    `${host}rq_success::2`,
    `${host}rq_error::1`,
    `${host}rq_active::0`,
    `${host}hostname::a.test`,
    `${host}health_flags::healthy`,
    "origin::127.0.0.1:1::health_flags::/failed_eds_health",
    "origin::127.0.0.1:1::weight::3",
    "origin::127.0.0.1:1::priority::1",
  ]) {
    assert.ok(text.split("\n").includes(line), line);
  }
  assert.equal(clustersText([]), "");
});
