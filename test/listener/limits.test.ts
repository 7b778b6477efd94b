/** Bounds of connections: of one listener, and of the whole process. */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { ListenerConfig } from "../../runtime/config/snapshot.ts";
import { ListenerSet } from "../../runtime/listener/listener-set.ts";
import type { ListenerEnvironment } from "../../runtime/listener/environment.ts";
import { SocketCounts } from "../../runtime/listener/socket-counts.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { bootstrap, load, snapshotOf } from "../config/fixture.ts";
import { closed, config, echo, environment, ip, open } from "./fixture.ts";

interface Stage {
  readonly stats: StatsStore;
  connect(listener: number): Promise<Socket>;
  /** True when it is served, false when it is closed at once. */
  isServed(socket: Socket): Promise<boolean>;
  counter(name: string): number;
}

async function stage(
  t: TestContext,
  listeners: readonly ListenerConfig[],
  more: Partial<ListenerEnvironment>,
): Promise<Stage> {
  const stats = new StatsStore(() => {});
  const set = new ListenerSet(
    listeners,
    environment(stats, () => [echo], more),
  );
  t.after(() => set.close());
  await set.start();
  return {
    stats,
    async connect(listener) {
      const socket = await open({ host: "127.0.0.1", port: set.bound[listener]!.port });
      t.after(() => socket.destroy());
      return socket;
    },
    async isServed(socket) {
      // What is closed at once may be reset for the byte that came too late.
      socket.write("x");
      return new Promise((resolve) => {
        socket.once("data", () => resolve(true));
        void closed(socket).then(() => resolve(false));
      });
    },
    counter: (name) => stats.counter(name).value,
  };
}

test("a listener's own limit, shared by the workers", async (t) => {
  const counts = { "": SocketCounts.room(2), l: SocketCounts.room(2) };
  const runtime = { "envoy.resource_limits.listener.l.connection_limit": 3 };
  const { connect, isServed, counter } = await stage(t, [config(ip("127.0.0.1"))], { counts, runtime });
  // Another worker has one.
  const other = new SocketCounts(counts.l, 1);
  other.enter();
  const sockets = [await connect(0), await connect(0)];
  for (const socket of sockets) assert.equal(await isServed(socket), true);
  assert.equal(await isServed(await connect(0)), false);
  assert.equal(counter("listener.l.downstream_cx_overflow"), 1);
  other.leave();
  assert.equal(await isServed(await connect(0)), true);
  sockets[0]!.destroy();
  while (new SocketCounts(counts.l, 0).total() > 2) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.equal(await isServed(await connect(0)), true);
  assert.equal(counter("listener.l.downstream_cx_overflow"), 1);
});

test("the limit of the process, and a listener that ignores it", async (t) => {
  const free = config(ip("127.0.0.1"), { name: "free", statPrefix: "free", ignoreGlobalConnectionLimit: true });
  const counts = Object.fromEntries(["", "l", "free"].map((name) => [name, SocketCounts.room(1)]));
  const { connect, isServed, counter } = await stage(t, [config(ip("127.0.0.1")), free], { counts, maxConnections: 2 });
  assert.equal(await isServed(await connect(0)), true);
  assert.equal(await isServed(await connect(1)), true);
  assert.equal(await isServed(await connect(0)), false);
  assert.equal(await isServed(await connect(1)), true);
  assert.equal(counter("listener.l.downstream_global_cx_overflow"), 1);
  assert.equal(counter("listener.free.downstream_global_cx_overflow"), 0);
});

test("the limit of the process comes from the overload manager, or from the runtime", () => {
  const monitor = (type: string, more: string): string =>
    `overload_manager: { resource_monitors: [ { name: m, typed_config: {
      "@type": type.googleapis.com/envoy.extensions.resource_monitors.${type}, ${more} } } ] }`;
  const set = monitor("downstream_connections.v3.DownstreamConnectionsConfig", "max_active_downstream_connections: 7");
  const layer = `layered_runtime: { layers: [ { name: s, static_layer: { overload: { global_downstream_max_connections: 9 } } } ] }`;
  assert.equal(snapshotOf(bootstrap()).maxDownstreamConnections, Infinity);
  assert.equal(snapshotOf(bootstrap({ rest: set })).maxDownstreamConnections, 7);
  assert.equal(snapshotOf(bootstrap({ rest: layer })).maxDownstreamConnections, 9);
  assert.equal(snapshotOf(bootstrap({ rest: `${layer}\n${set}` })).maxDownstreamConnections, 7);
  const { errors } = load(bootstrap({ rest: monitor("fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes: 1") }));
  assert.match(errors[0]!.message, /not supported yet: .*FixedHeapConfig/);
});
