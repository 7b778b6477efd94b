/** OCI image layouts: artifacts as a folder, or as one archive to send (`oci-layout`, `index.json`, `blobs/sha256/…`). */
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { MAX_ARTIFACT_BYTES, MAX_INDEX_DEPTH, MAX_MANIFEST_JSON_BYTES } from "../limits.ts";
import { ProxyError } from "../errors.ts";
import { checkDigest, digestOf } from "./digest.ts";
import { isIndex, manifestBytes, MediaType, parseManifest } from "./manifest.ts";
import type { Descriptor, Index, Manifest } from "./manifest.ts";
import { chooseFromIndex } from "./layout.ts";
import type { Packed } from "./layout.ts";
import { looksLikeTar, readTar, writeTar } from "./tar.ts";
import { writeWhole } from "./whole-file.ts";

/** Annotation of an entry of index.json that names its tag. */
const NAME = "org.opencontainers.image.ref.name";
const VERSION = `{"imageLayoutVersion":"1.0.0"}`;

/** Blobs by digest, wherever they lie. */
export interface ImageLayout {
  readonly index: Index;
  blob(descriptor: Descriptor): Buffer;
}

/** True for a folder or an archive that is an image layout. */
export function isImageLayout(path: string): boolean {
  if (!existsSync(path)) return false;
  return statSync(path).isDirectory() ? existsSync(join(path, "oci-layout")) : /\.(?:tar|oci)$/.test(path);
}

/** Opens a layout folder or archive. Throws ProxyError ARTIFACT_CONTENT. */
export function openImageLayout(path: string): ImageLayout {
  if (statSync(path).isDirectory()) {
    return layoutOver(path, (name) => {
      const file = join(path, name);
      const status = statSync(file, { throwIfNoEntry: false });
      // A pipe or a device of that name would never end.
      if (status?.isFile() !== true) return undefined;
      if (status.size > MAX_ARTIFACT_BYTES) throw tooLarge(file);
      return readFileSync(file);
    });
  }
  if (statSync(path).size > 4 * MAX_ARTIFACT_BYTES) throw tooLarge(path);
  const archive = readFileSync(path);
  if (!looksLikeTar(archive)) throw wrong(path, "it is no archive of an OCI image layout");
  const files = new Map(readTar(archive).map(({ name, bytes }) => [name.replace(/^\.\//, ""), bytes]));
  return layoutOver(path, (name) => files.get(name));
}

/** The manifest under a tag, or the only one. */
export function layoutManifest(
  layout: ImageLayout,
  tag: string | undefined,
  what: string,
): { readonly manifest: Manifest; readonly digest: string } {
  const named = layout.index.manifests.filter(
    ({ annotations }) =>
      tag === undefined ||
      annotations?.[NAME] === tag ||
      annotations?.["io.containerd.image.name"]?.endsWith(`:${tag}`) === true,
  );
  if (named.length === 0) throw wrong(what, tag === undefined ? "its index is empty" : `it has no tag ${tag}`);
  let entry = named.length === 1 ? named[0]! : chooseFromIndex({ ...layout.index, manifests: named }, what);
  for (let depth = 0; depth < MAX_INDEX_DEPTH; depth++) {
    const parsed = parseManifest(layout.blob(entry), what);
    if (!isIndex(parsed)) return { manifest: parsed, digest: entry.digest };
    entry = chooseFromIndex(parsed, what);
  }
  throw wrong(what, "an index in an index in an index");
}

/**
 * Writes a layout: with a name that ends in `.tar` an archive with this artifact alone, else a folder, where artifacts
 * under other tags stay. Throws ProxyError ARTIFACT_CONTENT for a layout that is there and cannot be read.
 */
export function writeImageLayout(path: string, { manifest, blobs }: Packed, tag: string): void {
  const bytes = manifestBytes(manifest);
  const entry: Descriptor = {
    mediaType: manifest.mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
    annotations: { [NAME]: tag },
  };
  const archive = path.endsWith(".tar");
  const others =
    archive || !isImageLayout(path)
      ? []
      : openImageLayout(path).index.manifests.filter(({ annotations }) => annotations?.[NAME] !== tag);
  const index: Index = { schemaVersion: 2, mediaType: MediaType.INDEX, manifests: [...others, entry] };
  const files = [
    { name: "oci-layout", bytes: Buffer.from(VERSION) },
    ...[bytes, ...blobs].map((blob) => ({ name: blobPath(digestOf(blob)), bytes: blob })),
    // Last: what it names is there by then.
    { name: "index.json", bytes: manifestBytes(index) },
  ];
  if (archive) {
    writeWhole(path, writeTar(files), 0o644);
    return;
  }
  for (const { name, bytes: content } of files) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeWhole(join(path, name), content, 0o644);
  }
}

function layoutOver(path: string, read: (name: string) => Buffer | undefined): ImageLayout {
  const text = read("index.json");
  if (read("oci-layout") === undefined || text === undefined)
    throw wrong(path, "it is no OCI image layout: oci-layout or index.json is missing");
  if (text.length > MAX_MANIFEST_JSON_BYTES) throw tooLarge(`${path}/index.json`);
  const index = parseManifest(text, path);
  if (!isIndex(index)) throw wrong(path, "its index.json is no index");
  return {
    index,
    blob(wanted) {
      const bytes = read(blobPath(wanted.digest));
      if (bytes === undefined) throw wrong(path, `the blob ${wanted.digest} is missing`);
      checkDigest(bytes, wanted.digest, path);
      return bytes;
    },
  };
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function wrong(what: string, why: string): ProxyError {
  return new ProxyError("ARTIFACT_CONTENT", "config", `${what}: ${why}`);
}

function tooLarge(what: string): ProxyError {
  return new ProxyError("ARTIFACT_TOO_LARGE", "config", `${what}: it has more than ${MAX_ARTIFACT_BYTES} bytes`);
}
