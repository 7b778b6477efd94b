/** What cosign itself made, as it was published: signatures of both forms, and a private key. */
import assert from "node:assert/strict";
import { createHash, createPublicKey, generateKeyPairSync, scryptSync, sign } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { MAX_SIGNATURE_BYTES } from "../../runtime/limits.ts";
import { digestOf } from "../../runtime/registry/digest.ts";
import { MediaType } from "../../runtime/registry/manifest.ts";
import { Repository } from "../../runtime/registry/repository.ts";
import { openBox, sealBox } from "../../runtime/registry/secretbox.ts";
import { fileRefusal, readPrivateKey, readPublicKey, refusal, signBundle } from "../../runtime/registry/signature.ts";
import type { Signature } from "../../runtime/registry/signature.ts";
import { findSignatures, judge, signatureTag } from "../../runtime/registry/trust.ts";

function pem(base64: string): string {
  return `-----BEGIN PUBLIC KEY-----\n${base64}\n-----END PUBLIC KEY-----\n`;
}

interface Vector {
  readonly what: string;
  readonly key: string;
  readonly digest: string;
  readonly signed: Signature;
}

const VECTORS: readonly Vector[] = [
  {
    what: "a payload of cosign 1 (a test of StackRox)",
    key: pem(
      "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE04soAoNygRhaytCtygPcwsP+6EinYoDv/BJx1T9WmtsANh2HplRR66Fbm+3OjFuah2IhFufPhDl6a85I3ymVYw==",
    ),
    digest: "sha256:ee89b00528ff4f02f2405e4ee221743ebc3f8e8dd0bfd5c4c20a2fa2aaa7ede3",
    signed: {
      form: "classic",
      payload: Buffer.from(
        '{"critical":{"identity":{"docker-reference":"ttl.sh/d8d3892d-48bd-4671-a546-2e70a900b702"},"image":{"docker-manifest-digest":"sha256:ee89b00528ff4f02f2405e4ee221743ebc3f8e8dd0bfd5c4c20a2fa2aaa7ede3"},"type":"cosign container image signature"},"optional":null}',
      ),
      signature: Buffer.from(
        "MEUCIDGMmJyxVKGPxvPk/QlRzMSGzcI8pYCy+MB7RTTpegzTAiEArssqWntVN8oJOMV0Aey0zhsNqRmEVQAYZNkn8hkAnXI=",
        "base64",
      ),
    },
  },
  {
    what: "a payload of cosign 2 with annotations (a walk through Confidential Space)",
    key: pem(
      "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEnJkxPkNBdsTfuQnZJAmE6tVEosTGYemTaQl+60OLRsymUD8GfTCogGrgRHmNTaIiVzkPbWYB3iK27MuYkAGyMQ==",
    ),
    digest: "sha256:c9acaed33baa94cdaf946e2905c9c45ab08db5951cc8455cb4c532f1be093e01",
    signed: {
      form: "classic",
      payload: Buffer.from(
        '{"critical":{"identity":{"docker-reference":"us-central1-docker.pkg.dev/builder-395303/repo1/tee"},"image":{"docker-manifest-digest":"sha256:c9acaed33baa94cdaf946e2905c9c45ab08db5951cc8455cb4c532f1be093e01"},"type":"cosign container image signature"},"optional":{"dev.cosignproject.cosign/pub":"LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KTUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFbkpreFBrTkJkc1RmdVFuWkpBbUU2dFZFb3NURwpZZW1UYVFsKzYwT0xSc3ltVUQ4R2ZUQ29nR3JnUkhtTlRhSWlWemtQYldZQjNpSzI3TXVZa0FHeU1RPT0KLS0tLS1FTkQgUFVCTElDIEtFWS0tLS0tCg","dev.cosignproject.cosign/sigalg":"ECDSA_P256_SHA256","key1":"value1"}}',
      ),
      signature: Buffer.from(
        "MEUCIQD01hcf6D8kWUB5U44y/7O9I7FLDgwcb/EVuMoed7eeVgIgHSvTA0WFgZxG/63bCw1Lw9m7rJ8mFqoLwTKEOiUq1Ec=",
        "base64",
      ),
    },
  },
  {
    what: "a bundle of cosign 3 (captured by another implementation's tests)",
    key: pem(
      "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEoJmXprHRCRJdqHnRaPDkVssbQNO1is6XUr+/ApqnDi8HvBCRPbwU2P8jgkgtOOggNUf03tvJe0/9eZOb04aDbQ==",
    ),
    digest: "sha256:5099b89d7666cc2186cad769ddc262ddc7c335b33f5fe79f9ffe50a01282b23e",
    signed: {
      form: "bundle",
      payload: Buffer.from(
        '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial":{"publicKey":{"hint":"h162TZsIBy5Y8U9qYWcmpVAp5dKpXhR7gnz8sNfZjV4="}}, "dsseEnvelope":{"payload":"eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEiLCAic3ViamVjdCI6W3siZGlnZXN0Ijp7InNoYTI1NiI6IjUwOTliODlkNzY2NmNjMjE4NmNhZDc2OWRkYzI2MmRkYzdjMzM1YjMzZjVmZTc5ZjlmZmU1MGEwMTI4MmIyM2UifSwgImFubm90YXRpb25zIjp7fX1dLCAicHJlZGljYXRlVHlwZSI6Imh0dHBzOi8vc2lnc3RvcmUuZGV2L2Nvc2lnbi9zaWduL3YxIiwgInByZWRpY2F0ZSI6e319", "payloadType":"application/vnd.in-toto+json", "signatures":[{"sig":"MEUCIBs2jKDupMmrqsjzI3W2oiID2y0P7n4UKT/RZHFeUOuhAiEA4SWsNDZXQBFqaA1/npF+HOGAaG2iuA52mxgPFCpgQog="}]}}',
      ),
      signature: Buffer.alloc(0),
    },
  },
];

