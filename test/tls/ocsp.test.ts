/** OCSP responses as openssl makes them: whose they are, how long they hold, and what is none. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Certificate, pemCertificates } from "../../runtime/tls/certificate.ts";
import { readStaple } from "../../runtime/tls/ocsp.ts";
import { Authority, folder, openssl, read } from "./certificates.ts";

const DAY_MS = 86_400_000;

test("a response belongs to its certificate and holds until the next one", (t) => {
  const root = new Authority(folder(t), "root");
  const [own, other] = [root.issue("own.test"), root.issue("other.test")];
  const parsed = (path: string): Certificate => new Certificate(pemCertificates(read(path))[0]!.raw);
  const leaf = parsed(own.certificate);
  const three = read(root.staple(own, 3));
  const { der, expiresMs } = readStaple(three, leaf, "field");
  assert.equal(der, three);
  assert.ok(Math.abs(expiresMs - Date.now() - 3 * DAY_MS) < 60_000);
  // One that does not say when the next comes is not kept.
  assert.ok(readStaple(read(root.staple(own, 0)), leaf, "field").expiresMs <= Date.now());
  assert.throws(
    () => readStaple(three, parsed(other.certificate), "field"),
    /^ProxyError: TLS_CONTEXT: field: OCSP response does not match its TLS certificate/,
  );
  const both = `${own.certificate}.both`;
  openssl(
    ["ocsp", "-index", `${root.folder}/root.index`, "-CA", root.certificate, "-issuer", root.certificate, "-rsigner"]
      .concat([
        root.certificate,
        "-rkey",
        root.key,
        "-cert",
        own.certificate,
        "-cert",
        other.certificate,
        "-respout",
        both,
      ])
      .concat(["-noverify"]),
  );
  assert.throws(() => readStaple(read(both), leaf, "field"), /must be for one certificate only/);
  // OCSPResponse with the status tryLater and nothing else.
  assert.throws(() => readStaple(Buffer.of(0x30, 3, 0x0a, 1, 3), leaf, "field"), /OCSP response was unsuccessful/);
  assert.throws(() => readStaple(read(own.certificate), leaf, "field"), /it is no OCSP response in DER form/);
});

test("any bytes, cut and bent, are refused and never throw anything else", (t) => {
  const root = new Authority(folder(t), "root");
  const own = root.issue("own.test");
  const good = read(root.staple(own, 1));
  const leaf = new Certificate(pemCertificates(read(own.certificate))[0]!.raw);
  const tried = (bytes: Buffer): void => {
    try {
      readStaple(bytes, leaf, "field");
    } catch (error) {
      assert.match(String(error), /^ProxyError: TLS_CONTEXT: field: /);
    }
  };
  for (let at = 0; at < good.length; at++) {
    tried(good.subarray(0, at));
    const bent = Buffer.from(good);
    bent[at] = bent[at]! ^ 0xff;
    tried(bent);
  }
});
