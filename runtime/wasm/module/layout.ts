/** What a rewriter must know of a module beside its code: index spaces, limits of storage, globals, references to functions. */
import { ProxyError } from "../../errors.ts";
import {
  MAX_MODULE_EXPORTS,
  MAX_MODULE_FUNCTIONS,
  MAX_MODULE_IMPORTS,
  MAX_MODULE_TYPES,
  MAX_TABLE_ELEMENTS,
} from "../../limits.ts";
import { ExternalKind } from "./binary.ts";
import type { Section } from "./binary.ts";
import { corrupted, Reader } from "./reader.ts";

/** Ids of sections. */
export const SectionId = {
  CUSTOM: 0,
  TYPE: 1,
  IMPORT: 2,
  FUNCTION: 3,
  TABLE: 4,
  MEMORY: 5,
  GLOBAL: 6,
  EXPORT: 7,
  START: 8,
  ELEMENT: 9,
  CODE: 10,
  DATA: 11,
  DATA_COUNT: 12,
  TAG: 13,
} as const;

/** Order of sections in a module. */
export const SECTION_ORDER = [
  SectionId.TYPE,
  SectionId.IMPORT,
  SectionId.FUNCTION,
  SectionId.TABLE,
  SectionId.MEMORY,
  SectionId.TAG,
  SectionId.GLOBAL,
  SectionId.EXPORT,
  SectionId.ELEMENT,
  SectionId.DATA_COUNT,
  SectionId.CODE,
  SectionId.DATA,
] as const;

/** A function type: its value types as bytes. */
export interface FunctionType {
  readonly params: readonly number[];
  readonly results: readonly number[];
}
export interface Limits {
  readonly minimum: number;
  readonly maximum: number | undefined;
}
export interface Table extends Limits {
  /** Type and initial value as they stand in the binary: before the limits, and behind them. */
  readonly head: Uint8Array;
  readonly tail: Uint8Array;
}
export interface Export {
  readonly name: string;
  readonly kind: number;
  readonly index: number;
}

export interface Layout {
  /** Sections that are not custom, by id. */
  readonly sections: ReadonlyMap<number, Section>;
  readonly types: readonly FunctionType[];
  /** Type index of each function, imports first. */
  readonly functionTypes: readonly number[];
  readonly importedFunctions: number;
  /** The module's own; `tableRoom`: elements that any table, imported ones too, may grow to. */
  readonly tables: readonly Table[];
  readonly tableRoom: number;
  /** By tag: how many values an exception carries. */
  readonly tags: readonly number[];
  readonly memory: Limits | undefined;
  /** Value type of each global of the module's own, and whether it can change. */
  readonly globals: readonly { readonly type: number; readonly mutable: boolean }[];
  readonly exports: readonly Export[];
  /** Functions in tables and in initial values of globals. */
  readonly taken: Set<number>;
}

/** Throws ProxyError MODULE_CORRUPTED, MODULE_TOO_LARGE or MODULE_UNSUPPORTED. */
export function readLayout(bytes: Uint8Array, sections: readonly Section[]): Layout {
  return new LayoutReader(bytes, sections).read();
}

function unsupported(what: string): ProxyError {
  return new ProxyError("MODULE_UNSUPPORTED", "config", what);
}

const FUNCREF = 0x70;
const REFERENCE_TYPES: ReadonlySet<number> = new Set([FUNCREF, 0x6f, 0x69]);
const VALUE_TYPES: ReadonlySet<number> = new Set([0x7f, 0x7e, 0x7d, 0x7c, 0x7b, ...REFERENCE_TYPES]);

class LayoutReader {
  readonly #bytes: Uint8Array;
  readonly #sections = new Map<number, Section>();
  readonly #functionTypes: number[] = [];
  readonly #taken = new Set<number>();
  #importedFunctions = 0;
  #memories = 0;
  #memory: Limits | undefined;
  #tables = 0;
  #elementCount = 0;

