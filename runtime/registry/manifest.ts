/** Manifests and indexes of the OCI image specification, and the media types that Wasm modules come in. */
import { MAX_ARTIFACT_LAYERS, MAX_INDEX_ENTRIES, MAX_MANIFEST_JSON_BYTES } from "../limits.ts";
import { ProxyError } from "../errors.ts";

export const MediaType = {
  MANIFEST: "application/vnd.oci.image.manifest.v1+json",
  INDEX: "application/vnd.oci.image.index.v1+json",
  DOCKER_MANIFEST: "application/vnd.docker.distribution.manifest.v2+json",
  DOCKER_LIST: "application/vnd.docker.distribution.manifest.list.v2+json",
  IMAGE_CONFIG: "application/vnd.oci.image.config.v1+json",
  EMPTY: "application/vnd.oci.empty.v1+json",
  TAR: "application/vnd.oci.image.layer.v1.tar",
  TAR_GZIP: "application/vnd.oci.image.layer.v1.tar+gzip",
  TAR_ZSTD: "application/vnd.oci.image.layer.v1.tar+zstd",
  DOCKER_TAR_GZIP: "application/vnd.docker.image.rootfs.diff.tar.gzip",
  /** CNCF's artifact. */
  CNCF_CONFIG: "application/vnd.wasm.config.v0+json",
  WASM: "application/wasm",
  /** solo's artifact. */
  SOLO_CONFIG: "application/vnd.module.wasm.config.v1+json",
  SOLO_WASM: "application/vnd.module.wasm.content.layer.v1+wasm",
  /** wasm-to-oci's, which Kubewarden uses. */
  KUBEWARDEN_CONFIG: "application/vnd.wasm.config.v1+json",
  KUBEWARDEN_WASM: "application/vnd.wasm.content.layer.v1+wasm",
  /** cosign's signatures: the classic form and the bundle. */
  SIMPLE_SIGNING: "application/vnd.dev.cosign.simplesigning.v1+json",
  BUNDLE: "application/vnd.dev.sigstore.bundle.v0.3+json",
} as const;

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly artifactType?: string;
  readonly platform?: { readonly os?: string; readonly architecture?: string };
}

/** What manifests and indexes have in common. */
interface Head {
  readonly schemaVersion: 2;
  readonly mediaType: string;
  readonly artifactType?: string;
  /** What it refers to. */
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Manifest extends Head {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

export interface Index extends Head {
  readonly manifests: readonly Descriptor[];
}

/** Reads a manifest or an index. Throws ProxyError ARTIFACT_MANIFEST with the field that is not right. */
export function parseManifest(bytes: Uint8Array, what: string): Manifest | Index {
  const wrong = (why: string): ProxyError => new ProxyError("ARTIFACT_MANIFEST", "config", `${what}: ${why}`);
  if (bytes.length > MAX_MANIFEST_JSON_BYTES)
    throw wrong(`its manifest has more than ${MAX_MANIFEST_JSON_BYTES} bytes`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw new ProxyError("ARTIFACT_MANIFEST", "config", `${what}: its manifest is no JSON`, cause);
  }
  if (!isObject(parsed) || parsed["schemaVersion"] !== 2) throw wrong("its manifest has no schemaVersion 2");
  const { mediaType, subject, annotations, artifactType } = parsed;
  const ownType = Array.isArray(parsed["manifests"]) ? MediaType.INDEX : MediaType.MANIFEST;
  const head = {
    schemaVersion: 2,
    mediaType: typeof mediaType === "string" ? mediaType : ownType,
    ...(typeof artifactType === "string" ? { artifactType } : {}),
    ...(subject === undefined || subject === null ? {} : { subject: descriptor(subject, "subject", wrong) }),
    ...(annotations === undefined || annotations === null ? {} : { annotations: texts(annotations, wrong) }),
  } as const;
  if (Array.isArray(parsed["manifests"]))
    return { ...head, manifests: descriptors(parsed["manifests"], "manifests", MAX_INDEX_ENTRIES, wrong) };
  if (!Array.isArray(parsed["layers"])) throw wrong("its manifest has neither layers nor manifests");
  const config = descriptor(parsed["config"], "config", wrong);
  return { ...head, config, layers: descriptors(parsed["layers"], "layers", MAX_ARTIFACT_LAYERS, wrong) };
}

export function isIndex(manifest: Manifest | Index): manifest is Index {
  return "manifests" in manifest;
}

/** The bytes of a manifest as they are stored and signed. */
export function manifestBytes(manifest: Manifest | Index): Buffer {
  return Buffer.from(JSON.stringify(manifest));
}

type Wrong = (why: string) => ProxyError;

function descriptors(list: readonly unknown[], field: string, most: number, wrong: Wrong): Descriptor[] {
  if (list.length > most) throw wrong(`${field} has more than ${most} entries`);
  return list.map((one, n) => descriptor(one, `${field}[${n}]`, wrong));
}

function descriptor(value: unknown, field: string, wrong: Wrong): Descriptor {
  if (!isObject(value)) throw wrong(`${field} is no descriptor`);
  const { mediaType, digest, size, annotations, artifactType, platform } = value;
  if (typeof mediaType !== "string") throw wrong(`${field}.mediaType is missing`);
  if (typeof digest !== "string" || !/^sha256:[0-9a-f]{64}$/.test(digest))
    throw wrong(`${field}.digest is no sha256 digest`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw wrong(`${field}.size is no number of bytes`);
  return {
    mediaType,
    digest,
    size,
    ...(annotations === undefined || annotations === null ? {} : { annotations: texts(annotations, wrong) }),
    ...(typeof artifactType === "string" ? { artifactType } : {}),
    ...(isObject(platform) ? { platform: platformOf(platform) } : {}),
  };
}

/** What is no text in it is as good as absent. */
function platformOf({ os, architecture }: Record<string, unknown>): NonNullable<Descriptor["platform"]> {
  return {
    ...(typeof os === "string" ? { os } : {}),
    ...(typeof architecture === "string" ? { architecture } : {}),
  };
}

function texts(value: unknown, wrong: Wrong): Record<string, string> {
  if (!isObject(value) || !Object.values(value).every((one) => typeof one === "string"))
    throw wrong("annotations are no texts");
  return value as Record<string, string>;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
