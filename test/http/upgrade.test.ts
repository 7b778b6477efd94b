/** Other protocols behind a request: WebSocket and the like, over HTTP/1 and, as extended CONNECT, over HTTP/2. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer as createH2Server } from "node:http2";
import type { ClientHttp2Session, ClientHttp2Stream, ServerHttp2Stream } from "node:http2";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { HttpConnectionManagerConfig, UpgradeConfig } from "../../runtime/config/snapshot.ts";
import { ResponseFlag } from "../../runtime/errors.ts";
import type { HttpFilterFactory } from "../../runtime/http/filter.ts";
import { StillClock } from "../still-clock.ts";
import { until } from "../upstream/fixtures.ts";
import { cluster, Downstream, Engine, forward, h2Client, headersFilter, origin, route } from "./engine.ts";
import type { EngineOptions, Origin } from "./engine.ts";

const WEBSOCKET: readonly UpgradeConfig[] = [{ type: "websocket", enabled: true }];
const ASK = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Mine: 1\r\n\r\n";
const AGREE = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Theirs: 2\r\n\r\n";
const H2: Partial<HttpConnectionManagerConfig> = {
  upgrades: WEBSOCKET,
  http2: { maxConcurrentStreams: 100, streamWindowBytes: 65_535, connectionWindowBytes: 65_535, allowConnect: true },
};

async function engine(t: TestContext, port: number, options: Partial<EngineOptions> = {}): Promise<Engine> {
  const made = await Engine.start({
    routes: [route("/", forward("up"))],
    clusters: [cluster("up", [port])],
    manager: { upgrades: WEBSOCKET },
    ...options,
  });
  t.after(() => {
    made.close();
    return until(
      () =>
        made.stats.gauge("http.test.downstream_cx_upgrades_active").value === 0 &&
        made.stats.gauge("http.test.downstream_rq_active").value === 0 &&
        made.stats.gauge("cluster.up.upstream_cx_active").value === 0 &&
        made.stats.gauge("cluster.up.upstream_rq_active").value === 0,
    );
  });
  return made;
}

/** An origin that reads a head, answers it with `answer`, and hands the rest of the connection over. */
async function switching(
  t: TestContext,
  answer: string,
  then: (socket: Socket, head: string) => void,
): Promise<Origin> {
  const made = await origin((socket) => {
    let text = "";
    const onHead = (data: Buffer): void => {
      text += data.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return;
      socket.off("data", onHead);
      assert.equal(text.length, end + 4, "nothing follows the head before the answer");
      socket.write(answer);
      then(socket, text);
    };
    socket.on("data", onHead);
  });
  t.after(() => made.close());
  return made;
}

function echo(socket: Duplex): void {
  socket.on("data", (data) => socket.write(data));
  socket.on("end", () => socket.end());
}

