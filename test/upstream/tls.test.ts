/** Clusters over TLS against a real server: who is trusted, what is asked for, and how failures are called. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createSecureServer, type ServerHttp2Stream } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createServer as createPlainServer } from "node:net";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { TestContext } from "node:test";
import type { TlsOptions, TLSSocket } from "node:tls";
import { DEFAULT_MAX_VERSION } from "node:tls";
import type { ClusterConfig } from "../../runtime/config/snapshot.ts";
import type { UpstreamTlsConfig } from "../../runtime/config/tls-snapshot.ts";
import { Certificate, pemCertificates } from "../../runtime/tls/certificate.ts";
import { Authority, read, selfSigned } from "../tls/certificates.ts";
import { exactName, pair, source, upstreamTls, validation } from "../tls/contexts.ts";
import { clusterConfig, clusterUnderTest, endpoint, get, type MemoryStats, type Recorder, until } from "./fixtures.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-tls-"));
after(() => rmSync(folder, { recursive: true }));
const root = new Authority(folder, "root");
const middle = new Authority(folder, "middle", root);
const stranger = new Authority(folder, "stranger");
const good = root.issue("good.test", { names: "DNS:good.test,DNS:*.wild.test,URI:spiffe://t/good,IP:127.0.0.1" });
const below = middle.issue("below.test");
const expired = root.issue("expired.test", { to: "20210101000000Z" });
const strange = stranger.issue("strange.test");
const strangeAndOld = stranger.issue("old.test", { to: "20210101000000Z" });
const revoked = root.issue("revoked.test");
const caller = root.issue("caller.test", { usage: "clientAuth" });
const crl = root.revoke(revoked);
const usage = (name: string, bits: string): ReturnType<Authority["issue"]> =>
  root.issue(name, { rsa: true, extensions: [`keyUsage=${bits}`] });
const signs = usage("signs.test", "digitalSignature");
const encryptsOnly = usage("encrypts.test", "keyEncipherment");
const alone = selfSigned(folder, "alone.test");
const chained = join(folder, "chained.pem");
writeFileSync(chained, Buffer.concat([read(below.certificate), read(middle.certificate)]));
const trusted = source(root.certificate);
const goodParsed = new Certificate(pemCertificates(read(good.certificate))[0]!.raw);

interface Peer {
  readonly port: number;
  readonly sockets: TLSSocket[];
  /** Common names of the certificates that were shown to it. */
  readonly shown: (string | string[] | undefined)[];
}

