/**
 * Line tables of DWARF versions 2 to 5 (`.debug_line`), which C, C++, Rust and TinyGo compilers write. Only what leads
 * from an address to file, line and column is read, in one pass; nothing but the answers is kept.
 */
import { Reader } from "./reader.ts";
import type { CodePlace, SourceLines, SourcePlace } from "./symbols-lines.ts";

/** Standard opcodes. */
const OP = {
  EXTENDED: 0,
  COPY: 1,
  ADVANCE_PC: 2,
  ADVANCE_LINE: 3,
  SET_FILE: 4,
  SET_COLUMN: 5,
  CONST_ADD_PC: 8,
  FIXED_ADVANCE_PC: 9,
} as const;
/** Extended opcodes. */
const EXTENDED = { END_SEQUENCE: 1, SET_ADDRESS: 2 } as const;
/** What an entry of a version 5 table tells. */
const CONTENT = { PATH: 1, DIRECTORY: 2 } as const;
/** How it tells it. */
const FORM = {
  DATA2: 0x05,
  DATA4: 0x06,
  DATA8: 0x07,
  STRING: 0x08,
  BLOCK: 0x09,
  DATA1: 0x0b,
  STRP: 0x0e,
  UDATA: 0x0f,
  DATA16: 0x1e,
  LINE_STRP: 0x1f,
} as const;

export class DebugLines implements SourceLines {
  readonly #lines: Uint8Array;
  readonly #strings: Uint8Array;
  readonly #codeStart: number;

  /** `codeStart`: where the contents of the code section begin; addresses count from there. */
  constructor(lines: Uint8Array, strings: Uint8Array | undefined, codeStart: number) {
    this.#lines = lines;
    this.#strings = strings ?? new Uint8Array();
    this.#codeStart = codeStart;
  }

