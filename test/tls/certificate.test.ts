/** What certificates say, beside what openssl says of them; and DER that is cut or bent anywhere. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { Certificate, coversHost, pemCertificates } from "../../runtime/tls/certificate.ts";
import { fc } from "../properties.ts";
import { Authority, folder, openssl, read } from "./certificates.ts";

test("subject, issuer, serial, times, digests and names are those that openssl prints", (t) => {
  const authority = new Authority(folder(t), "root");
  const names =
    "DNS:a.test,DNS:*.b.test,URI:spiffe://t/ns/x,IP:10.1.2.3,IP:2001:db8::1,email:me@a.test,otherName:1.2.3.4;UTF8:odd";
  const issued = authority.issue("a.test", { names, subject: '/C=DE/O=A, "B" + C/OU=#1/CN=ümlaut ' });
  const [parsed] = pemCertificates(read(issued.certificate));
  const certificate = new Certificate(parsed!.raw);
  const say = (...what: string[]): string =>
    openssl(["x509", "-in", issued.certificate, "-noout", "-nameopt", "RFC2253", ...what]).trim();
  assert.equal(`subject=${certificate.subject}`, say("-subject"));
  assert.equal(`issuer=${certificate.issuer}`, say("-issuer"));
  assert.equal(`serial=${certificate.serial.toUpperCase()}`, say("-serial"));
  const digest = (hex: string): string => hex.toUpperCase().replaceAll(/(..)(?=.)/g, "$1:");
  assert.equal(`sha256 Fingerprint=${digest(certificate.sha256)}`, say("-fingerprint", "-sha256"));
  assert.equal(`sha1 Fingerprint=${digest(certificate.sha1)}`, say("-fingerprint", "-sha1"));
  assert.equal(certificate.notBeforeMs, parsed!.validFromDate.getTime());
  assert.equal(certificate.notAfterMs, parsed!.validToDate.getTime());
  assert.deepEqual(
    certificate.names.map(({ type, value }) => `${type} ${value}`),
    [
      "DNS a.test",
      "DNS *.b.test",
      "URI spiffe://t/ns/x",
      "IP_ADDRESS 10.1.2.3",
      "IP_ADDRESS 2001:db8::1",
      "EMAIL me@a.test",
      "OTHER_NAME odd",
    ],
  );
  assert.equal(certificate.names.at(-1)!.oid, "1.2.3.4");
  assert.deepEqual(certificate.serverNames, ["a.test", "*.b.test"]);
  assert.equal(new X509Certificate(certificate.pem).fingerprint256, parsed!.fingerprint256);
  const plain = new Certificate(pemCertificates(read(authority.issue("cn.test", { names: "" }).certificate))[0]!.raw);
  assert.deepEqual(plain.serverNames, ["cn.test"]);
});

test("a name covers a host exactly or with its first label", () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["a.test", "a.test", true],
    ["A.test", "a.TEST", true],
    ["*.test", "a.test", true],
    ["*.test", "a.b.test", false],
    ["*.test", "test", false],
    ["*.test", ".test", false],
    ["a*.test", "ab.test", false],
    ["*", "a", false],
  ];
  for (const [name, host, covers] of cases) assert.equal(coversHost(name, host), covers, `${name} ${host}`);
});

test("DER of any bytes, cut and bent, never throws", (t) => {
  const authority = new Authority(folder(t), "root");
  const der = pemCertificates(read(authority.issue("a.test").certificate))[0]!.raw;
  const readAll = (bytes: Buffer): void => {
    const certificate = new Certificate(bytes);
    const all = [certificate.subject, certificate.issuer, certificate.serial, certificate.spkiHash, certificate.pem];
    for (const text of all) assert.equal(typeof text, "string");
    assert.ok(Array.isArray(certificate.names) && Array.isArray(certificate.serverNames));
    assert.equal(typeof (certificate.notAfterMs + certificate.notBeforeMs), "number");
  };
  for (let end = 0; end < der.length; end++) readAll(der.subarray(0, end));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => readAll(Buffer.from(bytes))),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.nat(255), (at, value) => {
      const bent = Buffer.from(der);
      bent[at] = value;
      readAll(bent);
    }),
    { numRuns: 2000 },
  );
});
