/** HTTP/2 from downstream as bytes: what no client library sends, and what a host of HTTP/1 must not be made to see. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { TestContext } from "node:test";
import { closed } from "../listener/fixture.ts";
import { until } from "../upstream/fixtures.ts";
import { ResponseFlag } from "../../runtime/errors.ts";
import { cluster, Engine, forward, origin, route } from "./engine.ts";
import { block, END_HEADERS, END_STREAM, Frame, frame, frames, head, PREFACE } from "./h2-frames.ts";

/** Sends frames on a connection of its own; resolves when stream 1 is over: answered, reset, or refused with all. */
async function send(
  t: TestContext,
  port: number,
  ...sent: readonly Buffer[]
): Promise<"answered" | "reset" | "goaway"> {
  const socket = connect(port, "127.0.0.1");
  t.after(() => socket.destroy());
  let bytes = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (data: Buffer) => (bytes = Buffer.concat([bytes, data])));
  socket.write(Buffer.concat([PREFACE, frame(Frame.SETTINGS, 0, 0), ...sent]));
  const came = (wanted: number): boolean => frames(bytes).some(({ type }) => type === wanted);
  const ended = (): boolean =>
    frames(bytes).some(
      ({ type, stream, flags }) => stream === 1 && type <= Frame.HEADERS && (flags & END_STREAM) !== 0,
    );
  await until(() => ended() || came(Frame.RST_STREAM) || came(Frame.GOAWAY));
  socket.destroy();
  return ended() ? "answered" : came(Frame.GOAWAY) ? "goaway" : "reset";
}

const GET = head("GET", "/");
const POST = head("POST", "/");
/** The fields that every request gets here. */
const OWN = "x-forwarded-proto: http\r\nx-envoy-expected-rq-timeout-ms: 15000\r\n";

