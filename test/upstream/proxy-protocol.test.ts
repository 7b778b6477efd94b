/** Hosts that are told who downstream is: headers of both versions, read by our own reader and by nginx, under TLS and HTTP/2, too. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { TestContext } from "node:test";
import type { UpstreamProxyProtocol } from "../../runtime/config/cluster-snapshot.ts";
import type { ClusterConfig } from "../../runtime/config/snapshot.ts";
import { readProxyHeader } from "../../runtime/listener/proxy-header.ts";
import type { ConnectionInfo } from "../../runtime/observe/stream-info.ts";
import { proxyHeader } from "../../runtime/upstream/proxy-header.ts";
import { startPinned } from "../bench/processes.ts";
import { cluster, Engine, exchange, forward, origin, route } from "../http/engine.ts";
import { DEAD_PORT, reservedPort } from "../ports.ts";
import { Authority } from "../tls/certificates.ts";
import { source, upstreamTls, validation } from "../tls/contexts.ts";
import { clusterConfig, clusterUnderTest, endpoint as hostOf, get, until, endpoint } from "./fixtures.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-proxied-"));
after(() => rmSync(folder, { recursive: true }));
const root = new Authority(folder, "root");
const good = root.issue("good.test");

const V1: UpstreamProxyProtocol = { version: 1, passed: [], added: [] };
const V2: UpstreamProxyProtocol = { version: 2, passed: "all", added: [{ type: 0xe1, value: Buffer.from("ours") }] };

const between = (
  remoteAddress: string,
  localAddress: string,
  fields: ConnectionInfo["proxyFields"] = [],
): ConnectionInfo => ({ remoteAddress, localAddress, proxyFields: fields }) as ConnectionInfo;

const ENDS: readonly (readonly [from: string, to: string, line: string, read: readonly [string, string] | null])[] = [
  ["192.0.2.1:1000", "192.0.2.2:80", "TCP4 192.0.2.1 192.0.2.2 1000 80", ["192.0.2.1", "192.0.2.2"]],
  ["[2001:db8::1]:1", "[2001:db8::2]:2", "TCP6 2001:db8::1 2001:db8::2 1 2", ["2001:db8::1", "2001:db8::2"]],
  ["192.0.2.1:65535", "[::1]:2", "TCP6 ::ffff:192.0.2.1 ::1 65535 2", ["::ffff:c000:201", "::1"]],
  ["/run/some.sock", "/run/some.sock", "UNKNOWN", null],
];

for (const [from, to, line, read] of ENDS) {
  test(`headers from ${from} to ${to} say what our reader reads`, () => {
    const downstream = between(from, to, [{ type: 0xea, value: Buffer.from("theirs") }]);
    const first = proxyHeader(V1, downstream, {}).bytes;
    assert.equal(first.toString("latin1"), `PROXY ${line}\r\n`);
    for (const config of [V1, V2]) {
      const { bytes } = proxyHeader(config, downstream, {});
      const answer = readProxyHeader(bytes);
      assert.ok(answer.kind === "found");
      const { header } = answer;
      assert.equal(header.bytes, bytes.length);
      assert.deepEqual(read, header.source === null ? null : [header.source.ip, header.destination!.ip]);
      const fields = header.fields.map(({ type, value }) => `${type.toString(16)}=${value.toString()}`);
      assert.deepEqual(fields, config === V2 && read !== null ? ["e1=ours", "ea=theirs"] : []);
    }
  });
}

test("fields: chosen types alone, ours before theirs, none at all when there is no room", () => {
  const fields = (config: UpstreamProxyProtocol, given: ConnectionInfo["proxyFields"]): [string[], boolean] => {
    const { bytes, exceeded } = proxyHeader(config, between("192.0.2.1:1", "192.0.2.2:2", given), {});
    const answer = readProxyHeader(bytes);
    assert.ok(answer.kind === "found");
    return [answer.header.fields.map(({ type, value }) => `${type}=${value.length}`), exceeded];
  };
  const theirs = [1, 2, 0xe1].map((type) => ({ type, value: Buffer.alloc(type) }));
  assert.deepEqual(fields({ ...V2, passed: [2] }, theirs), [["225=4", "2=2"], false]);
  assert.deepEqual(fields({ ...V2, passed: [] }, theirs), [["225=4"], false]);
  assert.deepEqual(fields(V2, theirs), [["225=4", "1=1", "2=2"], false]);
  assert.deepEqual(fields(V2, [{ type: 1, value: Buffer.alloc(0xffff - 12 - 7 - 3) }]), [["225=4", "1=65513"], false]);
  assert.deepEqual(fields(V2, [{ type: 1, value: Buffer.alloc(0xffff - 12 - 7 - 2) }]), [[], true]);
});

test("a call that no downstream is behind says so", () => {
  assert.deepEqual([...proxyHeader(V2, null, {}).bytes.subarray(12)], [0x20, 0, 0, 0]);
  const own = { localAddress: "127.0.0.1", localPort: 5, remoteAddress: "127.0.0.2", remotePort: 6 };
  assert.equal(proxyHeader(V1, null, own).bytes.toString(), "PROXY TCP4 127.0.0.1 127.0.0.2 5 6\r\n");
});

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  const open = await new Promise<boolean>((resolve) => {
    socket.on("connect", () => resolve(true));
    socket.on("error", () => resolve(false));
  });
  socket.destroy();
  return open;
}

/** Nginx that answers with the addresses of the header, on a port each for plain bytes, TLS and HTTP/2. */
async function nginx(t: TestContext): Promise<{ plain: number; secure: number; http2: number }> {
  const [plain, secure, http2] = [await reservedPort(t), await reservedPort(t), await reservedPort(t)];
  const place = mkdtempSync(join(folder, "nginx-"));
  const file = join(place, "nginx.conf");
  const tls = `ssl_certificate ${good.certificate}; ssl_certificate_key ${good.key};`;
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${place}/pid; error_log stderr;
    events {} http { access_log off; client_body_temp_path ${place}/a; proxy_temp_path ${place}/b; fastcgi_temp_path ${place}/c;
      uwsgi_temp_path ${place}/d; scgi_temp_path ${place}/e;
      server { listen 127.0.0.1:${plain} proxy_protocol; listen 127.0.0.1:${secure} ssl proxy_protocol; listen 127.0.0.1:${http2} http2 proxy_protocol; ${tls}
        location / { return 200 "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port $server_protocol"; } } }`,
  );
  const process = startPinned(`0-${availableParallelism() - 1}`, ["nginx", "-c", file, "-p", place]);
  t.after(() => process.stop());
  while (!(await isOpen(plain))) await new Promise((resolve) => setTimeout(resolve, 10));
  return { plain, secure, http2 };
}

const TRUST = validation({ trustedCa: source(root.certificate) });

test("nginx reads who downstream is, over plain bytes, TLS and HTTP/2, in both versions", async (t) => {
  const ports = await nginx(t);
  const kinds: readonly (readonly [port: number, more: Partial<ClusterConfig>, protocol: string])[] = [
    [ports.plain, {}, "HTTP/1.1"],
    [ports.secure, { tls: [upstreamTls({ validation: TRUST, sni: "good.test" })] }, "HTTP/1.1"],
    [ports.http2, { protocol: "HTTP2" }, "HTTP/2.0"],
  ];
  for (const [port, more, protocol] of kinds) {
    for (const proxyProtocol of [V1, V2]) {
      const host = { ...endpoint(port), proxyProtocol, ...(more.tls === undefined ? {} : { tls: 0 }) };
      const engine = await Engine.start({
        routes: [route("/", forward("up"))],
        clusters: [cluster("up", [], { endpoints: [host], ...more })],
      });
      t.after(() => engine.close());
      const ask = async (): Promise<string> => {
        const text = await exchange(engine.port, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        return text.slice(text.indexOf("\r\n\r\n") + 4);
      };
      for (let n = 0; n < 2; n++) {
        const answer = await ask();
        const { remoteAddress } = engine.finished.at(-1)!.connection;
        assert.equal(answer, `${remoteAddress} 127.0.0.1:${engine.port} ${protocol}`);
      }
      // Each downstream connection had one of its own, which ends with it.
      assert.equal(engine.counter("cluster.up.upstream_cx_total"), 2);
      await until(() => engine.stats.gauge("cluster.up.upstream_cx_active").value === 0);
    }
  }
});

test("requests of one downstream connection share an upstream connection, and two never do", async (t) => {
  const seen: string[] = [];
  const peer = await origin((socket) => {
    let text = "";
    socket.on("data", (data) => {
      text += data.toString("latin1");
      if (text.startsWith("PROXY ") && text.includes("\r\n")) {
        seen.push(text.slice(0, text.indexOf("\r\n")));
        text = text.slice(text.indexOf("\r\n") + 2);
      }
      if (!text.includes("\r\n\r\n")) return;
      text = "";
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
  });
  t.after(() => peer.close());
  const engine = await Engine.start({
    routes: [route("/", forward("up"))],
    clusters: [cluster("up", [], { endpoints: [{ ...endpoint(peer.port), proxyProtocol: V1 }] })],
  });
  t.after(() => engine.close());
  const sockets = [connect(engine.port, "127.0.0.1"), connect(engine.port, "127.0.0.1")];
  for (let n = 0; n < 3; n++) {
    for (const socket of sockets) {
      socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
      await once(socket, "data");
    }
  }
  const lines = sockets.map(({ localPort }) => `PROXY TCP4 127.0.0.1 127.0.0.1 ${localPort} ${engine.port}`);
  assert.deepEqual(seen, lines);
  for (const socket of sockets) socket.destroy();
  await until(() => engine.stats.gauge("cluster.up.upstream_cx_active").value === 0);
});

test("a host that cannot be reached, or is somebody else under TLS, fails as without a header", async (t) => {
  const ports = await nginx(t);
  const tls = [upstreamTls({ validation: { ...TRUST, hashes: ["00".repeat(32)] } })];
  const wrong = clusterUnderTest(t, clusterConfig([hostOf(ports.secure, { tls: 0, proxyProtocol: V2 })], { tls }));
  assert.match(
    (await get(wrong.cluster, "/")).transportFailure,
    /CERTIFICATE_VERIFY_FAILED:verify cert failed: cert hash/,
  );
  for (const more of [{}, { tls: 0 }]) {
    const { cluster: none } = clusterUnderTest(
      t,
      clusterConfig([hostOf(DEAD_PORT, { ...more, proxyProtocol: V2 })], { tls }),
    );
    const recorder = await get(none, "/");
    assert.deepEqual([recorder.resetReason, recorder.status], ["remote connection failure", 0]);
  }
});
