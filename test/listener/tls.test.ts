/** Listeners that speak TLS, with openssl and curl on the other side: versions, names, protocols, certificates, rotation. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { connect as connectPlain, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { TestContext } from "node:test";
import { connect } from "node:tls";
import type { ConnectionOptions } from "node:tls";
import type { DownstreamTlsConfig } from "../../runtime/config/tls-snapshot.ts";
import type { ListenerConfig } from "../../runtime/config/snapshot.ts";
import type { ConnectionView, NetworkFilterFactory } from "../../runtime/network/filter.ts";
import { compileFormat } from "../../runtime/observe/format.ts";
import { Engine, fixedOrigin, route } from "../http/engine.ts";
import { Authority, type Issued, read, selfSigned } from "../tls/certificates.ts";
import { downstreamTls, exactName, source, validation } from "../tls/contexts.ts";
import { until } from "../upstream/fixtures.ts";
import { chain, closed, config, Echo, ip, start } from "./fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-tls-"));
after(() => rmSync(folder, { recursive: true }));
const root = new Authority(folder, "root");
const stranger = new Authority(folder, "stranger");
const first = root.issue("first.test", { names: "DNS:first.test" });
const second = root.issue("second.test", { names: "DNS:second.test,DNS:*.wild.test" });
const firstRsa = root.issue("first.rsa", { names: "DNS:first.test", rsa: true });
const caller = root.issue("caller.test", { names: "URI:spiffe://t/caller,DNS:caller.test", usage: "clientAuth" });
const expired = root.issue("expired.test", { to: "20210101000000Z" });
const strange = stranger.issue("strange.test");
const revoked = root.issue("revoked.test");
const serverOnly = root.issue("server-only.test", { usage: "serverAuth" });
const middle = new Authority(folder, "middle", root);
const below = middle.issue("below.test", { usage: "clientAuth" });
const belowRevoked = middle.issue("below-revoked.test");
const crl = root.revoke(revoked);
const crlBelow = middle.revoke(belowRevoked);
const crls = join(folder, "both.crl");
writeFileSync(crls, Buffer.concat([read(crl), read(crlBelow)]));
const alone = selfSigned(folder, "alone.test");
const named = root.issue("named.test", {
  names: "email:who@named.test,IP:192.0.2.7,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:who@ad.test,DNS:*.named.test",
});
const TRUST = validation({ trustedCa: source(root.certificate) });

async function engine(
  t: TestContext,
  tls: DownstreamTlsConfig,
  more: Partial<ListenerConfig["filterChains"][number]> = {},
  lines: string[] = [],
): Promise<Engine> {
  const made = await Engine.start({
    routes: [route("/", { kind: "direct_response", status: 200, body: "hello\n" })],
    log: (_level, message) => lines.push(message),
    listener: { filterChains: [{ ...chain("secure"), tls, ...more }] },
  });
  t.after(() => {
    made.close();
    return until(() => made.stats.gauge("listener.test.downstream_cx_active").value === 0);
  });
  return made;
}

const REQUEST = "GET / HTTP/1.1\r\nhost: first.test\r\nconnection: close\r\n\r\n";

/** What `openssl s_client` prints over one request, errors included. */
function client(port: number, ...args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const all = ["s_client", "-connect", `127.0.0.1:${port}`, "-CAfile", root.certificate, "-ign_eof", ...args];
    const child = execFile("openssl", all, { timeout: 20_000 }, (_error, stdout, stderr) => resolve(stdout + stderr));
    child.stdin!.on("error", () => {});
    child.stdin!.end(REQUEST);
  });
}

function curl(...args: readonly string[]): Promise<string> {
  return new Promise((resolve) =>
    execFile("curl", ["-sS", "--max-time", "20", ...args], (_error, stdout, stderr) => resolve(stdout + stderr)),
  );
}

/** With the authority in between, for those that it has issued. */
const as = ({ certificate, key }: Issued): readonly string[] =>
  ["-cert", certificate, "-key", key].concat(
    [below, belowRevoked].some((one) => one.certificate === certificate) ? ["-cert_chain", middle.certificate] : [],
  );

