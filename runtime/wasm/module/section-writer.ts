/** Writes a module anew: its own sections with what the host adds to them, in the order of the binary format. */
import { ExternalKind } from "./binary.ts";
import type { ModuleBinary } from "./binary.ts";
import { ByteWriter } from "./byte-writer.ts";
import { SECTION_ORDER, SectionId } from "./layout.ts";
import type { Layout, Limits } from "./layout.ts";
import { ZERO } from "./value-types.ts";

/** `\0asm` and the version. */
const PREAMBLE_BYTES = 8;
/** Bytes of the binary format: the form of a function type, what ends an expression, limits with a maximum, `mut`. */
const FUNCTION_TYPE = 0x60;
const END = 0x0b;
const BOUNDED = 1;
const MUTABLE = 1;

interface NamedExport {
  readonly name: string;
  readonly kind: number;
  readonly index: number;
}

/** What stands behind the module's own types, functions, globals and exports, in order. */
export interface Additions {
  readonly types: readonly { readonly params: readonly number[]; readonly results: readonly number[] }[];
  readonly functions: readonly { readonly type: number; readonly code: ByteWriter }[];
  /** Types of globals that can be changed; they begin with zero. */
  readonly globals: readonly number[];
  readonly exports: readonly NamedExport[];
  /** The module's own memory; undefined when it has none of its own. */
  readonly memory: Limits | undefined;
  /** Pages of a further memory, which counts runs; 0: there is none. */
  readonly counterPages: number;
  /** The function that an export of the module's own leads to now. */
  readonly exported: (name: string, index: number) => number;
}

export class SectionWriter {
  readonly #bytes: Uint8Array;
  readonly #binary: ModuleBinary;
  readonly #layout: Layout;
  readonly #added: Additions;

  constructor(bytes: Uint8Array, binary: ModuleBinary, layout: Layout, added: Additions) {
    this.#bytes = bytes;
    this.#binary = binary;
    this.#layout = layout;
    this.#added = added;
  }

  /** `code`: bodies of the `functions` of the module's own, rewritten. `codeStart`: where they begin in the result. */
  write(code: ByteWriter, functions: number): { readonly bytes: Uint8Array; readonly codeStart: number } {
    const out = new ByteWriter(this.#bytes.length + code.length);
    out.copy(this.#bytes, 0, PREAMBLE_BYTES);
    let codeStart = 0;
    for (const id of SECTION_ORDER) {
      if (id === SectionId.CODE) codeStart = this.#writeCode(out, code, functions);
      else this.#writeSection(out, id);
    }
    this.#copyCustom(out);
    return { bytes: out.view(), codeStart };
  }

  #writeCode(out: ByteWriter, code: ByteWriter, functions: number): number {
    const count = new ByteWriter(8);
    count.unsigned(functions + this.#added.functions.length);
    const added = new ByteWriter(1024);
    for (const { code: body } of this.#added.functions) {
      added.unsigned(body.length);
      added.copy(body.bytes, 0, body.length);
    }
    out.byte(SectionId.CODE);
    out.unsigned(count.length + code.length + added.length);
    out.copy(count.bytes, 0, count.length);
    const start = out.length;
    out.copy(code.bytes, 0, code.length);
    out.copy(added.bytes, 0, added.length);
    return start;
  }

  #writeSection(out: ByteWriter, id: number): void {
    const contents = new ByteWriter(1024);
    switch (id) {
      case SectionId.TYPE:
        this.#writeTypes(contents);
        break;
      case SectionId.FUNCTION:
        this.#writeFunctions(contents);
        break;
      case SectionId.TABLE:
        if (this.#layout.tables.length === 0) return;
        this.#writeTables(contents);
        break;
      case SectionId.MEMORY:
        if (!this.#writeMemories(contents)) return;
        break;
      case SectionId.GLOBAL:
        this.#writeGlobals(contents);
        break;
      case SectionId.EXPORT:
        this.#writeExports(contents);
        break;
      default: {
        const section = this.#layout.sections.get(id);
        if (section !== undefined) out.copy(this.#bytes, section.at, section.end);
        return;
      }
    }
    out.byte(id);
    out.unsigned(contents.length);
    out.copy(contents.bytes, 0, contents.length);
  }

  /** The entries of a section as they stand, behind a new count. */
  #extend(out: ByteWriter, id: number, present: number, more: number): void {
    out.unsigned(present + more);
    const section = this.#layout.sections.get(id);
    if (section === undefined) return;
    let at = section.start;
    while (this.#bytes[at]! >= 0x80) at++;
    out.copy(this.#bytes, at + 1, section.end);
  }

  #writeTypes(out: ByteWriter): void {
    this.#extend(out, SectionId.TYPE, this.#layout.types.length, this.#added.types.length);
    for (const { params, results } of this.#added.types) {
      out.byte(FUNCTION_TYPE);
      for (const values of [params, results]) {
        out.unsigned(values.length);
        out.list(values);
      }
    }
  }

  #writeFunctions(out: ByteWriter): void {
    const own = this.#layout.functionTypes.length - this.#layout.importedFunctions;
    this.#extend(out, SectionId.FUNCTION, own, this.#added.functions.length);
    for (const { type } of this.#added.functions) out.unsigned(type);
  }

  #writeTables(out: ByteWriter): void {
    out.unsigned(this.#layout.tables.length);
    for (const { head, tail, minimum, maximum } of this.#layout.tables) {
      out.copy(head, 0, head.length);
      out.byte(BOUNDED);
      out.unsigned(minimum);
      out.unsigned(tableMaximum({ minimum, maximum }, this.#layout.tableRoom));
      out.copy(tail, 0, tail.length);
    }
  }

  /** False when there is none to write. */
  #writeMemories(out: ByteWriter): boolean {
    const { memory, counterPages } = this.#added;
    const memories = [
      ...(memory === undefined ? [] : [memory]),
      ...(counterPages === 0 ? [] : [{ minimum: counterPages, maximum: counterPages }]),
    ];
    out.unsigned(memories.length);
    for (const { minimum, maximum } of memories) {
      out.byte(BOUNDED);
      out.unsigned(minimum);
      out.unsigned(maximum ?? minimum);
    }
    return memories.length > 0;
  }

  #writeGlobals(out: ByteWriter): void {
    this.#extend(out, SectionId.GLOBAL, this.#layout.globals.length, this.#added.globals.length);
    for (const type of this.#added.globals) {
      out.byte(type);
      out.byte(MUTABLE);
      out.list(ZERO[type]!);
      out.byte(END);
    }
  }

  #writeExports(out: ByteWriter): void {
    const { exports } = this.#layout;
    const { exports: added, exported } = this.#added;
    out.unsigned(exports.length + added.length);
    for (const { name, kind, index } of exports)
      writeExport(out, { name, kind, index: kind === ExternalKind.FUNCTION ? exported(name, index) : index });
    for (const one of added) writeExport(out, one);
  }

  /** What stack traces need; what compilers leave for debuggers is often larger than the code. */
  #copyCustom(out: ByteWriter): void {
    for (const { id, name, at, end } of this.#binary.sections) {
      if (id === SectionId.CUSTOM && name === "name") out.copy(this.#bytes, at, end);
    }
  }
}

/** Elements that a table may have. */
export function tableMaximum({ minimum, maximum }: Limits, room: number): number {
  return Math.max(minimum, Math.min(maximum ?? room, room));
}

function writeExport(out: ByteWriter, { name, kind, index }: NamedExport): void {
  out.name(name);
  out.byte(kind);
  out.unsigned(index);
}
