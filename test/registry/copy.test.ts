/** `sluice copy` between repositories of a real registry: what others have attached at the target is there afterwards. */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { copyArtifact } from "../../runtime/registry/artifact-copy.ts";
import { resolve } from "../../runtime/registry/artifact.ts";
import type { Resolved } from "../../runtime/registry/artifact.ts";
import { digestOf } from "../../runtime/registry/digest.ts";
import { pack } from "../../runtime/registry/layout.ts";
import { isIndex, manifestBytes, MediaType } from "../../runtime/registry/manifest.ts";
import type { Descriptor } from "../../runtime/registry/manifest.ts";
import { parseReference } from "../../runtime/registry/reference.ts";
import { referrersTag, Repository } from "../../runtime/registry/repository.ts";
import { attachSignature, findSignatures, judge, signatureTag } from "../../runtime/registry/trust.ts";
import { startRegistry } from "./registry-process.ts";
import type { Registry } from "./registry-process.ts";

const MODULE = Buffer.from("0061736d01000000", "hex");
const FORMS = ["classic", "bundle"] as const;
const [ours, theirs] = [1, 2].map(() => generateKeyPairSync("ec", { namedCurve: "P-256" }));

let registry: Registry;
let repositories = 0;
const opened: Repository[] = [];
before(async () => {
  registry = await startRegistry();
});
after(async () => {
  for (const one of opened) await one.close();
  await registry.stop();
});

function repository(): Repository {
  const one = new Repository(registry.host, `copy/gate${repositories++}`, { credentials: null });
  opened.push(one);
  return one;
}

/** Stores the module's artifact under the tag 1; each repository gets the same manifest. */
async function store(target: Repository): Promise<Resolved> {
  const { manifest, blobs } = pack(MODULE, "istio", { annotations: {}, manifest: undefined });
  for (const blob of blobs) await target.putBlob(blob);
  await target.putManifest("1", manifestBytes(manifest), manifest.mediaType);
  return resolve(target, parseReference(`${registry.host}/${target.name}:1`));
}

async function signBoth(target: Repository, subject: Descriptor, key: KeyObject): Promise<void> {
  for (const form of FORMS) await attachSignature(target, subject, key, form, "registry.example.com/gate");
}

/** What `copy` does; how much was attached. */
function copy(reader: Repository, writer: Repository, resolved: Resolved, tag = "1"): Promise<number> {
  const show = () => ({ update: () => {}, end: () => {} });
  return copyArtifact({ reader, writer, mount: undefined, show }, resolved, tag);
}

/** `FORM KEY` of each good signature, sorted. */
async function good(target: Repository, digest: string): Promise<string[]> {
  const keys = [
    { name: "ours", key: ours!.publicKey },
    { name: "theirs", key: theirs!.publicKey },
  ];
  const verdict = judge(await findSignatures(target, digest), keys, digest);
  return verdict.good.map(({ form, key }) => `${form} ${key}`).sort();
}

