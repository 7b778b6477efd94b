/** Signatures of both forms: other implementations verify them, and no byte of them can be another one. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { bundleFromJSON } from "@sigstore/bundle";
import type { SerializedBundle } from "@sigstore/bundle";
import { toSignedEntity, Verifier } from "@sigstore/verify";
import { digestOf } from "../../runtime/registry/digest.ts";
import { pack } from "../../runtime/registry/layout.ts";
import { manifestBytes } from "../../runtime/registry/manifest.ts";
import {
  fileRefusal,
  generateKeyPair,
  readPrivateKey,
  readPublicKey,
  refusal,
  signBundle,
  signClassic,
  signFile,
} from "../../runtime/registry/signature.ts";
import type { Signature } from "../../runtime/registry/signature.ts";

const scratch = mkdtempSync(join(tmpdir(), "sluice-signature-"));
after(() => rmSync(scratch, { recursive: true }));

/** The public half of a key made once by OpenSSL (`genpkey -algorithm EC`); the private one signed what follows, and is gone. */
const PUBLIC = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEUM4A8rS1EUUQJi9ylPwSvqRP1M4p
svDqtQezJ0CwiMVhsh9gkvQEUPKiQR6/TkZYJMLbNZPWxettfAxX0t85sw==
-----END PUBLIC KEY-----
`;
const MODULE = Buffer.from("0061736d01000000", "hex");
const MANIFEST = manifestBytes(pack(MODULE, "istio", { annotations: {}, manifest: undefined }).manifest);
const DIGEST = digestOf(MANIFEST);
const key = readPublicKey(PUBLIC, "fixture");

/** Signatures of that key over MANIFEST, as they lie in a registry. */
const CLASSIC: Signature = {
  form: "classic",
  payload: Buffer.from(
    `{"critical":{"identity":{"docker-reference":"registry.example.com/gate"},"image":{"docker-manifest-digest":"${DIGEST}"},"type":"cosign container image signature"},"optional":null}`,
  ),
  signature: Buffer.from(
    "MEQCIAnpNp2UiGUTT3EJZnW+oJn9kLsn8QALBKqToipm+L9XAiB+DCHu1+w422Ft3S5ESDmRkCgqWg/KE3Y88GgggBE7Rw==",
    "base64",
  ),
};
const BUNDLE: Signature = {
  form: "bundle",
  payload: Buffer.from(
    "eyJtZWRpYVR5cGUiOiJhcHBsaWNhdGlvbi92bmQuZGV2LnNpZ3N0b3JlLmJ1bmRsZS52MC4zK2pzb24iLCJ2ZXJpZmljYXRpb25NYXRlcmlhbCI6eyJwdWJsaWNLZXkiOnsiaGludCI6InQzaGg0RXAycWdwYmx3UnR2YmZnTXNReFpHSE1tZVd2d01ybk9xNlN2V0E9In0sInRsb2dFbnRyaWVzIjpbXSwidGltZXN0YW1wVmVyaWZpY2F0aW9uRGF0YSI6eyJyZmMzMTYxVGltZXN0YW1wcyI6W119fSwiZHNzZUVudmVsb3BlIjp7InBheWxvYWQiOiJleUpmZEhsd1pTSTZJbWgwZEhCek9pOHZhVzR0ZEc5MGJ5NXBieTlUZEdGMFpXMWxiblF2ZGpFaUxDSnpkV0pxWldOMElqcGJleUprYVdkbGMzUWlPbnNpYzJoaE1qVTJJam9pWW1ObE5qVmlZV1V6WkdKa01XRTVPVFF6TXpFeE9EZ3hOVGc1TVdFd1pHSmxNVEV5T1RNd05EZGtZVGszWWpjeE0yRTBZVFpsWlRObVpEa3hNVGxrTVNKOWZWMHNJbkJ5WldScFkyRjBaVlI1Y0dVaU9pSm9kSFJ3Y3pvdkwzTnBaM04wYjNKbExtUmxkaTlqYjNOcFoyNHZjMmxuYmk5Mk1TSXNJbkJ5WldScFkyRjBaU0k2ZTMxOSIsInBheWxvYWRUeXBlIjoiYXBwbGljYXRpb24vdm5kLmluLXRvdG8ranNvbiIsInNpZ25hdHVyZXMiOlt7InNpZyI6Ik1FWUNJUURLUERMZTREeUI1WmphWnEvVDAxTktYRHNQRFNtS2Y4OUF3dk5pNGtjeGFRSWhBSjRCN2VsdnI0UVczTnRoTXhGSUhnREpvRFpLVGQzTmpLdTA1Q0I1REViRCIsImtleWlkIjoiIn1dfX0=",
    "base64",
  ),
  signature: Buffer.alloc(0),
};

function flips(bytes: Buffer, run: (changed: Buffer, at: number) => void): void {
  for (let at = 0; at < bytes.length; at++) {
    for (const bit of [1, 0x80]) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= bit;
      run(changed, at);
    }
  }
}

describe("golden signatures", () => {
  it("are good", () => {
    assert.equal(refusal(key, CLASSIC, DIGEST), undefined);
    assert.equal(refusal(key, BUNDLE, DIGEST), undefined);
  });

  it("are good for OpenSSL", () => {
    const [pub, payload, signature] = ["pub", "payload", "signature"].map((name) => join(scratch, name));
    writeFileSync(pub!, PUBLIC);
    writeFileSync(payload!, CLASSIC.payload);
    writeFileSync(signature!, CLASSIC.signature);
    const told = execFileSync("openssl", ["dgst", "-sha256", "-verify", pub!, "-signature", signature!, payload!], {
      encoding: "utf8",
    });
    assert.match(told, /Verified OK/);
  });

  it("are good for Sigstore's own library, and not with another key", () => {
    const bundle = bundleFromJSON(JSON.parse(BUNDLE.payload.toString()) as SerializedBundle);
    const verifier = (pem: string): Verifier =>
      new Verifier(
        {
          certificateAuthorities: [],
          timestampAuthorities: [],
          tlogs: [],
          ctlogs: [],
          publicKey: () => ({ publicKey: createPublicKey(pem), validFor: () => true }),
        },
        { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 },
      );
    verifier(PUBLIC).verify(toSignedEntity(bundle));
    assert.throws(() => verifier(generateKeyPair(undefined).publicPem).verify(toSignedEntity(bundle)));
  });

  it("are refused when any bit of the classic payload or signature is another one", () => {
    flips(CLASSIC.payload, (payload, at) =>
      assert.notEqual(refusal(key, { ...CLASSIC, payload }, DIGEST), undefined, `payload ${at}`),
    );
    flips(CLASSIC.signature, (signature, at) =>
      assert.notEqual(refusal(key, { ...CLASSIC, signature }, DIGEST), undefined, `signature ${at}`),
    );
  });

  it("are refused when any character of the bundle's payload or signature is another one", () => {
    const text = BUNDLE.payload.toString();
    for (const field of ["payload", "sig", "payloadType"]) {
      const start = text.indexOf(`"${field}":"`) + field.length + 4;
      const end = text.indexOf('"', start);
      for (let at = start; at < end; at++) {
        for (const letter of "Ab0/=") {
          if (letter === text[at]) continue;
          const changed = Buffer.from(text.slice(0, at) + letter + text.slice(at + 1));
          assert.notEqual(
            refusal(key, { ...BUNDLE, payload: changed }, DIGEST),
            undefined,
            `${field} ${at - start} ${letter}`,
          );
        }
      }
    }
  });

  it("are refused for a manifest or module with any other bit", () => {
    flips(MANIFEST, (manifest) => {
      assert.notEqual(refusal(key, CLASSIC, digestOf(manifest)), undefined);
      assert.notEqual(refusal(key, BUNDLE, digestOf(manifest)), undefined);
    });
    flips(MODULE, (module) => {
      const other = digestOf(manifestBytes(pack(module, "istio", { annotations: {}, manifest: undefined }).manifest));
      assert.notEqual(refusal(key, CLASSIC, other), undefined);
    });
  });

  it("are refused without a signature, and as anything that is no bundle", () => {
    assert.equal(refusal(key, { ...CLASSIC, signature: Buffer.alloc(0) }, DIGEST), "the signature is not this key's");
    for (const text of ["", "{}", "[]", "null", '{"mediaType":1}', BUNDLE.payload.toString().replace("v0.3", "v0.9")]) {
      assert.match(refusal(key, { ...BUNDLE, payload: Buffer.from(text) }, DIGEST)!, /no Sigstore bundle/);
    }
    const other = JSON.parse(BUNDLE.payload.toString()) as { dsseEnvelope: { signatures: unknown[] } };
    other.dsseEnvelope.signatures = [];
    assert.equal(
      refusal(key, { ...BUNDLE, payload: Buffer.from(JSON.stringify(other)) }, DIGEST),
      "the signature is not this key's",
    );
  });
});

