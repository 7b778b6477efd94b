/** CONNECT from downstream: tunnels that end here, tunnels that go on to a host, and requests for one that are refused. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createH2Server } from "node:http2";
import type { ClientHttp2Session, ClientHttp2Stream, ServerHttp2Stream } from "node:http2";
import { connect, type AddressInfo, type Socket } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { ClusterConfig, ForwardAction, RouteConfigEntry, UpgradeConfig } from "../../runtime/config/snapshot.ts";
import { ResponseFlag } from "../../runtime/errors.ts";
import { HeadersStatus } from "../../runtime/http/filter.ts";
import { proxied } from "../network/proxied.ts";
import { DEAD_PORT } from "../ports.ts";
import { until } from "../upstream/fixtures.ts";
import {
  cluster,
  Downstream,
  Engine,
  exchange,
  fixedOrigin,
  forward,
  h2Client,
  headersFilter,
  origin,
  route,
} from "./engine.ts";
import type { EngineOptions, Origin } from "./engine.ts";

const CONNECT: readonly UpgradeConfig[] = [{ type: "connect", enabled: true }];
const ASK = "CONNECT far.test:3306 HTTP/1.1\r\nHost: far.test:3306\r\nX-Mine: 1\r\n\r\n";
const ENDS = { connect: { allowPost: false } } as const;

function connectRoute(action: Partial<ForwardAction> = {}): RouteConfigEntry {
  const made = route("/", forward("up", { upgrades: CONNECT, ...action }));
  return { ...made, match: { ...made.match, path: { kind: "connect" } } };
}

async function engine(t: TestContext, port: number, options: Partial<EngineOptions> = {}): Promise<Engine> {
  const made = await Engine.start({ routes: [connectRoute(ENDS)], clusters: [cluster("up", [port])], ...options });
  t.after(() => {
    made.close();
    const gauges = [
      "http.test.downstream_cx_upgrades_active",
      "http.test.downstream_rq_active",
      "cluster.up.upstream_cx_active",
      "cluster.up.upstream_rq_active",
      "cluster.up.upstream_rq_pending_active",
    ];
    return until(() => gauges.every((name) => made.stats.gauge(name).value === 0));
  });
  return made;
}

/** A host that gets bytes; whatever it gets it sends back. */
async function echoHost(t: TestContext, each: (socket: Socket) => void = () => {}): Promise<Origin> {
  const made = await origin((socket) => {
    socket.on("data", (data) => socket.write(data));
    each(socket);
  });
  t.after(() => made.close());
  return made;
}

async function askH2(
  session: ClientHttp2Session,
  authority = "far.test:3306",
): Promise<{ stream: ClientHttp2Stream; status: number; headers: Record<string, unknown> }> {
  const stream = session.request({ ":method": "CONNECT", ":authority": authority }, { endStream: false });
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  return { stream, status: Number(headers[":status"]), headers };
}

test("a tunnel ends here: the host gets the bytes, those that came early too, and either direction may end first", async (t) => {
  let seen = "";
  const up = await echoHost(t, (socket) => socket.on("data", (data) => (seen += data.toString("latin1"))));
  const proxy = await engine(t, up.port);
  const downstream = await Downstream.open(proxy.port);
  downstream.send(`${ASK}early`);
  await downstream.until((text) => text.endsWith("early"));
  assert.match(downstream.received, /^HTTP\/1\.1 200 OK\r\n/);
  assert.doesNotMatch(downstream.received, /content-length|transfer-encoding|connection:/i);
  downstream.send(" late");
  await downstream.until((text) => text.endsWith("early late"));
  assert.equal(seen, "early late", "nothing of HTTP reaches the host");
  assert.equal(proxy.stats.gauge("http.test.downstream_cx_upgrades_active").value, 1);
  downstream.socket.end();
  await downstream.end();
  await until(() => proxy.finished.length === 1);
  const info = proxy.finished[0]!;
  assert.deepEqual(
    [info.responseCode, info.bytesReceived, info.bytesSent, info.upstreamHost],
    [200, 10, 10, `127.0.0.1:${up.port}`],
  );
  assert.equal(proxy.counter("http.test.downstream_cx_upgrades_total"), 1);
  assert.equal(proxy.counter("cluster.up.upstream_rq_200"), 1);
});