/** What name is asked for, and whose certificate is shown. */
const NAMES: readonly (readonly [kind: string, args: readonly string[], subject: string])[] = [
  ["exact, the first", ["-servername", "first.test"], "first.test"],
  ["exact, in capitals", ["-servername", "SECOND.test"], "second.test"],
  ["wildcard", ["-servername", "a.wild.test"], "second.test"],
  ["two labels below a wildcard: the first", ["-servername", "a.b.wild.test"], "first.test"],
  ["nobody's: the first", ["-servername", "nobody.test"], "first.test"],
  ["none: the first", ["-noservername"], "first.test"],
];

for (const version of ["-tls1_2", "-tls1_3"]) {
  for (const [kind, args, subject] of NAMES) {
    test(`certificates by name, ${version}: ${kind}`, async (t) => {
      const { port } = await engine(t, downstreamTls([first, second]));
      const said = await client(port, version, ...args);
      assert.match(said, new RegExp(`subject=.*CN = ${subject}\\n`));
      assert.match(said, /Verify return code: 0 \(ok\)/);
      assert.match(said, /\nhello\n/);
    });
  }
}

test("a name is required: without one the connection ends", async (t) => {
  const made = await engine(t, downstreamTls([first], { requireSni: true }));
  assert.doesNotMatch(await client(made.port, "-noservername"), /\nhello\n/);
  assert.equal(made.counter("listener.test.ssl.connection_error"), 1);
  assert.match(await client(made.port, "-servername", "any.test"), /\nhello\n/);
});

test("a full scan finds a certificate of another kind for a name that nobody has", async (t) => {
  const rsaOnly = ["-servername", "nobody.test", "-sigalgs", "rsa_pss_rsae_sha256:RSA+SHA256"];
  const plain = await engine(t, downstreamTls([first, firstRsa]));
  assert.match(await client(plain.port, ...rsaOnly), /handshake failure|no suitable/i);
  const scanning = await engine(t, downstreamTls([first, firstRsa], { fullScan: true }));
  assert.match(await client(scanning.port, ...rsaOnly), /subject=.*CN = first.rsa\n/);
});