describe("signatures at the target", () => {
  it("stay beside those that come with the artifact, in both forms", async () => {
    const [from, to] = [repository(), repository()];
    const resolved = await store(from);
    const { digest } = (await store(to)).top;
    await signBoth(from, resolved.top, ours!.privateKey);
    await signBoth(to, resolved.top, theirs!.privateKey);
    assert.equal(await copy(from, to, resolved), 2);
    const all = ["bundle ours", "bundle theirs", "classic ours", "classic theirs"];
    assert.deepEqual(await good(to, digest), all);
    assert.deepEqual(await good(from, digest), ["bundle ours", "classic ours"]);

    // Once more, and there is nothing to be done.
    const tags = [signatureTag(digest), referrersTag(digest)];
    const digests = () => Promise.all(tags.map(async (tag) => (await to.manifest(tag))!.digest));
    const before = await digests();
    await copy(from, to, resolved);
    assert.deepEqual(await digests(), before);

    // And the way back: the source has those of the target then, byte by byte.
    await copy(to, from, resolved);
    assert.deepEqual(await good(from, digest), all);
    assert.equal((await from.manifest(signatureTag(digest)))!.digest, before[0]);
  });

  it("stay as they were written, in words that nobody here knows", async () => {
    const [from, to] = [repository(), repository()];
    const resolved = await store(from);
    await store(to);
    await signBoth(from, resolved.top, ours!.privateKey);
    await signBoth(to, resolved.top, theirs!.privateKey);
    for (const tag of [signatureTag(resolved.top.digest), referrersTag(resolved.top.digest)]) {
      const stored = (await to.manifest(tag))!;
      const own = JSON.parse(stored.bytes.toString()) as Record<string, Record<string, unknown>[]>;
      const list = isIndex(stored.manifest) ? "manifests" : "layers";
      own[list]![0]!["urls"] = ["https://mirror.example.com"];
      await to.putManifest(
        tag,
        Buffer.from(JSON.stringify({ ...own, annotations: { team: "edge" } })),
        stored.manifest.mediaType,
      );
    }
    await copy(from, to, resolved);
    for (const tag of [signatureTag(resolved.top.digest), referrersTag(resolved.top.digest)]) {
      const stored = (await to.manifest(tag))!;
      const text = stored.bytes.toString();
      assert.match(text, /"urls":\["https:\/\/mirror\.example\.com"\]/);
      assert.match(text, /"annotations":\{"team":"edge"\}/);
      assert.equal(isIndex(stored.manifest) ? stored.manifest.manifests.length : stored.manifest.layers.length, 2);
    }
    assert.equal((await good(to, resolved.top.digest)).length, 4);
  });

  it("stay when somebody signs there", async () => {
    const to = repository();
    const { top } = await store(to);
    await signBoth(to, top, theirs!.privateKey);
    await signBoth(to, top, ours!.privateKey);
    assert.equal((await good(to, top.digest)).length, 4);
  });

  for (const form of FORMS) {
    it(`are not written over something else that has their tag (${form})`, async () => {
      const [from, to] = [repository(), repository()];
      const resolved = await store(from);
      const { digest } = resolved.top;
      const { manifest } = pack(MODULE, "istio", { annotations: {}, manifest: undefined });
      const index = { schemaVersion: 2, mediaType: MediaType.INDEX, manifests: [] } as const;
      await store(to);
      const [tag, other, why] =
        form === "classic"
          ? ([signatureTag(digest), index, /\.sig: it is an index, no image of signatures/] as const)
          : ([referrersTag(digest), manifest, /it is no list of referrers/] as const);
      await to.putManifest(tag, manifestBytes(other), other.mediaType);
      await attachSignature(from, resolved.top, ours!.privateKey, form, "registry.example.com/gate");
      await assert.rejects(copy(from, to, resolved), why);
      assert.equal((await to.manifest(tag))!.digest, digestOf(manifestBytes(other)));
    });
  }
});

describe("what belongs to an artifact", () => {
  it("comes along: an SBOM with its own signature, an index that refers to it, and attestations under a tag", async () => {
    const [from, to] = [repository(), repository()];
    const resolved = await store(from);
    const { top } = resolved;
    const config = Buffer.from("{}");
    await from.putBlob(config);
    const empty = { mediaType: MediaType.EMPTY, digest: digestOf(config), size: config.length };
    const about = (subject: Descriptor, artifactType: string) =>
      ({ schemaVersion: 2, mediaType: MediaType.MANIFEST, artifactType, config: empty, layers: [], subject }) as const;
    const sbom = about(top, "application/spdx+json");
    const sbomDigest = await from.putReferrer(sbom);
    await signBoth(
      from,
      { mediaType: sbom.mediaType, digest: sbomDigest, size: manifestBytes(sbom).length },
      ours!.privateKey,
    );
    const list = {
      schemaVersion: 2,
      mediaType: MediaType.INDEX,
      artifactType: "application/vnd.example",
      manifests: [],
      subject: top,
    } as const;
    const listDigest = await from.putReferrer(list);
    const attestations = { ...about(top, ""), layers: [empty] };
    const attested = `${referrersTag(top.digest)}.att`;
    await from.putManifest(attested, manifestBytes(attestations), MediaType.MANIFEST);

    assert.equal(await copy(from, to, resolved, "2"), 5);
    const types = (await to.referrers(top.digest)).map(({ digest, artifactType }) => [digest, artifactType]);
    assert.deepEqual(types, [
      [sbomDigest, "application/spdx+json"],
      [listDigest, "application/vnd.example"],
    ]);
    assert.deepEqual(await good(to, sbomDigest), ["bundle ours", "classic ours"]);
    assert.ok(await to.manifest(attested));
    assert.equal((await to.manifest("2"))!.digest, top.digest);
  });

  it("is there before the tag is: whoever asks for the tag finds the signatures", async (t) => {
    const [from, to] = [repository(), repository()];
    const resolved = await store(from);
    await signBoth(from, resolved.top, ours!.privateKey);
    const put = t.mock.method(to, "putManifest");
    await copy(from, to, resolved, "stable");
    assert.equal(put.mock.calls.at(-1)!.arguments[0], "stable");
    assert.equal((await good(to, resolved.top.digest)).length, 2);
  });
});
