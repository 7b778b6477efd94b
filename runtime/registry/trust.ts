/** Signatures where they lie: attached to an artifact in a registry, found and checked. */
import type { KeyObject } from "node:crypto";
import { MAX_SIGNATURE_BYTES, MAX_SIGNATURES } from "../limits.ts";
import { ProxyError } from "../errors.ts";
import { addLayers } from "./attached-image.ts";
import { descriptor } from "./layout.ts";
import { isIndex, MediaType } from "./manifest.ts";
import type { Descriptor } from "./manifest.ts";
import type { Repository } from "./repository.ts";
import { keyFingerprint, PREDICATE, refusal, SIGNATURE_ANNOTATION, signBundle, signClassic } from "./signature.ts";
import type { Signature } from "./signature.ts";

/** Annotation of a bundle's manifest: what its statement says (BUNDLE_SPEC). */
const PREDICATE_ANNOTATION = "dev.sigstore.bundle.predicateType";
/** What is wrong with one signature and no other. That a registry cannot be reached is no such thing. */
const DAMAGED: ReadonlySet<string> = new Set([
  "ARTIFACT_DIGEST",
  "ARTIFACT_MANIFEST",
  "ARTIFACT_REGISTRY",
  "ARTIFACT_TOO_LARGE",
]);

/** A key with the name that people know it by: its file. */
export interface NamedKey {
  readonly name: string;
  readonly key: KeyObject;
}

/** Signatures that are good, and why the others are not. */
export interface Verdict {
  readonly good: readonly { readonly key: string; readonly form: Signature["form"] }[];
  readonly refused: readonly string[];
}

/** The tag of the image that holds an artifact's classic signatures. */
export function signatureTag(digest: string): string {
  return `${digest.replace(":", "-")}.sig`;
}

/** Signs the manifest with this digest and attaches the signature. `shownAs`: the reference that goes into classic payloads. */
export async function attachSignature(
  repository: Repository,
  subject: Descriptor,
  key: KeyObject,
  form: Signature["form"],
  shownAs: string,
): Promise<void> {
  if (form === "classic") await attachClassic(repository, subject.digest, signClassic(key, shownAs, subject.digest));
  else await attachBundle(repository, subject, signBundle(key, subject.digest));
}

async function attachClassic(repository: Repository, digest: string, { payload, signature }: Signature): Promise<void> {
  await repository.putBlob(payload);
  const annotations = { [SIGNATURE_ANNOTATION]: signature.toString("base64") };
  await addLayers(repository, signatureTag(digest), [
    { ...descriptor(MediaType.SIMPLE_SIGNING, payload), annotations },
  ]);
}

async function attachBundle(repository: Repository, subject: Descriptor, { payload }: Signature): Promise<void> {
  const empty = Buffer.from("{}");
  await repository.putBlob(payload);
  await repository.putBlob(empty);
  await repository.putReferrer({
    schemaVersion: 2,
    mediaType: MediaType.MANIFEST,
    artifactType: MediaType.BUNDLE,
    config: descriptor(MediaType.EMPTY, empty),
    layers: [descriptor(MediaType.BUNDLE, payload)],
    subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size },
    annotations: {
      "dev.sigstore.bundle.content": "dsse-envelope",
      [PREDICATE_ANNOTATION]: PREDICATE,
    },
  });
}

/** All signatures attached to a manifest, in both forms; at most MAX_SIGNATURES are looked at. */
export async function findSignatures(repository: Repository, digest: string): Promise<Signature[]> {
  const found: Signature[] = [];
  const classic = await repository.manifest(signatureTag(digest));
  if (classic !== undefined && !isIndex(classic.manifest)) {
    for (const layer of classic.manifest.layers.slice(0, MAX_SIGNATURES)) {
      if (layer.mediaType !== MediaType.SIMPLE_SIGNING) continue;
      const signature = Buffer.from(layer.annotations?.[SIGNATURE_ANNOTATION] ?? "", "base64");
      found.push(await read("classic", signature, () => small(repository, layer)));
    }
  }
  const referrers = (await repository.referrers(digest)).filter(isSignature);
  for (const referrer of referrers.slice(0, MAX_SIGNATURES)) {
    found.push(
      await read("bundle", Buffer.alloc(0), async () => {
        const stored = await repository.manifest(referrer.digest);
        const manifest = stored === undefined || isIndex(stored.manifest) ? undefined : stored.manifest;
        const layer = manifest?.subject?.digest === digest ? manifest.layers[0] : undefined;
        // As good as no bundle at all.
        return layer === undefined ? Buffer.alloc(0) : small(repository, layer);
      }),
    );
  }
  return found;
}

/** False for bundles that say themselves that they are something else: attestations can be many, and large. */
function isSignature({ artifactType, annotations }: Descriptor): boolean {
  if (artifactType?.startsWith("application/vnd.dev.sigstore.bundle") !== true) return false;
  return (annotations?.[PREDICATE_ANNOTATION] ?? PREDICATE) === PREDICATE;
}

/** A signature, or why it is none: one that is damaged must not hide those that are good. */
async function read(form: Signature["form"], signature: Buffer, fetch: () => Promise<Buffer>): Promise<Signature> {
  try {
    return { form, payload: await fetch(), signature };
  } catch (error) {
    if (!(error instanceof ProxyError) || !DAMAGED.has(error.code)) throw error;
    return { form, payload: Buffer.alloc(0), signature, unread: error.message };
  }
}

async function small(repository: Repository, layer: Descriptor): Promise<Buffer> {
  if (layer.size <= MAX_SIGNATURE_BYTES) return repository.blob(layer);
  const what = `${repository.name}@${layer.digest}`;
  throw new ProxyError(
    "ARTIFACT_TOO_LARGE",
    "config",
    `${what}: a signature has ${layer.size} bytes, and ${MAX_SIGNATURE_BYTES} are allowed`,
  );
}

/** Which of the keys have signed this manifest. */
export function judge(signatures: readonly Signature[], keys: readonly NamedKey[], digest: string): Verdict {
  const good: { key: string; form: Signature["form"] }[] = [];
  const refused: string[] = [];
  for (const signature of signatures) {
    for (const { name, key } of keys) {
      const why = refusal(key, signature, digest);
      if (why === undefined) good.push({ key: name, form: signature.form });
      else refused.push(`${signature.form} signature, key ${name} (${keyFingerprint(key).slice(0, 12)}): ${why}`);
    }
  }
  return { good, refused };
}

/** Throws ProxyError SIGNATURE_MISSING unless one of the keys has signed. */
export function requireSignature(verdict: Verdict, keys: readonly NamedKey[], what: string): void {
  if (verdict.good.length > 0) return;
  const names = keys.map(({ name }) => name).join(", ");
  const why = verdict.refused.length === 0 ? "it carries no signature" : verdict.refused.join("; ");
  throw new ProxyError("SIGNATURE_MISSING", "config", `${what}: not signed by ${names}: ${why}`);
}
