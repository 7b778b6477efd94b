/** tls_inspector, http_inspector and proxy_protocol in listeners: what chains and connections make of them, and hostile first bytes. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { TestContext } from "node:test";
import { connect as connectTls } from "node:tls";
import type { ConnectionOptions } from "node:tls";
import type { ListenerFilterKind } from "../../runtime/config/listener-snapshot.ts";
import type { ListenerConfig } from "../../runtime/config/snapshot.ts";
import type { StatsStore } from "../../runtime/observe/stats.ts";
import { Engine, route } from "../http/engine.ts";
import { reservedPort } from "../ports.ts";
import { StillClock } from "../still-clock.ts";
import { Authority } from "../tls/certificates.ts";
import { downstreamTls } from "../tls/contexts.ts";
import { until } from "../upstream/fixtures.ts";
import { chain, closed, config, ip, start } from "./fixture.ts";
import { helloMessage, number, protocols, records, serverName, vector } from "./hellos.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-inspect-"));
after(() => rmSync(folder, { recursive: true }));
const root = new Authority(folder, "root");
const one = root.issue("one.test");
const two = root.issue("two.test", { rsa: true });

const TLS: ListenerFilterKind = {
  kind: "tls_inspector",
  ja3: true,
  ja4: true,
  maxHelloBytes: 16_384,
  closeOnBrokenHello: false,
};
const HTTP: ListenerFilterKind = { kind: "http_inspector" };
const PROXY: ListenerFilterKind = {
  kind: "proxy_protocol",
  allowMissing: false,
  disallowedVersions: [],
  statPrefix: "",
  passed: [],
  rules: [],
};

function filters(...kinds: readonly ListenerFilterKind[]): Pick<ListenerConfig, "listenerFilters"> {
  return { listenerFilters: kinds.map((filter) => ({ name: filter.kind, disabled: undefined, filter })) };
}

interface Stage {
  readonly port: number;
  readonly stats: StatsStore;
  count(name: string): number;
}

async function stage(t: TestContext, more: Partial<ListenerConfig>): Promise<Stage> {
  const { set, stats } = await start(t, [config(ip("127.0.0.1"), more)]);
  return { port: set.bound[0]!.port, stats, count: (name) => stats.counter(name).value };
}

/** What the connection says of itself after `bytes`; "" when it was closed instead. */
async function facts(port: number, ...pieces: readonly (Buffer | string)[]): Promise<Record<string, unknown>> {
  const socket = connect(port, "127.0.0.1");
  socket.setNoDelay(true).on("error", () => {});
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return answer(socket);
}

/** The echo filter answers `who` with facts, and anything else with itself. */
function answer(socket: Socket): Promise<Record<string, unknown>> {
  let text = "";
  return new Promise((resolve) => {
    socket.on("data", (data) => {
      if (text === "" && data[0] !== 0x7b) setImmediate(() => socket.write("who"));
      text += data.toString("latin1");
      const at = text.indexOf('{"');
      if (at === -1 || !text.endsWith("}")) return;
      socket.destroy();
      resolve({ ...(JSON.parse(text.slice(at)) as Record<string, unknown>), echo: text.slice(0, at) });
    });
    void closed(socket).then(() => resolve({ closed: true }));
  });
}

test("chains by server name and protocol, the hello whole and in pieces", async (t) => {
  const { port, count } = await stage(t, {
    ...filters(TLS),
    filterChains: [
      chain("a", { serverNames: ["a.test"] }),
      chain("h2", { serverNames: ["*.b.test"], applicationProtocols: ["h2"] }),
      chain("plain", { transportProtocol: "raw_buffer" }),
    ],
    defaultFilterChain: chain("other"),
  });
  const cases: readonly (readonly [readonly Buffer[], string])[] = [
    [[helloMessage({ extensions: [serverName("a.test")] })], "a"],
    [[helloMessage({ extensions: [serverName("x.b.test"), protocols("x", "h2")] })], "h2"],
    [[helloMessage({ extensions: [serverName("x.b.test")] })], "other"],
    [[helloMessage({})], "other"],
  ];
  for (const [[message], name] of cases) {
    const bytes = records(message!, 30);
    const told = await facts(port, bytes.subarray(0, 1), bytes.subarray(1, 40), bytes.subarray(40));
    assert.equal(told["filterChainName"], name);
    // Nothing of the hello is lost to whoever comes next.
    assert.equal(told["echo"], bytes.toString("latin1"));
  }
  assert.equal((await facts(port, "who"))["filterChainName"], "plain");
  assert.deepEqual(
    ["tls_found", "tls_not_found", "sni_found", "sni_not_found", "alpn_found", "alpn_not_found"].map((name) =>
      count(`tls_inspector.${name}`),
    ),
    [4, 1, 3, 1, 1, 3],
  );
});

