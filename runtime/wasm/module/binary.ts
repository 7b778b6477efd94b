/**
 * Reads the sections of a WebAssembly binary that linking needs: types, imports, exports, start and the
 * names of custom sections. The JS API tells names and kinds only, and links ill-typed imports silently.
 * Code is left to V8, which validates it when it compiles.
 */
import { ProxyError } from "../../errors.ts";
import {
  MAX_MODULE_BYTES,
  MAX_MODULE_EXPORTS,
  MAX_MODULE_FUNCTIONS,
  MAX_MODULE_IMPORTS,
  MAX_MODULE_TYPES,
} from "../../limits.ts";
import { corrupted, Reader } from "./reader.ts";

/** Kinds of imports and exports as the binary numbers them. */
export const ExternalKind = { FUNCTION: 0, TABLE: 1, MEMORY: 2, GLOBAL: 3, TAG: 4 } as const;

/** `type` is the signature in the letters of abi/functions.ts; "" for other kinds. */
export interface BinaryImport {
  readonly module: string;
  readonly name: string;
  readonly kind: number;
  readonly type: string;
  /** Limits of a table or memory in elements or pages; `maximum` undefined when open. */
  readonly minimum: number;
  readonly maximum: number | undefined;
}
export interface BinaryExport {
  readonly name: string;
  readonly kind: number;
  readonly index: number;
  readonly type: string;
}
export interface Section {
  readonly id: number;
  /** Offsets into the file: of the id byte, of the contents, and past the end. */
  readonly at: number;
  readonly start: number;
  readonly end: number;
  /** Name of a custom section, else "". */
  readonly name: string;
}
export interface ModuleBinary {
  readonly sections: readonly Section[];
  readonly imports: readonly BinaryImport[];
  readonly exports: readonly BinaryExport[];
  /** Function index of the start section, or -1. */
  readonly startFunction: number;
}

/** First bytes of recursion groups, subtypes, structures and arrays. */
const COLLECTED_TYPES: ReadonlySet<number> = new Set([0x4e, 0x4f, 0x50, 0x5e, 0x5f]);
const VALUE_LETTERS: Readonly<Record<number, string>> = { 0x7f: "i", 0x7e: "I", 0x7d: "f", 0x7c: "F", 0x7b: "v" };
/** Throws ProxyError MODULE_CORRUPTED or MODULE_TOO_LARGE. */
export function readModuleBinary(bytes: Uint8Array): ModuleBinary {
  if (bytes.length > MAX_MODULE_BYTES) {
    throw new ProxyError("MODULE_TOO_LARGE", "config", `${bytes.length} bytes, at most ${MAX_MODULE_BYTES}`);
  }
  const magic = bytes.length >= 8 ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) : 0;
  if (magic !== 0x0061736d) throw corrupted("is not WebAssembly");
  const sections = readSections(bytes);
  const types = readTypes(bytes, sections);
  const imports = readImports(bytes, sections, types);
  const functions: string[] = imports.filter((one) => one.kind === ExternalKind.FUNCTION).map((one) => one.type);
  readFunctions(bytes, sections, types, functions);
  const exports = readExports(bytes, sections, functions);
  const start = sections.find((section) => section.id === 8);
  return {
    sections,
    imports,
    exports,
    startFunction: start === undefined ? -1 : new Reader(bytes, start.start, start.end).unsigned(),
  };
}

function readSections(bytes: Uint8Array): Section[] {
  const sections: Section[] = [];
  const reader = new Reader(bytes, 8, bytes.length);
  while (reader.at < bytes.length) {
    const at = reader.at;
    const id = reader.byte();
    const length = reader.unsigned();
    const start = reader.at;
    if (length > bytes.length - start) throw corrupted("ends in the middle of a section");
    const end = start + length;
    sections.push({ id, at, start, end, name: id === 0 ? new Reader(bytes, start, end).name() : "" });
    reader.at = end;
  }
  return sections;
}

function sectionReader(bytes: Uint8Array, sections: readonly Section[], id: number): Reader | undefined {
  const section = sections.find((one) => one.id === id);
  return section === undefined ? undefined : new Reader(bytes, section.start, section.end);
}

function readTypes(bytes: Uint8Array, sections: readonly Section[]): string[] {
  const reader = sectionReader(bytes, sections, 1);
  if (reader === undefined) return [];
  const types: string[] = [];
  for (let left = reader.count(MAX_MODULE_TYPES, "types"); left > 0; left--) {
    const form = reader.byte();
    if (COLLECTED_TYPES.has(form))
      throw new ProxyError(
        "MODULE_UNSUPPORTED",
        "config",
        "uses garbage-collected types, which this ABI has no place for",
      );
    if (form !== 0x60) throw corrupted(`declares a type of unknown form 0x${form.toString(16)}`);
    types.push(`${readValues(reader)}>${readValues(reader)}`);
  }
  return types;
}

function readValues(reader: Reader): string {
  let letters = "";
  for (let left = reader.count(1000, "values in a type"); left > 0; left--)
    letters += VALUE_LETTERS[reader.byte()] ?? "?";
  return letters;
}

function readImports(bytes: Uint8Array, sections: readonly Section[], types: readonly string[]): BinaryImport[] {
  const reader = sectionReader(bytes, sections, 2);
  if (reader === undefined) return [];
  const imports: BinaryImport[] = [];
  for (let left = reader.count(MAX_MODULE_IMPORTS, "imports"); left > 0; left--) {
    const module = reader.name();
    const name = reader.name();
    const kind = reader.byte();
    let type = "";
    let minimum = 0;
    let maximum: number | undefined;
    if (kind === ExternalKind.FUNCTION) type = typeAt(types, reader.unsigned());
    else if (kind === ExternalKind.TABLE || kind === ExternalKind.MEMORY) {
      if (kind === ExternalKind.TABLE) reader.byte();
      const flags = reader.byte();
      minimum = reader.unsigned();
      if ((flags & 1) !== 0) maximum = reader.unsigned();
    } else if (kind === ExternalKind.GLOBAL) reader.at += 2;
    else if (kind === ExternalKind.TAG) {
      reader.byte();
      reader.unsigned();
    } else throw corrupted(`imports something of unknown kind ${kind}`);
    imports.push({ module, name, kind, type, minimum, maximum });
  }
  return imports;
}

function readFunctions(
  bytes: Uint8Array,
  sections: readonly Section[],
  types: readonly string[],
  into: string[],
): void {
  const reader = sectionReader(bytes, sections, 3);
  if (reader === undefined) return;
  for (let left = reader.count(MAX_MODULE_FUNCTIONS, "functions"); left > 0; left--)
    into.push(typeAt(types, reader.unsigned()));
}

function readExports(bytes: Uint8Array, sections: readonly Section[], functions: readonly string[]): BinaryExport[] {
  const reader = sectionReader(bytes, sections, 7);
  if (reader === undefined) return [];
  const exports: BinaryExport[] = [];
  for (let left = reader.count(MAX_MODULE_EXPORTS, "exports"); left > 0; left--) {
    const name = reader.name();
    const kind = reader.byte();
    const index = reader.unsigned();
    exports.push({ name, kind, index, type: kind === ExternalKind.FUNCTION ? typeAt(functions, index) : "" });
  }
  return exports;
}

function typeAt(types: readonly string[], index: number): string {
  const type = types[index];
  if (type === undefined) throw corrupted(`refers to type or function ${index}, which it does not have`);
  return type;
}
