/** tcp_proxy over real sockets: bytes both ways, both ends of each direction, hosts that are not there, bounds. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { DEFAULT_FORMAT } from "../../runtime/observe/format.ts";
import { NetworkStatus } from "../../runtime/network/filter.ts";
import type { FilterView } from "../../runtime/network/filter.ts";
import { dial, passing, Plain, until } from "../listener/chain.ts";
import { closed } from "../listener/fixture.ts";
import { DEAD_PORT } from "../ports.ts";
import { StillClock } from "../still-clock.ts";
import { cluster, echoing, gaugesLeft, host, logTo, proxied, type Proxied } from "./proxied.ts";

async function allOver(proxy: Proxied): Promise<void> {
  await until(
    () => Object.keys(gaugesLeft(proxy)).length === 0,
    `gauges are 0 again, not ${JSON.stringify(gaugesLeft(proxy))}`,
  );
}

test("bytes go both ways, and each side may end first", async (t) => {
  const up = await host(t, echoing);
  const proxy = await proxied(t, { clusters: [cluster("up", [up.port])] });
  const peer = await dial(t, proxy.port);
  peer.socket.end("hello");
  assert.equal(await peer.ended, "hello");
  assert.equal(await peer.gone, false);
  await allOver(proxy);

  const late = await dial(t, proxy.port, true);
  await until(() => up.accepted.length === 2, "the host sees the connection");
  let got = "";
  up.accepted[1]!.unpipe().on("data", (data) => (got += data.toString()));
  up.accepted[1]!.resume();
  up.accepted[1]!.end("first");
  assert.equal(await late.ended, "first");
  late.socket.end("afterwards");
  await once(up.accepted[1]!, "end");
  assert.equal(got, "afterwards");
  await allOver(proxy);

  const { counter } = proxy;
  assert.equal(counter("tcp.t.downstream_cx_total"), 2);
  assert.equal(counter("tcp.t.downstream_cx_rx_bytes_total"), 15);
  assert.equal(counter("tcp.t.downstream_cx_tx_bytes_total"), 10);
  assert.equal(counter("cluster.up.upstream_cx_total"), 2);
  assert.equal(counter("cluster.up.upstream_cx_rx_bytes_total"), 10);
  assert.equal(counter("cluster.up.upstream_cx_tx_bytes_total"), 15);
  assert.equal(counter("cluster.up.upstream_rq_total"), 2);
  assert.equal(counter("cluster.up.upstream_cx_destroy"), 2);
});

test("nothing is read before there is a host, and nothing is lost", async (t) => {
  const up = await host(t, echoing);
  const proxy = await proxied(t, { clusters: [cluster("up", [up.port])] });
  const socket = connect(proxy.port, "127.0.0.1");
  socket.end(Buffer.alloc(3_000_000, "x"));
  let got = 0;
  socket.on("data", (data) => (got += data.length));
  await once(socket, "end");
  assert.equal(got, 3_000_000);
  assert.equal(proxy.counter("tcp.t.early_data_received_count_total"), 0);
  await allOver(proxy);
});

test("bytes that a filter lets go before the host is there wait for it", async (t) => {
  const up = await host(t, echoing);
  const inject = passing((view) =>
    Object.assign(new Plain(view), {
      onNewConnection(): number {
        queueMicrotask(() => view.injectReadData(Buffer.from("early"), true));
        return NetworkStatus.CONTINUE;
      },
    }),
  );
  const proxy = await proxied(t, { clusters: [cluster("up", [up.port])], filters: [inject] });
  const peer = await dial(t, proxy.port);
  assert.equal(await peer.ended, "early");
  assert.equal(proxy.counter("tcp.t.early_data_received_count_total"), 1);
  peer.socket.end();
  await allOver(proxy);
});

test("what filters inject behind the end of a direction is dropped", async (t) => {
  const up = await host(t, echoing);
  const late = passing((view) =>
    Object.assign(new Plain(view), {
      onData(_bytes: unknown, endStream: boolean): number {
        if (endStream) queueMicrotask(() => view.injectReadData(Buffer.from("late"), true));
        return NetworkStatus.CONTINUE;
      },
      onWrite(_bytes: unknown, endStream: boolean): number {
        if (endStream) queueMicrotask(() => view.injectWriteData(Buffer.from("later"), true));
        return NetworkStatus.CONTINUE;
      },
    }),
  );
  const proxy = await proxied(t, { clusters: [cluster("up", [up.port])], filters: [late] });
  const peer = await dial(t, proxy.port);
  peer.socket.end("in time");
  assert.equal(await peer.ended, "in time");
  assert.equal(await peer.gone, false);
  await allOver(proxy);
});

test("ON_DOWNSTREAM_DATA: no host before the first bytes, no more of them than allowed, none for who says nothing", async (t) => {
  const up = await host(t, echoing);
  const proxy = await proxied(t, {
    clusters: [cluster("up", [up.port])],
    tcp: { connectOnData: true, maxEarlyDataBytes: 4 },
  });
  const silent = await dial(t, proxy.port);
  const talking = await dial(t, proxy.port);
  talking.socket.write("hello");
  await until(() => talking.text() === "hello", "the first bytes come back");
  assert.equal(up.accepted.length, 1);
  assert.ok(proxy.counter("tcp.t.early_data_received_count_total") >= 1);
  talking.socket.end(" and more");
  assert.equal(await talking.ended, "hello and more");
  silent.socket.end();
  assert.equal(await silent.ended, "");
  await allOver(proxy);
  assert.equal(up.accepted.length, 1);
});

test("max_early_data_bytes: what downstream sends is read while the host is being connected", async (t) => {
  const up = await host(t, echoing);
  const proxy = await proxied(t, {
    clusters: [cluster("dead", [DEAD_PORT]), cluster("up", [up.port])],
    tcp: {
      clusters: [{ name: "dead", weight: 1 }],
      maxEarlyDataBytes: 1000,
      maxConnectAttempts: 2,
      backoff: { baseMs: 200, maxMs: 200 },
    },
    filters: [
      passing((view) =>
        Object.assign(new Plain(view), {
          onData(): number {
            view.stream.filterState = new Map([["envoy.tcp_proxy.cluster", Buffer.from("up")]]);
            return NetworkStatus.CONTINUE;
          },
        }),
      ),
    ],
  });
  const clock = new StillClock(t);
  const peer = await dial(t, proxy.port);
  peer.socket.end("decides");
  await until(() => proxy.counter("tcp.t.early_data_received_count_total") === 1, "the bytes were read early");
  await until(() => proxy.counter("cluster.dead.upstream_cx_connect_fail") === 1, "the first attempt has failed");
  clock.pass(200);
  // Read early, the bytes are seen by the filter, which chooses the cluster of the second attempt.
  assert.equal(await peer.ended, "decides");
  assert.equal(proxy.counter("tcp.t.early_data_received_count_total"), 1);
  await allOver(proxy);
});

test("large streams arrive unchanged in both directions at once, in many connections", async (t) => {
  const up = await host(t, echoing);
  const proxy = await proxied(t, { clusters: [cluster("up", [up.port])] });
  const payload = Buffer.alloc(4 * 1024 * 1024);
  for (let at = 0; at < payload.length; at += 4) payload.writeUInt32LE((at * 2654435761) >>> 0, at);
  const sum = createHash("sha256").update(payload).digest("hex");
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      const socket = connect(proxy.port, "127.0.0.1");
      const hash = createHash("sha256");
      socket.on("data", (data) => hash.update(data));
      socket.end(payload);
      await once(socket, "end");
      assert.equal(hash.digest("hex"), sum);
    }),
  );
  await allOver(proxy);
});

test("slow readers push back through the proxy, in both directions", async (t) => {
  const up = await host(t);
  const limit = 256 * 1024;
  const proxy = await proxied(t, {
    clusters: [cluster("up", [up.port], { perConnectionBufferLimitBytes: limit })],
    listener: { perConnectionBufferLimitBytes: limit },
  });
  const total = 64 * 1024 * 1024;

  const reader = await dial(t, proxy.port);
  reader.socket.removeAllListeners("data");
  reader.socket.pause();
  await until(() => up.accepted.length === 1, "connected");
  up.accepted[0]!.end(Buffer.alloc(total));
  await until(() => proxy.counter("cluster.up.upstream_flow_control_paused_reading_total") > 0, "the host is paused");
  assert.ok(proxy.gauge("tcp.t.downstream_cx_tx_bytes_buffered") <= limit + 65_536);
  let got = 0;
  reader.socket.on("data", (data) => (got += data.length));
  reader.socket.resume();
  await reader.ended;
  assert.equal(got, total);
  reader.socket.end();
  await allOver(proxy);

  const writer = await dial(t, proxy.port);
  await until(() => up.accepted.length === 2, "connected");
  const sink = up.accepted[1]!;
  sink.pause();
  writer.socket.end(Buffer.alloc(total));
  await until(() => proxy.counter("tcp.t.downstream_flow_control_paused_reading_total") > 0, "downstream is paused");
  got = 0;
  sink.on("data", (data) => (got += data.length)).resume();
  await once(sink, "end");
  assert.equal(got, total);
  sink.end();
  await allOver(proxy);
  assert.equal(
    proxy.counter("tcp.t.downstream_flow_control_paused_reading_total"),
    proxy.counter("tcp.t.downstream_flow_control_resumed_reading_total"),
  );
});

test("RST of one side is RST for the other", async (t) => {
  const up = await host(t);
  const { log, lines } = logTo(t, "%RESPONSE_FLAGS%\n");
  const proxy = await proxied(t, { clusters: [cluster("up", [up.port])], tcp: { accessLogs: [log] } });
  const first = await dial(t, proxy.port);
  await until(() => up.accepted.length === 1, "connected");
  let code: string | undefined;
  up.accepted[0]!.on("error", (error: NodeJS.ErrnoException) => (code = error.code));
  first.socket.resetAndDestroy();
  await until(() => up.accepted[0]!.destroyed, "the host hears of it");
  assert.equal(code, "ECONNRESET");
  await allOver(proxy);
  const second = await dial(t, proxy.port);
  await until(() => up.accepted.length === 2, "connected");
  up.accepted[1]!.resetAndDestroy();
  assert.equal(await second.gone, true);
  await allOver(proxy);
  assert.deepEqual(await lines(), ["-", "UC"]);
});

test("what downstream sent last reaches a slow host after downstream is gone", async (t) => {
  const up = await host(t);
  const total = 32 * 1024 * 1024;
  const proxy = await proxied(t, { clusters: [cluster("up", [up.port], { perConnectionBufferLimitBytes: total })] });
  const peer = await dial(t, proxy.port);
  await until(() => up.accepted.length === 1, "connected");
  const sink = up.accepted[0]!;
  sink.pause();
  sink.end();
  peer.socket.end(Buffer.alloc(total));
  await peer.gone;
  await until(() => proxy.gauge("listener.l.downstream_cx_active") === 0, "downstream is gone");
  assert.equal(proxy.gauge("tcp.t.upstream_flush_active"), 1);
  let got = 0;
  sink.on("data", (data) => (got += data.length)).resume();
  await once(sink, "end");
  assert.equal(got, total);
  await allOver(proxy);
  assert.equal(proxy.counter("tcp.t.upstream_flush_total"), 1);
});

/** Connections that cannot be made, with what stands in the log and what is counted. */
const FAILURES: readonly {
  readonly name: string;
  readonly attempts: number;
  readonly setUp: (port: number) => { ports: readonly number[]; more?: Parameters<typeof cluster>[2]; route?: string };
  readonly line: string;
  readonly counts: Readonly<Record<string, number>>;
}[] = [
  {
    name: "nobody listens",
    attempts: 1,
    setUp: (port) => ({ ports: [port] }),
    line: "UF,URX up 1 tcp_initializion_failure:0 delayed_connect_error:_Connection_refused",
    counts: {
      "cluster.up.upstream_cx_connect_fail": 1,
      "cluster.up.upstream_cx_connect_attempts_exceeded": 1,
      "cluster.up.upstream_rq_pending_failure_eject": 1,
    },
  },
  {
    name: "nobody listens, three attempts",
    attempts: 3,
    setUp: (port) => ({ ports: [port] }),
    line: "UF,URX up 3 tcp_initializion_failure:0 delayed_connect_error:_Connection_refused",
    counts: {
      "cluster.up.upstream_cx_connect_fail": 3,
      "cluster.up.upstream_cx_total": 3,
      "cluster.up.upstream_cx_connect_attempts_exceeded": 1,
    },
  },
  {
    name: "a cluster without hosts",
    attempts: 1,
    setUp: () => ({ ports: [] }),
    line: "UH up 0 tcp_initializion_failure:1 -",
    counts: { "cluster.up.upstream_cx_none_healthy": 1, "cluster.up.upstream_cx_total": 0 },
  },
  {
    name: "no such cluster",
    attempts: 1,
    setUp: () => ({ ports: [], route: "other" }),
    line: "NC - 0 tcp_initializion_failure:3 -",
    counts: { "tcp.t.downstream_cx_no_route": 1 },
  },
  {
    name: "no connection is allowed",
    attempts: 1,
    setUp: (port) => ({
      ports: [port],
      more: { circuitBreakers: { maxConnections: 0, maxPendingRequests: 1024, maxRequests: 1024, maxRetries: 3 } },
    }),
    line: "UO up 0 tcp_initializion_failure:2 -",
    counts: { "cluster.up.upstream_cx_overflow": 1, "cluster.up.upstream_cx_total": 0 },
  },
];