test("a host that ends first ends the tunnel, with all that it has sent", async (t) => {
  const up = await origin((socket) => socket.end("bye"));
  t.after(() => up.close());
  const proxy = await engine(t, up.port);
  assert.match(await exchange(proxy.port, ASK), /^HTTP\/1\.1 200 OK\r\n(?:.*\r\n)+\r\nbye$/);
  const { stream } = await askH2(h2Client(t, proxy.port));
  let got = "";
  stream.on("data", (data: Buffer) => (got += data.toString()));
  await once(stream, "end");
  assert.equal(got, "bye");
});

test("over HTTP/2 each tunnel is a stream of its own", async (t) => {
  const up = await echoHost(t);
  const proxy = await engine(t, up.port);
  const session = h2Client(t, proxy.port);
  const streams = await Promise.all([askH2(session), askH2(session)]);
  for (const [at, { stream, status, headers }] of streams.entries()) {
    assert.equal(status, 200);
    assert.equal(headers["content-length"], undefined);
    stream.write(`of ${at}`);
    const [data] = (await once(stream, "data")) as [Buffer];
    assert.equal(String(data), `of ${at}`);
  }
  for (const { stream } of streams) {
    stream.end();
    stream.resume();
    await once(stream, "close");
    assert.equal(stream.rstCode, 0);
  }
  assert.equal(proxy.counter("cluster.up.upstream_cx_total"), 2);
});

test("a downstream that is reset takes the connection along, and so does a host", async (t) => {
  const hosts: Socket[] = [];
  const up = await echoHost(t, (socket) => hosts.push(socket));
  const proxy = await engine(t, up.port);
  const first = await Downstream.open(proxy.port);
  first.send(ASK);
  await first.until((text) => text.includes("\r\n\r\n"));
  first.socket.resetAndDestroy();
  await until(() => hosts[0]?.destroyed === true);
  const second = await Downstream.open(proxy.port);
  second.send(ASK);
  await second.until((text) => text.includes("\r\n\r\n"));
  await until(() => hosts.length === 2);
  hosts[1]!.resetAndDestroy();
  await second.end();
  await until(() => proxy.finished.length === 2);
  assert.ok(proxy.finished[0]!.hasFlag(ResponseFlag.DC));
});

test("who may have a tunnel", async (t) => {
  const up = await echoHost(t);
  const off: readonly UpgradeConfig[] = [{ type: "connect", enabled: false }];
  const plain = route("/", forward("up", ENDS));
  const cases: readonly (readonly [string, Partial<EngineOptions>, string, number])[] = [
    ["the route allows it", {}, ASK, 200],
    ["the connection manager allows it", { routes: [connectRoute({ ...ENDS, upgrades: [] })], manager: { upgrades: CONNECT } }, ASK, 200],
    ["the route has the last word", { routes: [connectRoute({ ...ENDS, upgrades: off })], manager: { upgrades: CONNECT } }, ASK, 403],
    ["nobody allows it", { routes: [connectRoute({ ...ENDS, upgrades: [] })] }, ASK, 403],
    ["other routes do not know requests without a path", { routes: [plain], manager: { upgrades: CONNECT } }, ASK, 404],
    ["not even one with an empty prefix", { routes: [route("", forward("up", ENDS))], manager: { upgrades: CONNECT } }, ASK, 404],
    ["a protocol of the name is none", { routes: [plain], manager: { upgrades: CONNECT } }, "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: connect\r\n\r\n", 403],
    ["a target without a port", {}, ASK.replaceAll(":3306", ""), 400],
    ["a body that has a length", {}, ASK.replace("X-Mine: 1", "content-length: 1"), 400],
  ]; // prettier-ignore
  for (const [name, options, ask, status] of cases) {
    const proxy = await engine(t, up.port, options);
    const downstream = await Downstream.open(proxy.port);
    downstream.send(ask);
    await downstream.until((text) => text.includes("\r\n\r\n"));
    assert.equal(Number(downstream.received.slice(9, 12)), status, name);
    downstream.close();
    if (ask !== ASK || status === 400) continue;
    const { stream, status: overH2 } = await askH2(h2Client(t, proxy.port));
    assert.equal(overH2, status, `${name}, over HTTP/2`);
    stream.destroy();
  }
});

