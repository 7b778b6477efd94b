/** HTTP/2 clusters against node:http2 servers. */
import assert from "node:assert/strict";
import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream, constants } from "node:http2";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import { ResetReason } from "../../runtime/errors.ts";
import { DEAD_PORT } from "../ports.ts";
import {
  clusterConfig,
  clusterUnderTest,
  endpoint,
  get,
  origin,
  Recorder,
  requestHeaders,
  turn,
  until,
} from "./fixtures.ts";

interface H2Origin {
  readonly port: number;
  readonly server: Http2Server;
  readonly sessions: ServerHttp2Session[];
}

async function h2Origin(
  t: TestContext,
  script: (stream: ServerHttp2Stream, headers: Record<string, unknown>, raw: string[]) => void,
  settings: { maxConcurrentStreams?: number; initialWindowSize?: number } = {},
): Promise<H2Origin> {
  const sessions: ServerHttp2Session[] = [];
  const server = createServer({ settings });
  server.on("session", (session) => {
    sessions.push(session);
    session.on("error", () => session.destroy());
  });
  server.on("stream", (stream, headers, _flags, raw) => {
    stream.on("error", () => stream.destroy());
    script(stream as ServerHttp2Stream, headers, raw);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const session of sessions) session.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return { port: (server.address() as AddressInfo).port, server, sessions };
}

const http2 = { protocol: "HTTP2" } as const;

test("headers, body and trailers go both ways on one connection", async (t) => {
  const seen: { raw: string[]; body: string; trailers: unknown }[] = [];
  const { port, sessions } = await h2Origin(t, (stream, _headers, raw) => {
    let body = "";
    let trailers: unknown;
    stream.on("trailers", (fields: unknown) => (trailers = fields));
    stream.on("data", (chunk: Buffer) => (body += chunk.toString("latin1")));
    stream.on("end", () => {
      seen.push({ raw, body, trailers });
      stream.respond({ ":status": 200, "x-twice": ["a", "b"], "x-latin": "caf\u00e9" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "7" }));
      stream.end("answer");
    });
  });
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  for (let n = 0; n < 2; n++) {
    const recorder = new Recorder();
    const request = cluster.request(recorder);
    request.sendHeaders(
      requestHeaders("POST", "/p", [
        "x-a",
        "1",
        "x-a",
        "2",
        "connection",
        "keep-alive",
        "te",
        "gzip",
        "host",
        "x",
        "x-l",
        "\u00e9",
      ]),
      false,
    );
    request.sendData(Buffer.from("hel"), false);
    request.sendData(Buffer.from("lo"), false);
    request.sendTrailers(new HeaderMap(["x-t", "1", "x-t", "2"]));
    await recorder.finished();
    assert.equal(recorder.status, 200);
    assert.equal(recorder.headers.list[0], ":status");
    assert.deepEqual(recorder.headers.all("x-twice"), ["a", "b"]);
    assert.equal(recorder.headers.get("x-latin"), "caf\u00e9");
    assert.equal(recorder.body, "answer");
    assert.deepEqual(recorder.trailers?.list, ["x-sum", "7"]);
    assert.equal(recorder.address, `127.0.0.1:${port}`);
    assert.deepEqual(recorder.events, ["ready", "headers 200", "trailers"]);
  }
  assert.equal(sessions.length, 1);
  assert.equal(seen[0]!.body, "hello");
  const text = seen[0]!.raw.join("|");
  assert.match(text, /\|x-a\|1\|x-a\|2\|/);
  assert.doesNotMatch(text, /connection|keep-alive|\|te\||host/);
  assert.match(text, /x-l\|\u00e9/);
  assert.equal((seen[0]!.trailers as Record<string, string>)["x-t"], "1, 2");
  assert.equal(stats.read("upstream_cx_http2_total"), 1);
  assert.equal(stats.read("upstream_rq_total"), 2);
  assert.ok(stats.read("upstream_cx_rx_bytes_total") > 50);
});

test("a bodiless exchange ends with the headers", async (t) => {
  const { port } = await h2Origin(t, (stream, headers) => {
    stream.respond({ ":status": headers[":method"] === "GET" ? 204 : 500 }, { endStream: true });
  });
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const answer = await get(cluster, "/");
  assert.deepEqual(answer.events, ["ready", "headers 204 end"]);
});

