/** PKCS #12 files as openssl writes them, in all the ways it has, and files that are none. */
import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { test } from "node:test";
import { pemCertificates } from "../../runtime/tls/certificate.ts";
import { readKeyStore } from "../../runtime/tls/pkcs12.ts";
import { Authority, folder, openssl, read } from "./certificates.ts";

const WAYS: readonly (readonly [name: string, more: readonly string[], password?: string])[] = [
  ["openssl's own way", []],
  ["3DES and SHA-1, as before", ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"]],
  ["AES-128 and SHA-512", ["-keypbe", "AES-128-CBC", "-certpbe", "AES-192-CBC", "-macalg", "sha512"]],
  ["certificates in the clear", ["-certpbe", "NONE"]],
  ["all in the clear", ["-certpbe", "NONE", "-keypbe", "NONE"]],
  ["without a checksum", ["-nomac"]],
  ["no password", [], ""],
  ["a password that is not ASCII", [], "pässwörd"],
];

for (const [name, more, password = "secret"] of WAYS) {
  test(`key and certificates of a file: ${name}`, (t) => {
    const root = new Authority(folder(t), "root");
    const issued = root.issue("stored.test", { rsa: name.startsWith("3DES") });
    const { chain, key } = readKeyStore(read(root.store(issued, password, more)), password, "pkcs12");
    const [leaf, issuer] = pemCertificates(chain);
    assert.deepEqual(leaf!.raw, new X509Certificate(read(issued.certificate)).raw);
    assert.deepEqual(issuer!.raw, new X509Certificate(read(root.certificate)).raw);
    assert.ok(createPrivateKey(key).equals(createPrivateKey(read(issued.key))));
  });
}

test("files that cannot be used say why", (t) => {
  const root = new Authority(folder(t), "root");
  const issued = root.issue("stored.test");
  const good = read(root.store(issued, "secret"));
  const refused = (bytes: Buffer, password: string, why: RegExp): void =>
    assert.throws(() => readKeyStore(bytes, password, "field"), why);
  refused(good, "wrong", /^ProxyError: TLS_CONTEXT: field: its password is wrong, or it is damaged/);
  refused(Buffer.from("nonsense"), "", /field: it is no PKCS #12 file/);
  refused(read(issued.certificate), "", /field: it is no PKCS #12 file/);
  const patient = read(root.store(issued, "secret", ["-iter", "1000001", "-nomac"]));
  refused(patient, "secret", /wants 1000001 rounds of its key derivation, more than 1000000/);
  const keyless = read(root.store(issued, "secret", ["-nokeys"]));
  refused(keyless, "secret", /it holds 0 private keys, and one is needed/);
  const other = root.issue("other.test");
  const path = `${issued.key}.p12`;
  openssl(
    ["pkcs12", "-export", "-inkey", issued.key, "-in", issued.certificate, "-certfile", other.certificate].concat([
      "-passout",
      "pass:secret",
      "-out",
      path,
    ]),
  );
  assert.equal(pemCertificates(readKeyStore(read(path), "secret", "field").chain).length, 1);
});

test("any bytes, cut and bent, are refused and never throw anything else", (t) => {
  const root = new Authority(folder(t), "root");
  const good = read(root.store(root.issue("stored.test"), "secret", ["-nomac", "-certpbe", "NONE", "-iter", "1"]));
  const tried = (bytes: Buffer): void => {
    try {
      readKeyStore(bytes, "secret", "field");
    } catch (error) {
      assert.match(String(error), /^ProxyError: TLS_CONTEXT: field: /);
    }
  };
  for (let at = 0; at < good.length; at += 3) {
    tried(good.subarray(0, at));
    const bent = Buffer.from(good);
    bent[at] = bent[at]! ^ 0xff;
    tried(bent);
  }
});
