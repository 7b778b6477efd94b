/** The end of a downstream connection that does not read, or reads slowly: what was written is not lost, nor kept for ever. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { StillClock } from "../still-clock.ts";
import { turn, until } from "../upstream/fixtures.ts";
import { cluster, Engine, forward, origin, route } from "./engine.ts";
import type { EngineOptions } from "./engine.ts";
import { block, END_HEADERS, END_STREAM, Frame, frame, head, PREFACE } from "./h2-frames.ts";

const SIZE = 24_000_000;
/** More than the two sockets take, whatever the system makes of them. */
const BODY = "y".repeat(SIZE);

async function start(t: TestContext, options: Partial<EngineOptions> = {}): Promise<Engine> {
  const routes = [route("/", { kind: "direct_response", status: 200, body: BODY } as const)];
  const engine = await Engine.start({
    routes,
    ...options,
    manager: { delayedCloseTimeoutMs: 100, ...options.manager },
  });
  t.after(() => engine.close());
  return engine;
}

function active(engine: Engine): number {
  return engine.stats.gauge("listener.test.downstream_cx_active").value;
}

async function ask(t: TestContext, engine: Engine): Promise<Socket> {
  const socket = connect(engine.port, "127.0.0.1");
  t.after(() => socket.destroy());
  socket.on("error", () => {});
  socket.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
  await once(socket, "readable");
  return socket;
}

test("a reader slower than delayed_close_timeout gets all of a last response", async (t) => {
  const engine = await start(t, { manager: { delayedCloseTimeoutMs: 500 } });
  const clock = new StillClock(t);
  const socket = await ask(t, engine);
  let got = 0;
  let pieces = 0;
  let ended = false;
  socket.on("end", () => (ended = true));
  while (!ended) {
    const piece = socket.read() as Buffer | null;
    await turn();
    if (piece === null) continue;
    got += piece.length;
    pieces++;
    clock.pass(5);
  }
  assert.ok(got > SIZE, String(got));
  assert.ok(5 * pieces > 500, `${pieces} pieces`);
});

test("one that does not read at all is closed after it", async (t) => {
  const engine = await start(t);
  await ask(t, engine);
  await until(() => active(engine) === 0);
});

test("a response that breaks off behind a reader that does not read ends all the same", async (t) => {
  const host = await origin((socket) => {
    socket.on("data", () => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${2 * SIZE}\r\n\r\n`);
      socket.write(BODY, "latin1", () => socket.destroy());
    });
  });
  t.after(() => host.close());
  const engine = await start(t, {
    routes: [route("/", forward("host"))],
    clusters: [cluster("host", [host.port])],
    bufferLimitBytes: 64 * 1024 * 1024,
  });
  await ask(t, engine);
  await until(() => active(engine) === 0);
});

test("an HTTP/2 connection that nobody reads ends when it is idle", async (t) => {
  const engine = await start(t, { manager: { idleTimeoutMs: 100, streamIdleTimeoutMs: 100 } });
  const socket = connect(engine.port, "127.0.0.1");
  t.after(() => socket.destroy());
  socket.on("error", () => {});
  const window = Buffer.from([0, 4, 0x3f, 0xff, 0xff, 0xff]);
  const frames = [
    frame(Frame.SETTINGS, 0, 0, window),
    frame(Frame.WINDOW_UPDATE, 0, 0, window.subarray(2)),
    frame(Frame.HEADERS, END_STREAM | END_HEADERS, 1, block(head("GET", "/"))),
  ];
  socket.write(Buffer.concat([PREFACE, ...frames]));
  await until(() => active(engine) === 1);
  await until(() => active(engine) === 0);
  assert.equal(engine.counter("http.test.downstream_cx_idle_timeout"), 1);
});