test("versions and suites are the configured ones", async (t) => {
  const both = await engine(t, downstreamTls([first]));
  assert.match(await client(both.port, "-tls1_2"), /New, TLSv1.2, Cipher is ECDHE-ECDSA-AES128-GCM-SHA256/);
  assert.match(await client(both.port, "-tls1_3"), /New, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256/);
  assert.match(await client(both.port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), /alert protocol version/i);
  assert.match(await client(both.port, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"), /handshake failure/);
  const old = await engine(
    t,
    downstreamTls([first], { minVersion: "TLSv1", maxVersion: "TLSv1.2", cipherSuites: "ECDHE-ECDSA-AES128-SHA" }),
  );
  assert.match(
    await client(old.port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
    /New, .*Cipher is ECDHE-ECDSA-AES128-SHA/,
  );
  assert.match(await client(old.port, "-tls1_3"), /alert protocol version/i);
  const { stats } = both;
  assert.equal(stats.counter("listener.test.ssl.versions.TLSv1.2").value, 1);
  assert.equal(stats.counter("listener.test.ssl.ciphers.TLS_AES_128_GCM_SHA256").value, 1);
  assert.equal(stats.counter("listener.test.ssl.handshake").value, 2);
  assert.equal(stats.counter("listener.test.ssl.no_certificate").value, 2);
  assert.equal(stats.counter("listener.test.ssl.connection_error").value, 2);
});

test("the protocol is agreed on in our order", async (t) => {
  const { port } = await engine(t, downstreamTls([first], { alpn: ["http/1.1", "http/1.0"] }));
  assert.match(await client(port, "-alpn", "h2,http/1.0,http/1.1"), /ALPN protocol: http\/1\.1/);
  assert.match(await client(port), /No ALPN negotiated/);
  const offered = await engine(t, downstreamTls([first], { alpn: ["h2", "http/1.1"] }));
  assert.match(await client(offered.port, "-alpn", "http/1.1,h2"), /ALPN protocol: h2/);
  assert.match(await client(offered.port, "-alpn", "nothing,else"), /alert no application protocol/);
  assert.equal(offered.counter("listener.test.ssl.connection_error"), 1);
  const none = await engine(t, downstreamTls([first]));
  assert.match(await client(none.port, "-alpn", "h2"), /No ALPN negotiated/);
});

const OIDS: Readonly<Record<string, string>> = { OTHER_NAME: "1.3.6.1.4.1.311.20.2.3" };

/** Who calls, what the listener wants, whether there is an answer, and what is counted. */
const CALLERS: readonly {
  readonly name: string;
  readonly caller: Issued | null;
  readonly tls: Partial<DownstreamTlsConfig>;
  readonly served: boolean;
  readonly counts?: string;
  readonly reason?: RegExp;
}[] = [
  { name: "nobody is asked", caller: null, tls: {}, served: true, counts: "no_certificate" },
  { name: "asked, none is shown", caller: null, tls: { validation: TRUST }, served: true, counts: "no_certificate" },
  {
    name: "required, none is shown",
    caller: null,
    tls: { validation: TRUST, requireClientCertificate: true },
    served: false,
    counts: "fail_verify_no_cert",
    reason: /PEER_DID_NOT_RETURN_A_CERTIFICATE/,
  },
  {
    name: "good",
    caller,
    tls: { validation: TRUST, requireClientCertificate: true },
    served: true,
    counts: "handshake",
  },
  {
    name: "expired",
    caller: expired,
    tls: { validation: TRUST },
    served: false,
    counts: "fail_verify_error",
    reason: /certificate has expired/,
  },
  { name: "expired is allowed", caller: expired, tls: { validation: { ...TRUST, allowExpired: true } }, served: true },
  {
    name: "another authority",
    caller: strange,
    tls: { validation: TRUST },
    served: false,
    counts: "fail_verify_error",
    reason: /issuer certificate/,
  },
  {
    name: "another authority is accepted",
    caller: strange,
    tls: { validation: { ...TRUST, acceptUntrusted: true } },
    served: true,
  },
  {
    name: "revoked",
    caller: revoked,
    tls: { validation: { ...TRUST, crl: source(crl) } },
    served: false,
    counts: "fail_verify_error",
    reason: /certificate revoked/,
  },
  {
    name: "self-signed",
    caller: alone,
    tls: { validation: TRUST },
    served: false,
    counts: "fail_verify_error",
    reason: /self-signed certificate/,
  },
  { name: "over another authority", caller: below, tls: { validation: TRUST }, served: true },
  {
    name: "over another authority, of which there is no revocation list",
    caller: below,
    tls: { validation: { ...TRUST, crl: source(crl) } },
    served: false,
    counts: "fail_verify_error",
    reason: /unable to get certificate CRL/,
  },
  {
    name: "over another authority, revocation lists of both",
    caller: below,
    tls: { validation: { ...TRUST, crl: source(crls) } },
    served: true,
  },
  {
    name: "revoked by another authority",
    caller: belowRevoked,
    tls: { validation: { ...TRUST, crl: source(crls) } },
    served: false,
    counts: "fail_verify_error",
    reason: /depth 0: certificate revoked/,
  },
  {
    name: "only the leaf is looked up: good",
    caller: below,
    tls: { validation: { ...TRUST, crl: source(crlBelow), crlOfLeafOnly: true } },
    served: true,
  },
  {
    name: "only the leaf is looked up: revoked",
    caller: belowRevoked,
    tls: { validation: { ...TRUST, crl: source(crlBelow), crlOfLeafOnly: true } },
    served: false,
    counts: "fail_verify_error",
    reason: /depth 0: certificate revoked/,
  },
  {
    name: "only the leaf is looked up: no list of its issuer",
    caller: below,
    tls: { validation: { ...TRUST, crl: source(crl), crlOfLeafOnly: true } },
    served: false,
    counts: "fail_verify_error",
    reason: /unable to get certificate CRL/,
  },
  {
    name: "made for servers",
    caller: serverOnly,
    tls: { validation: TRUST },
    served: false,
    reason: /unsuitable certificate purpose/,
  },
  {
    name: "the right name",
    caller,
    tls: { validation: { ...TRUST, sanMatchers: [exactName("URI", "spiffe://t/caller")] } },
    served: true,
  },
  {
    name: "another name",
    caller,
    tls: { validation: { ...TRUST, sanMatchers: [exactName("URI", "spiffe://t/other")] } },
    served: false,
    counts: "fail_verify_san",
    reason: /verify SAN list/,
  },
  ...(
    [
      ["EMAIL", "who@named.test", true],
      ["EMAIL", "else@named.test", false],
      ["IP_ADDRESS", "192.0.2.7", true],
      ["IP_ADDRESS", "192.0.2.8", false],
      ["DNS", "any.named.test", true],
      ["DNS", "any.other.test", false],
      ["OTHER_NAME", "who@ad.test", true],
      ["OTHER_NAME", "else@ad.test", false],
    ] as const
  ).map(([type, value, served]) => ({
    name: `the name ${value} of the kind ${type}`,
    caller: named,
    tls: { validation: { ...TRUST, sanMatchers: [{ ...exactName(type, value), oid: OIDS[type] ?? "" }] } },
    served,
    counts: served ? "handshake" : "fail_verify_san",
  })),
  {
    name: "another key",
    caller,
    tls: { validation: { ...TRUST, hashes: ["00".repeat(32)] } },
    served: false,
    counts: "fail_verify_cert_hash",
  },
];

for (const version of ["-tls1_2", "-tls1_3"]) {
  for (const { name, caller: who, tls, served, counts, reason } of CALLERS) {
    test(`certificates of callers, ${version}: ${name}`, async (t) => {
      const lines: string[] = [];
      const made = await engine(t, downstreamTls([first], tls), {}, lines);
      const said = await client(made.port, version, ...(who === null ? [] : as(who)));
      assert.equal(/\nhello\n/.test(said), served, said);
      if (counts !== undefined) assert.equal(made.counter(`listener.test.ssl.${counts}`), 1);
      assert.equal(made.counter("listener.test.ssl.handshake"), served ? 1 : 0);
      assert.equal(made.finished.length, served ? 1 : 0);
      if (reason !== undefined) assert.match(lines.join("\n"), reason);
    });
  }
}

test("a caller with a certificate is known by name to logs; a session that is taken up again keeps it", async (t) => {
  const { port, finished, counter } = await startKnown(t);
  const format = compileFormat(
    "%REQUESTED_SERVER_NAME% %DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER% %DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_ISSUER% " +
      "%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_DNS_SAN% %DOWNSTREAM_LOCAL_SUBJECT% %DOWNSTREAM_LOCAL_DNS_SAN%",
    { omitEmptyValues: false },
  );
  const tickets = join(folder, "session.pem");
  for (const args of [
    ["-sess_out", tickets],
    ["-sess_in", tickets],
  ]) {
    await client(port, "-tls1_3", "-servername", "First.test", ...args, ...as(caller));
    const line = format(finished.at(-1)!);
    assert.equal(
      line,
      "first.test TLSv1.3 TLS_AES_128_GCM_SHA256 CN=caller.test,O=Sluice test CN=root,O=Sluice test " +
        "spiffe://t/caller caller.test CN=first.test,O=Sluice test first.test",
    );
  }
  assert.equal(counter("listener.test.ssl.session_reused"), 1);
  const { secure } = finished.at(-1)!.connection;
  assert.equal(secure!.peerValidated, true);
  assert.equal(secure!.peerChainPem, secure!.peer!.pem);
  assert.match(secure!.peer!.sha256, /^[0-9a-f]{64}$/);
});

async function startKnown(
  t: TestContext,
): Promise<{ port: number; finished: Engine["finished"]; counter: (name: string) => number }> {
  const made = await engine(t, downstreamTls([first], { validation: TRUST }));
  return { port: made.port, finished: made.finished, counter: (name) => made.counter(name) };
}

/** What is configured, whether downstream asks, whether it is served, whether it gets a response, and what is counted. */
const STAPLES: readonly {
  readonly name: string;
  readonly days?: number;
  readonly policy: DownstreamTlsConfig["ocspStaplePolicy"];
  readonly mustStaple?: boolean;
  readonly silent?: boolean;
  readonly served: boolean;
  readonly counts?: string;
}[] = [
  { name: "lenient, none", policy: "LENIENT_STAPLING", served: true, counts: "omitted" },
  { name: "lenient, one that holds", policy: "LENIENT_STAPLING", days: 1, served: true, counts: "responses" },
  { name: "lenient, expired", policy: "LENIENT_STAPLING", days: 0, served: true, counts: "omitted" },
  { name: "lenient, nobody asks", policy: "LENIENT_STAPLING", days: 1, silent: true, served: true },
  { name: "strict, none", policy: "STRICT_STAPLING", served: true, counts: "omitted" },
  { name: "strict, one that holds", policy: "STRICT_STAPLING", days: 1, served: true, counts: "responses" },
  { name: "strict, expired", policy: "STRICT_STAPLING", days: 0, served: false, counts: "failed" },
  { name: "strict, expired, nobody asks", policy: "STRICT_STAPLING", days: 0, silent: true, served: true },
  { name: "must, one that holds", policy: "MUST_STAPLE", days: 1, served: true, counts: "responses" },
  { name: "must, expired", policy: "MUST_STAPLE", days: 0, served: false, counts: "failed" },
  {
    name: "the certificate says must, expired",
    policy: "LENIENT_STAPLING",
    days: 0,
    mustStaple: true,
    served: false,
    counts: "failed",
  },
];

for (const version of ["-tls1_2", "-tls1_3"]) {
  for (const { name, days, policy, mustStaple, silent, served, counts } of STAPLES) {
    test(`OCSP responses, ${version}: ${name}`, async (t) => {
      const own = mustStaple === true ? root.issue("must.test", { extensions: ["tlsfeature=status_request"] }) : second;
      const tls = downstreamTls([first, own], { ocspStaplePolicy: policy });
      const all = tls.certificates.map((one, at) => {
        const response = days === undefined ? undefined : source(root.staple([first, own][at]!, at === 0 ? 9 : days));
        return { ...one, ocspStaple: response };
      });
      const made = await engine(t, { ...tls, certificates: all });
      const asked = silent === true ? [] : ["-status"];
      const names = mustStaple === true ? "must.test" : "second.test";
      const said = await client(made.port, version, "-servername", names, ...asked);
      assert.equal(/\nhello\n/.test(said), served, said);
      assert.equal(/OCSP Response Status: successful/.test(said), counts === "responses", said);
      for (const one of ["responses", "omitted", "failed"])
        assert.equal(made.counter(`listener.test.ssl.ocsp_staple_${one}`), one === counts ? 1 : 0, one);
      assert.equal(made.counter("listener.test.ssl.ocsp_staple_requests"), silent === true ? 0 : 1);
      assert.equal(made.counter("listener.test.ssl.connection_error"), served ? 0 : 1);
    });
  }
}

test("an OCSP response is replaced when its file is", async (t) => {
  const path = join(folder, "current.ocsp");
  writeFileSync(path, read(root.staple(first, 0)));
  const tls = downstreamTls([first]);
  const made = await engine(t, { ...tls, certificates: [{ ...tls.certificates[0]!, ocspStaple: source(path) }] });
  assert.match(await client(made.port, "-status"), /OCSP response: no response sent/);
  writeFileSync(path, read(root.staple(first, 1)));
  await until(() => made.counter("listener.test.server_ssl_socket_factory.ssl_context_update_by_sds") === 1);
  assert.match(await client(made.port, "-status"), /OCSP Response Status: successful/);
});

test("certificates from a PKCS #12 file; its other authorities are not trusted for it", async (t) => {
  const stored = stranger.issue("stored.test");
  const file = source(stranger.store(stored, "secret"));
  const password = { bytes: Buffer.from("secret\n"), file: "" };
  const certificate = { form: "pkcs12", chain: file, key: file, password, ocspStaple: undefined } as const;
  const made = await engine(t, { ...downstreamTls([], { validation: TRUST }), certificates: [certificate] });
  const said = await client(made.port, "-CAfile", stranger.certificate);
  assert.match(said, /subject=.*CN = stored.test\n/);
  assert.match(said, /Verify return code: 0 \(ok\)/);
  assert.match(said, /\nhello\n/);
  assert.doesNotMatch(await client(made.port, ...as(strange)), /\nhello\n/);
});

test("a key of session tickets comes from a file: tickets of another process are taken, those of an old key are not", async (t) => {
  const path = join(folder, "tickets.key");
  writeFileSync(path, Buffer.alloc(80, 1));
  const tls = downstreamTls([first], { ticketKey: { source: source(path), rotates: false } });
  const [one, two] = [await engine(t, tls), await engine(t, tls)];
  const session = join(folder, "shared.pem");
  const reused = (): number => two.counter("listener.test.ssl.session_reused");
  const again = (): Promise<string> => client(two.port, "-tls1_2", "-sess_in", session);
  await client(one.port, "-tls1_2", "-sess_out", session);
  assert.match(await again(), /Reused, TLSv1.2/);
  assert.equal(reused(), 1);
  const updated = (): number => two.counter("listener.test.server_ssl_socket_factory.ssl_context_update_by_sds");
  writeFileSync(path, Buffer.alloc(80, 2));
  await until(() => updated() === 1);
  assert.match(await again(), /New, TLSv1.2/);
  writeFileSync(path, Buffer.alloc(79, 2));
  await until(() => two.counter("listener.test.server_ssl_socket_factory.ssl_context_update_failed") === 1);
  writeFileSync(path, Buffer.alloc(80, 1));
  await until(() => updated() === 2);
  assert.match(await again(), /Reused, TLSv1.2/);
});

test("our own key of session tickets is replaced as time goes by", async (t) => {
  const made = await engine(
    t,
    downstreamTls([first], { ticketKey: { source: { bytes: Buffer.alloc(48, 3), file: "" }, rotates: true } }),
  );
  const session = join(folder, "own.pem");
  await client(made.port, "-tls1_2", "-sess_out", session);
  assert.match(await client(made.port, "-tls1_2", "-sess_in", session), /Reused, TLSv1.2/);
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 2 * 86_400_000 });
  assert.match(await client(made.port, "-tls1_2", "-sess_in", session), /New, TLSv1.2/);
});

test("sessions without tickets are kept here, unless they are not", async (t) => {
  const resumed = async (tls: Partial<DownstreamTlsConfig>): Promise<number> => {
    const made = await engine(t, downstreamTls([first], tls));
    const session = join(folder, "stateful.pem");
    await client(made.port, "-tls1_2", "-sess_out", session);
    await client(made.port, "-tls1_2", "-sess_in", session);
    return made.counter("listener.test.ssl.session_reused");
  };
  assert.equal(await resumed({ ticketKey: undefined }), 1);
  assert.equal(await resumed({ ticketKey: undefined, statefulResumption: false }), 0);
});

test("a session does not help a caller whose certificate was refused", async (t) => {
  for (const version of ["-tls1_2", "-tls1_3"]) {
    for (const who of [expired, strange, revoked]) {
      const made = await engine(t, downstreamTls([first], { validation: { ...TRUST, crl: source(crl) } }));
      const session = join(folder, "refused.pem");
      rmSync(session, { force: true });
      await client(made.port, version, "-sess_out", session, ...as(who));
      // TLS 1.3 hands out tickets with its last flight, before the certificate has been looked at.
      const again = existsSync(session) ? ["-sess_in", session] : [];
      assert.doesNotMatch(await client(made.port, version, ...again, ...as(who)), /\nhello\n/);
      if (again.length > 0) assert.doesNotMatch(await client(made.port, version, ...again), /\nhello\n/);
      assert.equal(made.counter("listener.test.ssl.session_reused"), 0);
    }
  }
});

test("nobody renegotiates", async (t) => {
  const { port } = await engine(t, downstreamTls([first]));
  const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, maxVersion: "TLSv1.2" });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  let renegotiated = false;
  socket.renegotiate({ rejectUnauthorized: false }, (error) => (renegotiated = error === null));
  socket.resume().write(REQUEST);
  await new Promise((resolve) => socket.on("close", resolve));
  assert.ok(!renegotiated);
});