test("hellos that are too large, half, slow or broken are closed and counted; others are served meanwhile", async (t) => {
  const { port, count, stats } = await stage(t, { ...filters(TLS), listenerFiltersTimeoutMs: 100 });
  const clock = new StillClock(t);
  const large = Buffer.concat([Buffer.of(22, 3, 1, 0x40, 0, 1), number(100_000, 3), Buffer.alloc(100_000)]);
  assert.deepEqual(await facts(port, large), { closed: true });
  assert.equal(count("tls_inspector.client_hello_too_large"), 1);
  const half = facts(port, records(helloMessage({})).subarray(0, 20));
  const slow = connect(port, "127.0.0.1").on("error", () => {});
  // Whether it hears the end or a reset depends on what was on its way.
  const slowClosed = new Promise((resolve) => slow.once("close", resolve));
  const hello = records(helloMessage({}));
  let sent = 0;
  const drip = setInterval(() => slow.write(hello.subarray(sent, ++sent)), 10);
  t.after(() => clearInterval(drip));
  await until(() => stats.gauge("listener.l.downstream_pre_cx_active").value === 2 && sent > 2);
  assert.equal((await facts(port, "who"))["transportProtocol"], "raw_buffer");
  clock.pass(100);
  await slowClosed;
  clearInterval(drip);
  assert.deepEqual(await half, { closed: true });
  assert.equal(count("listener.l.downstream_pre_cx_timeout"), 2);
  // Records of one byte each: more headers than hello.
  const crumbs = records(helloMessage({ extensions: [[0xff, Buffer.alloc(15_000)]] }), 1);
  assert.deepEqual(await facts(port, crumbs), { closed: true });
  assert.equal(count("listener.l.downstream_listener_filter_error"), 1);
  assert.equal((await facts(port, Buffer.of(22, 3, 1, 0, 1, 9)))["closed"], undefined);
  assert.equal(stats.gauge("listener.l.downstream_pre_cx_active").value, 0);
  const strict = await stage(t, { ...filters({ ...TLS, closeOnBrokenHello: true }) });
  assert.deepEqual(await facts(strict.port, Buffer.of(22, 3, 1, 0, 1, 9)), { closed: true });
});

test("certificates of several kinds: the one of the name, of a kind that downstream reads", async (t) => {
  const both = root.issue("two.ec", { names: "DNS:two.test" });
  const engine = await Engine.start({
    routes: [route("/", { kind: "direct_response", status: 200, body: "hello" })],
    listener: { ...filters(TLS), filterChains: [{ ...chain("secure"), tls: downstreamTls([one, two, both]) }] },
  });
  t.after(() => engine.close());
  const shown = async (servername: string, more: ConnectionOptions = {}): Promise<string> => {
    const socket = connectTls({ port: engine.port, host: "127.0.0.1", servername, rejectUnauthorized: false, ...more });
    await once(socket, "secureConnect");
    const { subject } = socket.getPeerCertificate();
    const closed = once(socket, "close");
    socket.resume().end("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    await closed;
    return String(subject.CN);
  };
  const rsa = { sigalgs: "rsa_pss_rsae_sha256:RSA+SHA256" };
  assert.equal(await shown("one.test"), "one.test");
  assert.equal(await shown("two.test"), "two.ec");
  assert.equal(await shown("two.test", rsa), "two.test");
  assert.equal(await shown("two.test", { ...rsa, maxVersion: "TLSv1.2" }), "two.test");
  await until(() => engine.finished.length === 4);
  const { connection } = engine.finished[0]!;
  assert.equal(connection.serverName, "one.test");
  assert.match(connection.ja3, /^[0-9a-f]{32}$/);
  assert.match(connection.ja4, /^t13d\d{4}00_[0-9a-f]{12}_[0-9a-f]{12}$/);
});

test("chains by the version of plain HTTP", async (t) => {
  const { port, count } = await stage(t, {
    ...filters(TLS, HTTP),
    filterChains: [
      chain("one", { applicationProtocols: ["http/1.0", "http/1.1"] }),
      chain("two", { applicationProtocols: ["h2c"] }),
    ],
    defaultFilterChain: chain("other"),
  });
  const lines = [
    ["GET / HTTP/1.1\r\n\r\n", "one"],
    ["GET / HTTP/1.0\r\n\r\n", "one"],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "two"],
    ["SSH-2.0-x\r\n", "other"],
  ] as const;
  for (const [first, name] of lines)
    assert.equal((await facts(port, first.slice(0, 2), first.slice(2)))["filterChainName"], name, first);
  assert.deepEqual(
    ["http10_found", "http11_found", "http2_found", "http_not_found"].map((name) => count(`http_inspector.${name}`)),
    [1, 1, 1, 1],
  );
  // TLS is not looked at again.
  await facts(port, records(helloMessage({})));
  assert.equal(count("http_inspector.http_not_found"), 1);
});

const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const V2 = Buffer.concat([
  SIGNATURE,
  Buffer.of(0x21, 0x11),
  vector(
    2,
    Buffer.of(10, 0, 0, 1, 10, 0, 0, 2),
    number(1000, 2),
    number(443, 2),
    Buffer.of(0xea),
    vector(2, Buffer.from("vpc-1")),
  ),
]);

