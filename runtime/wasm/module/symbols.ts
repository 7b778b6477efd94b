/**
 * What a failure needs to name functions and lines: parts of the original binary as they came, on shared memory, so that
 * all workers have them without a copy. They are read only when something fails, by the worker in which it does.
 */
import { MAX_SYMBOL_BYTES } from "../../limits.ts";
import { ExternalKind } from "./binary.ts";
import type { ModuleBinary, Section } from "./binary.ts";
import { Reader } from "./reader.ts";

/** Plain data: survives structured clone. Offsets are into the original file. */
export interface ModuleSymbols {
  /** Functions that the module imports; they have the first indices. */
  readonly importedFunctions: number;
  /** Of each function of its own, where its body begins, ascending. */
  readonly bodies: Uint32Array;
  /** Where the contents of the code section begin: addresses of DWARF count from there. */
  readonly codeStart: number;
  /** Exported functions: index and name, for modules without a name section. */
  readonly exports: readonly (readonly [index: number, name: string])[];
  /** Contents of the `name` section. */
  readonly names: Uint8Array | undefined;
  /** A source map, JSON. */
  readonly sourceMap: Uint8Array | undefined;
  /** Contents of `.debug_line` and `.debug_line_str`. */
  readonly lines: Uint8Array | undefined;
  readonly lineStrings: Uint8Array | undefined;
}

/** Custom section of our builds: the source map itself, so that a shared module keeps it. */
export const SOURCE_MAP_SECTION = "sluice.sourcemap";
const SOURCE_MAP_URL_SECTION = "sourceMappingURL";

/** Gives a file that lies beside the module, by its plain name; undefined when there is none that may be read. */
export type ReadBeside = (name: string) => Uint8Array | undefined;

/** Takes the symbols out of a module whose code section is known to be right. What is too large is left out. */
export function collectSymbols(bytes: Uint8Array, binary: ModuleBinary, readBeside: ReadBeside): ModuleSymbols {
  const { sections, imports, exports } = binary;
  const code = sections.find(({ id }) => id === CODE_SECTION);
  return {
    importedFunctions: imports.filter(({ kind }) => kind === ExternalKind.FUNCTION).length,
    bodies: code === undefined ? new Uint32Array() : bodyOffsets(bytes, code),
    codeStart: code === undefined ? 0 : code.start,
    exports: exports
      .filter(({ kind }) => kind === ExternalKind.FUNCTION)
      .map(({ index, name }) => [index, name] as const),
    names: custom(bytes, sections, "name"),
    sourceMap: custom(bytes, sections, SOURCE_MAP_SECTION) ?? mapByUrl(bytes, sections, readBeside),
    lines: custom(bytes, sections, ".debug_line"),
    lineStrings: custom(bytes, sections, ".debug_line_str"),
  };
}

const CODE_SECTION = 10;

function bodyOffsets(bytes: Uint8Array, { start, end }: Section): Uint32Array {
  const reader = new Reader(bytes, start, end);
  const count = reader.count(end - start, "functions");
  const offsets = new Uint32Array(new SharedArrayBuffer(count * 4));
  for (let n = 0; n < count; n++) {
    const size = reader.u32();
    offsets[n] = reader.at;
    reader.skip(size);
  }
  return offsets;
}

/** Contents of the first custom section of that name. */
export function customSection(bytes: Uint8Array, sections: readonly Section[], name: string): Uint8Array | undefined {
  const section = sections.find((one) => one.id === 0 && one.name === name);
  if (section === undefined) return undefined;
  const reader = new Reader(bytes, section.start, section.end);
  reader.name();
  return bytes.subarray(reader.at, section.end);
}

function custom(bytes: Uint8Array, sections: readonly Section[], name: string): Uint8Array | undefined {
  return shared(customSection(bytes, sections, name));
}

function shared(bytes: Uint8Array | undefined): Uint8Array | undefined {
  if (bytes === undefined || bytes.length === 0 || bytes.length > MAX_SYMBOL_BYTES) return undefined;
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

/** The map that the section `sourceMappingURL` names: inline, or a file beside the module. Never another place. */
function mapByUrl(bytes: Uint8Array, sections: readonly Section[], readBeside: ReadBeside): Uint8Array | undefined {
  const section = customSection(bytes, sections, SOURCE_MAP_URL_SECTION);
  if (section === undefined || section.length > MAX_SYMBOL_BYTES * 2) return undefined;
  let url: string;
  try {
    url = new Reader(section, 0, section.length).name();
  } catch {
    // A broken section is no reason to refuse a module: it only names no lines.
    return undefined;
  }
  if (url.startsWith("data:")) {
    const match = /^data:application\/json(?:;charset=[\w-]+)?;base64,/i.exec(url);
    return match === null ? undefined : shared(Buffer.from(url.slice(match[0].length), "base64"));
  }
  const name = url.startsWith("./") ? url.slice(2) : url;
  if (!/^[\w@+-][\w.@+-]{0,200}$/.test(name)) return undefined;
  return shared(readBeside(name));
}
