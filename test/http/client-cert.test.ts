/** x-forwarded-client-cert in every mode, routes and virtual hosts that ask for TLS, with real certificates. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { TestContext } from "node:test";
import { connect } from "node:tls";
import type { ClientCertForwarding } from "../../runtime/config/snapshot.ts";
import { Certificate, pemCertificates } from "../../runtime/tls/certificate.ts";
import { chain, closed } from "../listener/fixture.ts";
import { Authority, type Issued, read } from "../tls/certificates.ts";
import { downstreamTls, source, validation } from "../tls/contexts.ts";
import { cluster, Engine, exchange, fixedOrigin, forward, route } from "./engine.ts";
import type { EngineOptions } from "./engine.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-xfcc-"));
after(() => rmSync(folder, { recursive: true }));
const root = new Authority(folder, "root");
const own = root.issue("own", { names: "URI:spiffe://t/own,DNS:own.test" });
const caller = root.issue("caller", {
  subject: '/O=A, "B"/CN=caller',
  names: "URI:spiffe://t/one,URI:spiffe://t/two,DNS:caller.test,DNS:other.test",
});
const nameless = root.issue("nameless", { names: "" });
const stranger = new Authority(folder, "stranger").issue("strange");

function facts(issued: Issued): Certificate {
  return new Certificate(pemCertificates(read(issued.certificate))[0]!.raw);
}

const TRUST = validation({ trustedCa: source(root.certificate), acceptUntrusted: true });

async function engine(t: TestContext, options: Omit<EngineOptions, "listener">, secure = true): Promise<Engine> {
  const filterChain = secure ? { ...chain("c"), tls: downstreamTls([own], { validation: TRUST }) } : chain("c");
  const made = await Engine.start({ ...options, listener: { filterChains: [filterChain] } });
  t.after(() => made.close());
  return made;
}

/** The answer to one request over TLS. */
async function request(port: number, shown: Issued | null, headers = "", path = "/"): Promise<string> {
  const identity = shown === null ? {} : { cert: read(shown.certificate), key: read(shown.key) };
  const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...identity });
  await once(socket, "secureConnect");
  let text = "";
  socket.setEncoding("latin1").on("data", (data: string) => (text += data));
  socket.write(`GET ${path} HTTP/1.1\r\nhost: a.test\r\n${headers}connection: close\r\n\r\n`);
  await closed(socket);
  return text;
}

const GIVEN = "By=spiffe://t/before;Hash=00";
const Hash = `By=spiffe://t/own;Hash=${facts(caller).sha256}`;
const all: ClientCertForwarding["details"] = ["cert", "chain", "subject", "uri", "dns"];
const pem = encodeURIComponent(facts(caller).pem);
const details =
  `${Hash};Cert="${pem}";Chain="${pem}";Subject="CN=caller,O=A\\, \\"B\\"";` +
  "URI=spiffe://t/one;URI=spiffe://t/two;DNS=caller.test;DNS=other.test";

/** Mode, certificate, header in front, header behind; undefined: none. */
const MODES: readonly (readonly [
  ClientCertForwarding | undefined,
  Issued | null,
  string | undefined,
  string | undefined,
])[] = [
  [undefined, caller, GIVEN, undefined],
  [{ mode: "SANITIZE", details: all }, caller, GIVEN, undefined],
  [{ mode: "FORWARD_ONLY", details: all }, caller, GIVEN, GIVEN],
  [{ mode: "FORWARD_ONLY", details: all }, null, GIVEN, undefined],
  [{ mode: "APPEND_FORWARD", details: [] }, caller, GIVEN, `${GIVEN},${Hash}`],
  [{ mode: "APPEND_FORWARD", details: [] }, caller, undefined, Hash],
  [{ mode: "APPEND_FORWARD", details: all }, null, GIVEN, undefined],
  [{ mode: "SANITIZE_SET", details: all }, caller, GIVEN, details],
  [
    { mode: "SANITIZE_SET", details: ["subject", "uri", "dns"] },
    nameless,
    undefined,
    `By=spiffe://t/own;Hash=${facts(nameless).sha256};Subject="CN=nameless,O=Sluice test";URI=`,
  ],
  [{ mode: "ALWAYS_FORWARD_ONLY", details: all }, null, GIVEN, GIVEN],
  [{ mode: "ALWAYS_FORWARD_ONLY", details: all }, caller, GIVEN, GIVEN],
];

for (const [clientCert, shown, before, behind] of MODES) {
  const who = shown === null ? "no certificate" : shown === caller ? "a certificate" : "a certificate without names";
  const given = before === undefined ? "no header" : "a header";
  test(`${clientCert?.mode ?? "the default"} with ${who} and ${given}: ${behind?.slice(0, 30) ?? "none"}`, async (t) => {
    const origin = await fixedOrigin("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    t.after(() => origin.close());
    const { port } = await engine(t, {
      routes: [route("/", forward("up"))],
      clusters: [cluster("up", [origin.port])],
      manager: clientCert === undefined ? {} : { clientCert },
    });
    await request(port, shown, before === undefined ? "" : `x-forwarded-client-cert: ${before}\r\n`);
    const found = /^x-forwarded-client-cert: (.*)\r$/m.exec(origin.seen[0]!)?.[1];
    assert.equal(found, behind);
    assert.match(origin.seen[0]!, /^x-forwarded-proto: https\r$/m);
  });
}

test("without TLS nobody has a word about certificates", async (t) => {
  const origin = await fixedOrigin("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  t.after(() => origin.close());
  const options = { routes: [route("/", forward("up"))], clusters: [cluster("up", [origin.port])] };
  const { port } = await engine(t, options, false);
  await exchange(port, `GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-client-cert: ${GIVEN}\r\nconnection: close\r\n\r\n`);
  assert.doesNotMatch(origin.seen[0]!, /x-forwarded-client-cert/);
});

test("routes by whether a certificate was shown, and whether it was good", async (t) => {
  const answer = (body: string, tls: { presented: boolean | undefined; validated: boolean | undefined }) => {
    const made = route("/", { kind: "direct_response", status: 200, body });
    return { ...made, match: { ...made.match, tls } };
  };
  const routes = [
    answer("good", { presented: true, validated: true }),
    answer("shown", { presented: true, validated: undefined }),
    answer("none", { presented: undefined, validated: false }),
  ];
  const { port } = await engine(t, { routes });
  assert.match(await request(port, caller), /good$/);
  assert.match(await request(port, stranger), /shown$/);
  assert.match(await request(port, null), /none$/);
  const plain = await engine(t, { routes }, false);
  assert.match(await exchange(plain.port, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"), /none$/);
});

test("a virtual host that requires TLS is content with TLS", async (t) => {
  const options = {
    routes: [route("/", { kind: "direct_response", status: 200, body: "secure" } as const)],
    virtualHost: { requireTls: "ALL" as const },
  };
  const secured = await engine(t, options);
  assert.match(await request(secured.port, null), /secure$/);
  const plain = await engine(t, options, false);
  const said = await exchange(plain.port, "GET /x HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n");
  assert.match(said, /^HTTP\/1\.1 301 [^]*\r\nlocation: https:\/\/a\.test\/x\r\n/);
});