describe("signatures that cosign made", () => {
  for (const { what, key, digest, signed } of VECTORS) {
    it(`${what}: good for its key and manifest, and for no other`, () => {
      assert.equal(refusal(readPublicKey(key, "k"), signed, digest), undefined);
      assert.equal(refusal(readPublicKey(key, "k"), signed, `sha256:${"0".repeat(64)}`), "it signs another manifest");
      const others = VECTORS.filter((one) => one.key !== key);
      for (const other of others)
        assert.equal(refusal(readPublicKey(other.key, "k"), signed, digest), "the signature is not this key's");
    });
  }

  it("are found in a registry, by tag and by referrer, beside others that are damaged, too large, or attestations", async () => {
    const [classic, , bundle] = VECTORS;
    const subject = { mediaType: MediaType.MANIFEST, digest: classic!.digest, size: 1 };
    const blobs = new Map<string, Buffer>();
    const store = (bytes: Buffer, mediaType: string, annotations?: Record<string, string>): object => {
      blobs.set(digestOf(bytes), bytes);
      return { mediaType, digest: digestOf(bytes), size: bytes.length, annotations };
    };
    const empty = store(Buffer.from("{}"), MediaType.EMPTY);
    const layer = (payload: Buffer, signature: Buffer): object =>
      store(payload, MediaType.SIMPLE_SIGNING, { "dev.cosignproject.cosign/signature": signature.toString("base64") });
    const referrer = (content: object, annotations?: Record<string, string>): object => ({
      ...store(
        Buffer.from(JSON.stringify({ schemaVersion: 2, config: empty, layers: [content], subject })),
        MediaType.MANIFEST,
        annotations,
      ),
      artifactType: MediaType.BUNDLE,
    });
    const large = { ...layer(Buffer.from("large"), Buffer.alloc(0)), size: MAX_SIGNATURE_BYTES + 1 };
    const gone = { mediaType: MediaType.SIMPLE_SIGNING, digest: `sha256:${"1".repeat(64)}`, size: 5 };
    const answers: Record<string, object> = {
      [`/v2/a/b/manifests/${signatureTag(subject.digest)}`]: {
        schemaVersion: 2,
        config: empty,
        layers: [large, gone, layer(classic!.signed.payload, classic!.signed.signature)],
      },
      [`/v2/a/b/referrers/${subject.digest}`]: {
        schemaVersion: 2,
        manifests: [
          referrer(store(Buffer.from("a report"), MediaType.BUNDLE), {
            "dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1",
          }),
          referrer(store(bundle!.signed.payload, MediaType.BUNDLE)),
        ],
      },
    };
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url!);
      const bytes = blobs.get(request.url!.split("/").at(-1)!);
      const answer = answers[request.url!] === undefined ? bytes : JSON.stringify(answers[request.url!]);
      response.writeHead(answer === undefined ? 404 : 200).end(answer);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const repository = new Repository(`127.0.0.1:${(server.address() as AddressInfo).port}`, "a/b", {
      credentials: null,
    });
    try {
      const found = await findSignatures(repository, subject.digest);
      const keys = VECTORS.map(({ what, key }) => ({ name: what, key: readPublicKey(key, what) }));
      const { good, refused } = judge(found, keys, subject.digest);
      assert.deepEqual(good, [{ key: classic!.what, form: "classic" }]);
      for (const why of [/a signature has \d+ bytes/, /answered 404/, /it signs another manifest/])
        assert.ok(
          refused.some((one) => why.test(one)),
          `${String(why)}: ${refused.join("\n")}`,
        );
      assert.ok(!asked.some((url) => url.endsWith(digestOf(Buffer.from("a report")))));
      assert.ok(!asked.some((url) => url.endsWith(digestOf(Buffer.from("large")))));
    } finally {
      await repository.close();
      server.close();
    }
  });
});

