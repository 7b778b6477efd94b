/** Clusters whose hosts are the destinations that streams want to reach. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { OriginalDstConfig } from "../../runtime/config/cluster-snapshot.ts";
import { ResetReason } from "../../runtime/errors.ts";
import type { ConnectionInfo } from "../../runtime/observe/stream-info.ts";
import { StreamInfo } from "../../runtime/observe/stream-info.ts";
import type { UpstreamHandler } from "../../runtime/upstream/request.ts";
import { bootstrap, brief, load, snapshotOf } from "../config/fixture.ts";
import { connectionSample } from "../observe/stream-sample.ts";
import { clusterConfig, clusterUnderTest, get, type MemoryStats, onRequests, origin, until } from "./fixtures.ts";
import { contextOf } from "./pick-fixtures.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const NAMED = { key: "ns", path: ["at", "host"] };

interface Wanted {
  readonly local?: string;
  readonly restored?: boolean;
  readonly header?: string;
  readonly metadata?: unknown;
  readonly connectionMetadata?: ConnectionInfo["metadata"];
  readonly state?: string;
}

function stream(wanted: Wanted): StreamInfo {
  const { local = "127.0.0.1:1", restored = false, connectionMetadata = null } = wanted;
  const more = { localAddressRestored: restored, metadata: connectionMetadata };
  const info = new StreamInfo(connectionSample("127.0.0.1:5", local, more), 0, 0);
  info.requestHeaders = new HeaderMap(wanted.header === undefined ? [] : ["x-to", wanted.header]);
  if (wanted.metadata !== undefined)
    info.dynamicMetadata = new Map([["ns", wanted.metadata as Record<string, unknown>]]);
  if (wanted.state !== undefined)
    info.filterState = new Map([["envoy.network.transport_socket.original_dst_address", Buffer.from(wanted.state)]]);
  return info;
}

async function stage(
  t: TestContext,
  config: Partial<OriginalDstConfig> = {},
): Promise<{ ask(wanted: Wanted): Promise<string>; stats: MemoryStats; port: number; other: number; hosts(): number }> {
  const originalDst = { header: "", metadataPath: [], port: 0, cleanupIntervalMs: 60_000, ...config };
  const over = { type: "ORIGINAL_DST", lbPolicy: "CLUSTER_PROVIDED", originalDst } as const;
  const { cluster, clusters, stats } = clusterUnderTest(t, clusterConfig([], over));
  await clusters.start();
  const one = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const two = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)), { host: "::1" });
  return {
    stats,
    port: one.port,
    other: two.port,
    hosts: () => cluster.hostCount,
    async ask(wanted) {
      const info = stream(wanted);
      const answer = await get(
        { request: (handler: UpstreamHandler) => cluster.request(handler, contextOf({ info })) },
        "/",
      );
      return answer.resetReason === undefined || answer.resetReason === null ? answer.address : answer.resetReason;
    },
  };
}

test("a stream goes where its connection wanted to go", async (t) => {
  const { ask, port, other, stats, hosts } = await stage(t);
  assert.equal(await ask({ local: `127.0.0.1:${port}`, restored: true }), `127.0.0.1:${port}`);
  assert.equal(await ask({ local: `[::1]:${other}`, restored: true }), `[::1]:${other}`);
  assert.equal(await ask({ local: `127.0.0.1:${port}`, restored: true }), `127.0.0.1:${port}`);
  assert.deepEqual([hosts(), stats.read("membership_total"), stats.read("upstream_cx_total")], [2, 2, 2]);
  // Nothing was restored: the local address is the proxy's own.
  assert.equal(await ask({ local: `127.0.0.1:${port}` }), ResetReason.NO_HEALTHY_UPSTREAM);
  assert.equal(stats.read("upstream_cx_none_healthy"), 1);
  assert.equal(stats.read("original_dst_host_invalid"), 0);
});

test("header, metadata and filter state go before the connection, in Envoy's order", async (t) => {
  const { ask, port, other, stats } = await stage(t, { header: "x-to", metadataPath: ["ns", "at", "host"] });
  const here = `127.0.0.1:${port}`;
  const there = `[::1]:${other}`;
  const nowhere = "127.0.0.1:1";
  const at = (host: unknown): unknown => ({ at: { host } });
  assert.equal(await ask({ local: nowhere, restored: true, header: here }), here);
  assert.equal(await ask({ local: nowhere, restored: true, metadata: at(there) }), there);
  assert.equal(await ask({ header: here, metadata: at(there) }), here);
  assert.equal(await ask({ header: here, metadata: at(nowhere), state: there }), there);
  assert.equal(await ask({ connectionMetadata: new Map([["ns", { at: { host: here } }]]) }), here);
  // What is no address is counted, and the next in order decides.
  for (const bad of ["host:80", "1.2.3.4", "1.2.3.4:0", "1.2.3.4:99999", "[1.2.3.4]:80", "::1:80", "", "1.2.3:80"])
    assert.equal(await ask({ local: here, restored: true, header: bad }), here, bad);
  assert.equal(stats.read("original_dst_host_invalid"), 8);
  assert.equal(await ask({ local: here, restored: true, metadata: at(7) }), here);
  assert.equal(await ask({ local: here, restored: true, metadata: { at: "x" } }), here);
  assert.equal(stats.read("original_dst_host_invalid"), 8);
});

test("without use_http_header the header means nothing; the port can be overridden", async (t) => {
  const { ask, port } = await stage(t);
  assert.equal(await ask({ local: `127.0.0.1:${port}`, restored: true, header: "127.0.0.1:1" }), `127.0.0.1:${port}`);
  const fixed = await stage(t, { port });
  assert.equal(await fixed.ask({ local: "127.0.0.1:1", restored: true }), `127.0.0.1:${port}`);
});

test("hosts that nobody asks for are forgotten, and their connections closed", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { ask, port, stats, hosts } = await stage(t, { cleanupIntervalMs: 20 });
  await ask({ local: `127.0.0.1:${port}`, restored: true });
  t.mock.timers.tick(20);
  assert.equal(hosts(), 1, "it was asked for since the last look");
  t.mock.timers.tick(20);
  await until(() => hosts() === 0 && stats.read("upstream_cx_active") === 0);
  assert.equal(stats.read("membership_total"), 0);
  assert.equal(await ask({ local: `127.0.0.1:${port}`, restored: true }), `127.0.0.1:${port}`);
});

test("the configuration", () => {
  const cluster = (more: string): string =>
    bootstrap({ clusters: `- { name: away, type: ORIGINAL_DST, connect_timeout: 1s, ${more} }` });
  const built = (more: string): unknown =>
    snapshotOf(cluster(`lb_policy: CLUSTER_PROVIDED, ${more}`)).clusters.find(({ name }) => name === "away")
      ?.originalDst;
  assert.deepEqual(built(""), { header: "", metadataPath: [], port: 0, cleanupIntervalMs: 5000 });
  const path = NAMED.path.map((key) => `{ key: ${key} }`).join(", ");
  assert.deepEqual(
    built(
      `cleanup_interval: 7s, original_dst_lb_config: { use_http_header: true, upstream_port_override: 9, metadata_key: { key: ${NAMED.key}, path: [ ${path} ] } }`,
    ),
    {
      header: "x-envoy-original-dst-host",
      metadataPath: ["ns", "at", "host"],
      port: 9,
      cleanupIntervalMs: 7000,
    },
  );
  const errors = (more: string): string[] => brief(load(cluster(more)).errors).map((text) => text.replace(/^\S+ /, ""));
  const at = "static_resources.clusters[1]";
  assert.deepEqual(errors(""), [`${at}.lb_policy cluster`]);
  assert.deepEqual(errors("lb_policy: CLUSTER_PROVIDED, load_assignment: { cluster_name: away },"), [
    `${at}.load_assignment cluster`,
  ]);
  assert.deepEqual(errors("lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: { http_header_name: a },"), [
    `${at}.original_dst_lb_config.http_header_name cluster`,
  ]);
  const fixed = bootstrap({ clusters: "- { name: away, type: STATIC, lb_policy: CLUSTER_PROVIDED }" });
  assert.deepEqual(
    load(fixed).errors.map(({ rule }) => rule),
    ["cluster"],
  );
});
