/** Modules from a registry that is scripted: what is kept of them is proven anew each time, and nothing of it is believed. */
import assert from "node:assert/strict";
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { DigestCache, sha256Of } from "../../runtime/artifact/digest-cache.ts";
import { OciCodeSource } from "../../runtime/artifact/oci-code.ts";
import type { OciCode } from "../../runtime/artifact/oci-code.ts";
import { RemoteCodeSource } from "../../runtime/artifact/remote-code.ts";
import { TrustPolicy } from "../../runtime/artifact/trust-policy.ts";
import type { RemoteCode } from "../../runtime/config/snapshot.ts";
import { digestOf } from "../../runtime/registry/digest.ts";
import { pack } from "../../runtime/registry/layout.ts";
import { manifestBytes, MediaType } from "../../runtime/registry/manifest.ts";
import { generateKeyPair, readPrivateKey, signClassic } from "../../runtime/registry/signature.ts";
import { signatureTag } from "../../runtime/registry/trust.ts";
import { RecordingLog, RecordingStats } from "../wasm/stage.ts";

const root = mkdtempSync(join(tmpdir(), "sluice-oci-"));
after(() => rmSync(root, { recursive: true }));
const { privatePem, publicPem } = generateKeyPair(undefined);
const KEY = readPrivateKey(privatePem, undefined, "k");
const RULE = [{ plugins: [], keys: [{ name: "team.pub", pem: publicPem }], enforced: true }];
let folders = 0;

/** A module that differs by `n`. */
const moduleOf = (n: number): Buffer => Buffer.concat([Buffer.from("0061736d01000000", "hex"), Buffer.of(0, 2, 1, n)]);

class Shelf {
  readonly folder = join(root, String(++folders));
  readonly log = new RecordingLog();
  readonly end = new AbortController();
  /** What lies in the registry, by the last part of its path. */
  readonly things = new Map<string, Buffer>();
  requests = 0;
  host = "";
  /** Instead of what lies there. */
  answer: ((response: ServerResponse) => void) | undefined;

  async open(): Promise<this> {
    const server = createServer((request, response) => {
      this.requests++;
      const found = this.things.get(request.url!.split("/").at(-1)!);
      if (this.answer !== undefined) this.answer(response);
      else response.writeHead(found === undefined ? 404 : 200).end(found);
    }).listen(0, "127.0.0.1");
    after(() => {
      server.closeAllConnections();
      server.close();
    });
    await once(server, "listening");
    this.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    return this;
  }

  store(bytes: Buffer, ...names: string[]): string {
    for (const name of [digestOf(bytes), ...names]) this.things.set(name, bytes);
    return digestOf(bytes);
  }

  /** Puts a module there under a tag; its manifest's digest. */
  push(module: Buffer, tag = "1"): string {
    const { manifest, blobs } = pack(module, "cncf", { annotations: {}, manifest: undefined });
    for (const blob of blobs) this.store(blob);
    return this.store(manifestBytes(manifest), tag);
  }

  sign(digest: string): void {
    const { payload, signature } = signClassic(KEY, "r/x", digest);
    const annotations = { "dev.cosignproject.cosign/signature": signature.toString("base64") };
    const layer = {
      mediaType: MediaType.SIMPLE_SIGNING,
      digest: this.store(payload),
      size: payload.length,
      annotations,
    };
    const manifest = { schemaVersion: 2, config: { ...layer, annotations: undefined }, layers: [layer] };
    this.store(Buffer.from(JSON.stringify(manifest)), signatureTag(digest));
  }

  uri(what = ":1"): string {
    return `oci://${this.host}/a/b${what}`;
  }

  source(trust: ConstructorParameters<typeof TrustPolicy>[0] = []): OciCodeSource {
    const { folder, log, end } = this;
    return new OciCodeSource({
      config: { pullPolicy: undefined, pollMs: 0, dockerConfig: undefined, ca: undefined, plainHttp: false },
      cache: new DigestCache(folder, 1_000_000, log),
      folder,
      trust: new TrustPolicy(trust, log),
      log,
      end: end.signal,
    });
  }

  /** Changes the one record of what a reference stood for. */
  forge(change: (record: { manifests: string[]; signatures?: unknown }) => void): void {
    const path = join(
      this.folder,
      readdirSync(this.folder).find((name) => name.endsWith(".ref"))!,
    );
    const record = JSON.parse(readFileSync(path, "utf8")) as { manifests: string[] };
    change(record);
    writeFileSync(path, JSON.stringify(record));
  }

  /** Somebody who can write the cache puts an evil module there, with a manifest of its own. */
  smuggle(): Buffer {
    const { manifest } = pack(moduleOf(66), "cncf", { annotations: {}, manifest: undefined });
    writeFileSync(join(this.folder, sha256Of(moduleOf(66))), moduleOf(66));
    return manifestBytes(manifest);
  }
}

const code = (uri: string, more: Partial<OciCode> = {}): OciCode => ({
  uri,
  sha256: "",
  oci: { pinned: false },
  ...more,
});

