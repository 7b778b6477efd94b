/** tunneling_config of tcp_proxy against hosts that make tunnels, over HTTP/1.1 and HTTP/2, and against ones that do not. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttp } from "node:http";
import { createServer as createHttp2, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { TcpProxyConfig, TunnelingConfig } from "../../runtime/config/network-snapshot.ts";
import type { ClusterConfig } from "../../runtime/config/snapshot.ts";
import { NetworkStatus } from "../../runtime/network/filter.ts";
import { dial, passing, Plain, until } from "../listener/chain.ts";
import { DEAD_PORT } from "../ports.ts";
import { cluster, gaugesLeft, host, logTo, proxied, type Proxied } from "./proxied.ts";

function tunneling(over: Partial<TunnelingConfig> = {}): TunnelingConfig {
  return { hostname: "db.test:3306", post: false, postPath: "/", headers: { add: [], remove: [] }, ...over };
}

/** What a host was asked for, and the bytes that come behind. */
interface Asked {
  readonly head: string;
  readonly stream: Duplex;
}

/** A host that agrees to each tunnel with `status`, and what it was asked for. */
interface TunnelHost {
  readonly port: number;
  readonly asked: Asked[];
}

/** Node's own server of HTTP/1.1. */
async function http1(t: TestContext, each: (stream: Duplex) => void, status = 200): Promise<TunnelHost> {
  const asked: Asked[] = [];
  const server = createHttp({ keepAliveTimeout: 0 }, (request, response) => {
    // A POST whose two bodies are the tunnel.
    const head = `${request.method} ${request.url} ${request.rawHeaders.join(" ")}`;
    response.writeHead(status, {});
    response.flushHeaders();
    const both = Object.assign(request, { write: response.write.bind(response), end: response.end.bind(response) });
    request.on("error", () => {});
    asked.push({ head, stream: both as unknown as Duplex });
    each(both as unknown as Duplex);
  });
  server.on("connect", (request, socket: Socket, first: Buffer) => {
    socket.on("error", () => {});
    assert.equal(first.length, 0, "nothing comes before the answer");
    socket.write(`HTTP/1.1 ${status} Of course\r\ncontent-length: 5\r\nx-theirs: 1\r\n\r\n`);
    asked.push({ head: `CONNECT ${request.url} ${request.rawHeaders.join(" ")}`, stream: socket });
    each(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const { stream } of asked) stream.destroy();
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, asked };
}

async function http2(t: TestContext, each: (stream: Duplex) => void, status = 200): Promise<TunnelHost> {
  const asked: Asked[] = [];
  const server = createHttp2();
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream: ServerHttp2Stream, _headers, _flags, raw: string[]) => {
    stream.on("error", () => {});
    stream.respond({ ":status": status });
    asked.push({ head: raw.join(" "), stream });
    each(stream);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, asked };
}

function echo(stream: Duplex): void {
  stream.on("data", (data) => stream.write(data));
  stream.on("end", () => stream.end());
}

async function through(
  t: TestContext,
  port: number,
  config: Partial<TunnelingConfig> = {},
  more: { up?: Partial<ClusterConfig>; tcp?: Partial<TcpProxyConfig> } = {},
): Promise<Proxied> {
  const proxy = await proxied(t, {
    clusters: [cluster("up", [port], more.up)],
    tcp: { tunneling: tunneling(config), ...more.tcp },
  });
  t.after(() =>
    until(
      () => Object.keys(withoutIdle(proxy)).length === 0,
      `nothing is left but ${JSON.stringify(withoutIdle(proxy))}`,
    ),
  );
  return proxy;
}

/** Connections of HTTP/2 stay, since others may use them. */
function withoutIdle(proxy: Proxied): Record<string, number> {
  const { "cluster.up.upstream_cx_active": _, ...left } = gaugesLeft(proxy);
  return left;
}

const H2 = { protocol: "HTTP2" } as const;
const KINDS = [
  { name: "CONNECT over HTTP/1.1", serve: http1, up: {}, config: {}, head: "CONNECT db.test:3306 host db.test:3306" },
  {
    name: "POST over HTTP/1.1",
    serve: http1,
    up: {},
    config: { post: true, postPath: "/t" },
    head: "POST /t host db.test:3306 transfer-encoding chunked",
  },
  { name: "CONNECT over HTTP/2", serve: http2, up: H2, config: {}, head: ":method CONNECT :authority db.test:3306" },
  {
    name: "POST over HTTP/2",
    serve: http2,
    up: H2,
    config: { post: true, postPath: "/t" },
    head: ":method POST :authority db.test:3306 :path /t :scheme http",
  },
] as const;

