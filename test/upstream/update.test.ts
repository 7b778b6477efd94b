/** Another list of clusters beside the one in force: what stays, what is warmed, what drains, what is given up. */
import assert from "node:assert/strict";
import { createServer } from "node:http2";
import type { ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { ClusterConfig } from "../../runtime/config/snapshot.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import type { Lookup } from "../../runtime/upstream/dns-target.ts";
import {
  clusterConfig,
  endpoint,
  get,
  MemoryStats,
  onRequests,
  origin,
  Recorder,
  requestHeaders,
  until,
} from "./fixtures.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

const named = (name: string, port: number, more: Partial<ClusterConfig> = {}): ClusterConfig =>
  clusterConfig([endpoint(port)], { name, statName: name, ...more });

function set(
  t: TestContext,
  configs: readonly ClusterConfig[],
  lookup?: Lookup,
): { all: ClusterSet; stats: MemoryStats } {
  const stats = new MemoryStats();
  const all = new ClusterSet(configs, stats, lookup === undefined ? {} : { lookup });
  t.after(() => all.close());
  return { all, stats };
}

const value = (stats: MemoryStats, cluster: string, name: string): number =>
  stats.gauge(`cluster.${cluster}.${name}`).value;

test("what stays is the same, what changes is another, what goes is found no more", async (t) => {
  const { port } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const { all, stats } = set(t, [named("stays", port), named("changes", port), named("goes", port)]);
  const [stays, changes, goes] = [all.get("stays"), all.get("changes"), all.get("goes")];
  const next = [named("comes", port), named("changes", port, { connectTimeoutMs: 1 }), named("stays", port)];
  const update = all.prepare(next);
  await all.warm(update);
  assert.equal(all.get("comes"), undefined);
  assert.equal(all.early.get("comes")?.name, "comes");
  assert.equal(all.early.get("changes"), changes);
  assert.deepEqual([changes!.retired, value(stats, "comes", "membership_total")], [false, 0]);
  all.commit(update);
  assert.deepEqual(
    Array.from(all.all(), ({ name }) => name),
    ["comes", "changes", "stays"],
  );
  assert.equal(all.get("stays"), stays);
  assert.notEqual(all.get("changes"), changes);
  assert.deepEqual([changes!.retired, stays!.retired, goes!.retired], [true, false, true]);
  assert.equal(value(stats, "comes", "membership_total"), 1);
  assert.equal(all.get("goes"), undefined);
  assert.deepEqual([value(stats, "goes", "membership_total"), value(stats, "changes", "membership_total")], [0, 1]);
  // Whoever holds one that is gone is served to the end.
  assert.equal((await get(goes!, "/")).status, 200);
  await until(() => value(stats, "goes", "upstream_cx_active") === 0);
});

test("what is given up leaves nothing: no look-ups, no hosts in the statistics", async (t) => {
  let asked = 0;
  const lookup: Lookup = () => {
    asked++;
    return Promise.resolve(["127.0.0.1"]);
  };
  const { all, stats } = set(t, [named("a", 1)], lookup);
  const dns = named("a", 1, { type: "STRICT_DNS", dnsLookupFamily: "V4_ONLY", dnsRefreshRateMs: 1 });
  const update = all.prepare([dns, named("b", 1)]);
  await all.warm(update);
  await until(() => asked > 2);
  all.abort(update);
  const then = asked;
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(asked <= then + 1, `${asked - then} look-ups`);
  assert.equal(all.early.get("b"), undefined);
  assert.deepEqual([value(stats, "a", "membership_total"), value(stats, "b", "membership_total")], [1, 0]);
  all.abort(update);
  // A change that comes after one that was given up.
  const again = all.prepare([named("b", 1)]);
  all.commit(again);
  assert.deepEqual(
    Array.from(all.all(), ({ name }) => name),
    ["b"],
  );
});

test("HTTP/2: streams under way finish on the old connection, which ends then", async (t) => {
  const waiting: ServerHttp2Stream[] = [];
  const server = createServer();
  let sessions = 0;
  server.on("session", (session) => {
    sessions++;
    session.on("close", () => sessions--);
  });
  server.on("stream", (stream) => waiting.push(stream as ServerHttp2Stream));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const { all } = set(t, [named("a", port, { protocol: "HTTP2" })]);
  const recorders = [new Recorder(), new Recorder()];
  for (const recorder of recorders) all.get("a")!.request(recorder).sendHeaders(requestHeaders("GET", "/"), true);
  await until(() => waiting.length === 2);
  const update = all.prepare([named("a", port, { protocol: "HTTP2", connectTimeoutMs: 70_000 })]);
  all.commit(update);
  const fresh = new Recorder();
  all.get("a")!.request(fresh).sendHeaders(requestHeaders("GET", "/"), true);
  await until(() => waiting.length === 3);
  assert.equal(sessions, 2);
  for (const stream of waiting) {
    stream.respond({ ":status": 200 });
    stream.end("late");
  }
  await until(() => [...recorders, fresh].every(({ ended }) => ended));
  assert.deepEqual(
    [...recorders, fresh].map(({ status }) => status),
    [200, 200, 200],
  );
  await until(() => sessions === 1);
});
