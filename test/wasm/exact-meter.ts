/**
 * Counts what a module runs, instruction by instruction: in front of each one its price is added to a global. Slow and
 * simple, with nothing that merges, hoists or keeps charges in a local, so that what hardening charges can be held
 * against it. Prices of single instructions are those of the runtime's table.
 */
import { HOST_CALL_FUEL } from "../../runtime/limits.ts";
import { ExternalKind, readModuleBinary } from "../../runtime/wasm/module/binary.ts";
import { ByteWriter } from "../../runtime/wasm/module/byte-writer.ts";
import { readLayout, SectionId } from "../../runtime/wasm/module/layout.ts";
import type { Layout } from "../../runtime/wasm/module/layout.ts";
import {
  ATOMIC_COST,
  COSTS,
  Immediate,
  IMMEDIATES,
  More,
  MORE,
  Op,
  simdImmediate,
} from "../../runtime/wasm/module/opcodes.ts";
import { Reader } from "../../runtime/wasm/module/reader.ts";

/** Export of the sum: a mutable global of 64 bits, the last of the module's own. */
export const EXACT = "exact";

/** Units for how many of what a bulk instruction moves, as a shift of the count. */
const BULK_SHIFT: Readonly<Record<number, number>> = {
  [More.MEMORY_INIT]: -1,
  [More.MEMORY_COPY]: -1,
  [More.MEMORY_FILL]: -1,
  [More.TABLE_INIT]: 10,
  [More.TABLE_COPY]: 10,
  [More.TABLE_GROW]: 10,
  [More.TABLE_FILL]: 10,
};
const PAGES_SHIFT = 8;

/** Markers of structure: nothing runs there, and nothing may stand in front of some. */
const MARKERS: ReadonlySet<number> = new Set([Op.ELSE, Op.CATCH, Op.CATCH_ALL, Op.DELEGATE, Op.END]);

/** One instruction that was read: its own price, and the shift of a bulk instruction's count. */
interface Priced {
  readonly cost: number;
  readonly shift?: number;
}

/** The module with its sum in {@link EXACT}. The module must be valid. */
export function exactlyMetered(bytes: Uint8Array): Uint8Array {
  const { sections } = readModuleBinary(bytes);
  const layout = readLayout(bytes, sections);
  const out = new ByteWriter(bytes.length * 8);
  out.copy(bytes, 0, 8);
  const written = new Set<number>();
  /** Sections that grow by an entry may be missing: they are put where they belong. */
  const extendUpTo = (id: number): void => {
    for (const one of [SectionId.GLOBAL, SectionId.EXPORT]) {
      if (written.has(one) || ORDER.indexOf(id) <= ORDER.indexOf(one)) continue;
      written.add(one);
      extend(out, bytes, layout, one);
    }
  };
  for (const { id, at, end } of sections) {
    if (id !== SectionId.CUSTOM) extendUpTo(id);
    if (id === SectionId.GLOBAL || id === SectionId.EXPORT) continue;
    if (id === SectionId.CODE) writeCode(out, bytes, layout);
    else out.copy(bytes, at, end);
  }
  return out.view();
}

const ORDER: readonly number[] = [
  SectionId.TYPE,
  SectionId.IMPORT,
  SectionId.FUNCTION,
  SectionId.TABLE,
  SectionId.MEMORY,
  SectionId.TAG,
  SectionId.GLOBAL,
  SectionId.EXPORT,
  SectionId.START,
  SectionId.ELEMENT,
  SectionId.DATA_COUNT,
  SectionId.CODE,
  SectionId.DATA,
];

function extend(out: ByteWriter, bytes: Uint8Array, layout: Layout, id: number): void {
  const contents = new ByteWriter(1024);
  const present = id === SectionId.GLOBAL ? layout.globals.length : layout.exports.length;
  contents.unsigned(present + 1);
  const section = layout.sections.get(id);
  if (section !== undefined) {
    const reader = new Reader(bytes, section.start, section.end);
    reader.u32();
    contents.copy(bytes, reader.at, section.end);
  }
  // Mutable, 64 bits, 0; or its export.
  if (id === SectionId.GLOBAL) contents.list([0x7e, 1, 0x42, 0, Op.END]);
  else {
    contents.name(EXACT);
    contents.byte(ExternalKind.GLOBAL);
    contents.unsigned(layout.globals.length);
  }
  writeSection(out, id, contents);
}

function writeSection(out: ByteWriter, id: number, contents: ByteWriter): void {
  out.byte(id);
  out.unsigned(contents.length);
  out.copy(contents.bytes, 0, contents.length);
}

function writeCode(out: ByteWriter, bytes: Uint8Array, layout: Layout): void {
  const { start, end } = layout.sections.get(SectionId.CODE)!;
  const reader = new Reader(bytes, start, end);
  const contents = new ByteWriter((end - start) * 8);
  const count = reader.u32();
  contents.unsigned(count);
  for (let n = 0; n < count; n++) {
    const size = reader.u32();
    const body = meteredBody(bytes, reader.at, reader.at + size, layout, n);
    contents.unsigned(body.length);
    contents.copy(body.bytes, 0, body.length);
    reader.at += size;
  }
  writeSection(out, SectionId.CODE, contents);
}

