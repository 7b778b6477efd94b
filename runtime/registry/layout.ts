/** The shapes in which Wasm modules lie in registries: one is chosen for whoever reads it, all of them are read. */
import { ProxyError } from "../errors.ts";
import { MAX_SHOWN_ANSWER } from "../limits.ts";
import { shownText } from "../observe/wire-text.ts";
import { digestOf } from "./digest.ts";
import { isIndex, MediaType } from "./manifest.ts";
import type { Descriptor, Index, Manifest } from "./manifest.ts";
import { boxAsPlugin } from "./unbox.ts";

/** Who is to read it: Istio, Envoy Gateway, Higress · CNCF's tools · wasme · Kubewarden. */
export const LAYOUTS = ["istio", "cncf", "solo", "kubewarden"] as const;
export type Layout = (typeof LAYOUTS)[number];

/** A manifest with the blobs that it names. */
export interface Packed {
  readonly manifest: Manifest;
  readonly blobs: readonly Buffer[];
}

/** What the module says of itself, or the one who pushes it. */
export interface Facts {
  /** org.opencontainers.image.* annotations: title, version, description, licenses, source, revision. */
  readonly annotations: Readonly<Record<string, string>>;
  /** The module's manifest, JSON, for those who look at the artifact without the module. */
  readonly manifest: string | undefined;
}

const RAW_TYPES: ReadonlySet<string> = new Set([MediaType.WASM, MediaType.SOLO_WASM, MediaType.KUBEWARDEN_WASM]);
const TAR_TYPES: ReadonlySet<string> = new Set([
  MediaType.TAR,
  MediaType.TAR_GZIP,
  MediaType.TAR_ZSTD,
  MediaType.DOCKER_TAR_GZIP,
]);

/** Annotation with the module's own hash: what `vm_config.code.remote.sha256` of plain URLs means. */
const WASM_DIGEST_ANNOTATION = "sluice.module.sha256";
/** Annotation with the module's manifest: `sluice inspect` needs no more than the artifact's manifest. */
const MANIFEST_ANNOTATION = "sluice.module.manifest";

/** Packs a module. The same module and facts give the same bytes. */
export function pack(module: Buffer, layout: Layout, facts: Facts): Packed {
  const annotations = {
    ...facts.annotations,
    [WASM_DIGEST_ANNOTATION]: digestOf(module),
    ...(facts.manifest === undefined ? {} : { [MANIFEST_ANNOTATION]: facts.manifest }),
  };
  switch (layout) {
    case "istio": {
      const { layer, tar } = boxAsPlugin(module);
      const config = json({
        architecture: "amd64",
        os: "linux",
        config: {},
        rootfs: { type: "layers", diff_ids: [digestOf(tar)] },
      });
      const variant = { ...annotations, "module.wasm.image/variant": "compat" };
      return packed(
        descriptor(MediaType.IMAGE_CONFIG, config),
        [descriptor(MediaType.TAR_GZIP, layer)],
        [config, layer],
        variant,
      );
    }
    case "cncf": {
      const config = json({ architecture: "wasm", os: "wasip1", layerDigests: [digestOf(module)] });
      return packed(
        descriptor(MediaType.CNCF_CONFIG, config),
        [descriptor(MediaType.WASM, module)],
        [config, module],
        annotations,
      );
    }
    case "solo": {
      const config = json({ type: "envoy_proxy", abiVersions: [], config: { rootIds: [] } });
      const inner = descriptor(MediaType.SOLO_CONFIG, config);
      return packed(inner, [inner, descriptor(MediaType.SOLO_WASM, module)], [config, module], annotations);
    }
    case "kubewarden": {
      const config = json({});
      return packed(
        descriptor(MediaType.KUBEWARDEN_CONFIG, config),
        [descriptor(MediaType.KUBEWARDEN_WASM, module)],
        [config, module],
        annotations,
      );
    }
  }
}

/**
 * The layer that holds the module: the one of a raw module's type, else the last archive (Istio's readers take the last
 * layer whatever stands before it). Throws ProxyError ARTIFACT_CONTENT that names what is there instead.
 */
export function moduleLayer(manifest: Manifest, what: string): Descriptor {
  const raw = manifest.layers.filter(({ mediaType }) => RAW_TYPES.has(mediaType));
  if (raw.length === 1) return raw[0]!;
  if (raw.length > 1) throw wrong(what, `it has ${raw.length} modules, and which one is meant cannot be told`);
  const last = manifest.layers.at(-1);
  if (last !== undefined && (TAR_TYPES.has(last.mediaType) || last.mediaType.endsWith("+gzip"))) return last;
  const types = shownText(manifest.layers.map(({ mediaType }) => mediaType).join(", "), MAX_SHOWN_ANSWER);
  throw wrong(what, types === "" ? "it has no layers" : `it holds no Wasm module, but: ${types}`);
}

/** Which entry of an index holds the module: one for Wasm, else one for this kind of machine, else the only one. */
export function chooseFromIndex(index: Index, what: string): Descriptor {
  const candidates = index.manifests.filter(
    ({ artifactType }) => artifactType === undefined || artifactType.includes("wasm"),
  );
  const wasm = candidates.find(
    ({ platform }) => platform?.architecture === "wasm" || platform?.os?.startsWith("wasi") === true,
  );
  const host = candidates.find(({ platform }) => platform?.os === "linux" && platform.architecture === "amd64");
  const found = wasm ?? host ?? (candidates.length === 1 ? candidates[0] : undefined);
  if (found === undefined) throw wrong(what, "it is an index without an entry for Wasm");
  return found;
}

/** The name of a manifest's layout, for people. */
export function layoutOf(manifest: Manifest | Index): string {
  if (isIndex(manifest)) return "index";
  const types = manifest.layers.map(({ mediaType }) => mediaType);
  if (types.includes(MediaType.WASM)) return "cncf";
  if (types.includes(MediaType.SOLO_WASM)) return "solo";
  if (types.includes(MediaType.KUBEWARDEN_WASM)) return "kubewarden";
  return TAR_TYPES.has(types.at(-1) ?? "") ? "istio" : "unknown";
}

function packed(
  config: Descriptor,
  layers: readonly Descriptor[],
  blobs: readonly Buffer[],
  annotations: Readonly<Record<string, string>>,
): Packed {
  return { manifest: { schemaVersion: 2, mediaType: MediaType.MANIFEST, config, layers, annotations }, blobs };
}

export function descriptor(mediaType: string, bytes: Buffer): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function wrong(what: string, why: string): ProxyError {
  return new ProxyError("ARTIFACT_CONTENT", "config", `${what}: ${why}`);
}
