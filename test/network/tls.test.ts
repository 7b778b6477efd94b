/** TLS before network filters and behind tcp_proxy: large streams, half-closes, and rules about who the peer is. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { TestContext } from "node:test";
import { connect, createServer, type ConnectionOptions, type TLSSocket } from "node:tls";
import type { RbacMatcher } from "../../runtime/config/network-snapshot.ts";
import type { ListenerConfig } from "../../runtime/config/snapshot.ts";
import { until } from "../listener/chain.ts";
import { chain, closed } from "../listener/fixture.ts";
import { Authority, read } from "../tls/certificates.ts";
import { downstreamTls, source, upstreamTls, validation } from "../tls/contexts.ts";
import { alone, cluster, echoing, gaugesLeft, host, logTo, proxied } from "./proxied.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-tls-"));
after(() => rmSync(folder, { recursive: true }));
const root = new Authority(folder, "root");
const own = root.issue("proxy.test");
const hostCertificate = root.issue("host.test");
const team = root.issue("team", { names: "URI:spiffe://t/team", usage: "clientAuth" });
const named = root.issue("named", { names: "DNS:named.test", usage: "clientAuth" });
const bare = root.issue("bare", { names: "", subject: "/O=Sluice test/CN=bare", usage: "clientAuth" });
const TRUST = validation({ trustedCa: source(root.certificate) });

function secureListener(more: { trust?: boolean } = {}): Partial<ListenerConfig> {
  const tls = downstreamTls([own], more.trust === false ? {} : { validation: TRUST });
  return { filterChains: [{ ...chain("secure"), tls }] };
}

async function dialTls(t: TestContext, port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ port, host: "127.0.0.1", servername: "proxy.test", ca: read(root.certificate), ...options });
  t.after(() => socket.destroy());
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  return socket;
}

test("tcp_proxy between TLS and TLS: large streams both ways, the end of each passed on", async (t) => {
  const server = createServer({
    cert: read(hostCertificate.certificate),
    key: read(hostCertificate.key),
    allowHalfOpen: true,
  });
  server.on("secureConnection", (socket) => socket.on("error", () => {}).pipe(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { log, lines } = logTo(
    t,
    "%UPSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_VERSION% %REQUESTED_SERVER_NAME% %RESPONSE_FLAGS%\n",
  );
  const upstream = cluster("up", [(server.address() as AddressInfo).port]);
  const proxy = await proxied(t, {
    clusters: [
      {
        ...upstream,
        tls: [upstreamTls({ sni: "host.test", validation: TRUST })],
        endpoints: upstream.endpoints.map((endpoint) => ({ ...endpoint, tls: 0 })),
      },
    ],
    tcp: { accessLogs: [log] },
    listener: secureListener(),
  });
  const payload = Buffer.alloc(8 * 1024 * 1024);
  for (let at = 0; at < payload.length; at += 4) payload.writeUInt32LE((at * 2654435761) >>> 0, at);
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      const socket = await dialTls(t, proxy.port);
      const hash = createHash("sha256");
      let got = 0;
      socket.on("data", (data) => {
        hash.update(data);
        got += data.length;
        // Node's client ends as a whole when it is told to end, so it does that last.
        if (got === payload.length) socket.end();
      });
      socket.write(payload);
      await once(socket, "close");
      assert.equal(hash.digest("hex"), createHash("sha256").update(payload).digest("hex"));
    }),
  );
  await until(() => Object.keys(gaugesLeft(proxy)).length === 0, "everything is over");
  assert.deepEqual(
    await lines(),
    Array.from({ length: 4 }, () => "TLSv1.3 TLSv1.3 proxy.test -"),
  );
});

test("a host whose certificate is not trusted is no host", async (t) => {
  const stranger = new Authority(folder, "stranger").issue("host.test");
  const server = createServer({ cert: read(stranger.certificate), key: read(stranger.key) });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { log, lines } = logTo(t, "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON%\n");
  const upstream = cluster("up", [(server.address() as AddressInfo).port]);
  const proxy = await proxied(t, {
    clusters: [
      {
        ...upstream,
        tls: [upstreamTls({ sni: "host.test", validation: TRUST })],
        endpoints: upstream.endpoints.map((endpoint) => ({ ...endpoint, tls: 0 })),
      },
    ],
    tcp: { accessLogs: [log] },
    listener: secureListener(),
  });
  await closed(await dialTls(t, proxy.port));
  await until(() => Object.keys(gaugesLeft(proxy)).length === 0, "everything is over");
  assert.match((await lines())[0]!, /^UF,URX TLS_error:.*CERTIFICATE_VERIFY_FAILED/);
});

const exact = (value: string): RbacMatcher => ({
  kind: "authenticated",
  name: { kind: "exact", value, ignoreCase: false },
});
const shown = ({ certificate, key }: { certificate: string; key: string }): ConnectionOptions => ({
  cert: read(certificate),
  key: read(key),
});

const PRINCIPALS: readonly (readonly [who: string, options: ConnectionOptions, rule: RbacMatcher, allowed: boolean])[] =
  [
    ["a URI name", shown(team), exact("spiffe://t/team"), true],
    ["another URI name", shown(team), exact("spiffe://t/other"), false],
    ["a DNS name", shown(named), exact("named.test"), true],
    ["the subject where there are no names", shown(bare), exact("CN=bare,O=Sluice test"), true],
    ["anybody with a certificate", shown(bare), { kind: "authenticated", name: undefined }, true],
    ["nobody", {}, { kind: "authenticated", name: undefined }, false],
  ];

for (const [who, options, match, allowed] of PRINCIPALS) {
  test(`authenticated: ${who} is ${allowed ? "let in" : "refused"}`, async (t) => {
    const up = await host(t, echoing);
    const rules = { action: "ALLOW", policies: [{ name: "p", match }] } as const;
    const rbac = {
      statPrefix: "r",
      shadowStatPrefix: "",
      rules,
      shadowRules: undefined,
      continuous: false,
      delayDenyMs: 0,
    };
    const proxy = await proxied(t, {
      clusters: [cluster("up", [up.port])],
      filters: [alone({ kind: "rbac", name: "rbac", rbac })],
      listener: secureListener(),
    });
    const socket = await dialTls(t, proxy.port, options);
    let got = "";
    socket.on("data", (data) => {
      got += data.toString();
      socket.end();
    });
    socket.write("hello");
    await closed(socket);
    assert.equal(got, allowed ? "hello" : "");
    await until(() => Object.keys(gaugesLeft(proxy)).length === 0, "everything is over");
  });
}