test("curl over HTTPS; the request is https to everybody", async (t) => {
  const origin = await fixedOrigin("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nup\n");
  t.after(() => origin.close());
  const made = await engine(t, downstreamTls([first]));
  const out = await curl(
    "--cacert",
    root.certificate,
    "--resolve",
    `first.test:${made.port}:127.0.0.1`,
    `https://first.test:${made.port}/x`,
  );
  assert.equal(out, "hello\n");
  const [info] = made.finished;
  assert.equal(info!.requestHeaders!.get("x-forwarded-proto"), "https");
  assert.equal(info!.requestHeaders!.get(":scheme"), "https");
});

test("what is no TLS, half of it, too slow or gone is closed and counted; others are served", async (t) => {
  const made = await engine(t, downstreamTls([first], { requireSni: true }));
  const send = (to: Engine, bytes: Buffer | string): Promise<void> => {
    const socket = connectPlain(to.port, "127.0.0.1");
    socket.write(bytes);
    return closed(socket.resume());
  };
  await send(made, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  await send(made, Buffer.alloc(100_000, 0x16));
  assert.equal(made.counter("listener.test.ssl.connection_error"), 2);
  // Its time is Node's, which no test can stop: nobody else may depend on it.
  const hasty = await engine(t, downstreamTls([first]), { transportConnectTimeoutMs: 150 });
  await send(hasty, Buffer.of(0x16, 3, 1, 2, 0, 1, 0));
  await send(hasty, "");
  assert.equal(hasty.counter("listener.test.downstream_cx_transport_socket_connect_timeout"), 2);
  const gone = connectPlain(made.port, "127.0.0.1");
  gone.on("error", () => {});
  gone.write(Buffer.of(0x16, 3, 1));
  await until(() => made.stats.gauge("listener.test.downstream_cx_active").value === 1);
  gone.resetAndDestroy();
  await until(() => made.stats.gauge("listener.test.downstream_cx_active").value === 0);
  assert.match(await client(made.port, "-noservername"), /^(?!.*hello)/s);
  assert.match(await client(made.port, "-servername", "a"), /\nhello\n/);
  const counted = (what: string): number => made.counter(`listener.test.downstream_cx_${what}`);
  await until(() => counted("total") === counted("destroy"));
});

/** The first bytes that a client of TLS says. */
async function helloBytes(): Promise<Buffer> {
  const server = createServer().listen(0, "127.0.0.1");
  const accepted = once(server, "connection") as Promise<[Socket]>;
  await once(server, "listening");
  const caller_ = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1" }).on("error", () => {});
  const [socket] = await accepted;
  server.close();
  const [bytes] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  caller_.destroy();
  return bytes;
}

test("who leaves after the hello is not waited for", async (t) => {
  const made = await engine(t, downstreamTls([first]));
  const hello = await helloBytes();
  const leaving = connectPlain(made.port, "127.0.0.1");
  leaving.end(hello);
  await closed(leaving.resume());
  const reset = connectPlain(made.port, "127.0.0.1");
  reset.write(hello);
  await once(reset, "readable");
  reset.resetAndDestroy();
  const counted = (what: string): number => made.counter(`listener.test.downstream_cx_${what}`);
  await until(() => counted("total") === 2 && counted("destroy") === 2);
  assert.equal(counted("transport_socket_connect_timeout"), 0);
  assert.equal(made.counter("listener.test.ssl.connection_error"), 0);
});

test("Node's own stream is lent where no TLS is around it", async (t) => {
  const lent: boolean[] = [];
  class Lends extends Echo {
    constructor(connection: ConnectionView) {
      super(connection);
      lent.push(connection.takeStream?.() != null);
      connection.closeNow();
    }
  }
  const lends: NetworkFilterFactory = { name: "lends", terminal: true, create: (connection) => new Lends(connection) };
  const chains = [chain("plain"), { ...chain("secure"), tls: downstreamTls([first]) }];
  for (const filterChain of chains) {
    const { set } = await start(t, [config(ip("127.0.0.1"), { filterChains: [filterChain] })], [lends]);
    const to = { port: set.bound[0]!.port, host: "127.0.0.1", rejectUnauthorized: false };
    await closed((filterChain.name === "plain" ? connectPlain(to) : connect(to)).resume());
  }
  assert.deepEqual(lent, [true, false]);
});

/** Connects until told to stop; the common names that were shown. Rejects when one handshake fails. */
async function callInALoop(port: number, state: { stop: boolean }, seen: Map<string, number>): Promise<number> {
  const options: ConnectionOptions = { port, host: "127.0.0.1", servername: "a.test", rejectUnauthorized: false };
  let calls = 0;
  while (!state.stop) {
    const socket = connect(options);
    await once(socket, "secureConnect");
    const name = String(socket.getPeerCertificate().subject.CN);
    seen.set(name, (seen.get(name) ?? 0) + 1);
    let text = "";
    socket.setEncoding("latin1").on("data", (data: string) => (text += data));
    socket.write(REQUEST);
    await closed(socket);
    assert.match(text, /hello/);
    calls++;
  }
  return calls;
}

test("certificates are replaced under load without a failed handshake: in place, by rename, by a swapped link", async (t) => {
  const place = mkdtempSync(join(folder, "mounted-"));
  const data = (name: string): string => join(place, name);
  const put = (into: string, name: string): void => {
    const issued = root.issue(name);
    mkdirSync(into, { recursive: true });
    writeFileSync(join(into, "tls.crt"), read(issued.certificate));
    writeFileSync(join(into, "tls.key"), read(issued.key));
  };
  put(data("..1"), "one.test");
  symlinkSync("..1", data("..data"));
  symlinkSync("..data/tls.crt", data("tls.crt"));
  symlinkSync("..data/tls.key", data("tls.key"));
  const made = await engine(t, downstreamTls([{ certificate: data("tls.crt"), key: data("tls.key") }]));
  const updated = (): number => made.counter("listener.test.server_ssl_socket_factory.ssl_context_update_by_sds");
  const refused = (): number => made.counter("listener.test.server_ssl_socket_factory.ssl_context_update_failed");
  const state = { stop: false };
  const seen = new Map<string, number>();
  const callers = [1, 2, 3].map(() => callInALoop(made.port, state, seen));
  const shown = async (name: string): Promise<void> => until(() => (seen.get(name) ?? 0) >= 10);
  try {
    await shown("one.test");
    // As Kubernetes does it.
    put(data("..2"), "two.test");
    symlinkSync("..2", data("..data_tmp"));
    renameSync(data("..data_tmp"), data("..data"));
    await shown("two.test");
    // By rename, one file after the other.
    put(data("new"), "three.test");
    renameSync(data("new/tls.crt"), data("tls.crt"));
    renameSync(data("new/tls.key"), data("tls.key"));
    await shown("three.test");
    assert.equal(updated(), 2);
    // A file that does not go with its key is told, and changes nothing.
    const before = refused();
    writeFileSync(data("tls.crt"), read(first.certificate));
    await until(() => refused() > before);
    // In place.
    put(place, "four.test");
    await shown("four.test");
    assert.ok(!seen.has("first.test"));
  } finally {
    state.stop = true;
  }
  const calls = (await Promise.all(callers)).reduce((sum, one) => sum + one, 0);
  assert.ok(calls >= 40, `${calls} calls`);
  assert.equal(made.counter("listener.test.ssl.connection_error"), 0);
  assert.deepEqual([...seen.keys()].toSorted(), ["four.test", "one.test", "three.test", "two.test"]);
});