test("informational responses arrive", async (t) => {
  const { port } = await h2Origin(t, (stream) => {
    stream.additionalHeaders({ ":status": 103, link: "a" });
    stream.respond({ ":status": 200 });
    stream.end();
  });
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const answer = await get(cluster, "/");
  assert.deepEqual(answer.events.slice(0, 2), ["ready", "informational 103"]);
  assert.equal(answer.ended, true);
});

test("many requests share a connection; max_concurrent_streams of the host is respected", async (t) => {
  let open = 0;
  let most = 0;
  const held: (() => void)[] = [];
  const { port, sessions } = await h2Origin(
    t,
    (stream) => {
      most = Math.max(most, ++open);
      held.push(() => {
        open--;
        stream.respond({ ":status": 200 });
        stream.end("x");
      });
    },
    { maxConcurrentStreams: 3 },
  );
  const config = clusterConfig([endpoint(port)], {
    ...http2,
    circuitBreakers: { maxConnections: 1, maxPendingRequests: 1024, maxRequests: 1024, maxRetries: 3 },
  });
  const { cluster, stats } = clusterUnderTest(t, config);
  const probe = get(cluster, "/");
  await until(() => held.length === 1);
  held.shift()!();
  await probe;
  const answers = Array.from({ length: 10 }, () => get(cluster, "/"));
  for (let n = 0; n < 10; n++) {
    await until(() => held.length > 0);
    await turn();
    held.shift()!();
  }
  for (const answer of await Promise.all(answers)) assert.equal(answer.body, "x");
  assert.equal(most, 3);
  assert.equal(sessions.length, 1);
  assert.equal(stats.read("upstream_rq_pending_active"), 0);
});

test("a full connection gets a sister", async (t) => {
  const held: ServerHttp2Stream[] = [];
  const { port, sessions } = await h2Origin(t, (stream) => held.push(stream), { maxConcurrentStreams: 1 });
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const first = get(cluster, "/");
  await until(() => held.length === 1);
  const second = get(cluster, "/");
  await until(() => held.length === 2);
  assert.equal(sessions.length, 2);
  for (const stream of held) stream.respond({ ":status": 200 }, { endStream: true });
  assert.equal((await first).status, 200);
  assert.equal((await second).status, 200);
});

test("GOAWAY: requests under way finish, the next one gets a new connection", async (t) => {
  const held: ServerHttp2Stream[] = [];
  const { port, sessions } = await h2Origin(t, (stream) => held.push(stream));
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const first = get(cluster, "/");
  await until(() => held.length === 1);
  sessions[0]!.close();
  await until(() => stats.read("upstream_cx_close_notify") === 1);
  const second = get(cluster, "/");
  await until(() => held.length === 2);
  assert.equal(sessions.length, 2);
  held[0]!.respond({ ":status": 200 });
  held[0]!.end("old");
  held[1]!.respond({ ":status": 200 });
  held[1]!.end("new");
  assert.equal((await first).body, "old");
  assert.equal((await second).body, "new");
  await until(() => stats.read("upstream_cx_active") === 1);
});

for (const [name, code, reason, unsent] of [
  ["REFUSED_STREAM", constants.NGHTTP2_REFUSED_STREAM, ResetReason.REFUSED_STREAM, true],
  ["INTERNAL_ERROR", constants.NGHTTP2_INTERNAL_ERROR, ResetReason.REMOTE_RESET, false],
  ["CANCEL", constants.NGHTTP2_CANCEL, ResetReason.REMOTE_RESET, false],
  ["PROTOCOL_ERROR", constants.NGHTTP2_PROTOCOL_ERROR, ResetReason.PROTOCOL_ERROR, false],
] as const) {
  test(`a stream reset by the host: ${name}; the connection goes on`, async (t) => {
    const { port, sessions } = await h2Origin(t, (stream, headers) => {
      if (headers[":path"] === "/bad") stream.close(code);
      else stream.respond({ ":status": 200 }, { endStream: true });
    });
    const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
    const bad = await get(cluster, "/bad");
    assert.equal(bad.resetReason, reason);
    assert.equal(bad.requestUnsent, unsent);
    assert.equal((await get(cluster, "/")).status, 200);
    assert.equal(sessions.length, 1);
    assert.equal(stats.read("upstream_rq_rx_reset"), 1);
  });
}