describe("what is no signature of an artifact", () => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const digest = `sha256:${"a".repeat(64)}`;

  it("an attestation by the same key, whatever it says", () => {
    const good = signBundle(privateKey, digest);
    assert.equal(refusal(publicKey, good, digest), undefined);
    const bundle = JSON.parse(good.payload.toString()) as { dsseEnvelope: Record<string, unknown> };
    const statement = Buffer.from(
      JSON.stringify({
        _type: "https://in-toto.io/Statement/v1",
        subject: [{ digest: { sha256: "a".repeat(64) } }],
        predicateType: "https://cosign.sigstore.dev/attestation/vuln/v1",
        predicate: { scanner: { result: "critical" } },
      }),
    );
    const type = "application/vnd.in-toto+json";
    const signed = Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${statement.length} `), statement]);
    bundle.dsseEnvelope = {
      payload: statement.toString("base64"),
      payloadType: type,
      signatures: [{ sig: sign("sha256", signed, privateKey).toString("base64") }],
    };
    const attested: Signature = { ...good, payload: Buffer.from(JSON.stringify(bundle)) };
    assert.match(refusal(publicKey, attested, digest)!, /no signature but an attestation \(https:\/\/cosign/);
  });

  it("a signature over a file; which is good for the file", () => {
    const file = Buffer.from("a module");
    const bundle = JSON.stringify({
      mediaType: MediaType.BUNDLE,
      messageSignature: {
        messageDigest: { algorithm: "SHA2_256", digest: createHash("sha256").update(file).digest("base64") },
        signature: sign("sha256", file, privateKey).toString("base64"),
      },
    });
    assert.equal(
      refusal(publicKey, { form: "bundle", payload: Buffer.from(bundle), signature: Buffer.alloc(0) }, digest),
      "it signs a file, not an artifact",
    );
    assert.equal(fileRefusal(publicKey, file, bundle), undefined);
    assert.equal(fileRefusal(publicKey, Buffer.from("another"), bundle), "the signature is not this key's");
  });
});

describe("larger curves", () => {
  for (const [curve, hash] of [
    ["P-384", "sha384"],
    ["P-521", "sha512"],
  ] as const) {
    it(`${curve} with SHA-256, as cosign signed until 2.6, or ${hash}, and with no other`, () => {
      const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: curve });
      const file = Buffer.from("a module");
      const verdict = (by: string): string | undefined =>
        fileRefusal(publicKey, file, sign(by, file, privateKey).toString("base64"));
      assert.equal(verdict("sha256"), undefined);
      assert.equal(verdict(hash), undefined);
      assert.equal(verdict("sha1"), "the signature is not this key's");
    });
  }
});

describe("private keys of cosign", () => {
  /** Made by cosign 2 with an empty password, and published in the tests of Conforma. */
  const SEALED = `-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----
eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6
OCwicCI6MX0sInNhbHQiOiJLYU9OQzduQVJLOVgxM1FoaWFucjAwTTBGYys2Sitr
dnAxN1FuanpiVk9nPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
Iiwibm9uY2UiOiJVOHZqWWtqMlZOUFZGdlZFZWZ3bXZ5VGloUERrelBoaCJ9LCJj
aXBoZXJ0ZXh0IjoidWNWMnQ4TTZVNFJvb29FOXc0d3dkc3E1RDYrS2RKY245dERT
KzFwRDRGN040SVJOWEgzSTBua3h1a3NackFOUHR1emIvTkVYQ201dUp3Zjh3Qzl1
VlprbXdwNU5jRUZ6b3ZNS3JCZmNvdXdjaEkrMzkrQ0NhbVZPbzBucmRnZjhvcmpK
dXdrWDBYL1phY0RUTERGaUxyc1laMWVMMmlqMGU1MVRpZmVQNTl4WXNPK1FnM1Jv
OURRVjNQMk9ndDFDaVFHeGg1VXhUZytGc3c9PSJ9
-----END ENCRYPTED SIGSTORE PRIVATE KEY-----
`;
  const sealed = (change: (key: Record<string, Record<string, unknown>>) => void): string => {
    const body = SEALED.split("\n").slice(1, -2).join("");
    const key = JSON.parse(Buffer.from(body, "base64").toString()) as Record<string, Record<string, unknown>>;
    change(key);
    const text = Buffer.from(JSON.stringify(key)).toString("base64");
    return `-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\n${text}\n-----END ENCRYPTED COSIGN PRIVATE KEY-----\n`;
  };

  it("sign what their public halves verify", () => {
    for (const text of [SEALED, sealed(() => {})]) {
      const key = readPrivateKey(text, undefined, "cosign.key");
      const digest = `sha256:${"b".repeat(64)}`;
      assert.equal(refusal(createPublicKey(key), signBundle(key, digest), digest), undefined);
    }
  });

  for (const [what, text, why] of [
    ["half a file", SEALED.slice(0, 300), /no whole PEM/],
    ["another cipher", sealed((key) => (key["cipher"]!["name"] = "none")), /not sealed with scrypt/],
    ["no salt", sealed((key) => delete key["kdf"]!["salt"]), /a part of it is missing/],
    ["all of the memory", sealed((key) => (key["kdf"]!["params"] = { N: 2 ** 30, r: 8, p: 1 })), /more memory than/],
    ["an N that is no power of two", sealed((key) => (key["kdf"]!["params"] = { N: 1000, r: 8, p: 1 })), /no good/],
    ["parameters of another type", sealed((key) => (key["kdf"]!["params"] = { N: "1", r: 8, p: 1 })), /is missing/],
    ["a short nonce", sealed((key) => (key["cipher"]!["nonce"] = "AAAA")), /password is wrong or missing/],
  ] as const) {
    it(`are refused with ${what}`, () => {
      assert.throws(
        () => readPrivateKey(text, undefined, "cosign.key"),
        (error: Error) => {
          assert.match(error.message, /^SIGNATURE_KEY: cosign\.key: /);
          assert.match(error.message, why);
          return true;
        },
      );
    });
  }

  it("need their password", () => {
    assert.throws(() => readPrivateKey(SEALED, "open sesame", "k"), /SIGNATURE_KEY: k: its password is wrong/);
  });
});

describe("secret boxes", () => {
  const hex = (text: string): Buffer => Buffer.from(text, "hex");
  /** The example of "Cryptography in NaCl", 10. */
  const key = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
  const nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
  const box = hex(
    "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5",
  );

  it("open to what NaCl's authors put in, and are sealed to the same bytes", () => {
    const message = openBox(box, nonce, key);
    assert.ok(message && sealBox(message, nonce, key).equals(box));
    assert.equal(
      message.toString("hex"),
      "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705",
    );
  });

  it("stay shut when any byte is another one", () => {
    for (const [part, at] of [box, nonce, key].flatMap((bytes) => [...bytes.keys()].map((n) => [bytes, n] as const))) {
      const changed = Buffer.from(part);
      changed[at]! ^= 4;
      const of = (bytes: Buffer): Buffer => (bytes === part ? changed : bytes);
      assert.equal(openBox(of(box), of(nonce), of(key)), undefined, `${part.length} ${at}`);
    }
    assert.equal(openBox(Buffer.alloc(0), nonce, key), undefined);
    assert.equal(openBox(box, nonce, scryptSync("", "", 32)), undefined);
  });
});
