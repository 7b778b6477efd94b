/**
 * One pass over all code of a module: where fuel must be taken and how much, which functions call which, how big their
 * frames are, and where a rewriter has to put something in.
 */
import { ProxyError } from "../../errors.ts";
import { HOST_CALL_FUEL, MAX_FUNCTION_LOCALS, MAX_NESTED_BLOCKS, SMALL_LEAF_INSTRUCTIONS } from "../../limits.ts";
import { Bulk, Charge, ChargeKind, Event, Region } from "./code-facts.ts";
import type { Arity, CodeScan, FunctionScan, ScanInput } from "./code-facts.ts";
import { CallSurvey } from "./call-survey.ts";
import { FuelBook } from "./fuel-book.ts";
import { IntList } from "./int-list.ts";
import {
  ATOMIC_COST,
  atomicEffect,
  COSTS,
  EFFECTS,
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
const Frame = {
  OPCODE: 0,
  HEIGHT: 1,
  PARAMS: 2,
  RESULTS: 3,
  CHARGE: 4,
  REGION: 5,
  LABEL: 6,
  CAUGHT: 7,
  SIZE: 8,
} as const;

class Scanner {
  readonly #input: ScanInput;
  readonly #reader: Reader;
  readonly #functions: FunctionScan[] = [];
  readonly #events = new IntList();
  readonly #fuel: FuelBook;
  readonly #leaves = new IntList();
  readonly #bulks = new IntList();
  readonly #frames = new Int32Array((MAX_NESTED_BLOCKS + 1) * Frame.SIZE);
  #depth = 0;
  #height = 0;
  #deepest = 0;
  #wide = false;
  #catches = false;
  #self = 0;
  readonly #survey: CallSurvey;

  constructor(input: ScanInput) {
    this.#input = input;
    this.#fuel = new FuelBook(input.exact);
    this.#reader = new Reader(input.bytes, input.start, input.end);
    this.#survey = new CallSurvey(input.functionTypes.length, input.types.length);
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
      this.#functions.push(this.#function(end));
      if (reader.at !== end) throw corrupted(`has bytes behind the end of function ${this.#self}`);
      reader.end = this.#input.end;
    }
    this.#survey.finish(this.#input.entered);
    return {
      functions: this.#functions,
      visit: (n) => this.#visit(n),
      events: this.#events,
      charges: this.#fuel.charges,
      regions: this.#fuel.regions,
      leaves: this.#leaves,
      bulks: this.#bulks,
      calls: this.#survey.calls,
      indirectCalls: this.#survey.indirectCalls,
      taken: this.#survey.taken,
    };
  }

  #visit(n: number): void {
    const { start, end } = this.#functions[n]!;
    this.#self = this.#input.importedFunctions + n;
    this.#reader.at = start;
    this.#reader.end = end;
    this.#function(end);
  }

  #function(end: number): FunctionScan {
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
    this.#events.length = this.#leaves.length = this.#bulks.length = 0;
    const arity = this.#arity(this.#input.functionTypes[this.#self]!);
    this.#depth = 0;
    this.#height = this.#deepest = 0;
    this.#catches = false;
    this.#event(Event.CHARGE, this.#fuel.begin());
    this.#push(Op.BLOCK, { params: 0, results: arity.results });
    while (this.#depth > 0) this.#instruction();
    const silent = this.#fuel.finish();
    if (!this.#survey.over) this.#survey.price(this.#self, this.#fuel.charges.at(Charge.COST), silent);
    else if (this.#survey.priceOf(this.#self) > 0) this.#fuel.release(true);
    else if (silent) this.#fuel.release(false);
    const [height, wide, catches] = [this.#deepest, this.#wide, this.#catches];
    return { start, codeStart, end, localGroups, locals, height, wide, catches };
  }

  // ---- fuel -----------------------------------------------------------------------------------

  /** A joint of the control flow. */
  #openCharge(kind: number): void {
    this.#event(Event.CHARGE, this.#fuel.open(kind));
  }

  /** In front of what may lead out of the loops that it stands in: to `region`, or out of the function (-1). */
  #leave(region: number, offset: number): void {
    const from = this.#fuel.region;
    if (region === from || this.#fuel.regions.at(from + Region.OUTER) < 0) return;
    this.#event(Event.LEAVE, this.#leaves.length, offset);
    this.#leaves.push(from);
    this.#leaves.push(region);
  }

  /** The region that a branch leads to. */
  #target(label: number): number {
    if (label >= this.#depth) throw corrupted(`branches to a block that is not there in function ${this.#self}`);
    return this.#frames[(this.#depth - 1 - label) * Frame.SIZE + Frame.LABEL]!;
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
    this.#frames[at + Frame.CHARGE] = this.#fuel.charge;
    this.#frames[at + Frame.CAUGHT] = 0;
    this.#frames[at + Frame.REGION] = this.#frames[at + Frame.LABEL] = this.#fuel.region;
    this.#depth++;
  }

  #end(): void {
    this.#fuel.close();
    const at = --this.#depth * Frame.SIZE;
    this.#setHeight(this.#frames[at + Frame.HEIGHT]! + this.#frames[at + Frame.RESULTS]!);
    if (this.#depth === 0) return;
    if (this.#frames[at + Frame.CAUGHT] === 1) this.#event(Event.CAUGHT, 0);
    const outer = this.#frames[at + Frame.REGION]!;
    if (outer !== this.#fuel.region) {
      this.#leave(outer, this.#reader.at);
      this.#fuel.closeRegion(outer);
    }
    // What follows is reached from the block's start at least; what ran inside it need not have.
    this.#fuel.charge = this.#frames[at + Frame.CHARGE]!;
    this.#openCharge(ChargeKind.PLAIN);
  }

  /** `else`, `catch`: another arm of the block that is open, which begins with so many values; -1: those of the block. */
  #arm(values: number): void {
    this.#fuel.close();
    const at = (this.#depth - 1) * Frame.SIZE;
    if (this.#depth < 2) throw corrupted(`has an else or catch outside of a block in function ${this.#self}`);
    this.#setHeight(this.#frames[at + Frame.HEIGHT]! + (values < 0 ? this.#frames[at + Frame.PARAMS]! : values));
    this.#fuel.charge = this.#frames[at + Frame.CHARGE]!;
    this.#openCharge(ChargeKind.PLAIN);
  }

  #block(opcode: number, offset: number): void {
    if (opcode === Op.IF) this.#effect(-1);
    const arity = this.#blockType();
    if (opcode === Op.TRY) this.#catches = true;
    if (opcode === Op.LOOP || opcode === Op.IF) this.#fuel.close();
    this.#push(opcode, arity);
    if (opcode === Op.LOOP) {
      this.#fuel.openRegion(this.#fuel.region);
      this.#frames[(this.#depth - 1) * Frame.SIZE + Frame.LABEL] = this.#fuel.region;
      this.#event(Event.LOOP, this.#fuel.region, offset);
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
      this.#catchAt(reader.u32());
    }
    this.#push(Op.TRY_TABLE, arity);
  }

  /** An exception may lead to a label. */
  #catchAt(label: number): void {
    const region = this.#target(label);
    const at = (this.#depth - 1 - label) * Frame.SIZE;
    if (this.#frames[at + Frame.OPCODE] === Op.LOOP) this.#fuel.regions.set(region + Region.CAUGHT, 1);
    else this.#frames[at + Frame.CAUGHT] = 1;
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
    this.#fuel.stop();
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
    this.#fuel.add(COSTS[opcode]!);
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
        return this.#branchTable(offset);
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
        this.#arm(0);
        return this.#event(Event.CAUGHT, 0);
      case Op.RETURN:
        this.#leave(-1, offset);
        this.#event(Event.RETURN, this.#depth - 1, offset);
        return this.#unreachable();
      case Op.THROW_REF:
        this.#leave(-1, offset);
        return this.#unreachable();
      case Op.UNREACHABLE:
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
        this.#arm(this.#input.tags[index] ?? 0);
        return this.#event(Event.CAUGHT, 0);
      case Op.DELEGATE:
        return this.#end();
      case Op.BR:
        this.#leave(this.#target(index), offset);
        return this.#unreachable();
      case Op.BR_IF:
        this.#leave(this.#target(index), offset);
        // What follows need not run.
        this.#fuel.close();
        return this.#openCharge(ChargeKind.PLAIN);
      case Op.THROW:
      case Op.RETHROW:
        this.#leave(-1, offset);
        return this.#unreachable();
      case Op.MEMORY_GROW:
        this.#bulk(Bulk.PAGES, offset);
        return this.#event(Event.GROWN, 0);
      case Op.TABLE_SET:
        return this.#event(Event.UNRESTORABLE, 0, offset);
      case Op.REF_FUNC:
        this.#survey.take(index);
    }
  }

  #branchTable(offset: number): void {
    const reader = this.#reader;
    let outermost = this.#fuel.region;
    // Regions around one have lower numbers.
    for (let left = reader.u32() + 1; left > 0; left--) outermost = Math.min(outermost, this.#target(reader.u32()));
    this.#leave(outermost, offset);
    this.#unreachable();
  }

  #call(index: number, opcode: number, offset: number): void {
    const { functionTypes, importedFunctions } = this.#input;
    const type = functionTypes[index];
    if (type === undefined) throw corrupted(`calls function ${index}, which it does not have`);
    if (index < importedFunctions) {
      this.#fuel.add(HOST_CALL_FUEL);
      if (!this.#input.harmless[index]!) this.#event(Event.RESTRICTED, 0, offset);
    }
    this.#survey.call(this.#self, index);
    const enough = index >= importedFunctions && this.#fuel.pay(this.#survey.priceOf(index));
    if (!this.#survey.isSilent(index)) this.#fuel.markCall();
    this.#afterCall(this.#arity(type), opcode === Op.RETURN_CALL, offset);
    if (!enough) return;
    this.#fuel.close();
    this.#openCharge(ChargeKind.PLAIN);
  }

  #callIndirect(opcode: number, offset: number): void {
    const type = this.#reader.u32();
    this.#reader.u32();
    this.#effect(-1);
    if (this.#input.hostInTable) this.#fuel.add(HOST_CALL_FUEL);
    // What is called may be too short to take fuel itself.
    if (!this.#input.exact) this.#fuel.add(SMALL_LEAF_INSTRUCTIONS);
    const arity = this.#arity(type);
    this.#survey.callType(this.#self, type);
    this.#fuel.markCall();
    this.#afterCall(arity, opcode === Op.RETURN_CALL_INDIRECT, offset);
  }

  #afterCall(arity: Arity, tail: boolean, offset: number): void {
    if (tail) this.#event(Event.TAIL_CALL, 0, offset);
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
    this.#fuel.add(ATOMIC_COST);
    this.#effect(effect);
  }

  #more(opcode: number, offset: number): void {
    const reader = this.#reader;
    const row = MORE[opcode];
    if (row === undefined) throw this.#unsupported(Op.MORE, offset, opcode);
    const [immediate, effect, cost] = row;
    this.#fuel.add(cost);
    if (immediate !== Immediate.NONE) reader.u32();
    if (immediate === Immediate.INDICES) reader.u32();
    this.#effect(effect);
    switch (opcode) {
      case More.TABLE_INIT:
      case More.TABLE_COPY:
      case More.TABLE_GROW:
      case More.TABLE_FILL:
        this.#event(Event.UNRESTORABLE, 0, offset);
        return this.#bulk(Bulk.ELEMENTS, offset);
      case More.MEMORY_INIT:
      case More.MEMORY_COPY:
      case More.MEMORY_FILL:
        return this.#bulk(Bulk.BYTES, offset);
      case More.DATA_DROP:
      case More.ELEM_DROP:
        return this.#event(Event.UNRESTORABLE, 0, offset);
    }
  }

  #bulk(kind: number, offset: number): void {
    this.#event(Event.BULK, this.#bulks.length, offset);
    this.#bulks.push(kind);
    this.#bulks.push(this.#fuel.region);
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

const NOTHING: Arity = { params: 0, results: 0 };
const ONE_RESULT: Arity = { params: 0, results: 1 };