/** What a host of HTTP/1 gets: this text, or nothing since the stream is `reset`, or answered with this status. */
const ROWS: readonly (readonly [what: string, fields: readonly string[], outcome: string | number, body?: string])[] = [
  ["a request", GET, `GET / HTTP/1.1\r\nhost: a.test\r\n${OWN}\r\n`],
  // nghttp2 takes a field with a bad value out, which leaves nothing to smuggle with.
  ...["a\rb", "a\nb", "a\r\nevil: 1", "a\0b", " a", "a ", "a\x7fb"].map(
    (value) =>
      [`value ${JSON.stringify(value)}`, [...GET, "x", value], `GET / HTTP/1.1\r\nhost: a.test\r\n${OWN}\r\n`] as const,
  ),
  ...["x y", "x:y", "x\ny", "x\r\nevil", ""].map(
    (name) =>
      [`name ${JSON.stringify(name)}`, [...GET, name, "1"], `GET / HTTP/1.1\r\nhost: a.test\r\n${OWN}\r\n`] as const,
  ),
  ["a cookie with CR LF", [...GET, "cookie", "a\r\nb"], `GET / HTTP/1.1\r\nhost: a.test\r\n${OWN}\r\n`],
  [
    "crumbs of a cookie",
    [...GET, "cookie", "a=1", "cookie", "b=2"],
    `GET / HTTP/1.1\r\nhost: a.test\r\ncookie: a=1; b=2\r\n${OWN}\r\n`,
  ],
  [
    "a tab and a byte above ASCII",
    [...GET, "x", "a\tb\xff"],
    `GET / HTTP/1.1\r\nhost: a.test\r\nx: a\tb\xff\r\n${OWN}\r\n`,
  ],
  ["a name that is not in lower case", [...GET, "X", "1"], "reset"],
  ["transfer-encoding", [...POST, "transfer-encoding", "chunked"], "reset", "0\r\n\r\n"],
  ["te other than trailers", [...GET, "te", "gzip"], "reset"],
  ["te: trailers", [...GET, "te", "trailers"], `GET / HTTP/1.1\r\nhost: a.test\r\nte: trailers\r\n${OWN}\r\n`],
  ...["connection", "keep-alive", "proxy-connection", "upgrade"].map(
    (name) => [name, [...GET, name, "x"], "reset"] as const,
  ),
  ["another host beside the authority", [...GET, "host", "evil.test"], `GET / HTTP/1.1\r\nhost: a.test\r\n${OWN}\r\n`],
  [
    "host in place of the authority",
    [...head("GET", "/").slice(0, 6), "host", "h.test"],
    `GET / HTTP/1.1\r\nhost: h.test\r\n${OWN}\r\n`,
  ],
  ["two hosts", [...head("GET", "/").slice(0, 6), "host", "h.test", "host", "i.test"], "reset"],
  ["neither", head("GET", "/").slice(0, 6), "reset"],
  ...["u@a.test", "a b", "a/b", "a\r\nb", ""].map(
    (authority) => [`authority ${authority}`, head("GET", "/", authority), "reset"] as const,
  ),
  ...["a,b", "[::1", "a:b:c", "a:123456", "::1"].map(
    (authority) => [`authority ${authority}`, head("GET", "/", authority), 400] as const,
  ),
  ...["/ HTTP/1.1", "/\r\nx: y", "/\0", "http://b.test/", "", "a", "*"].map(
    (path) => [`path ${JSON.stringify(path)}`, head("GET", path), "reset"] as const,
  ),
  ...["/a#b", "/\xe4", "/?q=\xff"].map((path) => [`path ${JSON.stringify(path)}`, head("GET", path), 400] as const),
  ["a path of an authority's form", head("GET", "//b.test/c"), `GET //b.test/c HTTP/1.1\r\nhost: a.test\r\n${OWN}\r\n`],
  ["a star", head("OPTIONS", "*"), 404],
  ...["GET /x", "G\r\nT", "", "G\0T"].map(
    (method) => [`method ${JSON.stringify(method)}`, head(method, "/"), "reset"] as const,
  ),
  ["CONNECT", [":method", "CONNECT", ":authority", "a.test:80"], 403],
  ["CONNECT with a path", head("CONNECT", "/"), "reset"],
  ["CONNECT with a protocol nobody allowed", [...head("CONNECT", "/"), ":protocol", "websocket"], "reset"],
  ["a scheme that is none", [...head("GET", "/"), ":scheme", "ht tp"], "reset"],
  ...[":method", ":scheme", ":path"].map((name) => {
    const at = GET.indexOf(name);
    return [`no ${name}`, GET.toSpliced(at, 2), "reset"] as const;
  }),
  ...[":method", ":scheme", ":path", ":authority"].map(
    (name) => [`${name} twice`, [...GET, name, "/"], "reset"] as const,
  ),
  ["a pseudo-field behind a field", [...GET.slice(0, 6), "x", "y", ...GET.slice(6)], "reset"],
  ["an unknown pseudo-field", [...GET, ":x", "y"], "reset"],
  ["a pseudo-field of responses", [...GET, ":status", "200"], "reset"],
  [
    "a body as long as it says",
    [...POST, "content-length", "3"],
    `POST / HTTP/1.1\r\nhost: a.test\r\n${OWN}content-length: 3\r\n\r\nabc`,
    "abc",
  ],
  [
    "a length in octal, perhaps",
    [...POST, "content-length", "003"],
    `POST / HTTP/1.1\r\nhost: a.test\r\n${OWN}content-length: 3\r\n\r\nabc`,
    "abc",
  ],
  [
    "a body without a length",
    GET,
    `GET / HTTP/1.1\r\nhost: a.test\r\n${OWN}transfer-encoding: chunked\r\n\r\n11\r\nGET /b HTTP/1.1\r\n\r\n0\r\n\r\n`,
    "GET /b HTTP/1.1\r\n",
  ],
  ["a body shorter than its length", [...POST, "content-length", "5"], "reset", "abc"],
  ["a body longer than its length", [...POST, "content-length", "2"], "goaway", "abc"],
  ["a length and no body", [...POST, "content-length", "3"], "reset"],
  ...["3, 3", "+3", "-1", "", "0x3", "3 "].map(
    (length) => [`length ${length}`, [...POST, "content-length", length], "reset", "abc"] as const,
  ),
  ["two lengths", [...POST, "content-length", "3", "content-length", "3"], "reset", "abc"],
];
test("no request of HTTP/2 becomes anything but itself for a host of HTTP/1", async (t) => {
  let received = "";
  const host = await origin((socket) => {
    socket.on("data", (data) => {
      received += data.toString("latin1");
      const end = received.includes("chunked") ? "0\r\n\r\n" : received.includes("content-length") ? "abc" : "\r\n\r\n";
      if (received.endsWith(end)) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
  });
  const routes = [route("/", forward("host"))];
  const manager = { generateRequestId: false };
  const engine = await Engine.start({
    routes,
    clusters: [cluster("host", [host.port], { maxRequestsPerConnection: 1 })],
    manager,
  });
  t.after(() => {
    engine.close();
    return host.close();
  });
  for (const [what, fields, outcome, body] of ROWS) {
    received = "";
    const before = engine.finished.length;
    const last = body === undefined ? END_STREAM : 0;
    const data = body === undefined ? [] : [frame(Frame.DATA, END_STREAM, 1, Buffer.from(body))];
    const how = await send(t, engine.port, frame(Frame.HEADERS, END_HEADERS | last, 1, block(fields)), ...data);
    const text = typeof outcome === "string" && outcome.includes(" ");
    assert.equal(how, text || typeof outcome === "number" ? "answered" : outcome, what);
    assert.equal(received, text ? outcome : "", what);
    if (typeof outcome !== "number") continue;
    assert.deepEqual(
      engine.finished.slice(before).map(({ responseCode }) => responseCode),
      [outcome],
      what,
    );
  }
});

test("streams that are reset in the same read that brings them are over, each counted once", async (t) => {
  const engine = await Engine.start({ routes: [route("/", { kind: "direct_response", status: 200, body: "" })] });
  t.after(() => engine.close());
  const expecting = block([...POST, "expect", "100-continue"]);
  const sent: Buffer[] = [];
  const ids = Array.from({ length: 50 }, (_, at) => 2 * at + 1);
  for (const id of ids)
    sent.push(
      frame(Frame.HEADERS, END_HEADERS, id, expecting),
      frame(Frame.RST_STREAM, 0, id, Buffer.from([0, 0, 0, 8])),
    );
  const socket = connect(engine.port, "127.0.0.1");
  t.after(() => socket.destroy());
  socket.write(Buffer.concat([PREFACE, frame(Frame.SETTINGS, 0, 0), ...sent]));
  await until(() => engine.finished.length === ids.length);
  assert.deepEqual(new Set(engine.finished.map((info) => info.hasFlag(ResponseFlag.DC))), new Set([true]));
  assert.equal(engine.counter("http.test.downstream_rq_rx_reset"), ids.length);
  assert.equal(engine.stats.gauge("http.test.downstream_rq_active").value, 0);
});

/** A connection of frames, as bytes. */
function dial(t: TestContext, port: number, ...sent: readonly Buffer[]): Socket {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  t.after(() => socket.destroy());
  socket.on("error", () => {});
  socket.write(Buffer.concat([PREFACE, frame(Frame.SETTINGS, 0, 0), ...sent]));
  return socket;
}

test("downstream that ends its side with streams open has left, whatever is being said to it", async (t) => {
  const host = await origin((socket) => socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\n\r\nbegun")));
  const engine = await Engine.start({
    routes: [route("/", forward("host"))],
    clusters: [cluster("host", [host.port])],
  });
  t.after(() => {
    engine.close();
    return host.close();
  });
  const ids = Array.from({ length: 20 }, (_, at) => 2 * at + 1);
  for (let round = 0; round < 5; round++) {
    const heads = ids.map((id) => frame(Frame.HEADERS, END_HEADERS, id, block(POST)));
    const socket = dial(t, engine.port, ...heads);
    await once(socket, "data");
    socket.resume().end(Buffer.concat(ids.map((id) => frame(Frame.DATA, 0, id, Buffer.from("more")))));
    await closed(socket);
    await until(() => engine.finished.length === (round + 1) * ids.length);
  }
  await until(() => engine.stats.gauge("listener.test.downstream_cx_active").value === 0);
  assert.equal(engine.stats.gauge("cluster.host.upstream_rq_active").value, 0);
  assert.deepEqual(new Set(engine.finished.map((info) => info.hasFlag(ResponseFlag.DC))), new Set([true]));
});

test("answers to requests that are not whole, on a connection that goes away before they are sent", async (t) => {
  const engine = await Engine.start({ routes: [route("/", { kind: "direct_response", status: 200, body: "answer" })] });
  t.after(() => engine.close());
  const expecting = block([...POST, "expect", "100-continue"]);
  const heads = [1, 3, 5, 7].map((id) => frame(Frame.HEADERS, END_HEADERS, id, id === 1 ? block(POST) : expecting));
  for (let round = 0; round < 40; round++) {
    const socket = dial(t, engine.port, ...heads);
    if (round % 2 === 0) socket.end();
    else await once(socket, "connect").then(() => socket.resetAndDestroy());
    socket.resume();
  }
  await until(() => engine.finished.length % heads.length === 0 && engine.finished.length > 0);
  await until(() => engine.stats.gauge("listener.test.downstream_cx_active").value === 0);
  assert.equal(engine.stats.gauge("http.test.downstream_rq_active").value, 0);
});

test("trailers that never end do not outlive their connection, in whatever order Node frees them", async () => {
  const script = fileURLToPath(new URL("unfinished-trailers.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", script]);
  assert.equal(stdout, "alive\n");
});