test("a response cut off in its body is a reset, by stream and by connection", async (t) => {
  const { port, sessions } = await h2Origin(t, (stream, headers) => {
    // Waiting for trailers that never come keeps Node from ending the stream before it resets it.
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.write("half");
    setImmediate(() => {
      if (headers[":path"] === "/stream") stream.close(constants.NGHTTP2_INTERNAL_ERROR);
      else sessions.at(-1)?.destroy();
    });
  });
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const stream = await get(cluster, "/stream");
  assert.equal(stream.resetReason, ResetReason.REMOTE_RESET);
  const connection = await get(cluster, "/connection");
  assert.equal(connection.resetReason, ResetReason.CONNECTION_TERMINATION);
  assert.equal(connection.ended, false);
});

test("a dead connection is replaced", async (t) => {
  const { port, sessions } = await h2Origin(t, (stream) => stream.respond({ ":status": 200 }, { endStream: true }));
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  await get(cluster, "/");
  sessions[0]!.destroy();
  await until(() => stats.read("upstream_cx_active") === 0);
  assert.equal((await get(cluster, "/")).status, 200);
  assert.equal(sessions.length, 2);
});

test("nobody listens: the failure is told as for HTTP/1", async (t) => {
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(DEAD_PORT)], http2));
  const answer = await get(cluster, "/");
  assert.equal(answer.resetReason, ResetReason.REMOTE_CONNECTION_FAILURE);
  assert.equal(answer.transportFailure, "delayed connect error: Connection refused");
  assert.equal(answer.requestUnsent, true);
});

test("a host that speaks HTTP/1 is a protocol error", async (t) => {
  const { port } = await origin(
    t,
    (socket) => void socket.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
  );
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const answer = await get(cluster, "/");
  assert.equal(answer.resetReason, ResetReason.PROTOCOL_ERROR);
});

test("headers that HTTP/2 cannot carry fail that request alone", async (t) => {
  const { port, sessions } = await h2Origin(t, (stream) => stream.respond({ ":status": 200 }, { endStream: true }));
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  await get(cluster, "/");
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("GET", "/", [":path", "/again"]), true);
  assert.equal(recorder.resetReason, null);
  await recorder.finished();
  assert.ok(recorder.resetReason === ResetReason.LOCAL_RESET || recorder.resetReason === ResetReason.PROTOCOL_ERROR);
  assert.equal((await get(cluster, "/")).status, 200);
  assert.equal(sessions.length, 1);
});

test("trailers that HTTP/2 cannot carry fail that request alone; pseudo-headers among them are dropped", async (t) => {
  const { port, sessions } = await h2Origin(t, (stream) => {
    stream.resume();
    stream.on("end", () => {
      if (stream.aborted) return;
      stream.respond({ ":status": 200 });
      stream.end();
    });
  });
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  for (const [name, reason] of [
    ["connection", ResetReason.LOCAL_RESET],
    ["a b", ResetReason.LOCAL_RESET],
    [":path", null],
  ] as const) {
    const recorder = new Recorder();
    const request = cluster.request(recorder);
    request.sendHeaders(requestHeaders("POST", "/"), false);
    request.sendData(Buffer.from("x"), false);
    request.sendTrailers(new HeaderMap([name, "1"]));
    await recorder.finished();
    assert.equal(recorder.resetReason, reason, name);
  }
  assert.equal(sessions.length, 1);
});

test("reset cancels the stream at the host and keeps the connection", async (t) => {
  let code = -1;
  const { port, sessions } = await h2Origin(t, (stream, headers) => {
    stream.on("close", () => (code = stream.rstCode));
    if (headers[":path"] === "/") stream.respond({ ":status": 200 }, { endStream: true });
  });
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("GET", "/hang"), true);
  await recorder.when((r) => r.address !== "");
  await turn();
  request.reset(true);
  await until(() => code !== -1);
  assert.equal(code, constants.NGHTTP2_CANCEL);
  assert.equal(stats.read("upstream_rq_active"), 0);
  assert.equal(cluster.hosts[0]!.rqTimeout, 1);
  assert.equal((await get(cluster, "/")).status, 200);
  assert.equal(sessions.length, 1);
  assert.deepEqual(recorder.events, ["ready"]);
});