test("addresses of PROXY headers, and fields as metadata", async (t) => {
  const rules = [
    { type: 0xea, namespace: "balancer", key: "vpc" },
    { type: 0xeb, namespace: "balancer", key: "none" },
  ];
  const { port, count } = await stage(t, filters({ ...PROXY, rules, statPrefix: "edge" }));
  const first = await facts(port, "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", "who");
  assert.deepEqual(
    [first["remoteAddress"], first["localAddress"], first["localAddressRestored"], first["directRemoteIp"]],
    ["192.0.2.1:1000", "192.0.2.2:443", true, "127.0.0.1"],
  );
  const second = await facts(port, ...[...V2].map((byte) => Buffer.of(byte)), "who");
  assert.deepEqual([second["remoteAddress"], second["localAddress"]], ["10.0.0.1:1000", "10.0.0.2:443"]);
  const local = await facts(port, Buffer.concat([SIGNATURE, Buffer.of(0x20, 0, 0, 0)]), "who");
  assert.equal(local["localAddress"], `127.0.0.1:${port}`);
  assert.deepEqual([count("proxy_proto.edge.versions.v1.found"), count("proxy_proto.edge.versions.v2.found")], [1, 2]);
});

test("bad, missing and unwelcome PROXY headers", async (t) => {
  const strict = await stage(t, filters({ ...PROXY, disallowedVersions: [1] }));
  const hostile = [
    "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n",
    "PROXY TCP9\r\n",
    `PROXY ${"x".repeat(200)}`,
    "GET / HTTP/1.1\r\n\r\n",
    Buffer.concat([SIGNATURE, Buffer.of(0x21, 0x11, 0, 1, 0)]),
    Buffer.concat([SIGNATURE, Buffer.of(0x21, 0x11, 0xff, 0xff), Buffer.alloc(70_000, 0xff)]),
  ];
  for (const bytes of hostile) assert.deepEqual(await facts(strict.port, bytes), { closed: true });
  const names = ["versions.v1.disallowed", "versions.v1.error", "versions.v2.error", "not_found_disallowed"];
  assert.deepEqual(
    names.map((name) => strict.count(`proxy_proto.${name}`)),
    [1, 2, 2, 1],
  );
  assert.equal(strict.count("listener.l.downstream_cx_proxy_proto_error"), 6);
  // As long as a header can be, and all of it right.
  const field = Buffer.concat([Buffer.of(4), number(0xffff - 12 - 3, 2), Buffer.alloc(0xffff - 12 - 3)]);
  const longest = Buffer.concat([V2.subarray(0, 14), number(0xffff, 2), V2.subarray(16, 28), field]);
  assert.equal((await facts(strict.port, longest, "who"))["remoteIp"], "10.0.0.1");
  const open = await stage(t, filters({ ...PROXY, allowMissing: true }));
  assert.equal((await facts(open.port, "who"))["remoteIp"], "127.0.0.1");
  assert.equal(open.count("proxy_proto.not_found_allowed"), 1);
});

test("curl and haproxy as senders of PROXY headers, in front of TLS", async (t) => {
  const engine = await Engine.start({
    routes: [route("/", { kind: "direct_response", status: 200, body: "hello" })],
    manager: { useRemoteAddress: true },
    listener: { ...filters(PROXY, TLS), filterChains: [{ ...chain("secure"), tls: downstreamTls([one]) }] },
  });
  t.after(() => engine.close());
  const curl = (port: number, ...args: string[]): Promise<string> =>
    new Promise((resolve) => {
      const all = [
        "-sS",
        "--cacert",
        root.certificate,
        "--resolve",
        `one.test:${port}:127.0.0.1`,
        ...args,
        `https://one.test:${port}/`,
      ];
      execFile("curl", all, { timeout: 20_000 }, (_error, out) => resolve(out));
    });
  assert.equal(await curl(engine.port, "--haproxy-protocol"), "hello");
  assert.equal(engine.counter("proxy_proto.versions.v1.found"), 1);
  const port = await reservedPort(t);
  const file = join(folder, "haproxy.cfg");
  writeFileSync(
    file,
    `defaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n timeout server 5s\nlisten in\n bind 127.0.0.1:${port}\n server s 127.0.0.1:${engine.port} send-proxy-v2\n`,
  );
  const haproxy = spawn("haproxy", ["-f", file, "-db"], { stdio: "ignore" });
  const exited = once(haproxy, "exit");
  t.after(async () => {
    haproxy.kill("SIGKILL");
    await exited;
  });
  // Curl waits for haproxy to listen.
  assert.equal(await curl(port, "--retry", "30", "--retry-connrefused", "--retry-delay", "1", "--silent"), "hello");
  assert.equal(engine.counter("proxy_proto.versions.v2.found"), 1);
  const [direct, through] = engine.finished;
  assert.equal(through!.connection.localAddress, `127.0.0.1:${port}`);
  assert.equal(direct!.connection.serverName, "one.test");
});