  constructor(bytes: Uint8Array, sections: readonly Section[]) {
    this.#bytes = bytes;
    for (const section of sections) {
      if (section.id === SectionId.CUSTOM) continue;
      if (section.id > SectionId.TAG) throw unsupported(`a section of unknown kind ${section.id}`);
      if (this.#sections.has(section.id)) throw corrupted(`holds section ${section.id} twice`);
      this.#sections.set(section.id, section);
    }
  }

  read(): Layout {
    const types = this.#types();
    this.#imports();
    this.#functions(types.length);
    const tables = this.#readTables();
    this.#readMemory();
    const tags = this.#tags(types);
    const globals = this.#globals();
    const exports = this.#exports();
    this.#elements();
    return {
      sections: this.#sections,
      types,
      functionTypes: this.#functionTypes,
      importedFunctions: this.#importedFunctions,
      tables,
      // Several tables share one bound, so that many small ones do not grow to many large ones.
      tableRoom: Math.floor(MAX_TABLE_ELEMENTS / Math.max(this.#tables, 1)),
      tags,
      memory: this.#memory,
      globals,
      exports,
      taken: this.#taken,
    };
  }

  #open(id: number): Reader | undefined {
    const section = this.#sections.get(id);
    return section === undefined ? undefined : new Reader(this.#bytes, section.start, section.end);
  }

  #close(reader: Reader, id: number): void {
    if (reader.at !== reader.end) throw corrupted(`has bytes behind the end of section ${id}`);
  }

  #types(): FunctionType[] {
    const reader = this.#open(SectionId.TYPE);
    const types: FunctionType[] = [];
    if (reader === undefined) return types;
    for (let left = reader.count(MAX_MODULE_TYPES, "types"); left > 0; left--) {
      if (reader.byte() !== 0x60) throw unsupported("a type that is not a function");
      types.push({ params: this.#values(reader), results: this.#values(reader) });
    }
    this.#close(reader, SectionId.TYPE);
    return types;
  }

  #values(reader: Reader): number[] {
    const values: number[] = [];
    for (let left = reader.count(1000, "values in a type"); left > 0; left--) values.push(this.#valueType(reader));
    return values;
  }

  #valueType(reader: Reader): number {
    const type = reader.byte();
    if (!VALUE_TYPES.has(type)) throw unsupported(`the value type 0x${type.toString(16)}`);
    return type;
  }

  #imports(): void {
    const reader = this.#open(SectionId.IMPORT);
    if (reader === undefined) return;
    for (let left = reader.count(MAX_MODULE_IMPORTS, "imports"); left > 0; left--) {
      reader.name();
      reader.name();
      const kind = reader.byte();
      if (kind === ExternalKind.FUNCTION) this.#functionTypes.push(reader.u32());
      else if (kind === ExternalKind.TABLE) {
        if (this.#valueType(reader) !== FUNCREF) throw unsupported("an imported table of anything but functions");
        this.#tableLimits(reader);
        this.#tables++;
      } else if (kind === ExternalKind.MEMORY) this.#oneMemory(reader);
      else throw corrupted("imports something that the host does not provide");
    }
    this.#importedFunctions = this.#functionTypes.length;
  }

  #functions(typeCount: number): void {
    const reader = this.#open(SectionId.FUNCTION);
    if (reader !== undefined) {
      for (let left = reader.count(MAX_MODULE_FUNCTIONS, "functions"); left > 0; left--) {
        this.#functionTypes.push(reader.u32());
      }
      this.#close(reader, SectionId.FUNCTION);
    }
    const stranger = this.#functionTypes.find((type) => type >= typeCount);
    if (stranger !== undefined) throw corrupted(`refers to type ${stranger}, which it does not have`);
  }

  #limits(reader: Reader, what: string): Limits {
    const flags = reader.byte();
    if ((flags & 2) !== 0) throw unsupported(`a shared ${what}: threads could stop the worker that runs them`);
    if (flags > 1) throw unsupported(`a ${what} with 64-bit addresses or pages of another size`);
    return { minimum: reader.u32(), maximum: flags === 1 ? reader.u32() : undefined };
  }