test("after 101 bytes go both ways, and what came early comes only then", async (t) => {
  let head = "";
  const up = await switching(t, AGREE, (socket, text) => {
    head = text;
    echo(socket);
  });
  const proxy = await engine(t, up.port);
  const downstream = await Downstream.open(proxy.port);
  downstream.send(`${ASK}early`);
  await downstream.until((text) => text.endsWith("early"));
  assert.match(downstream.received, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
  assert.match(downstream.received, /\r\nupgrade: websocket\r\n/);
  assert.match(downstream.received, /\r\nconnection: upgrade\r\n/);
  assert.match(downstream.received, /\r\nx-theirs: 2\r\n/);
  assert.doesNotMatch(downstream.received, /chunked|content-length|connection: close/);
  assert.match(head, /^GET \/chat HTTP\/1\.1\r\n/);
  assert.match(head, /\r\nupgrade: websocket\r\n/);
  assert.match(head, /\r\nconnection: upgrade\r\n/);
  assert.doesNotMatch(head, /chunked|content-length/);
  assert.equal(proxy.stats.gauge("http.test.downstream_cx_upgrades_active").value, 1);
  downstream.send("GET / HTTP/1.1\r\n\r\n\0");
  await downstream.until((text) => text.endsWith("GET / HTTP/1.1\r\n\r\n\0"));
  downstream.socket.end();
  await downstream.end();
  await until(() => proxy.finished.length === 1);
  const info = proxy.finished[0]!;
  assert.deepEqual([info.responseCode, info.bytesReceived, info.bytesSent], [101, 24, 24]);
  assert.equal(info.responseCodeDetails, "via_upstream");
  assert.equal(proxy.counter("http.test.downstream_cx_upgrades_total"), 1);
  assert.equal(proxy.counter("http.test.downstream_rq_1xx"), 1);
});

for (const [what, manager, own, status] of [
  ["nothing is configured", [], [], 403],
  ["it is configured and switched off", [{ type: "websocket", enabled: false }], [], 403],
  ["another protocol is configured", [{ type: "spdy", enabled: true }], [], 403],
  ["the route forbids it", WEBSOCKET, [{ type: "websocket", enabled: false }], 403],
  ["the route alone allows it", [], WEBSOCKET, 101],
  ["the route has a word about another one", WEBSOCKET, [{ type: "spdy", enabled: false }], 101],
] as const) {
  test(`${what}: ${status}`, async (t) => {
    const up = await switching(t, AGREE, echo);
    const proxy = await engine(t, up.port, {
      routes: [route("/", forward("up", { upgrades: own }))],
      manager: { upgrades: manager },
    });
    const downstream = await Downstream.open(proxy.port);
    downstream.send(ASK);
    await downstream.until((text) => text.includes("\r\n\r\n"));
    assert.ok(downstream.received.startsWith(`HTTP/1.1 ${status} `));
    assert.equal(proxy.counter("http.test.downstream_rq_ws_on_non_ws_route"), status === 403 ? 1 : 0);
    assert.equal(up.sockets.size, status === 403 ? 0 : 1);
    if (status === 403) assert.equal(proxy.finished[0]!.responseCodeDetails, "upgrade_failed");
    downstream.socket.destroy();
  });
}

test("an upstream that does not agree answers a request, and what came early is the next one", async (t) => {
  const paths: string[] = [];
  const server = createServer((request, response) => {
    paths.push(`${request.method} ${request.url} ${request.headers.upgrade ?? "-"}`);
    response.end("plain");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const seen: string[] = [];
  const proxy = await engine(t, (server.address() as AddressInfo).port, {
    filters: [watcher(seen)],
    manager: { upgrades: WEBSOCKET },
  });
  const downstream = await Downstream.open(proxy.port);
  downstream.send(`${ASK}GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n`);
  await downstream.until((text) => text.split("plain").length === 3);
  assert.deepEqual(paths, ["GET /chat websocket", "GET /smuggled -"]);
  assert.deepEqual(seen, ["/chat false", "/smuggled true"], "filters have seen both");
  assert.doesNotMatch(downstream.received, /connection: close/);
  assert.deepEqual(
    proxy.finished.map(({ responseCode }) => responseCode),
    [200, 200],
  );
  downstream.socket.destroy();
});

/** A filter that writes down which requests it sees. */
function watcher(seen: string[]): HttpFilterFactory {
  return headersFilter("watcher", (headers, endStream) => {
    seen.push(`${headers.get(":path")} ${endStream}`);
    return 0;
  });
}

test("each side may end first, and the other one still says what it has to say", async (t) => {
  const up = await switching(t, AGREE, (socket) => {
    socket.on("data", () => {});
    socket.on("end", () => socket.end("last words"));
  });
  const proxy = await engine(t, up.port);
  const downstream = await Downstream.open(proxy.port);
  downstream.send(ASK);
  await downstream.until((text) => text.includes("\r\n\r\n"));
  downstream.socket.end("mine");
  await downstream.end();
  assert.ok(downstream.received.endsWith("\r\n\r\nlast words"));
  const other = await switching(t, AGREE, (socket) => socket.end("bye"));
  const second = await engine(t, other.port);
  const reader = await Downstream.open(second.port);
  reader.send(ASK);
  await reader.end();
  assert.ok(reader.received.endsWith("\r\n\r\nbye"));
  await until(() => second.finished.length === 1);
  assert.equal(second.finished[0]!.responseCode, 101);
});

test("a side that resets takes the other one along", async (t) => {
  let theirs: Socket | null = null;
  const up = await switching(t, AGREE, (socket) => (theirs = socket));
  const proxy = await engine(t, up.port);
  const one = await Downstream.open(proxy.port);
  one.send(ASK);
  await one.until((text) => text.includes("\r\n\r\n"));
  theirs!.resetAndDestroy();
  await one.end();
  const two = await Downstream.open(proxy.port);
  two.send(ASK);
  await two.until((text) => text.includes("\r\n\r\n"));
  two.socket.resetAndDestroy();
  await until(() => up.sockets.size === 0 && proxy.finished.length === 2);
  assert.deepEqual(
    proxy.finished.map((info) => info.hasFlag(ResponseFlag.DC)),
    [false, true],
  );
  assert.deepEqual(
    proxy.finished.map(({ responseCodeDetails }) => responseCodeDetails),
    ["upstream_reset_after_response_started{connection_termination}", "via_upstream"],
  );
});

test("a route's timeout is one of messages; the idle timeout holds on", async (t) => {
  const up = await switching(t, AGREE, echo);
  const proxy = await engine(t, up.port, {
    routes: [route("/", forward("up", { timeoutMs: 60, idleTimeoutMs: 400 }))],
    manager: { upgrades: WEBSOCKET, requestTimeoutMs: 60 },
  });
  const clock = new StillClock(t);
  const downstream = await Downstream.open(proxy.port);
  downstream.send(ASK);
  await downstream.until((text) => text.includes("\r\n\r\n"));
  for (let at = 0; at < 4; at++) {
    clock.pass(300);
    downstream.send(`#${at}`);
    await downstream.until((text) => text.endsWith(`#${at}`));
  }
  clock.pass(400);
  await downstream.end();
  await until(() => proxy.finished.length === 1);
  assert.equal(proxy.finished[0]!.responseCodeDetails, "stream_idle_timeout");
  assert.equal(proxy.counter("http.test.downstream_rq_timeout"), 0);
});

test("a reader that is slow stops the other side, and every byte arrives", async (t) => {
  const up = await switching(t, AGREE, echo);
  const proxy = await engine(t, up.port, { bufferLimitBytes: 64 * 1024 });
  const socket = connect(proxy.port, "127.0.0.1");
  socket.write(ASK);
  const [first] = (await once(socket, "data")) as [Buffer];
  assert.ok(first.includes("101"));
  const block = Buffer.alloc(1 << 20, "0123456789abcdef!");
  const [sent, got] = [createHash("sha256"), createHash("sha256")];
  const total = 24 * block.length;
  let read = 0;
  socket.pause();
  for (let at = 0; at < 24; at++) {
    sent.update(block);
    socket.write(block);
  }
  await until(() => proxy.counter("cluster.up.upstream_flow_control_paused_reading_total") > 0);
  socket.on("data", (data: Buffer) => {
    got.update(data);
    read += data.length;
    if (read === total) socket.end();
  });
  socket.resume();
  await once(socket, "close");
  assert.equal(read, total);
  assert.equal(got.digest("hex"), sent.digest("hex"));
});

test("a filter that answers itself leaves the connection as it is", async (t) => {
  const up = await switching(t, AGREE, echo);
  const doorman: HttpFilterFactory = headersFilter("doorman", (headers, _end, stream) => {
    if (headers.has("x-mine")) {
      stream.sendLocalReply({
        status: 401,
        body: "who?",
        headers: undefined,
        details: "doorman",
        flag: -1,
        grpcStatus: -1,
      });
      return 1;
    }
    // Hop-by-hop fields are the host's: this one comes back.
    headers.remove("upgrade");
    return 0;
  });
  const proxy = await engine(t, up.port, { filters: [doorman] });
  const downstream = await Downstream.open(proxy.port);
  downstream.send(ASK);
  await downstream.until((text) => text.endsWith("who?"));
  assert.equal(up.sockets.size, 0);
  downstream.send(ASK.replace("X-Mine: 1\r\n", ""));
  await downstream.until((text) => text.includes("HTTP/1.1 101 "));
  downstream.send("on");
  await downstream.until((text) => text.endsWith("on"));
  downstream.socket.destroy();
});

test("101 that nobody asked for is an error", async (t) => {
  const up = await switching(t, AGREE, echo);
  const proxy = await engine(t, up.port);
  const downstream = await Downstream.open(proxy.port);
  downstream.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  await downstream.until((text) => text.includes("\r\n\r\n"));
  assert.match(downstream.received, /^HTTP\/1\.1 502 /);
  downstream.socket.destroy();
});

test("a real WebSocket client and server", async (t) => {
  const server = createServer();
  server.on("upgrade", (request, socket: Duplex) => {
    const accept = createHash("sha1")
      .update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.on("data", (frame: Buffer) => answerFrame(socket, frame));
    socket.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const proxy = await engine(t, (server.address() as AddressInfo).port);
  const webSocket = new WebSocket(`ws://127.0.0.1:${proxy.port}/chat`);
  await once(webSocket, "open");
  webSocket.send("hello");
  const [message] = (await once(webSocket, "message")) as [MessageEvent];
  assert.equal(message.data, "hello");
  webSocket.close(1000);
  const [close] = (await once(webSocket, "close")) as [CloseEvent];
  assert.deepEqual([close.code, close.wasClean], [1000, true]);
});

/** Sends a masked frame of at most 125 bytes back; ends after a close frame (RFC 6455 section 5.2). */
function answerFrame(socket: Duplex, frame: Buffer): void {
  const length = frame[1]! & 0x7f;
  const payload = Buffer.from(frame.subarray(6, 6 + length));
  for (let at = 0; at < length; at++) payload[at]! ^= frame[2 + (at % 4)]!;
  socket.write(Buffer.concat([Buffer.from([frame[0]!, length]), payload]));
  if ((frame[0]! & 0x0f) === 8) socket.end();
}

// ---- HTTP/2 -------------------------------------------------------------------------------------

async function askH2(
  session: ClientHttp2Session,
): Promise<{ readonly stream: ClientHttp2Stream; readonly status: number }> {
  if (session.remoteSettings.enableConnectProtocol === undefined) await once(session, "remoteSettings");
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":path": "/chat",
    ":scheme": "http",
    ":authority": "h",
  });
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  return { stream, status: Number(headers[":status"]) };
}

test("extended CONNECT from downstream is an upgrade upstream", async (t) => {
  let head = "";
  const up = await switching(t, AGREE, (socket, text) => {
    head = text;
    echo(socket);
  });
  const proxy = await engine(t, up.port, { manager: H2 });
  const { stream, status } = await askH2(h2Client(t, proxy.port));
  assert.equal(status, 200);
  assert.match(head, /^GET \/chat HTTP\/1\.1\r\n/);
  assert.match(head, /\r\nupgrade: websocket\r\n(?:.*\r\n)*connection: upgrade\r\n/);
  stream.write("ping");
  const [data] = (await once(stream, "data")) as [Buffer];
  assert.equal(String(data), "ping");
  stream.end();
  stream.resume();
  await once(stream, "close");
  assert.equal(stream.rstCode, 0);
  await until(() => proxy.finished.length === 1);
  assert.equal(proxy.finished[0]!.responseCode, 101);
});

test("extended CONNECT that is not allowed, or not agreed to, is answered and over", async (t) => {
  const up = await switching(t, "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno", () => {});
  const proxy = await engine(t, up.port, { manager: H2 });
  const refused = await askH2(h2Client(t, proxy.port));
  assert.equal(refused.status, 404);
  refused.stream.resume();
  await once(refused.stream, "close");
  const closed = await engine(t, up.port, { manager: { ...H2, upgrades: [] } });
  const forbidden = await askH2(h2Client(t, closed.port));
  assert.equal(forbidden.status, 403);
  forbidden.stream.resume();
  await once(forbidden.stream, "close");
});

test("an upgrade from downstream is extended CONNECT to an HTTP/2 upstream", async (t) => {
  for (const takes of [true, false]) {
    const asked: unknown[] = [];
    const server = createH2Server({ settings: { enableConnectProtocol: takes } });
    server.on("stream", (stream: ServerHttp2Stream, headers) => {
      asked.push([headers[":method"], headers[":protocol"], headers[":path"], headers.upgrade, headers.connection]);
      stream.on("error", () => {});
      stream.respond({ ":status": 200, "x-theirs": "2" });
      echo(stream);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const port = (server.address() as AddressInfo).port;
    const proxy = await engine(t, port, { clusters: [cluster("up", [port], { protocol: "HTTP2" })] });
    const downstream = await Downstream.open(proxy.port);
    downstream.send(ASK);
    await downstream.until((text) => text.includes("\r\n\r\n"));
    if (takes) {
      assert.match(downstream.received, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
      assert.match(downstream.received, /\r\nupgrade: websocket\r\n/);
      downstream.send("ping");
      await downstream.until((text) => text.endsWith("ping"));
      downstream.socket.end();
      await downstream.end();
    } else {
      assert.match(downstream.received, /^HTTP\/1\.1 503 /);
      downstream.socket.destroy();
    }
    assert.deepEqual(asked, takes ? [["CONNECT", "websocket", "/chat", undefined, undefined]] : []);
  }
});