for (const { name, attempts, setUp, line, counts } of FAILURES) {
  test(`no host to be had: ${name}`, async (t) => {
    const { ports, more, route } = setUp(DEAD_PORT);
    const { log, lines } = logTo(
      t,
      "%RESPONSE_FLAGS% %UPSTREAM_CLUSTER% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %DOWNSTREAM_LOCAL_CLOSE_REASON% %UPSTREAM_TRANSPORT_FAILURE_REASON%\n",
    );
    const proxy = await proxied(t, {
      clusters: [cluster("up", ports, more)],
      tcp: {
        maxConnectAttempts: attempts,
        accessLogs: [log],
        ...(route === undefined ? {} : { clusters: [{ name: route, weight: 1 }] }),
      },
    });
    const peer = await dial(t, proxy.port);
    await peer.gone;
    await allOver(proxy);
    assert.deepEqual(await lines(), [line]);
    for (const [stat, value] of Object.entries(counts)) assert.equal(proxy.counter(stat), value, stat);
  });
}

test("a further attempt goes to the next host, after a backoff when one is asked for", async (t) => {
  const up = await host(t, echoing);
  const proxy = await proxied(t, {
    clusters: [cluster("up", [DEAD_PORT, up.port])],
    tcp: { maxConnectAttempts: 2, backoff: { baseMs: 1, maxMs: 5 } },
  });
  for (let n = 0; n < 6; n++) {
    const peer = await dial(t, proxy.port);
    peer.socket.end(`${n}`);
    assert.equal(await peer.ended, `${n}`);
  }
  await allOver(proxy);
  assert.ok(proxy.counter("cluster.up.upstream_cx_connect_fail") >= 1);
});

