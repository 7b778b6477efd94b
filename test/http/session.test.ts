import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { StillClock } from "../still-clock.ts";
import { until } from "../upstream/fixtures.ts";
import { cluster, Downstream, Engine, exchange, fixedOrigin, forward, origin, route } from "./engine.ts";
import type { EngineOptions } from "./engine.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async function engine(t: TestContext, options: EngineOptions): Promise<Engine> {
  const made = await Engine.start(options);
  t.after(() => made.close());
  return made;
}

const direct = (body: string, status = 200): EngineOptions["routes"][number] =>
  route("/", { kind: "direct_response", status, body });

test("a request is forwarded and its response comes back with the proxy's headers", async (t) => {
  const upstream = await fixedOrigin(
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: x\r\nX-A: 1\r\nConnection: close\r\n\r\nok",
  );
  t.after(() => upstream.close());
  const { port, finished } = await engine(t, {
    routes: [route("/", forward("c"))],
    clusters: [cluster("c", [upstream.port])],
  });
  const text = await exchange(port, "GET /p?q HTTP/1.1\r\nHost: h\r\nX-B: 2\r\nConnection: close\r\n\r\n");
  const [head, body] = text.split("\r\n\r\n");
  const lines = head!.split("\r\n");
  assert.equal(lines[0], "HTTP/1.1 200 OK");
  assert.equal(body, "ok");
  assert.ok(lines.includes("server: envoy"));
  assert.ok(lines.includes("x-a: 1"));
  assert.ok(lines.includes("connection: close"));
  assert.ok(lines.some((line) => /^date: \w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(line)));
  assert.ok(lines.some((line) => /^x-envoy-upstream-service-time: \d+$/.test(line)));
  const seen = upstream.seen[0]!.split("\r\n");
  assert.equal(seen[0], "GET /p?q HTTP/1.1");
  for (const line of ["host: h", "x-b: 2", "x-forwarded-proto: http", "x-envoy-expected-rq-timeout-ms: 15000"]) {
    assert.ok(seen.includes(line), `${line} in ${seen.join("|")}`);
  }
  assert.ok(seen.some((line) => line.startsWith("x-request-id: ")));
  assert.ok(!seen.some((line) => line.startsWith("connection: close")));
  assert.equal(finished.length, 1);
  assert.equal(finished[0]!.responseCodeDetails, "via_upstream");
  assert.equal(finished[0]!.bytesSent, 2);
});

test("one connection carries request after request, downstream and upstream", async (t) => {
  const upstream = await fixedOrigin(OK);
  t.after(() => upstream.close());
  const proxy = await engine(t, { routes: [route("/", forward("c"))], clusters: [cluster("c", [upstream.port])] });
  const downstream = await Downstream.open(proxy.port);
  t.after(() => downstream.close());
  for (let n = 1; n <= 5; n++) {
    downstream.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    await downstream.until((text) => text.split("\r\n\r\nok").length === n + 1);
  }
  assert.equal(upstream.sockets.size, 1);
  assert.equal(proxy.counter("http.test.downstream_cx_total"), 1);
  assert.equal(proxy.counter("http.test.downstream_rq_2xx"), 5);
  assert.equal(proxy.counter("cluster.c.upstream_rq_200"), 5);
});

test("pipelined requests are answered in order", async (t) => {
  const { port } = await engine(t, {
    routes: [
      route("/a", { kind: "direct_response", status: 200, body: "A" }),
      route("/b", { kind: "direct_response", status: 201, body: "B" }),
    ],
  });
  const text = await exchange(
    port,
    "GET /a HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyzGET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
  );
  const codes = [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]);
  // /b answers before its body was read in full: the connection ends there, as in Envoy.
  assert.deepEqual(codes.slice(0, 2), ["200", "201"]);
});

test("ten thousand pipelined requests do not nest", async (t) => {
  const proxy = await engine(t, { routes: [direct("x")] });
  const one = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  const downstream = await Downstream.open(proxy.port);
  t.after(() => downstream.close());
  downstream.send(one.repeat(10_000));
  await downstream.until(
    (text) => text.length > 0 && text.split("HTTP/1.1 200").length === 10_001 && text.endsWith("\r\n\r\nx"),
  );
  assert.equal(proxy.counter("http.test.downstream_rq_total"), 10_000);
});