test("an upload that is given up does not look complete to the host", async (t) => {
  let ended = false;
  let closed = false;
  const { port } = await h2Origin(t, (stream) => {
    stream.on("data", () => {});
    stream.on("end", () => (ended = !stream.aborted));
    stream.on("close", () => (closed = true));
  });
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("POST", "/"), false);
  request.sendData(Buffer.from("half"), false);
  await recorder.when((r) => r.address !== "");
  await turn();
  request.reset();
  await until(() => closed);
  assert.equal(ended, false);
});

test("a slow host pushes back, and lets go again", async (t) => {
  let stream: ServerHttp2Stream | undefined;
  let received = 0;
  const { port } = await h2Origin(t, (opened) => {
    stream = opened;
    opened.pause();
    opened.respond({ ":status": 200 });
  });
  const config = clusterConfig([endpoint(port)], { ...http2, perConnectionBufferLimitBytes: 64 * 1024 });
  const { cluster } = clusterUnderTest(t, config);
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("POST", "/"), false);
  const chunk = Buffer.alloc(16 * 1024, 120);
  let sent = 0;
  await recorder.when((r) => r.address !== "");
  while (request.sendData(chunk, false)) {
    sent += chunk.length;
    await turn();
    assert.ok(sent < 8 * 1024 * 1024, "the host reads nothing, so sending must stop");
  }
  sent += chunk.length;
  await until(() => stream !== undefined);
  stream!.on("data", (data: Buffer) => (received += data.length));
  stream!.resume();
  await recorder.when((r) => r.drains > 0);
  assert.equal(request.sendData(Buffer.alloc(0), true), true);
  await until(() => received === sent);
  stream!.end();
  await recorder.finished();
  assert.equal(recorder.ended, true);
});

test("paused reading stops the host within the stream's window; another stream goes on", async (t) => {
  let written = 0;
  const { port } = await h2Origin(t, (stream, headers) => {
    stream.respond({ ":status": 200 });
    if (headers[":path"] !== "/big") {
      stream.end("small");
      return;
    }
    const chunk = Buffer.alloc(64 * 1024, 120);
    const more = (): void => {
      while (written < 16 * 1024 * 1024) {
        written += chunk.length;
        if (!stream.write(chunk)) {
          stream.once("drain", more);
          return;
        }
      }
      stream.end();
    };
    more();
  });
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const recorder = new Recorder();
  recorder.keepChunks = false;
  const request = cluster.request(recorder);
  recorder.onEvent = (event) => {
    if (event === "headers") request.pauseReading();
  };
  request.sendHeaders(requestHeaders("GET", "/big"), true);
  await recorder.when((r) => r.status === 200);
  for (let n = 0; n < 50; n++) assert.equal((await get(cluster, "/small")).body, "small");
  assert.ok(written <= 3 * 1024 * 1024, `the host could write ${written} bytes`);
  request.resumeReading();
  await recorder.finished();
  assert.equal(recorder.bytes, 16 * 1024 * 1024);
});

test("an early response ends the exchange; the rest of the request is not sent", async (t) => {
  const { port, sessions } = await h2Origin(t, (stream) => stream.respond({ ":status": 413 }, { endStream: true }));
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("POST", "/"), false);
  await recorder.when((r) => r.address !== "");
  request.sendData(Buffer.from("part"), false);
  await recorder.finished();
  assert.equal(recorder.status, 413);
  assert.equal(request.sendData(Buffer.from("rest"), true), true);
  assert.equal((await get(cluster, "/")).status, 413);
  assert.equal(sessions.length, 1);
});

test("an idle connection is closed after idle_timeout, a worn-out one after its last request", async (t) => {
  const { port, sessions } = await h2Origin(t, (stream) => stream.respond({ ":status": 200 }, { endStream: true }));
  const idle = clusterUnderTest(t, clusterConfig([endpoint(port)], { ...http2, idleTimeoutMs: 20 }));
  await get(idle.cluster, "/");
  await until(() => idle.stats.read("upstream_cx_idle_timeout") === 1);
  const worn = clusterUnderTest(t, clusterConfig([endpoint(port)], { ...http2, maxRequestsPerConnection: 1 }));
  await get(worn.cluster, "/");
  await get(worn.cluster, "/");
  assert.equal(sessions.length, 3);
  assert.equal(worn.stats.read("upstream_cx_max_requests"), 2);
});