test("a host that does not answer is given up after connect_timeout", async (t) => {
  const { log, lines } = logTo(t, "%RESPONSE_FLAGS%\n");
  const up = cluster("up", [], {
    connectTimeoutMs: 30,
    // RFC 5737: nobody answers there; a network that says so at once is as good.
    endpoints: [
      {
        address: { kind: "ip", host: "192.0.2.1", port: 9, ipv4Compat: false },
        hostname: "",
        weight: 1,
        priority: 0,
        healthy: true,
      },
    ],
  });
  const proxy = await proxied(t, { clusters: [up], tcp: { accessLogs: [log] } });
  await (
    await dial(t, proxy.port)
  ).gone;
  await allOver(proxy);
  assert.deepEqual(await lines(), ["UF,URX"]);
  assert.equal(proxy.counter("cluster.up.upstream_cx_connect_fail"), 1);
});

test("downstream that leaves while the host is being connected leaves nothing behind", async (t) => {
  const up = cluster("up", [], {
    connectTimeoutMs: 10_000,
    endpoints: [
      {
        address: { kind: "ip", host: "192.0.2.1", port: 9, ipv4Compat: false },
        hostname: "",
        weight: 1,
        priority: 0,
        healthy: true,
      },
    ],
  });
  let view: FilterView | undefined;
  const watch = passing((given) => {
    view = given;
    return new Plain(given);
  });
  const proxy = await proxied(t, { clusters: [up], filters: [watch] });
  await dial(t, proxy.port);
  await until(() => view !== undefined, "the connection is there");
  view!.closeNow("gone");
  await allOver(proxy);
});