describe("keys", () => {
  for (const [name, pair] of [
    ["P-256", generateKeyPairSync("ec", { namedCurve: "P-256" })],
    ["Ed25519", generateKeyPairSync("ed25519")],
    ["RSA", generateKeyPairSync("rsa", { modulusLength: 2048 })],
  ] as const) {
    it(`${name} signs and verifies in all forms`, () => {
      const privateKey = readPrivateKey(pair.privateKey.export({ type: "pkcs8", format: "pem" }), undefined, name);
      const publicKey = readPublicKey(pair.publicKey.export({ type: "spki", format: "pem" }), name);
      assert.equal(refusal(publicKey, signClassic(privateKey, "r/x", DIGEST), DIGEST), undefined);
      assert.equal(refusal(publicKey, signBundle(privateKey, DIGEST), DIGEST), undefined);
      assert.equal(fileRefusal(publicKey, MODULE, signFile(privateKey, MODULE)), undefined);
      assert.notEqual(fileRefusal(publicKey, MANIFEST, signFile(privateKey, MODULE)), undefined);
    });
  }

  it("are kept with a password, and say what is wrong with them", () => {
    const { privatePem, publicPem } = generateKeyPair("open sesame");
    assert.match(privatePem, /ENCRYPTED/);
    readPrivateKey(privatePem, "open sesame", "k");
    assert.throws(() => readPrivateKey(privatePem, "wrong", "k"), /SIGNATURE_KEY: k: its password is wrong/);
    assert.throws(() => readPrivateKey(privatePem, undefined, "k"), /its password is wrong or missing/);
    assert.throws(() => readPrivateKey("hello", undefined, "k"), /no private key/);
    assert.throws(() => readPublicKey(privatePem, "k"), /the public one verifies/);
    const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey.export({
      type: "spki",
      format: "pem",
    });
    assert.throws(() => readPublicKey(weak, "k"), /its kind of key is not taken/);
    readPublicKey(publicPem, "k");
  });
});
