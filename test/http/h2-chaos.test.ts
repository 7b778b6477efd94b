/**
 * HTTP/2 from downstream in any order: frames that fit and frames that do not, streams that are reset, connections that
 * end or are reset at any moment, hosts that break off. Nothing is thrown, nothing hangs, every stream is told of once,
 * and nothing is left.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http2";
import type { ServerHttp2Stream } from "node:http2";
import { connect } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../upstream/fixtures.ts";
import { cluster, Engine, forward, origin, route, SEES_ALL } from "./engine.ts";
import type { EngineOptions } from "./engine.ts";
import { block, END_HEADERS, END_STREAM, Frame, frame, PREFACE } from "./h2-frames.ts";

const CONNECTIONS = 600;
const AT_A_TIME = 12;

/** The same numbers in each run; what they meet is up to the sockets. */
let seed = 1;
function below(n: number): number {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
  return (seed >> 8) % n;
}
function oneOf<T>(values: readonly T[]): T {
  return values[below(values.length)]!;
}

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/** What a host of HTTP/1 does with what comes. */
const HOST_MOODS: readonly ((socket: Socket) => void)[] = [
  (socket) => void socket.destroy(),
  (socket) => void socket.resetAndDestroy(),
  (socket) =>
    socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", () => socket.destroy()),
  (socket) => void socket.end("HTTP/1.1 200 OK\r\n\r\nto the end"),
  (socket) => void socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n${"x".repeat(300_000)}`),
  (socket) => void socket.write("garbage\r\n\r\n"),
  (socket) => void socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n"),
  (socket) => void socket.write(OK),
  (socket) => void socket.write(OK),
];
const STREAM_MOODS: readonly ((stream: ServerHttp2Stream) => void)[] = [
  (stream) => stream.close(below(14)),
  (stream) => {
    stream.respond({ ":status": 200 });
    stream.write("abc", () => stream.close(2));
  },
  (stream) => stream.session!.destroy(),
  (stream) => {
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ x: "y" }));
    stream.end("abc");
  },
  (stream) => {
    stream.respond({ ":status": 200 });
    stream.end("x".repeat(300_000));
  },
  (stream) => stream.session!.goaway(0),
  (stream) => {
    stream.respond({ ":status": 200 });
    stream.end("ok");
  },
];

function anyHead(): Buffer {
  const fields = [":method", oneOf(["GET", "POST", "HEAD", "CONNECT"]), ":scheme", "http"];
  fields.push(":path", oneOf(["/h1", "/h2", "/", "/x#y"]), ":authority", "a");
  if (below(4) === 0) fields.push("expect", "100-continue");
  if (below(6) === 0) fields.push("content-length", "10");
  return block(fields);
}

/** One connection from its preface to its end. */
async function converse(port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  if (below(3) > 0) socket.resume();
  socket.write(Buffer.concat([PREFACE, frame(Frame.SETTINGS, 0, 0)]));
  let next = 1;
  for (let turns = below(30); turns > 0 && !socket.destroyed; turns--) {
    const sent: Buffer[] = [];
    for (let count = below(5); count >= 0; count--) {
      const id = below(Math.max(1, next >> 1)) * 2 + 1;
      const what = below(12);
      if (what < 4) {
        sent.push(frame(Frame.HEADERS, END_HEADERS | below(2), next, anyHead()));
        next += 2;
      } else if (what < 7) sent.push(frame(Frame.DATA, below(2), id, Buffer.alloc(below(3000))));
      else if (what < 9) sent.push(frame(Frame.RST_STREAM, 0, id, Buffer.from([0, 0, 0, below(14)])));
      else if (what === 9) sent.push(frame(Frame.HEADERS, END_HEADERS | END_STREAM, id, block(["t", "1"])));
      else if (what === 10) sent.push(frame(Frame.WINDOW_UPDATE, 0, below(2) * id, Buffer.from([0, 0, below(256), 1])));
      else sent.push(frame(Frame.SETTINGS, 0, 0, Buffer.from([0, 4, 0, below(2), below(256), 255])));
    }
    socket.write(Buffer.concat(sent));
    if (below(3) === 0) await sleep(below(8));
  }
  const end = below(4);
  if (end === 0) socket.resetAndDestroy();
  else if (end === 1) {
    socket.resume().end();
    return;
  }
  if (end === 2) await sleep(below(60));
  socket.destroy();
}

test("any frames, any ends: every stream is told of once, and nothing is left", (t) => chaos(t, []));

test("the same past a network filter", (t) => chaos(t, [SEES_ALL]));

async function chaos(t: TestContext, networkFilters: EngineOptions["networkFilters"]): Promise<void> {
  const plain = await origin((socket) => socket.on("data", () => oneOf(HOST_MOODS)(socket)));
  const multiplexed = createServer();
  multiplexed.on("sessionError", () => {});
  multiplexed.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => {});
    oneOf(STREAM_MOODS)(stream);
  });
  multiplexed.listen(0, "127.0.0.1");
  await once(multiplexed, "listening");
  const { port } = multiplexed.address() as AddressInfo;
  const engine = await Engine.start({
    routes: [
      route("/h2", forward("h2")),
      route("/h1", forward("h1", { timeoutMs: 50 })),
      route("/", { kind: "direct_response", status: 200, body: "x".repeat(1000) }),
    ],
    clusters: [cluster("h1", [plain.port]), cluster("h2", [port], { protocol: "HTTP2" })],
    bufferLimitBytes: 4096,
    networkFilters: networkFilters ?? [],
    manager: {
      streamIdleTimeoutMs: 60,
      idleTimeoutMs: 200,
      delayedCloseTimeoutMs: 20,
      drainTimeoutMs: 10,
      requestTimeoutMs: 80,
      maxRequestsPerConnection: 40,
      maxStreamDurationMs: 100,
      maxConnectionDurationMs: 300,
      enableTrailers: true,
    },
  });
  t.after(async () => {
    engine.close();
    multiplexed.close();
    await plain.close();
  });
  let left = CONNECTIONS;
  // How much of a conversation is a request before it breaks off is up to the sockets.
  const enough = (): boolean => engine.finished.length > CONNECTIONS / 2;
  await Promise.all(
    Array.from({ length: AT_A_TIME }, async () => {
      while (left-- > 0 || !enough()) await converse(engine.port);
    }),
  );
  const gauges = [
    "listener.test.downstream_cx_active",
    "http.test.downstream_cx_active",
    "http.test.downstream_cx_http2_active",
    "http.test.downstream_rq_active",
    ...["h1", "h2"].flatMap((name) => [
      `cluster.${name}.upstream_rq_active`,
      `cluster.${name}.upstream_rq_pending_active`,
    ]),
  ];
  await until(() => gauges.every((name) => engine.stats.gauge(name).value === 0));
  assert.equal(engine.finished.length, engine.counter("http.test.downstream_rq_total"));
}