test("weighted clusters get their share", async (t) => {
  const [a, b] = [await host(t), await host(t)];
  const proxy = await proxied(t, {
    clusters: [cluster("a", [a.port]), cluster("b", [b.port])],
    tcp: {
      clusters: [
        { name: "a", weight: 3 },
        { name: "b", weight: 1 },
      ],
    },
  });
  const count = 400;
  for (let n = 0; n < count; n += 20) {
    const peers = await Promise.all(Array.from({ length: 20 }, () => dial(t, proxy.port)));
    await until(() => a.accepted.length + b.accepted.length === n + 20, "all are connected");
    for (const { socket } of peers) socket.destroy();
  }
  // 3 of 4 with 400 tries: 7 standard deviations are 61.
  assert.ok(Math.abs(a.accepted.length - 300) < 61, `${a.accepted.length} of ${count}`);
});

test("idle connections end, active ones do not", async (t) => {
  const up = await host(t, echoing);
  const { log, lines } = logTo(t, "%DOWNSTREAM_LOCAL_CLOSE_REASON%\n");
  const proxy = await proxied(t, {
    clusters: [cluster("up", [up.port])],
    tcp: { idleTimeoutMs: 150, accessLogs: [log] },
  });
  const clock = new StillClock(t);
  const quiet = await dial(t, proxy.port);
  const busy = await dial(t, proxy.port);
  await until(() => up.accepted.length === 2, "both are connected");
  for (let said = 1; said <= 3; said++) {
    clock.pass(49);
    busy.socket.write("x");
    await until(() => busy.text().length === said, "the echo is back");
  }
  assert.equal(quiet.socket.destroyed, false);
  clock.pass(3);
  await quiet.gone;
  clock.pass(140);
  busy.socket.write("x");
  await until(() => busy.text().length === 4, "the echo is back");
  assert.equal(proxy.counter("tcp.t.idle_timeout"), 1);
  clock.pass(150);
  await busy.gone;
  await allOver(proxy);
  assert.equal(proxy.counter("tcp.t.idle_timeout"), 2);
  assert.deepEqual(await lines(), ["tcp_session_idle_timeout", "tcp_session_idle_timeout"]);
});