  #tableLimits(reader: Reader): Limits {
    const limits = this.#limits(reader, "table");
    this.#elementCount += limits.minimum;
    if (this.#elementCount > MAX_TABLE_ELEMENTS) {
      throw new ProxyError(
        "MODULE_TOO_LARGE",
        "config",
        `tables of ${this.#elementCount} elements, at most ${MAX_TABLE_ELEMENTS}`,
      );
    }
    return limits;
  }

  #readTables(): Table[] {
    const reader = this.#open(SectionId.TABLE);
    const tables: Table[] = [];
    if (reader === undefined) return tables;
    for (let left = reader.count(MAX_MODULE_IMPORTS, "tables"); left > 0; left--) {
      const start = reader.at;
      const initialised = reader.bytes[reader.at] === 0x40;
      if (initialised) reader.skip(2);
      this.#valueType(reader);
      const head = this.#bytes.subarray(start, reader.at);
      const limits = this.#tableLimits(reader);
      const tailStart = reader.at;
      if (initialised) this.#constant(reader);
      tables.push({ ...limits, head, tail: this.#bytes.subarray(tailStart, reader.at) });
      this.#tables++;
    }
    this.#close(reader, SectionId.TABLE);
    return tables;
  }

  #oneMemory(reader: Reader): void {
    this.#memory = this.#limits(reader, "memory");
    if (++this.#memories > 1) throw unsupported("more than one memory");
  }

  #readMemory(): void {
    const reader = this.#open(SectionId.MEMORY);
    if (reader === undefined) return;
    for (let left = reader.count(2, "memories"); left > 0; left--) this.#oneMemory(reader);
    this.#close(reader, SectionId.MEMORY);
  }

  #tags(types: readonly FunctionType[]): number[] {
    const reader = this.#open(SectionId.TAG);
    const tags: number[] = [];
    if (reader === undefined) return tags;
    for (let left = reader.count(MAX_MODULE_FUNCTIONS, "tags"); left > 0; left--) {
      reader.byte();
      tags.push(types[reader.u32()]?.params.length ?? 0);
    }
    this.#close(reader, SectionId.TAG);
    return tags;
  }

  #globals(): { type: number; mutable: boolean }[] {
    const reader = this.#open(SectionId.GLOBAL);
    const globals: { type: number; mutable: boolean }[] = [];
    if (reader === undefined) return globals;
    for (let left = reader.count(MAX_MODULE_FUNCTIONS, "globals"); left > 0; left--) {
      const type = this.#valueType(reader);
      const mutability = reader.byte();
      if (mutability > 1) throw unsupported("a global shared between threads");
      this.#constant(reader);
      globals.push({ type, mutable: mutability === 1 });
    }
    this.#close(reader, SectionId.GLOBAL);
    return globals;
  }

  /** A constant expression, up to its end. */
  #constant(reader: Reader): void {
    for (;;) {
      const opcode = reader.byte();
      switch (opcode) {
        case 0x0b:
          return;
        case 0x23:
          reader.u32();
          break;
        case 0x41:
          reader.skipLeb(32);
          break;
        case 0x42:
          reader.skipLeb(64);
          break;
        case 0x43:
          reader.skip(4);
          break;
        case 0x44:
          reader.skip(8);
          break;
        case 0xd0:
          reader.skipLeb(33);
          break;
        case 0xd2:
          this.#taken.add(reader.u32());
          break;
        case 0xfd:
          if (reader.u32() !== 12) throw unsupported("a constant expression with a vector instruction");
          reader.skip(16);
          break;
        default:
          // Sums and products of constants; anything else is not constant.
          if (!EXTENDED_CONSTANTS.has(opcode))
            throw corrupted(`has instruction 0x${opcode.toString(16)} in a constant`);
      }
    }
  }

  #exports(): Export[] {
    const reader = this.#open(SectionId.EXPORT);
    const exports: Export[] = [];
    if (reader === undefined) return exports;
    for (let left = reader.count(MAX_MODULE_EXPORTS, "exports"); left > 0; left--) {
      const name = reader.name();
      const kind = reader.byte();
      exports.push({ name, kind, index: reader.u32() });
    }
    this.#close(reader, SectionId.EXPORT);
    return exports;
  }

  #elements(): void {
    const reader = this.#open(SectionId.ELEMENT);
    if (reader === undefined) return;
    for (let left = reader.count(MAX_MODULE_FUNCTIONS, "element segments"); left > 0; left--) {
      const flags = reader.u32();
      if (flags > 7) throw corrupted(`has an element segment of unknown kind ${flags}`);
      const active = (flags & 1) === 0;
      if (active && (flags & 2) !== 0) reader.u32();
      if (active) this.#constant(reader);
      const expressions = (flags & 4) !== 0;
      if ((flags & 3) !== 0) {
        const kind = reader.byte();
        if (expressions ? !REFERENCE_TYPES.has(kind) : kind !== 0)
          throw unsupported("an element segment of another kind");
      }
      for (let items = reader.count(MAX_TABLE_ELEMENTS, "elements"); items > 0; items--) {
        if (expressions) this.#constant(reader);
        else this.#taken.add(reader.u32());
      }
    }
    this.#close(reader, SectionId.ELEMENT);
  }
}

const EXTENDED_CONSTANTS: ReadonlySet<number> = new Set([0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e]);