  each(use: (offset: number, file: string, line: number) => void): void {
    for (let at = 0; at + 4 < this.#lines.length;) {
      const unit = new Unit(this.#lines, this.#strings, at);
      const rows: (Row & { readonly address: number })[] = [];
      unit.run(new EveryRow(rows));
      const names = new Map<number, string | undefined>();
      for (const row of rows) {
        if (!names.has(row.file)) names.set(row.file, unit.place(row)?.file);
        const file = names.get(row.file);
        if (file !== undefined) use(row.address + this.#codeStart, file, row.line);
      }
      at = unit.end;
    }
  }

  locate(places: readonly CodePlace[]): (SourcePlace | undefined)[] {
    const found = places.map((): SourcePlace | undefined => undefined);
    let at = 0;
    while (at + 4 < this.#lines.length) {
      const unit = new Unit(this.#lines, this.#strings, at);
      const rows = places.map(({ offset, bodyStart, bodyEnd }) => ({
        address: offset - this.#codeStart,
        first: bodyStart - this.#codeStart,
        end: bodyEnd - this.#codeStart,
        row: undefined,
      }));
      unit.run(new Sequence(rows));
      for (const [n, { row }] of rows.entries()) if (row !== undefined) found[n] ??= unit.place(row);
      at = unit.end;
    }
    return found;
  }
}

interface Row {
  readonly file: number;
  readonly line: number;
  readonly column: number;
}

interface Wanted {
  readonly address: number;
  /** Of the function: only rows of sequences that begin in it count, since those of dropped code begin anywhere. */
  readonly first: number;
  readonly end: number;
  row: Row | undefined;
}

/** One compilation unit's table. Throws what Reader throws, or an Error. */
class Unit {
  /** Where the next unit begins. */
  readonly end: number;
  readonly #reader: Reader;
  readonly #strings: Uint8Array;
  readonly #version: number;
  readonly #offsetSize: number;
  readonly #minimumLength: number;
  readonly #lineBase: number;
  readonly #lineRange: number;
  readonly #operands: readonly number[];
  /** Where names of directories and files begin. */
  readonly #tables: number;
  readonly #program: number;

  constructor(bytes: Uint8Array, strings: Uint8Array, start: number) {
    this.#strings = strings;
    const reader = (this.#reader = new Reader(bytes, start, bytes.length));
    let length = fixed(reader, 4);
    this.#offsetSize = length === 0xffff_ffff ? 8 : 4;
    if (this.#offsetSize === 8) length = fixed(reader, 8);
    this.end = reader.at + length;
    if (this.end > bytes.length) throw new Error("a line table that overruns its section");
    reader.end = this.end;
    this.#version = fixed(reader, 2);
    if (this.#version < 2 || this.#version > 5) throw new Error(`line table of version ${this.#version}`);
    // Sizes of addresses and of segment selectors, which each instruction says again by its length.
    if (this.#version === 5) reader.skip(2);
    const headerLength = fixed(reader, this.#offsetSize);
    this.#program = reader.at + headerLength;
    if (this.#program > this.end) throw new Error("a line table's head that overruns it");
    this.#minimumLength = reader.byte();
    // Operations per instruction, and whether rows are statements by default: of no interest.
    reader.skip(this.#version >= 4 ? 2 : 1);
    this.#lineBase = (reader.byte() << 24) >> 24;
    this.#lineRange = reader.byte();
    const opcodeBase = reader.byte();
    if (this.#lineRange === 0 || opcodeBase === 0) throw new Error("a line table without a range");
    this.#operands = Array.from({ length: opcodeBase - 1 }, () => reader.byte());
    this.#tables = reader.at;
  }

  /** Runs the line program. */
  run(sequence: Registers): void {
    const reader = this.#reader;
    reader.at = this.#program;
    const opcodeBase = this.#operands.length + 1;
    const constant = Math.floor((255 - opcodeBase) / this.#lineRange) * this.#minimumLength;
    while (reader.at < this.end) {
      const opcode = reader.byte();
      if (opcode >= opcodeBase) {
        const adjusted = opcode - opcodeBase;
        sequence.address += Math.floor(adjusted / this.#lineRange) * this.#minimumLength;
        sequence.line += this.#lineBase + (adjusted % this.#lineRange);
        sequence.emit();
        continue;
      }
      switch (opcode) {
        case OP.EXTENDED:
          this.#extended(sequence);
          break;
        case OP.COPY:
          sequence.emit();
          break;
        case OP.ADVANCE_PC:
          sequence.address += reader.unsigned() * this.#minimumLength;
          break;
        case OP.ADVANCE_LINE:
          sequence.line += signed(reader);
          break;
        case OP.SET_FILE:
          sequence.file = reader.unsigned();
          break;
        case OP.SET_COLUMN:
          sequence.column = reader.unsigned();
          break;
        case OP.CONST_ADD_PC:
          sequence.address += constant;
          break;
        case OP.FIXED_ADVANCE_PC:
          sequence.address += fixed(reader, 2);
          break;
        default:
          for (let left = this.#operands[opcode - 1] ?? 0; left > 0; left--) reader.unsigned();
      }
    }
  }

  #extended(sequence: Registers): void {
    const reader = this.#reader;
    const size = reader.unsigned();
    const start = reader.at;
    if (size === 0) return;
    const opcode = reader.byte();
    if (opcode === EXTENDED.END_SEQUENCE) sequence.finish();
    else if (opcode === EXTENDED.SET_ADDRESS) sequence.address = fixed(reader, Math.min(size - 1, 8));
    reader.at = start;
    reader.skip(size);
  }

  place({ file, line, column }: Row): SourcePlace | undefined {
    const reader = this.#reader;
    reader.at = this.#tables;
    const name = this.#version === 5 ? this.#fileName5(file) : this.#fileName(file);
    return name === undefined ? undefined : { file: name, line, column };
  }

  /** Versions 2 to 4: directories count from 1 (0: where the compiler ran), files too. */
  #fileName(wanted: number): string | undefined {
    const reader = this.#reader;
    const directories: string[] = [];
    for (let name = zeroEnded(reader); name !== ""; name = zeroEnded(reader)) directories.push(name);
    let file = 1;
    for (let name = zeroEnded(reader); name !== ""; name = zeroEnded(reader), file++) {
      const directory = reader.unsigned();
      reader.unsigned();
      reader.unsigned();
      if (file === wanted) return join(directories[directory - 1], name);
    }
    return undefined;
  }

  /** Version 5: both tables count from 0 and say how they are written. */
  #fileName5(wanted: number): string | undefined {
    const directories: string[] = [];
    this.#table(({ path }) => directories.push(path));
    let found: string | undefined;
    this.#table(({ path, directory }, n) => {
      // Directory 0 is where the compiler ran: says nothing that its user does not know.
      if (n === wanted) found = join(directory === 0 ? undefined : directories[directory], path);
    });
    return found;
  }

  #table(use: (entry: { path: string; directory: number }, n: number) => unknown): void {
    const reader = this.#reader;
    const formats = Array.from({ length: reader.byte() }, () => ({
      content: reader.unsigned(),
      form: reader.unsigned(),
    }));
    const count = reader.unsigned();
    if (formats.length === 0 && count > 0) throw new Error("a table of names without a format");
    for (let n = 0; n < count; n++) {
      const entry = { path: "?", directory: 0 };
      for (const { content, form } of formats) {
        const value = this.#form(form);
        if (content === CONTENT.PATH && typeof value === "string") entry.path = value;
        else if (content === CONTENT.DIRECTORY && typeof value === "number") entry.directory = value;
      }
      use(entry, n);
    }
  }

  #form(form: number): string | number {
    const reader = this.#reader;
    switch (form) {
      case FORM.STRING:
        return zeroEnded(reader);
      case FORM.LINE_STRP: {
        const at = fixed(reader, this.#offsetSize);
        return at < this.#strings.length ? zeroEnded(new Reader(this.#strings, at, this.#strings.length)) : "?";
      }
      case FORM.STRP:
        fixed(reader, this.#offsetSize);
        return "?";
      case FORM.UDATA:
        return reader.unsigned();
      case FORM.DATA1:
        return reader.byte();
      case FORM.DATA2:
        return fixed(reader, 2);
      case FORM.DATA4:
        return fixed(reader, 4);
      case FORM.DATA8:
        return fixed(reader, 8);
      case FORM.DATA16:
        reader.skip(16);
        return 0;
      case FORM.BLOCK:
        reader.skip(reader.unsigned());
        return 0;
      default:
        throw new Error(`a table of names with the form ${form}`);
    }
  }
}

/** The registers of the line program, and what becomes of its rows. */
interface Registers {
  address: number;
  file: number;
  line: number;
  column: number;
  emit(): void;
  /** The end of a sequence. */
  finish(): void;
}

/** Keeps all rows but those of dropped code, whose sequences begin at 0 or far behind everything. */
class EveryRow implements Registers {
  address = 0;
  file = 1;
  line = 1;
  column = 0;
  readonly #rows: (Row & { readonly address: number })[];
  #dropped: boolean | null = null;

  constructor(rows: (Row & { readonly address: number })[]) {
    this.#rows = rows;
  }

  emit(): void {
    const { address, file, line, column } = this;
    this.#dropped ??= address === 0 || address > MAX_ADDRESS;
    if (!this.#dropped && line > 0) this.#rows.push({ address, file, line, column });
  }

  finish(): void {
    this.address = this.column = 0;
    this.file = this.line = 1;
    this.#dropped = null;
  }
}

/** Linkers give dropped code addresses at the end of the range. */
const MAX_ADDRESS = 0x7fff_ffff;

/** Finds rows by address: the registers, and what the program has said since the last end of a sequence. */
class Sequence implements Registers {
  address = 0;
  file = 1;
  line = 1;
  column = 0;
  readonly #wanted: readonly Wanted[];
  /** Those of the function that the sequence belongs to; null before its first row. */
  #relevant: readonly Wanted[] | null = null;
  /** The last row, which holds up to the next one. */
  #lastAddress = 0;
  #last: Row = NO_ROW;

  constructor(wanted: readonly Wanted[]) {
    this.#wanted = wanted;
  }

  emit(): void {
    const { address } = this;
    this.#relevant ??= this.#wanted.filter(({ first, end }) => address >= first && address < end);
    if (this.#relevant.length === 0) return;
    this.#cover(this.#relevant);
    this.#lastAddress = address;
    // Line 0 is code that comes from no line; the one before is nearer than nothing.
    if (this.line > 0) this.#last = { file: this.file, line: this.line, column: this.column };
  }

  finish(): void {
    if (this.#relevant !== null) this.#cover(this.#relevant);
    this.address = this.column = 0;
    this.file = this.line = 1;
    this.#relevant = null;
    this.#last = NO_ROW;
  }

  /** The last row holds up to here. */
  #cover(relevant: readonly Wanted[]): void {
    if (this.#last === NO_ROW) return;
    for (const one of relevant) {
      if (one.address >= this.#lastAddress && one.address < this.address) one.row = this.#last;
    }
  }
}

const NO_ROW: Row = { file: 1, line: 0, column: 0 };

/** Little-endian, of 1 to 8 bytes; imprecise above 2^53, where nothing is found anyway. */
function fixed(reader: Reader, size: number): number {
  let value = 0;
  let scale = 1;
  for (let n = 0; n < size; n++, scale *= 256) value += reader.byte() * scale;
  return value;
}

function signed(reader: Reader): number {
  let value = 0;
  let scale = 1;
  for (let n = 0; n < 10; n++) {
    const byte = reader.byte();
    value += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte < 0x80) return (byte & 0x40) === 0 ? value : value - scale;
  }
  throw new Error("an over-long number");
}

function zeroEnded(reader: Reader): string {
  const end = reader.bytes.indexOf(0, reader.at);
  if (end < 0 || end >= reader.end) throw new Error("a name without an end");
  // A copy: text decoders take no shared memory.
  const text = Buffer.from(reader.bytes.slice(reader.at, end)).toString("utf8");
  reader.at = end + 1;
  return text;
}

function join(directory: string | undefined, name: string): string {
  return directory === undefined || name.startsWith("/") ? name : `${directory}/${name}`;
}
