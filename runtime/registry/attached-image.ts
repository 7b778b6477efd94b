/** The image under a tag of cosign's, `sha256-….sig` or `.att`: each layer is one signature or attestation, of anybody's. */
import { MAX_ARTIFACT_LAYERS } from "../limits.ts";
import { ProxyError } from "../errors.ts";
import { descriptor } from "./layout.ts";
import { isIndex, MediaType } from "./manifest.ts";
import type { Descriptor } from "./manifest.ts";
import type { Repository, Stored } from "./repository.ts";
import { SIGNATURE_ANNOTATION } from "./signature.ts";

/**
 * Adds layers, whose blobs are stored, to those under the tag; what is there stays as it is. `whole`: an image of just these
 * layers, taken as it is where it says all. Rejects with ProxyError ARTIFACT_CONTENT where the tag stands for something else
 * or has no room, or with what the repository rejects with.
 */
export async function addLayers(
  repository: Repository,
  tag: string,
  layers: readonly Descriptor[],
  whole?: Stored,
): Promise<void> {
  const there = await repository.manifest(tag);
  const image = there?.manifest;
  if (image !== undefined && isIndex(image))
    throw wrong(repository, tag, "it is an index, no image of signatures, and is not overwritten");
  const old = image?.layers ?? [];
  const known = new Set(old.map(identity));
  const missing = layers.filter((layer) => !known.has(identity(layer)));
  if (missing.length === 0) return;
  const given = new Set(layers.map(identity));
  if (whole !== undefined && old.every((layer) => given.has(identity(layer)))) {
    await repository.putManifest(tag, whole.bytes, whole.manifest.mediaType);
    return;
  }
  const all = [...old, ...missing];
  if (all.length > MAX_ARTIFACT_LAYERS)
    throw wrong(repository, tag, `it would have ${all.length} layers, and ${MAX_ARTIFACT_LAYERS} are allowed`);
  const config = Buffer.from(
    JSON.stringify({
      architecture: "",
      os: "",
      created: "0001-01-01T00:00:00Z",
      config: {},
      rootfs: { type: "layers", diff_ids: all.map(({ digest }) => digest) },
      history: all.map(() => ({ created: "0001-01-01T00:00:00Z" })),
    }),
  );
  await repository.putBlob(config);
  const kept = there === undefined ? undefined : (JSON.parse(there.bytes.toString("utf8")) as { layers: unknown[] });
  const mediaType = image?.mediaType ?? MediaType.MANIFEST;
  const manifest = {
    schemaVersion: 2,
    mediaType,
    // Whatever others have written into it, in words that are not known here too.
    ...kept,
    config: descriptor(MediaType.IMAGE_CONFIG, config),
    layers: [...(kept?.layers ?? []), ...missing],
  };
  await repository.putManifest(tag, Buffer.from(JSON.stringify(manifest)), mediaType);
}

/** Signatures of one payload by two keys are two: they differ in the annotation. */
function identity({ digest, annotations }: Descriptor): string {
  return `${digest} ${annotations?.[SIGNATURE_ANNOTATION] ?? ""}`;
}

function wrong(repository: Repository, tag: string, why: string): ProxyError {
  return new ProxyError("ARTIFACT_CONTENT", "config", `${repository.name}:${tag}: ${why}`);
}
