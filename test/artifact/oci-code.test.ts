/** Modules from a registry that is scripted: what is kept of them is proven anew each time, and nothing of it is believed. */
import assert from "node:assert/strict";
import { chownSync, readdirSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { describe, test } from "node:test";
import { DigestCache, sha256Of } from "../../runtime/artifact/digest-cache.ts";
import type { OciCode } from "../../runtime/artifact/oci-code.ts";
import { RemoteCodeSource } from "../../runtime/artifact/remote-code.ts";
import { TrustPolicy } from "../../runtime/artifact/trust-policy.ts";
import type { RemoteCode } from "../../runtime/config/snapshot.ts";
import { MediaType } from "../../runtime/registry/manifest.ts";
import { RecordingStats } from "../wasm/stage.ts";
import { moduleOf, OciShelf, RULE } from "./oci-shelf.ts";

const code = (uri: string, more: Partial<OciCode> = {}): OciCode => ({
  uri,
  sha256: "",
  oci: { pinned: false },
  ...more,
});

describe("what is kept of a reference", () => {
  test("is taken without the registry, over an index too", async () => {
    const shelf = await new OciShelf().open();
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
    const shelf = await new OciShelf().open();
    const uri = shelf.uri(`@${shelf.push(moduleOf(1))}`);
    await shelf.source().get(code(uri));
    const evil = shelf.smuggle();
    shelf.forge((record) => (record.manifests = [evil.toString("base64")]));
    assert.deepEqual((await shelf.source().get(code(uri))).bytes, moduleOf(1));
    assert.match(shelf.log.lines.join(), /of no use, the registry is asked instead: ARTIFACT_MISSING/);
  });

  test("does not bring another module in under a pin", async () => {
    const shelf = await new OciShelf().open();
    shelf.push(moduleOf(1));
    const pinned = code(shelf.uri(), { sha256: sha256Of(moduleOf(1)), oci: { pinned: true } });
    await shelf.source().get(pinned);
    const evil = shelf.smuggle();
    shelf.forge((record) => (record.manifests = [evil.toString("base64")]));
    assert.deepEqual((await shelf.source().get(pinned)).bytes, moduleOf(1));
  });

  test("does not bring another module in under the signatures of the right one", async () => {
    const shelf = await new OciShelf().open();
    shelf.sign(shelf.push(moduleOf(1)));
    await shelf.source(RULE).get(code(shelf.uri()));
    const evil = shelf.smuggle();
    for (const manifests of [[evil], [shelf.things.get("1")!, evil], [evil, shelf.things.get("1")!]]) {
      shelf.forge((record) => (record.manifests = manifests.map((bytes) => bytes.toString("base64"))));
      assert.deepEqual((await shelf.source(RULE).get(code(shelf.uri()))).bytes, moduleOf(1));
    }
  });

  test("is not taken from another user, nor when it is nonsense", async () => {
    const shelf = await new OciShelf().open();
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
    const shelf = await new OciShelf().open();
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
    const shelf = await new OciShelf().open();
    shelf.answer = drip;
    await assert.rejects(
      shelf.source().pull(code(shelf.uri(), { timeoutMs: 100 })),
      /ARTIFACT_UNREACHABLE: .*its time is over/,
    );
  });

  test("is left alone when the process ends", async () => {
    const shelf = await new OciShelf().open();
    shelf.answer = (response) => {
      drip(response);
      setImmediate(() => shelf.end.abort());
    };
    await assert.rejects(shelf.source().pull(code(shelf.uri())), /ARTIFACT_UNREACHABLE: .*given up/);
  });
});

test("the same code in two places has two pasts", async () => {
  const [signed, unsigned] = [await new OciShelf().open(), await new OciShelf().open()];
  signed.sign(signed.push(moduleOf(1)));
  unsigned.push(moduleOf(1));
  const pinned = (shelf: OciShelf): RemoteCode => ({
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