test("no host, and none that takes the connection", async (t) => {
  const answer = async ({ port }: Engine): Promise<string> => {
    const downstream = await Downstream.open(port);
    downstream.send(ASK);
    await downstream.until((text) => /\r\n\r\n./.test(text));
    downstream.close();
    return downstream.received;
  };
  const proxy = await engine(t, DEAD_PORT);
  assert.match(await answer(proxy), /^HTTP\/1\.1 503 .*delayed connect error: Connection refused$/s);
  const empty = await engine(t, 0, { clusters: [cluster("up", [])] });
  assert.match(await answer(empty), /^HTTP\/1\.1 503 .*no healthy upstream$/s);
  assert.ok(proxy.finished[0]!.hasFlag(ResponseFlag.UF));
  assert.ok(empty.finished[0]!.hasFlag(ResponseFlag.UH));
});

test("a connection that could not be made is tried again where the route says so", async (t) => {
  const up = await echoHost(t);
  const retryPolicy = {
    retryOn: ["connect-failure"],
    numRetries: 5,
    perTryTimeoutMs: 0,
    retriableStatusCodes: [],
    baseIntervalMs: 1,
    maxIntervalMs: 2,
  };
  const proxy = await engine(t, 0, {
    routes: [connectRoute({ ...ENDS, retryPolicy })],
    clusters: [cluster("up", [DEAD_PORT, up.port])],
  });
  for (let n = 0; n < 4; n++) {
    const downstream = await Downstream.open(proxy.port);
    downstream.send(`${ASK}x`);
    await downstream.until((text) => text.endsWith("\r\n\r\nx"));
    assert.match(downstream.received, /^HTTP\/1\.1 200 /);
    downstream.close();
  }
});

test("allow_post: the bodies of a POST are a tunnel as well", async (t) => {
  const up = await echoHost(t);
  const post = route("/t", forward("up", { connect: { allowPost: true } }));
  const proxy = await engine(t, up.port, { routes: [post, route("/", forward("up"))] });
  const stream = h2Client(t, proxy.port).request({ ":method": "POST", ":path": "/t" });
  stream.write("ping");
  const [data] = (await once(stream, "data")) as [Buffer];
  assert.equal(String(data), "ping");
  stream.end();
  stream.resume();
  await once(stream, "close");
  const text = await exchange(
    proxy.port,
    "POST /t HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\npong",
  );
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n(?:.*\r\n)+\r\n4\r\npong\r\n0\r\n\r\n$/);
});

// ---- further on -----------------------------------------------------------------------------------

const PASSES: readonly RouteConfigEntry[] = [connectRoute()];

