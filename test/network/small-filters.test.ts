/** echo, direct_response, sni_cluster and connection_limit over real sockets. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import type { NativeFilterConfig } from "../../runtime/config/network-snapshot.ts";
import type { NetworkFilterFactory } from "../../runtime/network/filter.ts";
import { nativeFilter } from "../../runtime/network/native.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { SocketCounts } from "../../runtime/listener/socket-counts.ts";
import { dial, serve, type Served, until } from "../listener/chain.ts";
import { StillClock } from "../still-clock.ts";
import { alone, cluster, echoing, environmentOf, host, proxied } from "./proxied.ts";

const echo = alone({ kind: "echo", name: "echo" });

test("echo sends back what comes, at the pace of the reader, and ends when downstream does", async (t) => {
  const { port } = await serve(t, [echo], { perConnectionBufferLimitBytes: 64 * 1024 });
  const socket = connect(port, "127.0.0.1");
  const total = 8 * 1024 * 1024;
  socket.end(Buffer.alloc(total, "e"));
  let got = 0;
  socket.on("data", (data) => (got += data.length));
  await once(socket, "end");
  assert.equal(got, total);
});

test("direct_response says its line and closes, whatever downstream sends", async (t) => {
  const filter = alone({ kind: "direct_response", name: "d", response: Buffer.from("go away\n") });
  const { port, stats } = await serve(t, [filter]);
  const silent = await dial(t, port);
  assert.equal(await silent.ended, "go away\n");
  const eager = await dial(t, port);
  eager.socket.write("GET / HTTP/1.1\r\n\r\n".repeat(100));
  assert.equal(await eager.ended, "go away\n");
  assert.equal(await eager.gone, false);
  await until(() => stats.gauge("listener.l.downstream_cx_active").value === 0, "no connection is left");
});

test("sni_cluster makes the requested server name the cluster", async (t) => {
  const [up, named] = [await host(t, echoing), await host(t, echoing)];
  const sni = alone({ kind: "sni_cluster", name: "sni" });
  // What tls_inspector would have found.
  const hello: NetworkFilterFactory = {
    name: "hello",
    terminal: false,
    reads: false,
    writes: false,
    create: (view) => {
      Object.assign(view.info, { serverName: "db.example.com" });
      return (sni as Extract<NetworkFilterFactory, { terminal: false }>).create(view);
    },
  };
  const clusters = [cluster("up", [up.port]), cluster("db.example.com", [named.port])];
  const proxy = await proxied(t, { clusters, filters: [hello] });
  const peer = await dial(t, proxy.port);
  peer.socket.end("x");
  assert.equal(await peer.ended, "x");
  const plain = await proxied(t, { clusters, filters: [sni] });
  const other = await dial(t, plain.port);
  other.socket.end("y");
  assert.equal(await other.ended, "y");
  assert.deepEqual([up.accepted.length, named.accepted.length], [1, 1]);
});

function limit(
  stats: StatsStore,
  more: {
    delayMs?: number;
    enabled?: boolean;
    runtime?: Record<string, boolean>;
    counts?: Record<string, SharedArrayBuffer>;
    workerIndex?: number;
  } = {},
): NetworkFilterFactory {
  const config: NativeFilterConfig = {
    kind: "connection_limit",
    name: "limit",
    limit: {
      statPrefix: "s",
      maxConnections: 2,
      delayMs: more.delayMs ?? 0,
      enabled: more.enabled ?? true,
      runtimeKey: "limit.on",
      countKey: "k",
    },
  };
  const { runtime = {}, counts = {}, workerIndex = 0 } = more;
  return nativeFilter(config, { ...environmentOf(stats), runtime, counts, workerIndex });
}

test("connection_limit closes what is over the limit, and lets in again who comes when there is room", async (t) => {
  const stats = new StatsStore(() => {});
  const { port } = await serve(t, [limit(stats), echo], {}, stats);
  const first = await dial(t, port);
  const second = await dial(t, port);
  for (const { socket, text } of [first, second]) {
    socket.write("x");
    await until(() => text() === "x", "within the limit");
  }
  const third = await dial(t, port);
  assert.equal(await third.ended, "");
  await until(() => stats.gauge("connection_limit.s.active_connections").value === 2, "two are left");
  assert.equal(stats.counter("connection_limit.s.limited_connections").value, 1);
  first.socket.end();
  await first.gone;
  await until(() => stats.gauge("connection_limit.s.active_connections").value === 1, "one is left");
  const fourth = await dial(t, port);
  fourth.socket.end("in");
  assert.equal(await fourth.ended, "in");
  second.socket.destroy();
  await until(() => stats.gauge("connection_limit.s.active_connections").value === 0, "nobody is left");
});

test("connection_limit counts the connections of all workers together", async (t) => {
  const counts = { k: SocketCounts.room(2) };
  const workers = await Promise.all(
    [0, 1].map((workerIndex) => {
      const stats = new StatsStore(() => {});
      return serve(t, [limit(stats, { counts, workerIndex }), echo], {}, stats);
    }),
  );
  const [one, other] = workers as [Served, Served];
  const peers = [await dial(t, one.port), await dial(t, other.port)];
  for (const { socket, text } of peers) {
    socket.write("x");
    await until(() => text() === "x", "within the limit");
  }
  assert.equal(await (await dial(t, other.port)).ended, "");
  peers[0]!.socket.destroy();
  await until(() => one.stats.gauge("connection_limit.s.active_connections").value === 0, "one has left");
  const next = await dial(t, other.port);
  next.socket.end("in");
  assert.equal(await next.ended, "in");
});

test("connection_limit with a delay holds bytes and connection until it closes", async (t) => {
  const stats = new StatsStore(() => {});
  const { port } = await serve(t, [limit(stats, { delayMs: 60 }), echo], {}, stats);
  const clock = new StillClock(t);
  const inside = [await dial(t, port), await dial(t, port)];
  await until(() => stats.gauge("connection_limit.s.active_connections").value === 2, "two are in");
  const over = await dial(t, port);
  over.socket.write("hello?");
  await until(() => stats.counter("connection_limit.s.limited_connections").value === 1, "the third is over");
  assert.equal(stats.gauge("connection_limit.s.active_connections").value, 3);
  clock.pass(60);
  await over.gone;
  assert.equal(over.text(), "");
  // One that leaves before its delay is over takes its timer with it.
  const gone = await dial(t, port);
  await until(() => stats.counter("connection_limit.s.limited_connections").value === 2, "the fourth is over");
  gone.socket.resetAndDestroy();
  for (const { socket } of inside) socket.destroy();
  await until(() => stats.gauge("connection_limit.s.active_connections").value === 0, "nobody is left");
});

test("connection_limit can be off, by configuration and by runtime", async (t) => {
  for (const more of [{ enabled: false }, { runtime: { "limit.on": false } }]) {
    const stats = new StatsStore(() => {});
    const { port } = await serve(t, [limit(stats, more), echo], {}, stats);
    const peers = [await dial(t, port), await dial(t, port), await dial(t, port)];
    for (const { socket, ended } of peers) {
      socket.end("x");
      assert.equal(await ended, "x");
    }
    assert.equal(stats.counter("connection_limit.s.limited_connections").value, 0);
  }
  const stats = new StatsStore(() => {});
  const { port } = await serve(t, [limit(stats, { enabled: false, runtime: { "limit.on": true } }), echo], {}, stats);
  const peers = [await dial(t, port), await dial(t, port), await dial(t, port)];
  await until(() => stats.counter("connection_limit.s.limited_connections").value === 1, "one is over");
  for (const { socket } of peers) socket.destroy();
  await until(() => stats.gauge("connection_limit.s.active_connections").value === 0, "nobody is left");
});