describe("what is kept of a reference", () => {
  test("is taken without the registry, over an index too", async () => {
    const shelf = await new Shelf().open();
    const digest = shelf.push(moduleOf(1));
    const entry = { mediaType: MediaType.MANIFEST, digest, size: shelf.things.get(digest)!.length };
    const top = shelf.store(Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [entry] })), "2");
    await shelf.source().get(code(shelf.uri(":2")));
    const asked = shelf.requests;
    const { bytes, evidence } = await shelf.source().get(code(shelf.uri(":2")));
    assert.deepEqual([bytes, evidence.digest, shelf.requests], [moduleOf(1), top, asked]);
    assert.ok(!shelf.log.lines.join().includes("of no use"));
  });

  test("does not bring another module in under the digest of a reference", async () => {
    const shelf = await new Shelf().open();
    const uri = shelf.uri(`@${shelf.push(moduleOf(1))}`);
    await shelf.source().get(code(uri));
    const evil = shelf.smuggle();
    shelf.forge((record) => (record.manifests = [evil.toString("base64")]));
    assert.deepEqual((await shelf.source().get(code(uri))).bytes, moduleOf(1));
    assert.match(shelf.log.lines.join(), /of no use, the registry is asked instead: ARTIFACT_MISSING/);
  });

  test("does not bring another module in under a pin", async () => {
    const shelf = await new Shelf().open();
    shelf.push(moduleOf(1));
    const pinned = code(shelf.uri(), { sha256: sha256Of(moduleOf(1)), oci: { pinned: true } });
    await shelf.source().get(pinned);
    const evil = shelf.smuggle();
    shelf.forge((record) => (record.manifests = [evil.toString("base64")]));
    assert.deepEqual((await shelf.source().get(pinned)).bytes, moduleOf(1));
  });

  test("does not bring another module in under the signatures of the right one", async () => {
    const shelf = await new Shelf().open();
    shelf.sign(shelf.push(moduleOf(1)));
    await shelf.source(RULE).get(code(shelf.uri()));
    const evil = shelf.smuggle();
    for (const manifests of [[evil], [shelf.things.get("1")!, evil], [evil, shelf.things.get("1")!]]) {
      shelf.forge((record) => (record.manifests = manifests.map((bytes) => bytes.toString("base64"))));
      assert.deepEqual((await shelf.source(RULE).get(code(shelf.uri()))).bytes, moduleOf(1));
    }
  });

  test("is not taken from another user, nor when it is nonsense", async () => {
    const shelf = await new Shelf().open();
    shelf.push(moduleOf(1));
    await shelf.source().get(code(shelf.uri()));
    const path = join(
      shelf.folder,
      readdirSync(shelf.folder).find((name) => name.endsWith(".ref"))!,
    );
    for (const [spoil, why] of [
      [() => writeFileSync(path, "{"), /is of no use/],
      [() => shelf.forge((record) => (record.manifests = [])), /keeps no manifests/],
      [() => shelf.forge((record) => (record.manifests = ["e30="])), /ARTIFACT_MANIFEST/],
      [() => chownSync(path, 12_345, 12_345), /belongs to user 12345/],
    ] as const) {
      spoil();
      shelf.log.lines.length = 0;
      assert.deepEqual((await shelf.source().get(code(shelf.uri()))).bytes, moduleOf(1));
      assert.match(shelf.log.lines.join(), why);
    }
  });

  test("without a good signature is asked for anew: it may have been signed meanwhile", async () => {
    const shelf = await new Shelf().open();
    const digest = shelf.push(moduleOf(1));
    const trust = new TrustPolicy(RULE, shelf.log);
    const approve = async (): Promise<void> => {
      const { bytes, evidence } = await shelf.source(RULE).get(code(shelf.uri()));
      trust.approve("p", bytes, shelf.uri(), evidence);
    };
    await assert.rejects(approve, /SIGNATURE_MISSING: .*it carries no signature/);
    shelf.sign(digest);
    await approve();
    const asked = shelf.requests;
    await approve();
    assert.equal(shelf.requests, asked);
  });
});

describe("a registry that does not come to an end", () => {
  const drip = (response: ServerResponse): void => {
    const timer = setInterval(() => response.write(" "), 10);
    response.on("close", () => clearInterval(timer));
  };

  test("has the time of the configuration for everything together", async () => {
    const shelf = await new Shelf().open();
    shelf.answer = drip;
    await assert.rejects(
      shelf.source().pull(code(shelf.uri(), { timeoutMs: 100 })),
      /ARTIFACT_UNREACHABLE: .*its time is over/,
    );
  });

  test("is left alone when the process ends", async () => {
    const shelf = await new Shelf().open();
    shelf.answer = (response) => {
      drip(response);
      setImmediate(() => shelf.end.abort());
    };
    await assert.rejects(shelf.source().pull(code(shelf.uri())), /ARTIFACT_UNREACHABLE: .*given up/);
  });
});

test("the same code in two places has two pasts", async () => {
  const [signed, unsigned] = [await new Shelf().open(), await new Shelf().open()];
  signed.sign(signed.push(moduleOf(1)));
  unsigned.push(moduleOf(1));
  const pinned = (shelf: Shelf): RemoteCode => ({
    kind: "remote",
    uri: shelf.uri(),
    sha256: sha256Of(moduleOf(1)),
    oci: { pinned: true },
    cluster: "none",
    timeoutMs: 0,
    retries: 0,
    retryBaseIntervalMs: 1,
    retryMaxIntervalMs: 1,
    nackOnCacheMiss: false,
  });
  const { folder, log } = signed;
  const cache = new DigestCache(folder, 1_000_000, log);
  const source = new RemoteCodeSource([], cache, signed.source(RULE), new RecordingStats(), log);
  for (const shelf of [signed, unsigned]) await source.get(pinned(shelf));
  assert.deepEqual(
    [signed, unsigned].map((shelf) => source.evidence(pinned(shelf))?.signatures.length),
    [1, 0],
  );
});
