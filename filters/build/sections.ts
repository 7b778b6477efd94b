/** Custom sections at the end of a module, where they move no code offset. */

/** Custom section name: serialized `google.protobuf.FileDescriptorSet` of the configuration. */
export const SCHEMA_SECTION = "sluice.schema";
/** Custom section name: {@link Manifest} as JSON. */
export const MANIFEST_SECTION = "sluice.manifest";
/** Custom section name: the source map, JSON, in modules that carry theirs. */
export const SOURCE_MAP_SECTION = "sluice.sourcemap";

/** What a module says about itself. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly license: string;
  /** Proxy-Wasm version. */
  readonly abi: string;
  /** What it filters: `http`, `network`, or both. */
  readonly kinds: readonly ("http" | "network")[];
  /** Callbacks that the module exports. */
  readonly callbacks: readonly string[];
  /** Host functions that it imports, `module.name`. */
  readonly imports: readonly string[];
  /** Full name of the configuration message in `sluice.schema`; absent: the configuration is bytes. */
  readonly configuration?: string;
  /** Who should share an instance, unless the host's configuration says it; absent: `worker`. */
  readonly isolation?: string;
  /** Metrics that it may define, as its author lists them. */
  readonly metrics?: readonly string[];
  /** The author's name for the state of the source: a tag, a commit. */
  readonly revision?: string;
  /** SHA-256 of the sources, SDK and compiler options, lower-case hex: the same for the same module. */
  readonly source: string;
  /** Compiler and its version. */
  readonly compiler: string;
}

/** The module with a custom section appended. */
export function appendSection(module: Uint8Array, name: string, content: Uint8Array): Uint8Array {
  const nameBytes = Buffer.from(name, "utf8");
  const nameSize = leb128(nameBytes.length);
  const size = leb128(nameSize.length + nameBytes.length + content.length);
  return Buffer.concat([module, Buffer.of(0), size, nameSize, nameBytes, content]);
}

function leb128(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}
