/**
 * One pass over all code of a module: where fuel must be taken and how much, which functions call which, how big their
 * frames are, and where a rewriter has to put something in.
 *
 * Fuel is counted in instructions. Each straight piece of code between two joints of the control flow is a segment; a
 * segment that is short joins the charge of the code that always runs before it, a long one gets a charge of its own.
 * So a big function of which little runs (an interpreter loop, a state machine of a Go runtime) pays for what runs.
 *
 * Endless work goes through the start of a loop or function again and again: there the fuel is looked at, elsewhere it is
 * only taken. A short function without loops and calls takes none: the instruction that calls it pays.
 */
import { ProxyError } from "../../errors.ts";
import {
  HOST_CALL_FUEL,
  MAX_FUNCTION_LOCALS,
  MAX_NESTED_BLOCKS,
  MERGED_SEGMENT_INSTRUCTIONS,
  SMALL_LEAF_INSTRUCTIONS,
} from "../../limits.ts";
import { Bulk, Charge, ChargeKind, Event, EVENT_SIZE, Region } from "./code-facts.ts";
import type { Arity, CodeScan, FunctionScan, ScanInput } from "./code-facts.ts";
import { IntList } from "./int-list.ts";
import {
  ATOMIC_COST,
  atomicEffect,
  COSTS,
  EFFECTS,
  HEAVY_COST,
  Immediate,
  IMMEDIATES,
  More,
  MORE,
  Op,
  simdImmediate,
} from "./opcodes.ts";
import { corrupted, Reader } from "./reader.ts";

/** Throws ProxyError MODULE_CORRUPTED or MODULE_UNSUPPORTED. */
export function scanCode(input: ScanInput): CodeScan {
  return new Scanner(input).scan();
}

/** Numbers that describe an open block. */
const Frame = { OPCODE: 0, HEIGHT: 1, PARAMS: 2, RESULTS: 3, CHARGE: 4, REGION: 5, SIZE: 6 } as const;

class Scanner {
  readonly #input: ScanInput;
  readonly #reader: Reader;
  readonly #functions: FunctionScan[] = [];
  readonly #events = new IntList();
  readonly #charges = new IntList();
  readonly #regions = new IntList();
  readonly #calls = new IntList();
  readonly #indirectCalls = new IntList();
  readonly #taken = new Set<number>();
  readonly #frames = new Int32Array((MAX_NESTED_BLOCKS + 1) * Frame.SIZE);
  #depth = 0;
  #height = 0;
  #deepest = 0;
  #wide = false;
  #catches = false;
  #self = 0;
  /** The charge that runs before the present code, the one reserved for the present segment, and the segment's length. */
  #charge = 0;
  #reserved = 0;
  #segment = 0;
  #heavy = false;
  /** What all charges of the function cost together. */
  #total = 0;
  #region = 0;

  constructor(input: ScanInput) {
    this.#input = input;
    this.#reader = new Reader(input.bytes, input.start, input.end);
  }