function meteredBody(bytes: Uint8Array, start: number, end: number, layout: Layout, n: number): ByteWriter {
  const body = new ByteWriter((end - start) * 8);
  const reader = new Reader(bytes, start, end);
  const groups = reader.u32();
  const behindCount = reader.at;
  let locals = layout.types[layout.functionTypes[layout.importedFunctions + n]!]!.params.length;
  for (let left = groups; left > 0; left--) {
    locals += reader.u32();
    reader.byte();
  }
  body.unsigned(groups + 1);
  body.copy(bytes, behindCount, reader.at);
  body.list([1, 0x7f]);
  while (reader.at < end) {
    const at = reader.at;
    const priced = instruction(reader, layout.importedFunctions);
    if (!MARKERS.has(bytes[at]!)) addPrice(body, priced, layout.globals.length, locals);
    body.copy(bytes, at, reader.at);
  }
  return body;
}

const CODE = {
  LOCAL_GET: 0x20,
  LOCAL_TEE: 0x22,
  GLOBAL_GET: 0x23,
  GLOBAL_SET: 0x24,
  I64_CONST: 0x42,
  ADD: 0x7c,
} as const;
const I64_EXTEND_I32_U = 0xad;
const I64_SHL = 0x86;
const I64_SHR_U = 0x88;

function addPrice(body: ByteWriter, { cost, shift }: Priced, sum: number, local: number): void {
  const indexed = (code: number, index: number): void => {
    body.byte(code);
    body.unsigned(index);
  };
  const constant = (value: number): void => {
    body.byte(CODE.I64_CONST);
    body.signed(value);
  };
  if (shift !== undefined) indexed(CODE.LOCAL_TEE, local);
  indexed(CODE.GLOBAL_GET, sum);
  constant(cost);
  body.byte(CODE.ADD);
  if (shift !== undefined) {
    indexed(CODE.LOCAL_GET, local);
    body.byte(I64_EXTEND_I32_U);
    constant(Math.abs(shift));
    body.list([shift < 0 ? I64_SHR_U : I64_SHL, CODE.ADD]);
  }
  indexed(CODE.GLOBAL_SET, sum);
}

/** Reads one instruction. */
function instruction(reader: Reader, importedFunctions: number): Priced {
  const opcode = reader.byte();
  const cost = COSTS[opcode]!;
  switch (IMMEDIATES[opcode]!) {
    case Immediate.INDEX: {
      const index = reader.u32();
      if (opcode === Op.MEMORY_GROW) return { cost, shift: PAGES_SHIFT };
      const toHost = (opcode === Op.CALL || opcode === Op.RETURN_CALL) && index < importedFunctions;
      return { cost: toHost ? cost + HOST_CALL_FUEL : cost };
    }
    case Immediate.INDICES:
    case Immediate.MEMORY:
      reader.unsigned();
      reader.unsigned();
      break;
    case Immediate.I32:
    case Immediate.I64:
    case Immediate.HEAP_TYPE:
      reader.skipLeb(64);
      break;
    case Immediate.F32:
      reader.skip(4);
      break;
    case Immediate.F64:
      reader.skip(8);
      break;
    case Immediate.BLOCK:
      reader.skipLeb(33);
      break;
    case Immediate.BR_TABLE:
      for (let left = reader.u32() + 1; left > 0; left--) reader.u32();
      break;
    case Immediate.SELECT_TYPES:
      for (let left = reader.u32(); left > 0; left--) reader.byte();
      break;
    case Immediate.TRY_TABLE:
      reader.skipLeb(33);
      for (let left = reader.u32(); left > 0; left--) {
        if (reader.byte() < 2) reader.u32();
        reader.u32();
      }
      break;
    case Immediate.PREFIX:
      return prefixed(reader, opcode);
  }
  return { cost };
}

function prefixed(reader: Reader, prefix: number): Priced {
  const opcode = reader.u32();
  if (prefix === Op.SIMD) {
    const { memory, bytes } = simdImmediate(opcode)!;
    if (memory) reader.skipLeb(32);
    if (memory) reader.unsigned();
    reader.skip(bytes);
    return { cost: 1 };
  }
  if (prefix === Op.ATOMIC) {
    reader.unsigned();
    if (opcode !== 3) reader.unsigned();
    return { cost: 1 + ATOMIC_COST };
  }
  const [immediate, , cost] = MORE[opcode]!;
  if (immediate !== Immediate.NONE) reader.u32();
  if (immediate === Immediate.INDICES) reader.u32();
  const shift = BULK_SHIFT[opcode];
  return shift === undefined ? { cost: cost + 1 } : { cost: cost + 1, shift };
}
