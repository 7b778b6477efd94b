/** Signatures where they lie: attached to an artifact in a registry, found, checked, and copied with it. */
import type { KeyObject } from "node:crypto";
import { MAX_SIGNATURES } from "../limits.ts";
import { ProxyError } from "../errors.ts";
import { descriptor } from "./layout.ts";
import { isIndex, manifestBytes, MediaType } from "./manifest.ts";
import type { Descriptor, Manifest } from "./manifest.ts";
import type { Repository } from "./repository.ts";
import { keyFingerprint, refusal, SIGNATURE_ANNOTATION, signBundle, signClassic } from "./signature.ts";
import type { Signature } from "./signature.ts";

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
  const tag = signatureTag(digest);
  const stored = await repository.manifest(tag);
  const known = stored !== undefined && !isIndex(stored.manifest) ? stored.manifest.layers : [];
  const layer: Descriptor = {
    ...descriptor(MediaType.SIMPLE_SIGNING, payload),
    annotations: { [SIGNATURE_ANNOTATION]: signature.toString("base64") },
  };
  const layers = [...known, layer];
  const config = Buffer.from(
    JSON.stringify({
      architecture: "",
      os: "",
      created: "0001-01-01T00:00:00Z",
      config: {},
      rootfs: { type: "layers", diff_ids: layers.map((one) => one.digest) },
      history: layers.map(() => ({ created: "0001-01-01T00:00:00Z" })),
    }),
  );
  await repository.putBlob(payload);
  await repository.putBlob(config);
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MediaType.MANIFEST,
    config: descriptor(MediaType.IMAGE_CONFIG, config),
    layers,
  };
  await repository.putManifest(tag, manifestBytes(manifest), manifest.mediaType);
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
      "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
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
      found.push({ form: "classic", payload: await repository.blob(layer), signature });
    }
  }
  const referrers = (await repository.referrers(digest)).filter(
    ({ artifactType }) => artifactType?.startsWith("application/vnd.dev.sigstore.bundle") === true,
  );
  for (const referrer of referrers.slice(0, MAX_SIGNATURES)) {
    const stored = await repository.manifest(referrer.digest);
    if (stored === undefined || isIndex(stored.manifest) || stored.manifest.subject?.digest !== digest) continue;
    const [layer] = stored.manifest.layers;
    if (layer !== undefined)
      found.push({ form: "bundle", payload: await repository.blob(layer), signature: Buffer.alloc(0) });
  }
  return found;
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
