/**
 * What each instruction looks like in the binary and what it does to the operand stack: as much as a rewriter must
 * know that copies code. V8 validates the code itself, before and after.
 */

/** Kinds of immediates. */
export const Immediate = {
  UNKNOWN: 0,
  NONE: 1,
  /** One index. */
  INDEX: 2,
  /** Two indices. */
  INDICES: 3,
  /** Alignment and offset. */
  MEMORY: 4,
  I32: 5,
  I64: 6,
  F32: 7,
  F64: 8,
  /** Block type; opens a frame. */
  BLOCK: 9,
  BR_TABLE: 10,
  SELECT_TYPES: 11,
  HEAP_TYPE: 12,
  TRY_TABLE: 13,
  /** A second opcode follows. */
  PREFIX: 14,
} as const;

export const Op = {
  UNREACHABLE: 0x00,
  BLOCK: 0x02,
  LOOP: 0x03,
  IF: 0x04,
  ELSE: 0x05,
  TRY: 0x06,
  CATCH: 0x07,
  THROW: 0x08,
  RETHROW: 0x09,
  THROW_REF: 0x0a,
  END: 0x0b,
  BR: 0x0c,
  BR_IF: 0x0d,
  BR_TABLE: 0x0e,
  RETURN: 0x0f,
  CALL: 0x10,
  CALL_INDIRECT: 0x11,
  RETURN_CALL: 0x12,
  RETURN_CALL_INDIRECT: 0x13,
  CALL_REF: 0x14,
  RETURN_CALL_REF: 0x15,
  DELEGATE: 0x18,
  CATCH_ALL: 0x19,
  TRY_TABLE: 0x1f,
  TABLE_SET: 0x26,
  MEMORY_GROW: 0x40,
  REF_FUNC: 0xd2,
  GC: 0xfb,
  MORE: 0xfc,
  SIMD: 0xfd,
  ATOMIC: 0xfe,
} as const;

/** Second opcodes behind 0xfc. */
export const More = {
  MEMORY_INIT: 8,
  DATA_DROP: 9,
  MEMORY_COPY: 10,
  MEMORY_FILL: 11,
  TABLE_INIT: 12,
  ELEM_DROP: 13,
  TABLE_COPY: 14,
  TABLE_GROW: 15,
  TABLE_SIZE: 16,
  TABLE_FILL: 17,
} as const;

/** Immediate of each one-byte opcode. */
export const IMMEDIATES = new Uint8Array(256);
/** Values on the operand stack after the instruction, less those before. Calls, blocks and branches are not in here. */
export const EFFECTS = new Int8Array(256);

function define(from: number, to: number, immediate: number, effect: number): void {
  IMMEDIATES.fill(immediate, from, to + 1);
  EFFECTS.fill(effect, from, to + 1);
}

define(0x00, 0x01, Immediate.NONE, 0); // unreachable, nop
define(0x02, 0x04, Immediate.BLOCK, 0);
define(0x05, 0x05, Immediate.NONE, 0);
define(0x06, 0x06, Immediate.BLOCK, 0);
define(0x07, 0x09, Immediate.INDEX, 0); // catch, throw, rethrow
define(0x0a, 0x0b, Immediate.NONE, 0); // throw_ref, end
define(0x0c, 0x0c, Immediate.INDEX, 0);
define(0x0d, 0x0d, Immediate.INDEX, -1); // br_if
define(0x0e, 0x0e, Immediate.BR_TABLE, -1);
define(0x0f, 0x0f, Immediate.NONE, 0);
define(0x10, 0x10, Immediate.INDEX, 0);
define(0x11, 0x11, Immediate.INDICES, 0);
define(0x12, 0x12, Immediate.INDEX, 0);
define(0x13, 0x13, Immediate.INDICES, 0);
define(0x18, 0x18, Immediate.INDEX, 0);
define(0x19, 0x19, Immediate.NONE, 0);
define(0x1a, 0x1a, Immediate.NONE, -1); // drop
define(0x1b, 0x1b, Immediate.NONE, -2); // select
define(0x1c, 0x1c, Immediate.SELECT_TYPES, -2);
define(0x1f, 0x1f, Immediate.TRY_TABLE, 0);
define(0x20, 0x20, Immediate.INDEX, 1); // local.get
define(0x21, 0x21, Immediate.INDEX, -1);
define(0x22, 0x22, Immediate.INDEX, 0);
define(0x23, 0x23, Immediate.INDEX, 1); // global.get
define(0x24, 0x24, Immediate.INDEX, -1);
define(0x25, 0x25, Immediate.INDEX, 0); // table.get
define(0x26, 0x26, Immediate.INDEX, -2);
define(0x28, 0x35, Immediate.MEMORY, 0); // loads
define(0x36, 0x3e, Immediate.MEMORY, -2); // stores
define(0x3f, 0x3f, Immediate.INDEX, 1); // memory.size
define(0x40, 0x40, Immediate.INDEX, 0); // memory.grow
define(0x41, 0x41, Immediate.I32, 1);
define(0x42, 0x42, Immediate.I64, 1);
define(0x43, 0x43, Immediate.F32, 1);
define(0x44, 0x44, Immediate.F64, 1);
define(0x45, 0xc4, Immediate.NONE, 0);
// Of the numeric instructions, those with two operands take one away.
for (const [from, to] of [
  [0x46, 0x4f],
  [0x51, 0x66],
  [0x6a, 0x78],
  [0x7c, 0x8a],
  [0x92, 0x98],
  [0xa0, 0xa6],
] as const) {
  define(from, to, Immediate.NONE, -1);
}
define(0xd0, 0xd0, Immediate.HEAP_TYPE, 1); // ref.null
define(0xd1, 0xd1, Immediate.NONE, 0);
define(0xd2, 0xd2, Immediate.INDEX, 1); // ref.func
define(0xfc, 0xfe, Immediate.PREFIX, 0);

