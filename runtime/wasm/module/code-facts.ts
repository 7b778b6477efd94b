/** What a scan of a module's code tells the rewriter: facts about each function, and the places where something goes in. */
import type { IntList } from "./int-list.ts";

/** What happens at an offset. An event is three numbers: offset in the file, kind, argument. */
export const Event = {
  /** Take fuel here; the argument is an index into `charges`. Nothing to do when that costs nothing. */
  CHARGE: 0,
  /** `return`: the argument is how many blocks are open. */
  RETURN: 1,
  /** A tail call. */
  TAIL_CALL: 2,
  /** Behind memory.grow. */
  GROWN: 3,
  /** In front of an instruction whose work grows with the number on top of the stack; the argument is an index into `bulks`. */
  BULK: 4,
  /** In front of an instruction that changes what a copy of memory and globals does not bring back. */
  UNRESTORABLE: 5,
  /** Where an exception may have come out: functions that it left are not on the stack any more. */
  CAUGHT: 6,
  /** In front of a call of a host function that is not always allowed. */
  RESTRICTED: 7,
  /** In front of a loop; the argument is its region. */
  LOOP: 8,
  /** Where a region is left, or may be; the argument is an index into `leaves`. */
  LEAVE: 9,
  /** A branch without values that leaves a region, when it is taken or always; the argument is an index into `leaves`. */
  LEAVE_IF: 10,
  LEAVE_BY: 11,
  /** In front of and behind a call of what takes fuel itself. */
  CALLING: 12,
  CALLED: 13,
} as const;
export const EVENT_SIZE = 3;
/** Events that are of no interest when no fuel is taken. */
export const FUEL_EVENTS: ReadonlySet<number> = new Set([
  Event.CHARGE,
  Event.LOOP,
  Event.LEAVE,
  Event.LEAVE_IF,
  Event.LEAVE_BY,
  Event.BULK,
  Event.CALLING,
  Event.CALLED,
]);

/** What a bulk instruction has so many of. */
export const Bulk = { BYTES: 0, ELEMENTS: 1, PAGES: 2 } as const;

export interface BulkPrice {
  readonly mask: number;
  readonly shift: number;
}

/**
 * Fuel by how many of what a bulk instruction moves: `(count & mask) << shift`, or `count >>> -shift`. A unit for two
 * bytes, as memory that is not in a cache takes; 1024 for an element of a table; 256 for a page, of which nothing is
 * touched yet. No charge can be so large that the fuel wraps around: counts beyond a mask fail and move nothing.
 */
const BULK_PRICES: Readonly<Record<number, readonly BulkPrice[]>> = {
  [Bulk.BYTES]: [{ mask: -1, shift: -1 }],
  [Bulk.ELEMENTS]: [{ mask: 0xf_ffff, shift: 10 }],
  [Bulk.PAGES]: [{ mask: 0xffff, shift: 8 }],
};
/** In memories of more than 2 GiB bytes could take more at once than the fuel can go below 0: half of it, twice. */
const HUGE_MEMORY_PAGES = 0x8000;
const HALF_OF_BYTES: BulkPrice = { mask: -1, shift: -2 };

/** What is taken for a bulk instruction of a {@link Bulk} kind, one after the other, in a memory of so many pages. */
export function bulkPrices(kind: number, memoryPages: number): readonly BulkPrice[] {
  return kind === Bulk.BYTES && memoryPages > HUGE_MEMORY_PAGES ? [HALF_OF_BYTES, HALF_OF_BYTES] : BULK_PRICES[kind]!;
}

/** A charge is four numbers: what it costs, its region, its kind, and what it takes for functions that are called behind it. */
export const Charge = { COST: 0, REGION: 1, KIND: 2, PAYMENT: 3, SIZE: 4 } as const;
export const ChargeKind = {
  /** Fuel is taken, and looked at somewhere behind. */
  PLAIN: 0,
  /** Fuel is taken and looked at: a loop goes on here, or something heavy follows. */
  CHECKED: 1,
  /** The same, where a function begins that nobody pays for. */
  ENTRY: 2,
} as const;

/**
 * A region is the body of a function or loop without the loops in it; four numbers: the region around it (-1: none), and
 * whether something is called in it or a loop in it. Where nothing is, nobody else takes fuel. Whether exceptions
 * lead to the start of the loop. And the offset of the loop's end if it can be written out several times in a row: it is
 * short, has no loop in it, and is left by plain branches only; else 0.
 */
export const Region = { OUTER: 0, CALLS: 1, CAUGHT: 2, END: 3, SIZE: 4 } as const;

/** Numbers that describe an open block while code is scanned. */
export const Frame = {
  OPCODE: 0,
  HEIGHT: 1,
  PARAMS: 2,
  RESULTS: 3,
  CHARGE: 4,
  REGION: 5,
  LABEL: 6,
  CAUGHT: 7,
  START: 8,
  SIZE: 9,
} as const;

/** Facts about one function body. */
export interface FunctionScan {
  /** In the file: of the first byte behind the size, of the first instruction, past the end. */
  readonly start: number;
  readonly codeStart: number;
  readonly end: number;
  /** Groups of locals, as the binary counts them, and locals without parameters. */
  readonly localGroups: number;
  readonly locals: number;
  /** Deepest operand stack, in values. */
  readonly height: number;
  readonly wide: boolean;
  readonly catches: boolean;
  readonly throws: boolean;
}

/** Types of functions: how many values go in and out. */
export interface Arity {
  readonly params: number;
  readonly results: number;
}

/** What holds for the whole module, and what the function that was scanned last needs. */
export interface CodeScan {
  readonly functions: readonly FunctionScan[];
  /** Scans function `n` of those once more, for the lists that follow: kept for all functions, they would need far more room than the module. */
  readonly visit: (n: number) => void;
  readonly events: IntList;
  readonly charges: IntList;
  readonly regions: IntList;
  /** Threes: region, the outermost region that may come next (-1: none of the function), label of the branch. */
  readonly leaves: IntList;
  /** Pairs: one of {@link Bulk}, region. */
  readonly bulks: IntList;
  /** Pairs: calling function, called function, each pair once. */
  readonly calls: IntList;
  /** Pairs: calling function, type index of what it calls through a table or reference. */
  readonly indirectCalls: IntList;
  /** Functions that code takes references of. */
  readonly taken: Set<number>;
}

/** What the scan is given. */
export interface ScanInput {
  readonly bytes: Uint8Array;
  /** Contents of the code section. */
  readonly start: number;
  readonly end: number;
  readonly types: readonly Arity[];
  /** Type index of each function, imports first. */
  readonly functionTypes: readonly number[];
  readonly importedFunctions: number;
  /** By imported function: it may be called at any time. */
  readonly harmless: readonly boolean[];
  /** Some imported function can be called through a table: then every indirect call may be a host call. */
  readonly hostInTable: boolean;
  /** By tag: how many values an exception carries. */
  readonly tags: readonly number[];
  /** Functions that are called from elsewhere than from the module's own calls, imports first: they take their own fuel. */
  readonly entered: ReadonlySet<number>;
  /** Each segment has a charge of its own. */
  readonly exact: boolean;
}

/** Type of a block without values. */
export const EMPTY_TYPE = 0x40;