for (const { name, serve, up, config, head } of KINDS) {
  test(`${name}: bytes go both ways, and downstream may end first`, async (t) => {
    const far = await serve(t, echo);
    const proxy = await through(t, far.port, config, { up });
    const peer = await dial(t, proxy.port);
    peer.socket.write("hello ");
    await until(() => peer.text() === "hello ", "the echo is back");
    peer.socket.end("world");
    assert.equal(await peer.ended, "hello world");
    assert.equal(far.asked.length, 1);
    assert.equal(far.asked[0]!.head, head);
    assert.equal(proxy.counter("tcp.t.downstream_cx_rx_bytes_total"), 11);
    assert.equal(proxy.counter("tcp.t.downstream_cx_tx_bytes_total"), 11);
    assert.equal(proxy.counter("cluster.up.upstream_rq_total"), 1);
  });

  test(`${name}: megabytes arrive whole, with a reader that is slow`, async (t) => {
    const far = await serve(t, echo);
    const proxy = await through(t, far.port, config, { up });
    const bytes = Buffer.alloc(6_000_000, "0123456789abcdef-");
    const socket = connect(proxy.port, "127.0.0.1");
    t.after(() => socket.destroy());
    socket.end(bytes);
    const hash = createHash("sha256");
    let got = 0;
    socket.on("data", (data) => {
      hash.update(data);
      got += data.length;
      if (got < 300_000) {
        socket.pause();
        setTimeout(() => socket.resume(), 20);
      }
    });
    await once(socket, "end");
    assert.equal(got, bytes.length);
    assert.equal(hash.digest("hex"), createHash("sha256").update(bytes).digest("hex"));
  });

  test(`${name}: a host that says no is a connection that could not be made`, async (t) => {
    const far = await serve(t, (stream) => stream.end(), 403);
    const log = logTo(t, "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON% %UPSTREAM_HOST%\n");
    const proxy = await through(t, far.port, config, { up, tcp: { accessLogs: [log.log], maxConnectAttempts: 2 } });
    assert.equal(await (await dial(t, proxy.port)).ended, "");
    await until(() => far.asked.length === 2, "it was tried as often as it may be");
    await until(() => proxy.gauge("listener.l.downstream_cx_active") === 0, "the connection is over");
    assert.deepEqual(await log.lines(), [`UF,URX tunnel:_refused_with_status_403 127.0.0.1:${far.port}`]);
    assert.equal(proxy.counter("cluster.up.upstream_cx_connect_attempts_exceeded"), 1);
  });

  test(`${name}: nobody there, no host, no place`, async (t) => {
    const cases = [
      [[DEAD_PORT], {}, "UF,URX"],
      [[], {}, "UH"],
      [
        [DEAD_PORT],
        { circuitBreakers: { maxConnections: 0, maxPendingRequests: 0, maxRequests: 0, maxRetries: 0 } },
        "UO",
      ],
    ] as const;
    for (const [ports, more, flags] of cases) {
      const log = logTo(t, "%RESPONSE_FLAGS%\n");
      const proxy = await proxied(t, {
        clusters: [cluster("up", ports, { ...up, ...more })],
        tcp: { tunneling: tunneling(config), accessLogs: [log.log] },
      });
      assert.equal(await (await dial(t, proxy.port)).ended, "");
      await until(() => proxy.gauge("listener.l.downstream_cx_active") === 0, "the connection is over");
      assert.deepEqual(await log.lines(), [flags]);
      await until(() => Object.keys(gaugesLeft(proxy)).length === 0, "nothing is left");
    }
  });

  test(`${name}: a host that never answers is given up when the connect timeout is over`, async (t) => {
    const silent = await host(t, (socket) => socket.resume());
    const log = logTo(t, "%RESPONSE_FLAGS%\n");
    const proxy = await through(t, silent.port, config, {
      up: { ...up, connectTimeoutMs: 50 },
      tcp: { accessLogs: [log.log] },
    });
    assert.equal(await (await dial(t, proxy.port)).ended, "");
    await until(() => proxy.gauge("listener.l.downstream_cx_active") === 0, "the connection is over");
    assert.deepEqual(await log.lines(), ["UF,URX"]);
  });

  test(`${name}: downstream that leaves takes the tunnel along`, async (t) => {
    const far = await serve(t, (stream) => stream.on("data", () => {}));
    const proxy = await through(t, far.port, config, { up });
    const peer = await dial(t, proxy.port);
    peer.socket.write("x");
    await until(() => far.asked.length === 1, "the tunnel stands");
    const closed = new Promise((resolve) => far.asked[0]!.stream.once("close", resolve));
    peer.socket.resetAndDestroy();
    await closed;
  });
}