/**
 * Fuel for one instruction, without what its operands add: 1 is about a tenth of a nanosecond of optimised code. What
 * V8 does by a call into its runtime takes up to some thousand times as long (measured, one by one, in loops).
 */
export const COSTS = new Uint16Array(256).fill(1);
for (const division of [0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82, 0x91, 0x95, 0x9f, 0xa3]) COSTS[division] = 20;
// Structure without code of its own.
for (const marker of [0x01, Op.BLOCK, Op.LOOP, Op.ELSE, Op.END]) COSTS[marker] = 0;
for (const call of [Op.CALL, Op.CALL_INDIRECT, Op.RETURN_CALL, Op.RETURN_CALL_INDIRECT]) COSTS[call] = 10;
for (const toss of [Op.THROW, Op.RETHROW, Op.THROW_REF]) COSTS[toss] = 6000;
COSTS[0x25] = COSTS[Op.REF_FUNC] = 250;
COSTS[Op.TABLE_SET] = 2000;
COSTS[Op.MEMORY_GROW] = 1000;
/** From this cost on, running an instruction again and again without a look at the fuel would be noticed. */
export const HEAVY_COST = 100;

/** Immediates, effects and fuel behind 0xfc, by second opcode. */
export const MORE: readonly (readonly [immediate: number, effect: number, cost: number])[] = [
  ...Array.from({ length: 8 }, () => [Immediate.NONE, 0, 1] as const), // saturating conversions
  [Immediate.INDICES, -3, 400],
  [Immediate.INDEX, 0, 50],
  [Immediate.INDICES, -3, 5],
  [Immediate.INDEX, -3, 5],
  [Immediate.INDICES, -3, 1000],
  [Immediate.INDEX, 0, 50],
  [Immediate.INDICES, -3, 1000],
  [Immediate.INDEX, -1, 2000],
  [Immediate.INDEX, 1, 1],
  [Immediate.INDEX, -3, 1000],
];
/** Fuel for an instruction behind 0xfe: notify calls the runtime, the others lock the bus. */
export const ATOMIC_COST = 100;

/** Bytes behind the immediates of a vector instruction, -1 when it has none such; `memory`: alignment and offset come first. */
export function simdImmediate(
  op: number,
): { readonly memory: boolean; readonly bytes: number; readonly effect: number } | undefined {
  if (op <= 10 || op === 92 || op === 93) return { memory: true, bytes: 0, effect: 0 };
  if (op === 11) return { memory: true, bytes: 0, effect: -2 };
  if (op === 12) return { memory: false, bytes: 16, effect: 1 };
  if (op === 13) return { memory: false, bytes: 16, effect: -1 };
  if (op >= 21 && op <= 34) return { memory: false, bytes: 1, effect: SIMD_TWO.has(op) ? -1 : 0 };
  if (op >= 84 && op <= 87) return { memory: true, bytes: 1, effect: -1 };
  if (op >= 88 && op <= 91) return { memory: true, bytes: 1, effect: -2 };
  if (op > 0x113) return undefined;
  return { memory: false, bytes: 0, effect: SIMD_TWO.has(op) ? -1 : SIMD_THREE.has(op) ? -2 : 0 };
}

/** Vector instructions with two operands, and with three. The rest have one. */
const SIMD_TWO: ReadonlySet<number> = new Set(
  (
    [
      [0x0e, 0x0e], // swizzle
      [0x17, 0x17], // replace_lane
      [0x1a, 0x1a],
      [0x1c, 0x1c],
      [0x1e, 0x1e],
      [0x20, 0x20],
      [0x22, 0x22],
      [0x23, 0x4c], // comparisons
      [0x4e, 0x51], // and, andnot, or, xor
      [0x65, 0x66], // i8x16
      [0x6b, 0x73],
      [0x76, 0x79],
      [0x7b, 0x7b],
      [0x82, 0x82], // i16x8
      [0x85, 0x86],
      [0x8b, 0x93],
      [0x95, 0x9f],
      [0xab, 0xbf], // i32x4
      [0xcb, 0xdf], // i64x2
      [0xe4, 0xeb], // f32x4
      [0xf0, 0xf7], // f64x2
      [0x100, 0x100], // relaxed
      [0x10d, 0x112],
    ] as const
  ).flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, n) => from + n)),
);
const SIMD_THREE: ReadonlySet<number> = new Set([0x52, 0x105, 0x106, 0x107, 0x108, 0x109, 0x10a, 0x10b, 0x10c, 0x113]);

/** Effect of an instruction behind 0xfe; all but the fence have alignment and offset. */
export function atomicEffect(op: number): number | undefined {
  if (op === 0x00) return -1;
  if (op === 0x01 || op === 0x02) return -2;
  if (op === 0x03) return 0;
  if (op >= 0x10 && op <= 0x16) return 0;
  if (op >= 0x17 && op <= 0x1d) return -2;
  if (op >= 0x1e && op <= 0x47) return -1;
  return op >= 0x48 && op <= 0x4e ? -2 : undefined;
}
