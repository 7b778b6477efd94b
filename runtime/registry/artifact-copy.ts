/**
 * Copies artifacts from one repository to another with all that belongs to them: an index with what it names, and what is
 * attached, under cosign's tags or as referrers. What others have attached at the target stays.
 */
import { MAX_INDEX_DEPTH } from "../limits.ts";
import { ProxyError } from "../errors.ts";
import { addLayers } from "./attached-image.ts";
import { referrersTag } from "./repository.ts";
import type { Progress, Repository } from "./repository.ts";
import type { Resolved } from "./artifact.ts";
import { isIndex } from "./manifest.ts";
import type { Manifest } from "./manifest.ts";

/** What cosign attaches under tags: signatures and attestations. */
const ATTACHED = ["sig", "att"] as const;

export interface CopyWay {
  readonly reader: Repository;
  readonly writer: Repository;
  /** The repository of the same registry that has the blobs already. */
  readonly mount: string | undefined;
  /** Called before each blob; what it returns is told of the transfer, and of its end. */
  readonly show: (what: string) => { readonly update: Progress; end(): void };
}

/**
 * Copies the manifest with this digest, and puts `tag` on it last: whoever asks for the tag finds the signatures too.
 * Returns how much is attached. Rejects with ProxyError: ARTIFACT_CONTENT for a manifest that is not there or indexes too
 * deep in others, or what the repositories reject with.
 */
export async function copyArtifact(way: CopyWay, { top, chain }: Resolved, tag?: string): Promise<number> {
  const attached = await copyTree(way, top.digest, new Set(), 0);
  if (tag !== undefined) await way.writer.putManifest(tag, chain[0]!, top.mediaType);
  return attached;
}

async function copyTree(way: CopyWay, digest: string, done: Set<string>, depth: number): Promise<number> {
  if (done.has(digest)) return 0;
  done.add(digest);
  const stored = await way.reader.manifest(digest);
  if (stored === undefined || depth > MAX_INDEX_DEPTH)
    throw new ProxyError("ARTIFACT_CONTENT", "config", `${digest}: no manifest, or too deep in what belongs to others`);
  const { manifest, bytes } = stored;
  let attached = 0;
  if (isIndex(manifest)) {
    for (const entry of manifest.manifests) attached += await copyTree(way, entry.digest, done, depth + 1);
  } else {
    await copyBlobs(way, manifest);
  }
  if (manifest.subject === undefined) await way.writer.putManifest(digest, bytes, manifest.mediaType);
  else await way.writer.putReferrer(manifest, bytes);
  for (const suffix of ATTACHED) attached += await copyAttached(way, `${referrersTag(digest)}.${suffix}`);
  for (const referrer of await way.reader.referrers(digest)) {
    const found = await way.reader.manifest(referrer.digest);
    // A list may name what is gone, or what is not about this one.
    if (found?.manifest.subject?.digest !== digest) continue;
    attached += 1 + (await copyTree(way, referrer.digest, done, depth + 1));
  }
  return attached;
}

/** Copies the image of signatures or attestations under a tag, beside those that the target has. */
async function copyAttached(way: CopyWay, tag: string): Promise<number> {
  const stored = await way.reader.manifest(tag);
  if (stored === undefined || isIndex(stored.manifest)) return 0;
  await copyBlobs(way, stored.manifest);
  await addLayers(way.writer, tag, stored.manifest.layers, stored);
  return stored.manifest.layers.length;
}

async function copyBlobs({ reader, writer, mount, show }: CopyWay, { config, layers }: Manifest): Promise<void> {
  for (const blob of [config, ...layers]) {
    const bar = show(blob.digest);
    await writer.putBlob(await reader.blob(blob, bar.update), bar.update, mount);
    bar.end();
  }
}