for (const { name, serve, up, config } of KINDS.filter(
  ({ config: { post } }: { config: Partial<TunnelingConfig> }) => post !== true,
)) {
  test(`${name}: the host may end first, too`, async (t) => {
    let got = "";
    const far = await serve(t, (stream) => {
      stream.on("data", (data: Buffer) => (got += data.toString()));
      stream.end("first");
    });
    const proxy = await through(t, far.port, config, { up });
    const peer = await dial(t, proxy.port, true);
    assert.equal(await peer.ended, "first");
    const end = once(far.asked[0]!.stream, "end");
    peer.socket.end("afterwards");
    await end;
    assert.equal(got, "afterwards");
    await peer.gone;
  });
}

test("hostname and headers are formats, and a filter can have a connection go without a tunnel", async (t) => {
  const far = await http1(t, echo);
  const up = await host(t, (socket) => socket.end("plain"));
  const add = [
    {
      name: "x-peer",
      value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
      action: "APPEND_IF_EXISTS_OR_ADD",
      keepEmptyValue: false,
    },
    { name: "proxy-authorization", value: "basic YTpi", action: "OVERWRITE_IF_EXISTS_OR_ADD", keepEmptyValue: false },
  ] as const;
  let state = "";
  const filter = passing((view) =>
    Object.assign(new Plain(view), {
      onNewConnection(): number {
        view.stream.dynamicMetadata = new Map([["to", { host: "far.test:1" }]]);
        if (state !== "") view.stream.filterState?.set("envoy.tcp_proxy.disable_tunneling", Buffer.from(state));
        return NetworkStatus.CONTINUE;
      },
    }),
  );
  const config = tunneling({ hostname: "%DYNAMIC_METADATA(to:host)%", headers: { add, remove: [] } });
  const made = async (port: number): Promise<Proxied> =>
    proxied(t, { clusters: [cluster("up", [port])], tcp: { tunneling: config }, filters: [filter] });
  const tunnelled = await made(far.port);
  const peer = await dial(t, tunnelled.port);
  peer.socket.end("x");
  assert.equal(await peer.ended, "x");
  assert.equal(
    far.asked[0]!.head,
    "CONNECT far.test:1 host far.test:1 proxy-authorization basic YTpi x-peer 127.0.0.1",
  );
  assert.equal(tunnelled.counter("cluster.up.upstream_cx_http1_total"), 1);
  state = "true";
  assert.equal(await (await dial(t, (await made(up.port)).port)).ended, "plain");
});

test("a hostname that came to nothing, or to what no request line holds, ends the connection", async (t) => {
  const far = await http1(t, echo);
  for (const hostname of ["%DYNAMIC_METADATA(to:host)%", "a b", "a\r\nb: c"]) {
    const log = logTo(t, "%RESPONSE_FLAGS%\n");
    const proxy = await through(t, far.port, { hostname }, { tcp: { accessLogs: [log.log] } });
    assert.equal(await (await dial(t, proxy.port)).ended, "");
    await until(() => proxy.gauge("listener.l.downstream_cx_active") === 0, "the connection is over");
    assert.deepEqual(await log.lines(), ["UF,URX"], hostname);
  }
  assert.equal(far.asked.length, 0);
});

test("answers that are none", async (t) => {
  const answers = [
    "SSH-2.0-OpenSSH\r\n",
    "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "",
  ];
  for (const answer of answers) {
    const far = await host(t, (socket) => socket.once("data", () => socket.end(answer)));
    const proxy = await through(t, far.port);
    assert.equal(await (await dial(t, proxy.port)).ended, "", answer);
  }
});

test("what comes in one go with the answer that agrees is the tunnel's, after informational answers", async (t) => {
  const far = await host(t, (socket) =>
    socket.once("data", () =>
      socket.end("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 No\r\ntransfer-encoding: chunked\r\n\r\nhello"),
    ),
  );
  const proxy = await through(t, far.port);
  const peer = await dial(t, proxy.port);
  assert.equal(await peer.ended, "hello");
  peer.socket.end();
});
