/** A module from wherever it is: a registry, an image layout, or a file; and the way back. */
import { readFileSync, statSync } from "node:fs";
import { MAX_ARTIFACT_BYTES, MAX_INDEX_DEPTH } from "../limits.ts";
import { ProxyError } from "../errors.ts";
import { digestOf } from "./digest.ts";
import { chooseFromIndex, moduleLayer, pack } from "./layout.ts";
import type { Facts, Layout } from "./layout.ts";
import { isImageLayout, layoutManifest, openImageLayout } from "./image-layout.ts";
import { isIndex, manifestBytes, parseManifest } from "./manifest.ts";
import type { Descriptor, Manifest } from "./manifest.ts";
import { formatReference } from "./reference.ts";
import type { Reference } from "./reference.ts";
import type { Progress, Repository, Stored } from "./repository.ts";
import { unbox } from "./unbox.ts";

/** A module and where it came from. */
export interface Artifact {
  readonly module: Buffer;
  /** Reference or path, for people. */
  readonly from: string;
  /** Of the manifest that a registry or a layout has; undefined for a file. */
  readonly digest: string | undefined;
  readonly manifest: Manifest | undefined;
}

/** A manifest for a module, found by way of an index if need be. */
export interface Resolved {
  /** Of what the reference names: an index's, if it names one. That is what is signed, and what a digest pins. */
  readonly top: Descriptor;
  readonly manifest: Manifest;
  readonly digest: string;
  /** The manifests' bytes, from the top one to that with the module. */
  readonly chain: readonly Buffer[];
}

/** Finds the manifest that a reference stands for. Rejects with ProxyError ARTIFACT_MISSING when there is none. */
export function resolve(repository: Repository, reference: Reference): Promise<Resolved> {
  const what = formatReference(reference);
  return descend((wanted) => need(repository, wanted, what), reference.digest ?? reference.tag!, what);
}

/** The same from manifests that were kept (`chain`): each must be what the one before names. Rejects with ARTIFACT_MISSING otherwise. */
export function resolveKept(chain: readonly Buffer[], reference: Reference): Promise<Resolved> {
  const what = formatReference(reference);
  const kept = new Map(chain.map((bytes) => [digestOf(bytes), bytes]));
  const find = (digest: string): Promise<Stored> => {
    const bytes = kept.get(digest);
    if (bytes === undefined) throw new ProxyError("ARTIFACT_MISSING", "config", `${what}: ${digest} is not kept`);
    return Promise.resolve({ bytes, digest, manifest: parseManifest(bytes, what) });
  };
  return descend(find, reference.digest ?? digestOf(chain[0]!), what);
}

async function descend(find: (wanted: string) => Promise<Stored>, first: string, what: string): Promise<Resolved> {
  let stored = await find(first);
  const top: Descriptor = { mediaType: stored.manifest.mediaType, digest: stored.digest, size: stored.bytes.length };
  const chain = [stored.bytes];
  for (let depth = 0; depth < MAX_INDEX_DEPTH; depth++) {
    if (!isIndex(stored.manifest)) return { top, manifest: stored.manifest, digest: stored.digest, chain };
    stored = await find(chooseFromIndex(stored.manifest, what).digest);
    chain.push(stored.bytes);
  }
  throw new ProxyError("ARTIFACT_CONTENT", "config", `${what}: an index in an index in an index`);
}

/** Fetches the module that a resolved manifest holds. */
export async function fetchModule(
  repository: Repository,
  resolved: Resolved,
  what: string,
  progress?: Progress,
): Promise<Buffer> {
  const layer = moduleLayer(resolved.manifest, what);
  return unbox(await repository.blob(layer, progress), what);
}

/** The module of a file (plain, compressed, archive) or an image layout. */
export async function readArtifact(path: string, tag?: string): Promise<Artifact> {
  if (isImageLayout(path)) {
    const layout = openImageLayout(path);
    const { manifest, digest } = layoutManifest(layout, tag, path);
    const module = await unbox(layout.blob(moduleLayer(manifest, path)), path);
    return { module, from: path, digest, manifest };
  }
  return { module: await unbox(readArtifactFile(path), path), from: path, digest: undefined, manifest: undefined };
}

function readArtifactFile(path: string): Buffer {
  try {
    const status = statSync(path);
    // They have no size, and no end.
    if (status.isCharacterDevice() || status.isBlockDevice()) throw new Error("it is a device");
    if (status.size <= MAX_ARTIFACT_BYTES) return readFileSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const known = { ENOENT: "there is no such file", EISDIR: "it is a folder, and no OCI layout" }[code ?? ""];
    const why = known ?? (error instanceof Error ? error.message : String(error));
    throw new ProxyError("ARTIFACT_UNREADABLE", "config", `${path}: ${why}`, error);
  }
  throw new ProxyError("ARTIFACT_TOO_LARGE", "config", `${path}: it has more than ${MAX_ARTIFACT_BYTES} bytes`);
}

/** Stores a module under a tag. Returns the manifest's digest. */
export async function storeModule(
  repository: Repository,
  tag: string,
  module: Buffer,
  layout: Layout,
  facts: Facts,
  progress?: Progress,
): Promise<string> {
  const { manifest, blobs } = pack(module, layout, facts);
  for (const blob of blobs) await repository.putBlob(blob, progress);
  const bytes = manifestBytes(manifest);
  await repository.putManifest(tag, bytes, manifest.mediaType);
  // Not by the tag: somebody else may have pushed to it by now, and theirs would be signed.
  return (await need(repository, digestOf(bytes), tag)).digest;
}

async function need(repository: Repository, reference: string, what: string): Promise<Stored> {
  const stored = await repository.manifest(reference);
  if (stored === undefined)
    throw new ProxyError("ARTIFACT_MISSING", "config", `${what}: the registry has no such repository, tag or digest`);
  return stored;
}