test("without connect_config CONNECT goes on to a host, which agrees or not", async (t) => {
  let head = "";
  const up = await origin((socket) => {
    socket.once("data", (data) => {
      head = data.toString("latin1");
      socket.write("HTTP/1.1 200 Yes\r\nx-theirs: 2\r\ncontent-length: 7\r\n\r\nfirst ");
      socket.on("data", (more) => socket.write(more));
    });
  });
  t.after(() => up.close());
  const proxy = await engine(t, up.port, { routes: PASSES });
  const downstream = await Downstream.open(proxy.port);
  downstream.send(`${ASK}early`);
  await downstream.until((text) => text.endsWith("first early"));
  assert.match(downstream.received, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(downstream.received, /\r\nx-theirs: 2\r\n/);
  assert.doesNotMatch(downstream.received, /content-length/);
  assert.match(head, /^CONNECT far\.test:3306 HTTP\/1\.1\r\nhost: far\.test:3306\r\n(?:.*\r\n)*x-mine: 1\r\n/);
  assert.ok(head.endsWith("\r\n\r\n"), "nothing comes before the answer");
  downstream.socket.end();
  await until(() => [...up.sockets].every((socket) => socket.readableEnded));
  await downstream.end();

  const no = await fixedOrigin("HTTP/1.1 407 Who\r\ncontent-length: 3\r\n\r\nwho");
  t.after(() => no.close());
  const refusing = await engine(t, no.port, { routes: PASSES });
  const refused = await Downstream.open(refusing.port);
  refused.send(ASK);
  await refused.until((text) => text.endsWith("who"));
  assert.match(refused.received, /^HTTP\/1\.1 407 /);
  refused.close();
});

test("to a host of HTTP/2 a tunnel is a stream, whatever downstream speaks", async (t) => {
  const asked: string[] = [];
  const server = createH2Server();
  server.on("stream", (stream: ServerHttp2Stream, _headers, _flags, raw: string[]) => {
    asked.push(raw.join(" "));
    stream.on("error", () => {});
    stream.respond({ ":status": 200 });
    stream.on("data", (data) => stream.write(data));
    stream.on("end", () => stream.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const h2: ClusterConfig = cluster("up", [port], { protocol: "HTTP2" });
  const proxy = await engine(t, port, { routes: PASSES, clusters: [h2] });
  const downstream = await Downstream.open(proxy.port);
  downstream.send(`${ASK}early`);
  await downstream.until((text) => text.endsWith("early"));
  downstream.socket.end();
  await downstream.end();
  const { stream } = await askH2(h2Client(t, proxy.port));
  stream.end("x");
  const [data] = (await once(stream, "data")) as [Buffer];
  assert.equal(String(data), "x");
  await once(stream, "close");
  for (const head of asked) {
    assert.match(head, /:method CONNECT /);
    assert.match(head, /:authority far\.test:3306 /);
    assert.doesNotMatch(head, /:path|:scheme/);
  }
  assert.equal(asked.length, 2);
});

test("filters see CONNECT, may refuse it, and cannot make another method of it", async (t) => {
  const up = await echoHost(t);
  const seen: string[] = [];
  const filter = headersFilter("guard", (headers, _endStream, view) => {
    seen.push(`${headers.get(":method")} ${headers.get(":path") ?? "none"}`);
    if (headers.get("x-no") !== undefined)
      view.sendLocalReply({ status: 200, body: "mine", details: "guard", flag: -1, grpcStatus: -1 });
    headers.set(":method", "GET");
    return HeadersStatus.CONTINUE;
  });
  const proxy = await engine(t, up.port, { filters: [filter] });
  const downstream = await Downstream.open(proxy.port);
  downstream.send(`${ASK}x`);
  await downstream.until((text) => text.endsWith("\r\n\r\nx"));
  downstream.close();
  // A reply of 200 that is not upstream's is a reply, and no tunnel.
  const replied = await Downstream.open(proxy.port);
  replied.send(ASK.replace("X-Mine", "x-no"));
  await replied.until((text) => text.endsWith("mine"));
  assert.match(replied.received, /^HTTP\/1\.1 200 OK\r\n(?:.*\r\n)*content-length: 4\r\n/);
  replied.close();
  assert.deepEqual(seen, ["CONNECT ", "CONNECT "]);
});

// ---- real peers -----------------------------------------------------------------------------------

test("curl goes through a tunnel", async (t) => {
  const far = createServer((request, response) => response.end(`you asked for ${request.url}`));
  far.listen(0, "127.0.0.1");
  await once(far, "listening");
  t.after(() => far.close());
  const proxy = await engine(t, (far.address() as AddressInfo).port);
  const curl = spawn("curl", ["-sS", "-p", "-x", `http://127.0.0.1:${proxy.port}`, "http://far.test:80/page"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  curl.stdout.on("data", (data: Buffer) => (out += data.toString()));
  const [code] = (await once(curl, "close")) as [number];
  assert.deepEqual([code, out], [0, "you asked for /page"]);
});

for (const [name, protocol, tunnel] of [
  ["CONNECT over HTTP/1.1", "HTTP1", { post: false }],
  ["CONNECT over HTTP/2", "HTTP2", { post: false }],
  ["POST over HTTP/1.1", "HTTP1", { post: true }],
  ["POST over HTTP/2", "HTTP2", { post: true }],
] as const) {
  test(`from tcp_proxy to tcp: ${name}`, async (t) => {
    const far = await echoHost(t);
    const post = route("/", forward("up", { connect: { allowPost: true } }));
    const second = await engine(t, far.port, { routes: [connectRoute(ENDS), post] });
    const first = await proxied(t, {
      clusters: [cluster("up", [second.port], { protocol })],
      tcp: { tunneling: { hostname: "far.test:3306", postPath: "/", headers: { add: [], remove: [] }, ...tunnel } },
    });
    const bytes = Buffer.alloc(4_000_000, "0123456789abcdef-");
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        const socket = connect(first.port, "127.0.0.1");
        socket.end(bytes);
        const hash = createHash("sha256");
        socket.on("data", (data) => hash.update(data));
        await once(socket, "end");
        assert.equal(hash.digest("hex"), createHash("sha256").update(bytes).digest("hex"));
      }),
    );
    assert.equal(first.counter("cluster.up.upstream_cx_total") > 1, protocol === "HTTP1");
  });
}