test("a connection ends after max_downstream_connection_duration", async (t) => {
  const up = await host(t, echoing);
  const { log, lines } = logTo(t, "%RESPONSE_FLAGS% %DOWNSTREAM_LOCAL_CLOSE_REASON%\n");
  const proxy = await proxied(t, {
    clusters: [cluster("up", [up.port])],
    tcp: { maxConnectionDurationMs: 40, maxConnectionDurationJitterPercent: 50, accessLogs: [log] },
  });
  await (
    await dial(t, proxy.port)
  ).gone;
  await allOver(proxy);
  assert.equal(proxy.counter("tcp.t.max_downstream_connection_duration"), 1);
  assert.deepEqual(await lines(), ["DT max_connection_duration_reached"]);
});

test("filter state chooses cluster and idle timeout", async (t) => {
  const [up, other] = [await host(t, echoing), await host(t, echoing)];
  const choose = passing((view) =>
    Object.assign(new Plain(view), {
      onNewConnection(): number {
        view.stream.filterState = new Map([
          ["envoy.tcp_proxy.cluster", Buffer.from("other")],
          ["envoy.tcp_proxy.per_connection_idle_timeout_ms", Buffer.from("30")],
        ]);
        return NetworkStatus.CONTINUE;
      },
    }),
  );
  const proxy = await proxied(t, {
    clusters: [cluster("up", [up.port]), cluster("other", [other.port])],
    filters: [choose],
  });
  const clock = new StillClock(t);
  const peer = await dial(t, proxy.port);
  await until(() => other.accepted.length === 1, "connected");
  await until(() => proxy.gauge("cluster.other.upstream_cx_active") === 1, "connected");
  clock.pass(30);
  await peer.gone;
  assert.equal(up.accepted.length, 0);
  assert.equal(proxy.counter("tcp.t.idle_timeout"), 1);
});

