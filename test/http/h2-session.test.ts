/** HTTP/2 from downstream: with prior knowledge, by ALPN, beside HTTP/1; real clients and hostile ones. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:http2";
import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders } from "node:http2";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { TestContext } from "node:test";
import { chain } from "../listener/fixture.ts";
import { Authority } from "../tls/certificates.ts";
import { downstreamTls } from "../tls/contexts.ts";
import { until } from "../upstream/fixtures.ts";
import { cluster, Engine, exchange, fixedOrigin, forward, h2Client, origin, route, SEES_ALL } from "./engine.ts";
import type { EngineOptions } from "./engine.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-h2-"));
after(() => rmSync(folder, { recursive: true }));
const root = new Authority(folder, "root");
const own = root.issue("own.test");

const HELLO = [route("/", { kind: "direct_response", status: 200, body: "hello" } as const)];

async function start(t: TestContext, options: Partial<EngineOptions> = {}): Promise<Engine> {
  const engine = await Engine.start({ routes: HELLO, ...options });
  t.after(() => {
    engine.close();
    return until(
      () =>
        engine.stats.gauge("http.test.downstream_cx_active").value === 0 &&
        engine.stats.gauge("http.test.downstream_cx_http2_active").value === 0 &&
        engine.stats.gauge("http.test.downstream_rq_active").value === 0,
    );
  });
  return engine;
}

/** An origin that answers with what it got: the head's fields as JSON, then the body, then its trailers. */
async function mirror(t: TestContext): Promise<number> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("error", () => {});
    request.on("data", (data: Buffer) => parts.push(data));
    request.on("end", () => {
      response.setHeader("x-seen", JSON.stringify(request.headers));
      response.setHeader("x-trailers", JSON.stringify(request.trailers));
      if (request.method === "HEAD") return response.end();
      response.setHeader("trailer", "x-sum");
      response.write(Buffer.concat(parts));
      response.addTrailers({ "x-sum": String(Buffer.concat(parts).length) });
      return response.end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

interface Got {
  readonly head: Record<string, unknown>;
  readonly body: Buffer;
  readonly trailers: Record<string, unknown>;
  readonly code: number;
}

function result(stream: ClientHttp2Stream): Promise<Got> {
  const parts: Buffer[] = [];
  let head: Record<string, unknown> = {};
  let trailers: Record<string, unknown> = {};
  stream.on("error", () => {});
  stream.on("response", (fields) => (head = fields));
  stream.on("trailers", (fields) => (trailers = fields));
  stream.on("data", (data: Buffer) => parts.push(data));
  return new Promise((resolve) =>
    stream.on("close", () => resolve({ head, trailers, body: Buffer.concat(parts), code: stream.rstCode ?? 0 })),
  );
}

function get(session: ClientHttp2Session, fields: OutgoingHttpHeaders = {}): Promise<Got> {
  return result(session.request({ ":path": "/", ":authority": "a.test", ...fields }));
}

function run(command: string, ...args: readonly string[]): Promise<string> {
  return new Promise((resolve) =>
    execFile(command, args, { timeout: 30_000 }, (_error, stdout, stderr) => resolve(stdout + stderr)),
  );
}

test("prior knowledge and HTTP/1 on one listener; counted and logged apart", async (t) => {
  const engine = await start(t);
  const { head, body } = await get(h2Client(t, engine.port));
  assert.deepEqual([head[":status"], body.toString(), head["content-type"]], [200, "hello", "text/plain"]);
  assert.match(await exchange(engine.port, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"), /hello$/);
  assert.match(await exchange(engine.port, "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"), /hello$/);
  await until(() => engine.finished.length === 3);
  assert.deepEqual(
    engine.finished.map(({ protocol, responseCode }) => [protocol, responseCode]),
    [
      ["HTTP/2", 200],
      ["HTTP/1.1", 200],
      ["HTTP/1.1", 200],
    ],
  );
  const names = [
    "downstream_cx_total",
    "downstream_cx_http2_total",
    "downstream_cx_http1_total",
    "downstream_rq_http2_total",
  ];
  assert.deepEqual(
    names.map((name) => engine.counter(`http.test.${name}`)),
    [3, 1, 2, 1],
  );
});

test("the preface in two pieces, cut anywhere; what only begins like it is HTTP/1", async (t) => {
  const { port } = await start(t);
  const whole = Buffer.concat([
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Buffer.of(0, 0, 0, 4, 0, 0, 0, 0, 0),
    // GET, /, http from the static table, and :authority a.
    Buffer.of(0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x84, 0x86, 0x41, 1, 0x61),
  ]);
  for (let cut = 1; cut < 26; cut += 3) {
    const socket = connect(port, "127.0.0.1");
    let received = "";
    socket.setNoDelay(true).on("data", (data) => (received += data.toString("latin1")));
    socket.on("error", () => {});
    socket.write(whole.subarray(0, cut));
    await new Promise((resolve) => setTimeout(resolve, 2));
    socket.write(whole.subarray(cut));
    await until(() => received.includes("hello"));
    socket.destroy();
  }
  assert.match(await exchange(port, "PRI /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"), /^HTTP\/1\.1 400 /);
});

test("curl and h2load over TLS, and curl with prior knowledge", async (t) => {
  const tls = downstreamTls([own], { alpn: ["h2", "http/1.1"] });
  const engine = await start(t, { listener: { filterChains: [{ ...chain("secure"), tls }] } });
  const at = [
    "-sS",
    "--cacert",
    root.certificate,
    "--resolve",
    `own.test:${engine.port}:127.0.0.1`,
    "-w",
    " %{http_version}",
  ];
  assert.equal(await run("curl", ...at, "--http2", `https://own.test:${engine.port}/`), "hello 2");
  assert.equal(await run("curl", ...at, "--http1.1", `https://own.test:${engine.port}/`), "hello 1.1");
  assert.equal(engine.finished[0]!.requestHeaders!.get("x-forwarded-proto"), "https");
  const load = await run("h2load", "-n", "2000", "-c", "4", "-m", "50", `https://127.0.0.1:${engine.port}/`);
  assert.match(load, /2000 succeeded, 0 failed, 0 errored/);
  const plain = await start(t);
  assert.equal(
    await run("curl", "-sS", "-w", " %{http_version}", "--http2-prior-knowledge", `http://127.0.0.1:${plain.port}/`),
    "hello 2",
  );
});

test("heads, bodies and trailers go through, both ways", (t) => wholeMessages(t));

test("the same past a network filter", (t) => wholeMessages(t, [SEES_ALL]));

async function wholeMessages(t: TestContext, networkFilters: EngineOptions["networkFilters"] = []): Promise<void> {
  const engine = await start(t, {
    routes: [route("/", forward("up"))],
    clusters: [cluster("up", [await mirror(t)])],
    networkFilters,
  });
  const session = h2Client(t, engine.port);
  const body = Buffer.alloc(3_000_000, "x");
  const stream = session.request(
    {
      ":method": "POST",
      ":path": "/p?q=1",
      ":authority": "a.test",
      cookie: ["a=1", "b=2"],
      "x-two": ["1", "2"],
      te: "trailers",
    },
    { waitForTrailers: true },
  );
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": "yes" }));
  const done = result(stream);
  stream.end(body);
  const { head, body: back, trailers } = await done;
  assert.ok(back.equals(body));
  const seen = JSON.parse(String(head["x-seen"])) as Record<string, string>;
  assert.deepEqual(
    [seen["host"], seen["cookie"], seen["x-two"], seen["transfer-encoding"]],
    ["a.test", "a=1; b=2", "1, 2", "chunked"],
  );
  assert.deepEqual(JSON.parse(String(head["x-trailers"])), { "x-end": "yes" });
  assert.deepEqual([head["connection"], head["transfer-encoding"]], [undefined, undefined]);
  assert.equal(trailers["x-sum"], "3000000");
  // The last of them are counted when the stream has closed here, too.
  for (const name of ["rx", "tx"])
    await until(() => engine.counter(`http.test.downstream_cx_${name}_bytes_total`) > 3_000_000);
}

test("a hundred streams at once, HEAD, no content, expect, CONNECT, and no path", async (t) => {
  const port = await mirror(t);
  const routes = [
    route("/none", { kind: "direct_response", status: 204, body: "" } as const),
    route("/", forward("up")),
  ];
  const engine = await start(t, { routes, clusters: [cluster("up", [port])] });
  const session = h2Client(t, engine.port);
  const all = await Promise.all(Array.from({ length: 100 }, (_, at) => get(session, { ":path": `/${at}` })));
  assert.ok(all.every(({ head }) => head[":status"] === 200));
  const head = await get(session, { ":method": "HEAD" });
  assert.deepEqual([head.head[":status"], head.body.length], [200, 0]);
  assert.equal((await get(session, { ":path": "/none" })).head[":status"], 204);
  const stream = session.request({ ":method": "POST", ":path": "/", ":authority": "a", expect: "100-continue" });
  const done = result(stream);
  await once(stream, "continue");
  stream.end("later");
  assert.equal((await done).body.toString(), "later");
  assert.equal((await result(session.request({ ":method": "CONNECT", ":authority": "a:1" }))).head[":status"], 403);
  assert.equal((await get(session, { ":path": "nowhere" })).code, constants.NGHTTP2_PROTOCOL_ERROR);
});

test("as many streams as configured, and no more", async (t) => {
  const up = await origin((socket) => socket.resume());
  t.after(() => up.close());
  const http2 = {
    maxConcurrentStreams: 2,
    streamWindowBytes: 65_535,
    connectionWindowBytes: 65_535,
    allowConnect: false,
  };
  const engine = await start(t, {
    routes: [route("/", forward("up"))],
    clusters: [cluster("up", [up.port])],
    manager: { http2 },
  });
  const session = h2Client(t, engine.port);
  await once(session, "remoteSettings");
  assert.equal(session.remoteSettings.maxConcurrentStreams, 2);
  assert.equal(session.remoteSettings.initialWindowSize, 65_535);
  for (let at = 0; at < 5; at++) void get(session);
  await until(() => engine.counter("http.test.downstream_rq_http2_total") === 2 && up.sockets.size === 2);
  assert.equal(engine.counter("http.test.downstream_rq_http2_total"), 2);
});

test("a stream that downstream resets is given up upstream; the others go on", async (t) => {
  const up = await origin((socket) => socket.resume());
  t.after(() => up.close());
  const routes = [route("/slow", forward("up")), ...HELLO];
  const engine = await start(t, { routes, clusters: [cluster("up", [up.port])] });
  const session = h2Client(t, engine.port);
  const stream = session.request({ ":method": "POST", ":path": "/slow", ":authority": "a" });
  stream.on("error", () => {});
  stream.write("x");
  await until(() => up.sockets.size === 1);
  stream.close(constants.NGHTTP2_CANCEL);
  await until(() => engine.finished.length === 1 && up.sockets.size === 0);
  assert.equal(engine.finished[0]!.responseCodeDetails, "downstream_remote_disconnect");
  assert.equal((await get(session)).body.toString(), "hello");
});

test("a response that breaks off upstream, or does not fit its length, is reset and nothing else", async (t) => {
  const cut = await origin(
    (socket) => void socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfive.")),
  );
  t.after(() => cut.close());
  const routes = [route("/cut", forward("up")), ...HELLO];
  const engine = await start(t, { routes, clusters: [cluster("up", [cut.port])] });
  const session = h2Client(t, engine.port);
  const { code, head } = await get(session, { ":path": "/cut" });
  assert.equal(head[":status"], 200);
  assert.notEqual(code, 0);
  assert.equal((await get(session)).body.toString(), "hello");
});

test("a slow reader holds its own stream back, not the proxy", async (t) => {
  const size = 20_000_000;
  const big = await fixedOrigin(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n${"y".repeat(size)}`);
  t.after(() => big.close());
  const routes = [route("/big", forward("up")), ...HELLO];
  const engine = await start(t, { routes, clusters: [cluster("up", [big.port])] });
  const session = h2Client(t, engine.port);
  const stream = session.request({ ":path": "/big", ":authority": "a" });
  await once(stream, "response");
  stream.pause();
  await until(() => engine.counter("cluster.up.upstream_flow_control_paused_reading_total") > 0);
  assert.equal((await get(session)).body.toString(), "hello");
  const done = result(stream);
  stream.resume();
  assert.equal((await done).body.length, size);
});

test("what is no HTTP/2 after the preface ends the connection and is counted", async (t) => {
  const engine = await start(t);
  const socket = connect(engine.port, "127.0.0.1");
  socket.on("error", () => {});
  socket.resume().write(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${"garbage".repeat(20)}`);
  await new Promise((resolve) => socket.on("close", resolve));
  assert.equal(engine.counter("http.test.downstream_cx_protocol_error"), 1);
  const strict = await start(t, { manager: { codecType: "HTTP2" } });
  const plain = connect(strict.port, "127.0.0.1");
  plain.on("error", () => {});
  plain.resume().write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  await new Promise((resolve) => plain.on("close", resolve));
  const many = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`x-${at}`, "1"]));
  const { code, head } = await get(h2Client(t, engine.port), many);
  assert.ok(code !== 0 && head[":status"] === undefined);
});

test("thousands of streams that are opened and reset end their connection; others are served", async (t) => {
  const up = await origin(() => {});
  t.after(() => up.close());
  const engine = await start(t, {
    routes: [route("/slow", forward("up")), ...HELLO],
    clusters: [cluster("up", [up.port])],
  });
  const hostile = h2Client(t, engine.port);
  let closed = false;
  hostile.on("close", () => (closed = true));
  // Told to go away, it takes no more requests, and is closed only later.
  const open = (): boolean => !hostile.closed && !hostile.destroyed;
  for (let round = 0; round < 100 && open(); round++) {
    for (let at = 0; at < 100 && open(); at++) {
      const stream = hostile.request({ ":path": "/slow", ":authority": "a" });
      stream.on("error", () => {});
      stream.close(constants.NGHTTP2_CANCEL);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => closed);
  assert.equal((await get(h2Client(t, engine.port))).body.toString(), "hello");
});

test("draining: GOAWAY, streams under way finish, then the connection ends", async (t) => {
  let answer: (() => void) | undefined;
  const up = await origin((socket) => {
    socket.on("data", () => (answer = () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")));
  });
  t.after(() => up.close());
  const engine = await start(t, {
    routes: [route("/", forward("up"))],
    clusters: [cluster("up", [up.port])],
    manager: { drainTimeoutMs: 20 },
  });
  const session = h2Client(t, engine.port);
  const pending = get(session);
  await until(() => answer !== undefined);
  const goaway = once(session, "goaway");
  const drained = engine.drain(60_000);
  await goaway;
  answer!();
  assert.equal((await pending).body.toString(), "done");
  await drained;
  await until(() => session.destroyed);
});

test("an idle connection ends after its time; one with a stream does not", async (t) => {
  const engine = await start(t, { manager: { idleTimeoutMs: 60 } });
  const session = h2Client(t, engine.port);
  await get(session);
  await until(() => session.destroyed);
  assert.equal(engine.counter("http.test.downstream_cx_idle_timeout"), 1);
  const silent = connect(engine.port, "127.0.0.1");
  await new Promise((resolve) => silent.resume().on("close", resolve));
  assert.equal(engine.counter("http.test.downstream_cx_idle_timeout"), 2);
});