async function peer(
  t: TestContext,
  shown: { certificate: string; key: string },
  options: TlsOptions = {},
): Promise<Peer> {
  const sockets: TLSSocket[] = [];
  const callers: Peer["shown"] = [];
  const server = createHttpsServer(
    { cert: read(shown.certificate), key: read(shown.key), ...options },
    (_request, response) => response.end("hello"),
  );
  server.on("secureConnection", (socket) => {
    sockets.push(socket);
    callers.push(socket.getPeerCertificate()?.subject?.CN);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { port: (server.address() as AddressInfo).port, sockets, shown: callers };
}

interface Answer {
  readonly recorder: Recorder;
  readonly stats: MemoryStats;
}

async function ask(
  t: TestContext,
  port: number,
  tls: Partial<UpstreamTlsConfig>,
  over: Partial<ClusterConfig> & { hostname?: string } = {},
): Promise<Answer> {
  const { hostname = "", ...rest } = over;
  const config = clusterConfig([endpoint(port, { tls: 0, hostname })], { tls: [upstreamTls(tls)], ...rest });
  const { cluster, stats } = clusterUnderTest(t, config);
  return { recorder: await get(cluster, "/"), stats };
}

const VERIFY = "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: ";
const CHAIN = `${VERIFY}X509_verify_cert: certificate verification error at depth `;
const END = ":TLS_error_end";
const TRUST = validation({ trustedCa: trusted });

/** A server's certificate, the cluster's context, and the failure; "" for an answer. */
const CASES: readonly {
  readonly name: string;
  readonly shown: { certificate: string; key: string };
  readonly tls: Partial<UpstreamTlsConfig>;
  readonly failure: string;
  readonly counts?: string;
  readonly hostname?: string;
}[] = [
  { name: "without a validation context nothing is checked", shown: strange, tls: {}, failure: "" },
  { name: "the right authority", shown: good, tls: { validation: TRUST }, failure: "" },
  {
    name: "another authority",
    shown: strange,
    tls: { validation: TRUST },
    failure: `${CHAIN}0: unable to get local issuer certificate${END}`,
    counts: "ssl.fail_verify_error",
  },
  {
    name: "self-signed",
    shown: alone,
    tls: { validation: TRUST },
    failure: `${CHAIN}0: self-signed certificate${END}`,
    counts: "ssl.fail_verify_error",
  },
  { name: "an RSA key that may sign", shown: signs, tls: { enforceRsaKeyUsage: true }, failure: "" },
  {
    name: "an RSA key that must not sign is counted",
    shown: encryptsOnly,
    tls: {},
    failure: "",
    counts: "ssl.was_key_usage_invalid",
  },
  {
    name: "an RSA key that must not sign is refused",
    shown: encryptsOnly,
    tls: { enforceRsaKeyUsage: true },
    failure: `TLS_error:|268435456:SSL routines:OPENSSL_internal:KEY_USAGE_BIT_INCORRECT${END}`,
    counts: "ssl.was_key_usage_invalid",
  },
  {
    name: "only the leaf is looked up among the revoked",
    shown: revoked,
    tls: { validation: { ...TRUST, crl: source(crl), crlOfLeafOnly: true } },
    failure: `${CHAIN}0: certificate revoked${END}`,
    counts: "ssl.fail_verify_error",
  },
  {
    name: "expired",
    shown: expired,
    tls: { validation: TRUST },
    failure: `${CHAIN}0: certificate has expired${END}`,
    counts: "ssl.fail_verify_error",
  },
  {
    name: "expired, and that is allowed",
    shown: expired,
    tls: { validation: { ...TRUST, allowExpired: true } },
    failure: "",
  },
  {
    name: "expired is allowed, another authority is not",
    shown: strangeAndOld,
    tls: { validation: { ...TRUST, allowExpired: true } },
    failure: `${CHAIN}0: certificate has expired${END}`,
  },
  {
    name: "revoked",
    shown: revoked,
    tls: { validation: { ...TRUST, crl: source(crl) } },
    failure: `${CHAIN}0: certificate revoked${END}`,
  },
  { name: "not revoked", shown: good, tls: { validation: { ...TRUST, crl: source(crl) } }, failure: "" },
  {
    name: "a name that matches",
    shown: good,
    tls: {
      validation: {
        ...TRUST,
        sanMatchers: [exactName("URI", "spiffe://t/other"), exactName("URI", "spiffe://t/good")],
      },
    },
    failure: "",
  },
  {
    name: "an IP address that matches",
    shown: good,
    tls: { validation: { ...TRUST, sanMatchers: [exactName("IP_ADDRESS", "127.0.0.1")] } },
    failure: "",
  },
  {
    name: "a wildcard of the certificate covers an exact DNS name",
    shown: good,
    tls: { validation: { ...TRUST, sanMatchers: [exactName("DNS", "x.wild.test")] } },
    failure: "",
  },
  {
    name: "the right name of the wrong kind",
    shown: good,
    tls: { validation: { ...TRUST, sanMatchers: [exactName("DNS", "spiffe://t/good")] } },
    failure: `${VERIFY}verify SAN list${END}`,
    counts: "ssl.fail_verify_san",
  },
  {
    name: "the right digest",
    shown: good,
    tls: { validation: validation({ hashes: [goodParsed.sha256] }) },
    failure: "",
  },
  { name: "the right key", shown: good, tls: { validation: validation({ spki: [goodParsed.spkiHash] }) }, failure: "" },
  {
    name: "neither digest nor key",
    shown: strange,
    tls: { validation: validation({ hashes: [goodParsed.sha256], spki: [goodParsed.spkiHash] }) },
    failure: `${VERIFY}cert hash and spki${END}`,
    counts: "ssl.fail_verify_cert_hash",
  },
  {
    name: "untrusted is accepted",
    shown: strange,
    tls: { validation: { ...TRUST, acceptUntrusted: true } },
    failure: "",
    counts: "ssl.fail_verify_error",
  },
  {
    name: "a chain over another authority",
    shown: { ...below, certificate: chained },
    tls: { validation: TRUST },
    failure: "",
  },
  {
    name: "an intermediate authority is trusted by itself",
    shown: below,
    tls: { validation: validation({ trustedCa: source(middle.certificate) }) },
    failure: "",
  },
  {
    name: "a chain that is too long",
    shown: { ...below, certificate: chained },
    tls: { validation: { ...TRUST, maxVerifyDepth: 1 } },
    failure: `${CHAIN}2: certificate chain too long${END}`,
  },
  {
    name: "the name that was asked for is on the certificate",
    shown: good,
    tls: { validation: TRUST, sni: "good.test", autoSniSanValidation: true },
    failure: "",
  },
  {
    name: "the name that was asked for is not on the certificate",
    shown: good,
    tls: { validation: TRUST, sni: "other.test", autoSniSanValidation: true },
    failure: `${VERIFY}verify SAN list${END}`,
  },
  {
    name: "the host's name is asked for",
    shown: good,
    tls: { validation: TRUST, sni: "other.test", autoHostSni: true, autoSniSanValidation: true },
    hostname: "good.test",
    failure: "",
  },
];

for (const { name, shown, tls, failure, counts, hostname } of CASES) {
  test(name, async (t) => {
    const { port } = await peer(t, shown);
    const { recorder, stats } = await ask(t, port, tls, { hostname: hostname ?? "" });
    assert.deepEqual([recorder.transportFailure, recorder.body], [failure, failure === "" ? "hello" : ""]);
    if (failure !== "") assert.equal(recorder.resetReason, "remote connection failure");
    assert.equal(stats.read("ssl.handshake"), failure === "" ? 1 : 0);
    assert.equal(stats.read("upstream_cx_connect_fail"), failure === "" ? 0 : 1);
    if (counts !== undefined) assert.equal(stats.read(counts), 1);
  });
}

test("what the server is told: name, protocol, certificate", async (t) => {
  const { port, sockets } = await peer(t, good, {
    requestCert: true,
    ca: [read(root.certificate)],
    ALPNProtocols: ["http/1.1"],
  });
  const { recorder, stats } = await ask(t, port, { certificates: [pair(caller)], sni: "good.test" });
  assert.equal(recorder.body, "hello");
  const [socket] = sockets;
  const { servername } = socket as TLSSocket & { servername: string };
  assert.deepEqual([servername, socket!.alpnProtocol, socket!.authorized], ["good.test", "http/1.1", true]);
  assert.deepEqual([stats.read("ssl.versions.TLSv1.3"), stats.read("ssl.curves.X25519")], [1, 1]);
  assert.equal(stats.read("ssl.ciphers.TLS_AES_256_GCM_SHA384"), 1);
});

test("alerts, versions and servers without TLS have Envoy's words", async (t) => {
  const cases = [
    [
      { requestCert: true, ca: [read(root.certificate)], maxVersion: "TLSv1.2" },
      {},
      "268436496",
      "SSLV3_ALERT_HANDSHAKE_FAILURE",
    ],
    [
      { minVersion: "TLSv1.3", maxVersion: DEFAULT_MAX_VERSION },
      { maxVersion: "TLSv1.2" },
      "268436526",
      "TLSV1_ALERT_PROTOCOL_VERSION",
    ],
  ] as const;
  for (const [server, tls, number, name] of cases) {
    const { port } = await peer(t, good, server as TlsOptions);
    const { recorder } = await ask(t, port, tls);
    assert.equal(recorder.transportFailure, `TLS_error:|${number}:SSL routines:OPENSSL_internal:${name}:TLS_error_end`);
  }
  const plain = createPlainServer((socket) =>
    socket.on("error", () => {}).end("SSH-2.0-hello there, this is no TLS\r\n"),
  );
  plain.listen(0, "127.0.0.1");
  await once(plain, "listening");
  t.after(() => plain.close());
  const { recorder, stats } = await ask(t, (plain.address() as AddressInfo).port, {});
  assert.equal(
    recorder.transportFailure,
    "TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end",
  );
  assert.equal(stats.read("ssl.connection_error"), 1);
});

test("a server that accepts and says nothing runs into connect_timeout", async (t) => {
  const silent = createPlainServer((socket) => socket.on("error", () => {}));
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  t.after(() => silent.close());
  const { recorder } = await ask(t, (silent.address() as AddressInfo).port, {}, { connectTimeoutMs: 50 });
  assert.equal(recorder.resetReason, "connection timeout");
});

for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
  test(`a second connection takes the session up again: ${maxVersion}`, async (t) => {
    const { port } = await peer(t, good);
    const tls = upstreamTls({ maxVersion, validation: TRUST, sni: "good.test" });
    const config = clusterConfig([endpoint(port, { tls: 0 })], { tls: [tls], maxRequestsPerConnection: 1 });
    const { cluster, stats } = clusterUnderTest(t, config);
    for (let round = 1; round <= 3; round++) assert.equal((await get(cluster, "/")).body, "hello");
    assert.deepEqual([stats.read("ssl.handshake"), stats.read("ssl.session_reused")], [3, 2]);
    const off = clusterConfig([endpoint(port, { tls: 0 })], {
      tls: [{ ...tls, maxSessionKeys: 0 }],
      maxRequestsPerConnection: 1,
    });
    const other = clusterUnderTest(t, off);
    for (let round = 1; round <= 2; round++) assert.equal((await get(other.cluster, "/")).body, "hello");
    assert.equal(other.stats.read("ssl.session_reused"), 0);
  });
}

test("HTTP/2 over TLS, and one of its servers that is somebody else", async (t) => {
  const server = createSecureServer({ cert: read(good.certificate), key: read(good.key) });
  const protocols: (string | false | null)[] = [];
  server.on("secureConnection", (socket) => protocols.push(socket.alpnProtocol));
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.respond({ ":status": 200 });
    stream.end("two");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const right = await ask(t, port, { validation: TRUST }, { protocol: "HTTP2" });
  assert.deepEqual([right.recorder.status, right.recorder.body, protocols], [200, "two", ["h2"]]);
  const wrong = await ask(
    t,
    port,
    { validation: { ...TRUST, sanMatchers: [exactName("DNS", "else.test")] } },
    { protocol: "HTTP2" },
  );
  assert.equal(wrong.recorder.transportFailure, `${VERIFY}verify SAN list${END}`);
  assert.equal(wrong.recorder.status, 0);
});

test("a new certificate of ours is shown once its files have changed; a bad one is not", async (t) => {
  const { port, shown } = await peer(t, good, { requestCert: true, ca: [read(root.certificate)] });
  const mine = { certificate: join(folder, "mine.pem"), key: join(folder, "mine.key") };
  const put = (issued: { certificate: string; key: string }): void => {
    writeFileSync(mine.certificate, read(issued.certificate));
    writeFileSync(mine.key, read(issued.key));
  };
  put(caller);
  const config = clusterConfig([endpoint(port, { tls: 0 })], {
    tls: [upstreamTls({ certificates: [pair(mine)] })],
    maxRequestsPerConnection: 1,
  });
  const { cluster, stats } = clusterUnderTest(t, config);
  await get(cluster, "/");
  writeFileSync(mine.certificate, "no certificate");
  await until(() => stats.read("client_ssl_socket_factory.ssl_context_update_failed") >= 1);
  await get(cluster, "/");
  put(root.issue("second.test"));
  await until(() => stats.read("client_ssl_socket_factory.ssl_context_update_by_sds") === 1);
  await get(cluster, "/");
  assert.deepEqual(shown, ["caller.test", "caller.test", "second.test"]);
});

test("digests of a certificate are those of its bytes", () => {
  assert.equal(goodParsed.sha256, createHash("sha256").update(goodParsed.der).digest("hex"));
});