test("the access log: the default format, what TCP knows, and records on the way", async (t) => {
  const up = await host(t, echoing);
  const usual = logTo(t, DEFAULT_FORMAT);
  const facts = logTo(
    t,
    "%ACCESS_LOG_TYPE% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_HOST% %UPSTREAM_CLUSTER% %PROTOCOL% %RESPONSE_CODE% %DYNAMIC_METADATA(seen:what)%\n",
  );
  const note = passing((view) =>
    Object.assign(new Plain(view), {
      onData(): number {
        view.stream.dynamicMetadata = new Map([["seen", { what: "hello" }]]);
        return NetworkStatus.CONTINUE;
      },
    }),
  );
  const proxy = await proxied(t, {
    clusters: [cluster("up", [up.port])],
    filters: [note],
    tcp: {
      accessLogs: [usual.log, facts.log],
      accessLogOnStart: true,
      accessLogOnConnected: true,
      accessLogFlushIntervalMs: 60,
    },
  });
  const clock = new StillClock(t);
  const peer = await dial(t, proxy.port);
  peer.socket.write("12345");
  await until(() => peer.text() === "12345", "echo");
  clock.pass(60);
  peer.socket.end();
  await peer.gone;
  await allOver(proxy);
  const where = `127.0.0.1:${up.port}`;
  const lines = await facts.lines();
  assert.equal(lines[0], "TcpConnectionStart 0 0 - - - 0 -");
  assert.equal(lines[1], `TcpUpstreamConnected 0 0 ${where} up - 0 -`);
  assert.equal(lines[2], `TcpPeriodic 5 5 ${where} up - 0 hello`);
  assert.equal(lines.at(-1), `TcpConnectionEnd 5 5 ${where} up - 0 hello`);
  assert.match(
    (await usual.lines()).at(-1)!,
    new RegExp(`^\\[[^\\]]+\\] "- - -" 0 - 5 5 \\d+ - "-" "-" "-" "-" "${where}"$`),
  );
});

test("a listener's own log has every connection", async (t) => {
  const up = await host(t, echoing);
  const { log, lines } = logTo(
    t,
    "%ACCESS_LOG_TYPE% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_HOST% %FILTER_CHAIN_NAME%\n",
  );
  const proxy = await proxied(t, { clusters: [cluster("up", [up.port])], listener: { accessLogs: [log] } });
  const peer = await dial(t, proxy.port);
  peer.socket.end("abc");
  await peer.gone;
  await allOver(proxy);
  assert.deepEqual(await lines(), [`NotSet 3 3 127.0.0.1:${up.port} chain`]);
});

test("RST storm: connections that are reset at every moment leave nothing behind", async (t) => {
  const up = await host(t, echoing);
  const proxy = await proxied(t, { clusters: [cluster("up", [up.port])] });
  for (let round = 0; round < 20; round++) {
    const sockets = Array.from({ length: 25 }, () => connect(proxy.port, "127.0.0.1").on("error", () => {}));
    for (const [n, socket] of sockets.entries()) {
      socket.on("connect", () => {
        if (n % 3 === 0) socket.resetAndDestroy();
        else if (n % 3 === 1) socket.write(Buffer.alloc(200_000), () => socket.resetAndDestroy());
        else socket.once("data", () => socket.resetAndDestroy()).write("x");
      });
    }
    await Promise.all(sockets.map(closed));
    for (const accepted of up.accepted.splice(0)) if (round % 2 === 0) accepted.resetAndDestroy();
  }
  await allOver(proxy);
  const peer = await dial(t, proxy.port);
  peer.socket.end("still alive");
  assert.equal(await peer.ended, "still alive");
  await allOver(proxy);
});

test("a cluster that goes away ends its connections", async (t) => {
  const up = await host(t);
  const proxy = await proxied(t, { clusters: [cluster("up", [up.port])] });
  const peer = await dial(t, proxy.port);
  await until(() => up.accepted.length === 1, "connected");
  proxy.upstreams.close();
  await peer.ended;
  peer.socket.end();
  await allOver(proxy);
});