  scan(): CodeScan {
    const reader = this.#reader;
    const { functionTypes, importedFunctions } = this.#input;
    const count = reader.u32();
    if (count !== functionTypes.length - importedFunctions) {
      throw corrupted(`declares ${functionTypes.length - importedFunctions} functions and has code of ${count}`);
    }
    for (let n = 0; n < count; n++) {
      const size = reader.u32();
      const end = reader.at + size;
      if (end > this.#input.end) throw corrupted(`ends in the middle of function ${importedFunctions + n}`);
      this.#self = importedFunctions + n;
      reader.end = end;
      this.#function(end);
      if (reader.at !== end) throw corrupted(`has bytes behind the end of function ${this.#self}`);
      reader.end = this.#input.end;
    }
    return {
      functions: this.#functions,
      events: this.#events,
      charges: this.#charges,
      regions: this.#regions,
      calls: this.#calls,
      indirectCalls: this.#indirectCalls,
      taken: this.#taken,
    };
  }

  #function(end: number): void {
    const reader = this.#reader;
    const start = reader.at;
    const localGroups = reader.u32();
    let locals = 0;
    this.#wide = false;
    for (let n = 0; n < localGroups; n++) {
      locals += reader.u32();
      if (locals > MAX_FUNCTION_LOCALS) throw corrupted(`has too many locals in function ${this.#self}`);
      this.#valueType();
    }
    const codeStart = reader.at;
    const firstEvent = this.#events.length / EVENT_SIZE;
    const arity = this.#arity(this.#input.functionTypes[this.#self]!);
    this.#depth = 0;
    this.#height = this.#deepest = 0;
    this.#catches = false;
    this.#total = 0;
    this.#openRegion(-1);
    const entry = this.#charges.length;
    this.#push(Op.BLOCK, { params: 0, results: arity.results });
    this.#openCharge(ChargeKind.ENTRY);
    while (this.#depth > 0) this.#instruction();
    this.#spareSmallLeaf(entry);
    this.#functions.push({
      start,
      codeStart,
      end,
      localGroups,
      locals,
      firstEvent,
      lastEvent: this.#events.length / EVENT_SIZE,
      height: this.#deepest,
      wide: this.#wide,
      catches: this.#catches,
    });
  }

  // ---- fuel -----------------------------------------------------------------------------------

  /** A joint of the control flow: what follows is a segment of its own, which is charged whatever its length if it is not PLAIN. */
  #openCharge(kind: number): void {
    this.#reserved = this.#charges.length;
    this.#charges.push(0);
    this.#charges.push(this.#region);
    this.#charges.push(kind);
    this.#event(Event.CHARGE, this.#reserved);
    this.#segment = 0;
    this.#heavy = false;
    if (kind !== ChargeKind.PLAIN) {
      this.#charge = this.#reserved;
      this.#segment = 1;
    }
  }

  /** Books the segment that ends here. */
  #closeCharge(): void {
    const charges = this.#charges;
    const merged = charges.at(this.#charge) + this.#segment <= MERGED_SEGMENT_INSTRUCTIONS;
    const to = merged ? this.#charge : this.#reserved;
    // At least 1, or a loop would be without a charge.
    const cost = Math.min(this.#segment, Math.max(MAX_FUNCTION_COST - this.#total, 1));
    this.#total += cost;
    charges.add(to + Charge.COST, cost);
    if (this.#heavy && charges.at(to + Charge.KIND) === ChargeKind.PLAIN)
      charges.set(to + Charge.KIND, ChargeKind.CHECKED);
    if (cost > 0) this.#charge = to;
    this.#segment = 0;
    this.#heavy = false;
  }

  /** Adds to what the present segment costs. */
  #cost(units: number): void {
    this.#segment += units;
    if (units >= HEAVY_COST) this.#heavy = true;
  }

  /** Neither loops nor calls: nothing endless goes through here alone. */
  #spareSmallLeaf(entry: number): void {
    const { SIZE, CALLS } = Region;
    const charges = this.#charges;
    const alone = this.#region + SIZE === this.#regions.length && this.#regions.at(this.#region + CALLS) === 0;
    if (alone && this.#total <= SMALL_LEAF_INSTRUCTIONS && charges.at(entry) === this.#total) charges.set(entry, 0);
  }

  #openRegion(outer: number): void {
    this.#region = this.#regions.length;
    this.#regions.push(outer);
    this.#regions.push(0);
  }

  #markCall(): void {
    this.#regions.set(this.#region + Region.CALLS, 1);
  }

  #event(kind: number, argument: number, offset = this.#reader.at): void {
    this.#events.push(offset);
    this.#events.push(kind);
    this.#events.push(argument);
  }

  // ---- blocks ---------------------------------------------------------------------------------

  #push(opcode: number, arity: Arity): void {
    if (this.#depth >= MAX_NESTED_BLOCKS) throw corrupted(`nests blocks too deeply in function ${this.#self}`);
    const at = this.#depth * Frame.SIZE;
    this.#frames[at + Frame.OPCODE] = opcode;
    this.#frames[at + Frame.HEIGHT] = Math.max(this.#height - arity.params, 0);
    this.#frames[at + Frame.PARAMS] = arity.params;
    this.#frames[at + Frame.RESULTS] = arity.results;
    this.#frames[at + Frame.CHARGE] = this.#charge;
    this.#frames[at + Frame.REGION] = this.#region;
    this.#depth++;
  }

  #end(): void {
    this.#closeCharge();
    const at = --this.#depth * Frame.SIZE;
    this.#setHeight(this.#frames[at + Frame.HEIGHT]! + this.#frames[at + Frame.RESULTS]!);
    if (this.#depth === 0) return;
    const outer = this.#frames[at + Frame.REGION]!;
    if (outer !== this.#region) {
      const calls = this.#regions.at(this.#region + Region.CALLS) === 1;
      this.#region = outer;
      if (calls) this.#markCall();
    }
    // What follows is reached from the block's start at least; what ran inside it need not have.
    this.#charge = this.#frames[at + Frame.CHARGE]!;
    this.#openCharge(ChargeKind.PLAIN);
  }

  /** `else`, `catch`: another arm of the block that is open, which begins with so many values; -1: those of the block. */
  #arm(values: number): void {
    this.#closeCharge();
    const at = (this.#depth - 1) * Frame.SIZE;
    if (this.#depth < 2) throw corrupted(`has an else or catch outside of a block in function ${this.#self}`);
    this.#setHeight(this.#frames[at + Frame.HEIGHT]! + (values < 0 ? this.#frames[at + Frame.PARAMS]! : values));
    this.#charge = this.#frames[at + Frame.CHARGE]!;
    this.#openCharge(ChargeKind.PLAIN);
  }

  #block(opcode: number, offset: number): void {
    if (opcode === Op.IF) this.#effect(-1);
    const arity = this.#blockType();
    if (opcode === Op.TRY) this.#catches = true;
    if (opcode === Op.LOOP || opcode === Op.IF) this.#closeCharge();
    this.#push(opcode, arity);
    if (opcode === Op.LOOP) {
      this.#openRegion(this.#region);
      this.#event(Event.LOOP, this.#region, offset);
      this.#openCharge(ChargeKind.CHECKED);
    } else if (opcode === Op.IF) this.#openCharge(ChargeKind.PLAIN);
  }

  #tryTable(): void {
    const reader = this.#reader;
    this.#catches = true;
    const arity = this.#blockType();
    for (let left = reader.u32(); left > 0; left--) {
      const kind = reader.byte();
      if (kind > 3) throw corrupted(`has a catch clause of unknown kind in function ${this.#self}`);
      if (kind < 2) reader.u32();
      reader.u32();
    }
    this.#push(Op.TRY_TABLE, arity);
  }

  #blockType(): Arity {
    const reader = this.#reader;
    const first = reader.byte();
    if (first === 0x40) return NOTHING;
    reader.at--;
    // A signed number: a single byte with bit 6 is negative, and so a type; indices are not.
    if (first > 0x40 && first < 0x80) {
      this.#valueType();
      return ONE_RESULT;
    }
    return this.#arity(reader.u32());
  }

  /** The code behind a branch that always jumps is never reached; its stack is whatever it wants. */
  #unreachable(): void {
    const at = (this.#depth - 1) * Frame.SIZE;
    this.#setHeight(this.#frames[at + Frame.HEIGHT]!);
  }

  // ---- the operand stack ----------------------------------------------------------------------

  #setHeight(height: number): void {
    this.#height = height;
    if (height > this.#deepest) this.#deepest = height;
  }

  #effect(change: number): void {
    const height = this.#height + change;
    this.#height = height < 0 ? 0 : height;
    if (height > this.#deepest) this.#deepest = height;
  }

  #arity(index: number): Arity {
    const arity = this.#input.types[index];
    if (arity === undefined) throw corrupted(`refers to type ${index}, which it does not have`);
    return arity;
  }

  // ---- instructions ---------------------------------------------------------------------------

  #instruction(): void {
    const reader = this.#reader;
    const offset = reader.at;
    const opcode = reader.byte();
    this.#cost(COSTS[opcode]!);
    this.#effect(EFFECTS[opcode]!);
    switch (IMMEDIATES[opcode]) {
      case Immediate.NONE:
        return this.#plain(opcode, offset);
      case Immediate.INDEX:
        return this.#indexed(opcode, offset);
      case Immediate.INDICES:
        return this.#callIndirect(opcode, offset);
      case Immediate.MEMORY:
        return this.#memoryArgument();
      case Immediate.I32:
        return reader.skipLeb(32);
      case Immediate.I64:
        return reader.skipLeb(64);
      case Immediate.F32:
        return reader.skip(4);
      case Immediate.F64:
        return reader.skip(8);
      case Immediate.BLOCK:
        return this.#block(opcode, offset);
      case Immediate.BR_TABLE:
        for (let left = reader.u32() + 1; left > 0; left--) reader.u32();
        return this.#unreachable();
      case Immediate.SELECT_TYPES:
        for (let left = reader.u32(); left > 0; left--) this.#valueType();
        return;
      case Immediate.HEAP_TYPE:
        return reader.skipLeb(33);
      case Immediate.TRY_TABLE:
        return this.#tryTable();
      case Immediate.PREFIX:
        return this.#prefixed(opcode, offset);
      default:
        throw this.#unsupported(opcode, offset);
    }
  }

  #plain(opcode: number, offset: number): void {
    switch (opcode) {
      case Op.END:
        return this.#end();
      case Op.ELSE:
        return this.#arm(-1);
      case Op.CATCH_ALL:
        return this.#arm(0);
      case Op.RETURN:
        this.#event(Event.RETURN, this.#depth - 1, offset);
        return this.#unreachable();
      case 0x00:
      case Op.THROW_REF:
        return this.#unreachable();
    }
  }

  #indexed(opcode: number, offset: number): void {
    const index = this.#reader.u32();
    switch (opcode) {
      case Op.CALL:
      case Op.RETURN_CALL:
        return this.#call(index, opcode, offset);
      case Op.CATCH:
        return this.#arm(this.#input.tags[index] ?? 0);
      case Op.DELEGATE:
        return this.#end();
      case Op.BR:
      case Op.THROW:
      case Op.RETHROW:
        return this.#unreachable();
      case Op.MEMORY_GROW:
        this.#event(Event.BULK, Bulk.PAGES, offset);
        return this.#event(Event.GROWN, 0);
      case Op.TABLE_SET:
        return this.#event(Event.UNRESTORABLE, 0, offset);
      case Op.REF_FUNC:
        this.#taken.add(index);
    }
  }

  #call(index: number, opcode: number, offset: number): void {
    const { functionTypes, importedFunctions } = this.#input;
    const type = functionTypes[index];
    if (type === undefined) throw corrupted(`calls function ${index}, which it does not have`);
    if (index < importedFunctions) {
      this.#cost(HOST_CALL_FUEL);
      if (!this.#input.harmless[index]!) this.#event(Event.RESTRICTED, 0, offset);
    }
    this.#calls.push(this.#self);
    this.#calls.push(index);
    this.#afterCall(this.#arity(type), opcode === Op.RETURN_CALL, offset);
  }

  #callIndirect(opcode: number, offset: number): void {
    const type = this.#reader.u32();
    this.#reader.u32();
    this.#effect(-1);
    if (this.#input.hostInTable) this.#cost(HOST_CALL_FUEL);
    this.#indirectCalls.push(this.#self);
    this.#indirectCalls.push(type);
    this.#afterCall(this.#arity(type), opcode === Op.RETURN_CALL_INDIRECT, offset);
  }

  #afterCall(arity: Arity, tail: boolean, offset: number): void {
    this.#event(tail ? Event.TAIL_CALL : Event.CALL, 0, offset);
    this.#markCall();
    this.#effect(-arity.params);
    if (tail) this.#unreachable();
    else this.#effect(arity.results);
  }

  #memoryArgument(): void {
    const align = this.#reader.u32();
    // Bit 6 names another memory than the first: refused with the memory section already.
    if (align >= 64) throw corrupted(`uses a second memory in function ${this.#self}`);
    this.#reader.unsigned();
  }

  #prefixed(prefix: number, offset: number): void {
    const reader = this.#reader;
    const opcode = reader.u32();
    if (prefix === Op.MORE) return this.#more(opcode, offset);
    if (prefix === Op.SIMD) {
      const form = simdImmediate(opcode);
      if (form === undefined) throw this.#unsupported(prefix, offset, opcode);
      this.#wide = true;
      if (form.memory) this.#memoryArgument();
      reader.skip(form.bytes);
      return this.#effect(form.effect);
    }
    const effect = atomicEffect(opcode);
    if (prefix !== Op.ATOMIC || effect === undefined) throw this.#unsupported(prefix, offset, opcode);
    if (opcode === 0x03) reader.byte();
    else this.#memoryArgument();
    this.#cost(ATOMIC_COST);
    this.#effect(effect);
  }

  #more(opcode: number, offset: number): void {
    const reader = this.#reader;
    const row = MORE[opcode];
    if (row === undefined) throw this.#unsupported(Op.MORE, offset, opcode);
    const [immediate, effect, cost] = row;
    this.#cost(cost);
    if (immediate !== Immediate.NONE) reader.u32();
    if (immediate === Immediate.INDICES) reader.u32();
    this.#effect(effect);
    switch (opcode) {
      case More.TABLE_INIT:
      case More.TABLE_COPY:
      case More.TABLE_GROW:
      case More.TABLE_FILL:
        this.#event(Event.UNRESTORABLE, 0, offset);
        return this.#event(Event.BULK, Bulk.ELEMENTS, offset);
      case More.MEMORY_INIT:
      case More.MEMORY_COPY:
      case More.MEMORY_FILL:
        return this.#event(Event.BULK, Bulk.BYTES, offset);
      case More.DATA_DROP:
      case More.ELEM_DROP:
        return this.#event(Event.UNRESTORABLE, 0, offset);
    }
  }

  #valueType(): void {
    const byte = this.#reader.byte();
    if (byte < 0x69 || byte > 0x7f) throw this.#unsupported(byte, this.#reader.at - 1, undefined, "value type");
    if (byte === 0x7b) this.#wide = true;
  }

  #unsupported(opcode: number, offset: number, second?: number, what = "instruction"): ProxyError {
    const hex = `0x${opcode.toString(16)}${second === undefined ? "" : ` 0x${second.toString(16)}`}`;
    return new ProxyError(
      "MODULE_UNSUPPORTED",
      "config",
      `${what} ${hex} in function ${this.#self} at byte 0x${offset.toString(16)}: not known to this host`,
    );
  }
}

/** What is taken between two looks at the fuel is less than this: it is never so far below 0 that it comes around. */
const MAX_FUNCTION_COST = 0x3fff_ffff;
const NOTHING: Arity = { params: 0, results: 0 };
const ONE_RESULT: Arity = { params: 0, results: 1 };