test("HEAD, 204 and 304 have no body on the wire", async (t) => {
  const upstream = await origin((socket) => {
    socket.on("data", (data) => {
      const path = data.toString().split(" ")[1]!;
      if (path === "/204") socket.write("HTTP/1.1 204 No Content\r\n\r\n");
      else if (path === "/304") socket.write("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n");
      else socket.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");
    });
  });
  t.after(() => upstream.close());
  const { port } = await engine(t, { routes: [route("/", forward("c"))], clusters: [cluster("c", [upstream.port])] });
  const head = await exchange(port, "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  assert.match(head, /content-length: 9\r\n/);
  assert.ok(head.endsWith("\r\n\r\n"));
  const empty = await exchange(port, "GET /204 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  assert.match(empty, /^HTTP\/1\.1 204 No Content\r\n/);
  assert.doesNotMatch(empty, /content-length|transfer-encoding/);
  const same = await exchange(port, "GET /304 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  assert.ok(same.endsWith("\r\n\r\n"));
});

test("HEAD of a direct response tells the length and sends nothing", async (t) => {
  const { port } = await engine(t, { routes: [direct("hello")] });
  const text = await exchange(port, "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  assert.match(text, /content-length: 5\r\n/);
  assert.ok(text.endsWith("\r\n\r\n"));
});

test("a chunked body passes both ways and comes out chunked", async (t) => {
  let got = "";
  const upstream = await origin((socket) => {
    socket.on("data", (data) => {
      got += data.toString("latin1");
      if (got.endsWith("0\r\n\r\n"))
        socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-t: 1\r\n\r\n");
    });
  });
  t.after(() => upstream.close());
  const { port, finished } = await engine(t, {
    routes: [route("/", forward("c"))],
    clusters: [cluster("c", [upstream.port])],
  });
  const text = await exchange(
    port,
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
  );
  assert.match(got, /transfer-encoding: chunked\r\n/);
  assert.equal(unchunk(got.slice(got.indexOf("\r\n\r\n") + 4)), "hello world");
  assert.equal(unchunk(text.slice(text.indexOf("\r\n\r\n") + 4)), "abcde");
  assert.doesNotMatch(text, /x-t/);
  assert.equal(finished[0]!.bytesReceived, 11);
  assert.equal(finished[0]!.bytesSent, 5);
});

function unchunk(text: string): string {
  let rest = text;
  let body = "";
  for (;;) {
    const line = rest.indexOf("\r\n");
    const size = Number.parseInt(rest.slice(0, line), 16);
    if (size === 0) {
      assert.equal(rest.slice(line), "\r\n\r\n");
      return body;
    }
    body += rest.slice(line + 2, line + 2 + size);
    assert.equal(rest.slice(line + 2 + size, line + 4 + size), "\r\n");
    rest = rest.slice(line + 4 + size);
  }
}

test("Expect: 100-continue is answered at once and not passed on", async (t) => {
  const upstream = await fixedOrigin(OK);
  t.after(() => upstream.close());
  const { port } = await engine(t, { routes: [route("/", forward("c"))], clusters: [cluster("c", [upstream.port])] });
  const downstream = await Downstream.open(port);
  t.after(() => downstream.close());
  downstream.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  await downstream.until((text) => text.includes("\r\n\r\n"));
  assert.equal(downstream.received, "HTTP/1.1 100 Continue\r\n\r\n");
  downstream.send("hi");
  await downstream.until((text) => text.endsWith("ok"));
  assert.doesNotMatch(upstream.seen[0]!, /^expect:/im);
});

test("the last request of a connection is read to its end, however it comes", async (t) => {
  let got = "";
  const upstream = await origin((socket) => {
    socket.on("data", (data) => {
      got += data.toString();
      if (got.endsWith("payload")) socket.write(OK);
    });
  });
  t.after(() => upstream.close());
  const { port } = await engine(t, { routes: [route("/", forward("c"))], clusters: [cluster("c", [upstream.port])] });
  const downstream = await Downstream.open(port);
  t.after(() => downstream.close());
  for (const piece of [
    "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 7\r\n\r\n",
    "pay",
    "load",
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
  ]) {
    downstream.send(piece);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const text = await downstream.end();
  assert.match(text, /^HTTP\/1\.1 200 [^]*connection: close[^]*ok$/);
  assert.equal(text.split("HTTP/1.1 ").length, 2);
});

const REFUSALS: readonly [string, string, number, string][] = [
  ["HTTP/1.0", "GET / HTTP/1.0\r\nHost: h\r\n\r\n", 426, "low_version"],
  ["no host", "GET / HTTP/1.1\r\n\r\n", 400, "missing_host_header"],
  ["CONNECT", "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", 403, "upgrade_failed"],
  ["upgrade", "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 403, "upgrade_failed"],
  ["no route", "GET /none HTTP/1.1\r\nHost: h\r\n\r\n", 404, "route_not_found"],
  ["bad header", "GET / HTTP/1.1\r\nHost: h\r\nbad header: 1\r\n\r\n", 400, "http1.codec_error"],
];
for (const [name, request, status, details] of REFUSALS) {
  test(`refused: ${name}`, async (t) => {
    const { port, finished } = await engine(t, {
      routes: [route("/known", { kind: "direct_response", status: 200, body: "" })],
    });
    const downstream = await Downstream.open(port);
    t.after(() => downstream.close());
    downstream.send(request);
    const text = await downstream.until((received) => received.includes("\r\n\r\n"));
    assert.equal(text.slice(0, 12), `HTTP/1.1 ${status}`.slice(0, 12));
    assert.equal(finished[0]!.responseCodeDetails, details);
  });
}

test("the connection closes after a protocol error and nothing behind it is served", async (t) => {
  const proxy = await engine(t, { routes: [direct("x")] });
  const text = await exchange(
    proxy.port,
    "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
  );
  assert.equal(text.split("HTTP/1.1 ").length, 2);
  assert.match(text, /^HTTP\/1\.1 400 Bad Request\r\n/);
  assert.match(text, /connection: close\r\n/);
  assert.equal(proxy.counter("http.test.downstream_cx_protocol_error"), 1);
  assert.ok(proxy.finished[0]!.hasFlag(18));
});

test("a head that does not end is answered 408 after the timeout", async (t) => {
  const { port } = await engine(t, { routes: [direct("x")], manager: { requestHeadersTimeoutMs: 50 } });
  const text = await exchange(port, "GET / HTTP/1.1\r\nHost: h\r\n");
  assert.match(text, /^HTTP\/1\.1 408 Request Timeout\r\n/);
  assert.match(text, /request header timeout$/);
});

test("a request that stops in its body is answered 408, one whose response is late 504", async (t) => {
  const upstream = await origin(() => {});
  t.after(() => upstream.close());
  const { port, finished } = await engine(t, {
    routes: [route("/", forward("c", { timeoutMs: 0 }))],
    clusters: [cluster("c", [upstream.port])],
    manager: { streamIdleTimeoutMs: 50 },
  });
  const slow = await exchange(port, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
  assert.match(slow, /^HTTP\/1\.1 408 /);
  const late = await exchange(port, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  assert.match(late, /^HTTP\/1\.1 504 /);
  assert.ok(late.endsWith("stream timeout"));
  assert.deepEqual(
    finished.map((info) => info.responseCodeDetails),
    ["stream_idle_timeout", "stream_idle_timeout"],
  );
  assert.ok(finished.every((info) => info.hasFlag(16)));
});

test("an idle connection is closed", async (t) => {
  const proxy = await engine(t, { routes: [direct("x")], manager: { idleTimeoutMs: 60 } });
  const clock = new StillClock(t);
  const downstream = await Downstream.open(proxy.port);
  downstream.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  assert.match(await downstream.until((text) => text.endsWith("x")), /^HTTP\/1\.1 200/);
  clock.pass(60);
  await downstream.end();
  assert.equal(proxy.counter("http.test.downstream_cx_idle_timeout"), 1);
});

test("a peer that leaves while it waits: code 0, flag DC, upstream is reset", async (t) => {
  let upstreamClosed = (): void => {};
  const gone = new Promise<void>((resolve) => (upstreamClosed = resolve));
  let asked = (): void => {};
  const request = new Promise<void>((resolve) => (asked = resolve));
  const upstream = await origin((socket) => {
    socket.on("data", asked);
    socket.on("close", upstreamClosed);
  });
  t.after(() => upstream.close());
  const proxy = await engine(t, { routes: [route("/", forward("c"))], clusters: [cluster("c", [upstream.port])] });
  const downstream = await Downstream.open(proxy.port);
  downstream.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  await request;
  downstream.close();
  await gone;
  await until(() => proxy.finished.length === 1);
  assert.equal(proxy.finished[0]!.responseCode, 0);
  assert.equal(proxy.finished[0]!.responseCodeDetails, "downstream_remote_disconnect");
  assert.ok(proxy.finished[0]!.hasFlag(14));
});

test("draining: the current response says close, idle connections end", async (t) => {
  let answer: (() => void) | undefined;
  const upstream = await origin((socket) => {
    socket.on("data", () => (answer = () => socket.write(OK)));
  });
  t.after(() => upstream.close());
  const proxy = await engine(t, { routes: [route("/", forward("c"))], clusters: [cluster("c", [upstream.port])] });
  const busy = await Downstream.open(proxy.port);
  const idle = await Downstream.open(proxy.port);
  busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  await until(() => answer !== undefined && proxy.counter("http.test.downstream_cx_total") === 2);
  const drained = proxy.drain(60_000);
  await idle.end();
  answer!();
  const text = await busy.end();
  await drained;
  assert.match(text, /^HTTP\/1\.1 200[^]*connection: close[^]*ok$/);
});

test("max_requests_per_connection closes after the last one", async (t) => {
  const { port } = await engine(t, { routes: [direct("x")], manager: { maxRequestsPerConnection: 2 } });
  const one = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  const text = await exchange(port, one + one + one);
  assert.equal(text.split("HTTP/1.1 200").length, 3);
});

test("HTTP/1.0 is served when accepted, and closes unless it asks to stay", async (t) => {
  const { port } = await engine(t, {
    routes: [direct("x")],
    manager: { acceptHttp10: true, defaultHostForHttp10: "d" },
  });
  const text = await exchange(port, "GET / HTTP/1.0\r\n\r\n");
  assert.match(text, /^HTTP\/1\.0 200 OK\r\n/);
  assert.ok(text.endsWith("\r\n\r\nx"));
});
