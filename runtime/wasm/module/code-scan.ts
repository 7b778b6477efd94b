/**
 * One pass over all code of a module: where fuel must be taken and how much, which functions call which, how big their
 * frames are, and where a rewriter has to put something in.
 */
import {
  HOST_CALL_FUEL,
  MAX_FUNCTION_LOCALS,
  MAX_NESTED_BLOCKS,
  REPEATED_LOOP_BYTES,
  SMALL_LEAF_INSTRUCTIONS,
} from "../../limits.ts";
import { Bulk, Charge, ChargeKind, EMPTY_TYPE, Event, Frame, Region } from "./code-facts.ts";
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
import { CodeReader } from "./code-reader.ts";
import { corrupted } from "./reader.ts";

/** Throws ProxyError MODULE_CORRUPTED or MODULE_UNSUPPORTED. */
export function scanCode(input: ScanInput): CodeScan {
  return new Scanner(input).scan();
}

class Scanner {
  readonly #input: ScanInput;
  readonly #reader: CodeReader;
  readonly #functions: FunctionScan[] = [];
  readonly #events = new IntList();
  readonly #fuel: FuelBook;
  readonly #leaves = new IntList();
  readonly #bulks = new IntList();
  readonly #frames = new Int32Array((MAX_NESTED_BLOCKS + 1) * Frame.SIZE);
  #depth = 0;
  #catches = false;
  #throws = false;
  readonly #survey: CallSurvey;

  constructor(input: ScanInput) {
    this.#input = input;
    this.#fuel = new FuelBook(input.exact);
    this.#reader = new CodeReader(input.bytes, input.start, input.end, input.types);
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
      this.#reader.self = importedFunctions + n;
      reader.end = end;
      this.#functions.push(this.#function(end));
      if (reader.at !== end) throw corrupted(`has bytes behind the end of function ${this.#reader.self}`);
      reader.end = this.#input.end;
    }
    this.#survey.finish(this.#input.entered, this.#input.exact ? 0 : SMALL_LEAF_INSTRUCTIONS);
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
    this.#reader.self = this.#input.importedFunctions + n;
    this.#reader.at = start;
    this.#reader.end = end;
    this.#function(end);
  }

  #function(end: number): FunctionScan {
    const reader = this.#reader;
    const start = reader.at;
    const localGroups = reader.u32();
    let locals = 0;
    reader.begin();
    for (let n = 0; n < localGroups; n++) {
      locals += reader.u32();
      if (locals > MAX_FUNCTION_LOCALS) throw corrupted(`has too many locals in function ${this.#reader.self}`);
      this.#reader.valueType();
    }
    const codeStart = reader.at;
    this.#events.length = this.#leaves.length = this.#bulks.length = 0;
    const arity = this.#reader.arity(this.#input.functionTypes[this.#reader.self]!);
    this.#depth = 0;
    this.#catches = this.#throws = false;
    this.#event(Event.CHARGE, this.#fuel.begin());
    this.#push(Op.BLOCK, { params: 0, results: arity.results });
    while (this.#depth > 0) this.#instruction();
    const silent = this.#fuel.finish();
    if (!this.#survey.over) this.#survey.price(this.#reader.self, this.#fuel.charges.at(Charge.COST), silent);
    else if (this.#survey.priceOf(this.#reader.self) > 0) this.#fuel.release();
    const [height, wide, catches, throws] = [reader.deepest, reader.wide, this.#catches, this.#throws];
    return { start, codeStart, end, localGroups, locals, height, wide, catches, throws };
  }

  // ---- fuel -----------------------------------------------------------------------------------

  /** A joint of the control flow. */
  #openCharge(kind: number): void {
    this.#event(Event.CHARGE, this.#fuel.open(kind));
  }

  /** In front of what may lead out of the loops that it stands in: to `region`, or out of the function (-1). */
  #leave(region: number, offset: number, kind: number = Event.LEAVE, label = 0): void {
    const from = this.#fuel.region;
    if (region === from || this.#fuel.regions.at(from + Region.OUTER) < 0) return;
    this.#event(kind, this.#leaves.length, offset);
    this.#leaves.push(from);
    this.#leaves.push(region);
    this.#leaves.push(label);
  }

  /** A branch to `label`, of a kind that can be written anew unless it takes values along. */
  #branch(label: number, offset: number, kind: number): void {
    const region = this.#target(label);
    const at = (this.#depth - 1 - label) * Frame.SIZE;
    const loop = this.#frames[at + Frame.OPCODE] === Op.LOOP;
    const carries = this.#frames[at + (loop ? Frame.PARAMS : Frame.RESULTS)]! > 0;
    if (carries && region !== this.#fuel.region) this.#writeOnce();
    this.#leave(region, offset, carries ? Event.LEAVE : kind, label);
  }

  /** The loop that is open cannot be written out several times. */
  #writeOnce(): void {
    this.#fuel.regions.set(this.#fuel.region + Region.END, 0);
  }

  /** The region that a branch leads to. */
  #target(label: number): number {
    if (label >= this.#depth) throw corrupted(`branches to a block that is not there in function ${this.#reader.self}`);
    return this.#frames[(this.#depth - 1 - label) * Frame.SIZE + Frame.LABEL]!;
  }

  #event(kind: number, argument: number, offset = this.#reader.at): void {
    this.#events.push(offset);
    this.#events.push(kind);
    this.#events.push(argument);
  }

  // ---- blocks ---------------------------------------------------------------------------------

  #push(opcode: number, arity: Arity): void {
    if (this.#depth >= MAX_NESTED_BLOCKS) throw corrupted(`nests blocks too deeply in function ${this.#reader.self}`);
    const at = this.#depth * Frame.SIZE;
    this.#frames[at + Frame.OPCODE] = opcode;
    this.#frames[at + Frame.HEIGHT] = Math.max(this.#reader.height - arity.params, 0);
    this.#frames[at + Frame.PARAMS] = arity.params;
    this.#frames[at + Frame.RESULTS] = arity.results;
    this.#frames[at + Frame.CHARGE] = this.#fuel.charge;
    this.#frames[at + Frame.CAUGHT] = 0;
    this.#frames[at + Frame.START] = this.#reader.at;
    this.#frames[at + Frame.REGION] = this.#frames[at + Frame.LABEL] = this.#fuel.region;
    this.#depth++;
  }

  #end(): void {
    this.#fuel.close();
    const at = --this.#depth * Frame.SIZE;
    this.#reader.setHeight(this.#frames[at + Frame.HEIGHT]! + this.#frames[at + Frame.RESULTS]!);
    if (this.#depth === 0) return;
    if (this.#frames[at + Frame.CAUGHT] === 1) this.#event(Event.CAUGHT, 0);
    const outer = this.#frames[at + Frame.REGION]!;
    if (outer !== this.#fuel.region) {
      const { regions, region } = this.#fuel;
      const short = this.#reader.at - this.#frames[at + Frame.START]! <= REPEATED_LOOP_BYTES;
      if (regions.at(region + Region.END) !== 0) regions.set(region + Region.END, short ? this.#reader.at - 1 : 0);
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
    if (this.#depth < 2) throw corrupted(`has an else or catch outside of a block in function ${this.#reader.self}`);
    this.#reader.setHeight(this.#frames[at + Frame.HEIGHT]! + (values < 0 ? this.#frames[at + Frame.PARAMS]! : values));
    this.#fuel.charge = this.#frames[at + Frame.CHARGE]!;
    this.#openCharge(ChargeKind.PLAIN);
  }

  #block(opcode: number, offset: number): void {
    const reader = this.#reader;
    if (opcode === Op.IF) this.#reader.effect(-1);
    const arity = this.#reader.blockType();
    if (opcode === Op.TRY) this.#catches = true;
    if (opcode === Op.TRY || opcode === Op.LOOP) this.#writeOnce();
    if (opcode === Op.LOOP || opcode === Op.IF) this.#fuel.close();
    this.#push(opcode, arity);
    if (opcode === Op.LOOP) {
      this.#fuel.openRegion(this.#fuel.region);
      this.#frames[(this.#depth - 1) * Frame.SIZE + Frame.LABEL] = this.#fuel.region;
      // Until it is known where it ends.
      if (reader.bytes[offset + 1] === EMPTY_TYPE) this.#fuel.regions.set(this.#fuel.region + Region.END, 1);
      this.#event(Event.LOOP, this.#fuel.region, offset);
      this.#openCharge(ChargeKind.CHECKED);
    } else if (opcode === Op.IF) this.#openCharge(ChargeKind.PLAIN);
  }

  #tryTable(): void {
    const reader = this.#reader;
    this.#catches = true;
    this.#writeOnce();
    const arity = this.#reader.blockType();
    for (let left = reader.u32(); left > 0; left--) {
      const kind = reader.byte();
      if (kind > 3) throw corrupted(`has a catch clause of unknown kind in function ${this.#reader.self}`);
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

  /** The code behind a branch that always jumps is never reached; its stack is whatever it wants. */
  #unreachable(): void {
    this.#fuel.stop();
    const at = (this.#depth - 1) * Frame.SIZE;
    this.#reader.setHeight(this.#frames[at + Frame.HEIGHT]!);
  }

  // ---- instructions ---------------------------------------------------------------------------

  #instruction(): void {
    const reader = this.#reader;
    const offset = reader.at;
    const opcode = reader.byte();
    this.#fuel.add(COSTS[opcode]!);
    this.#reader.effect(EFFECTS[opcode]!);
    switch (IMMEDIATES[opcode]) {
      case Immediate.NONE:
        return this.#plain(opcode, offset);
      case Immediate.INDEX:
        return this.#indexed(opcode, offset);
      case Immediate.INDICES:
        return this.#callIndirect(opcode, offset);
      case Immediate.MEMORY:
        return this.#reader.memoryArgument();
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
        for (let left = reader.u32(); left > 0; left--) this.#reader.valueType();
        return;
      case Immediate.HEAP_TYPE:
        return reader.skipLeb(33);
      case Immediate.TRY_TABLE:
        return this.#tryTable();
      case Immediate.PREFIX:
        return this.#prefixed(opcode, offset);
      default:
        throw this.#reader.unsupported(opcode, offset);
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
        this.#throws = true;
        this.#writeOnce();
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
        this.#branch(index, offset, Event.LEAVE_BY);
        return this.#unreachable();
      case Op.BR_IF:
        this.#branch(index, offset, Event.LEAVE_IF);
        // What follows need not run.
        this.#fuel.close();
        return this.#openCharge(ChargeKind.PLAIN);
      case Op.THROW:
      case Op.RETHROW:
        this.#throws = true;
        this.#writeOnce();
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
    if (outermost !== this.#fuel.region) this.#writeOnce();
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
    this.#survey.call(this.#reader.self, index);
    const enough = index >= importedFunctions && this.#fuel.pay(this.#survey.priceOf(index));
    const silent = this.#survey.isSilent(index);
    this.#afterCall(this.#reader.arity(type), opcode === Op.RETURN_CALL, offset, silent);
    if (!enough) return;
    this.#fuel.close();
    this.#openCharge(ChargeKind.PLAIN);
  }

  #callIndirect(opcode: number, offset: number): void {
    const type = this.#reader.u32();
    this.#reader.u32();
    this.#reader.effect(-1);
    if (this.#input.hostInTable) this.#fuel.add(HOST_CALL_FUEL);
    // What is called may be too short to take fuel itself.
    if (!this.#input.exact) this.#fuel.add(SMALL_LEAF_INSTRUCTIONS);
    const arity = this.#reader.arity(type);
    this.#survey.callType(this.#reader.self, type);
    this.#afterCall(arity, opcode === Op.RETURN_CALL_INDIRECT, offset, false);
  }

  #afterCall(arity: Arity, tail: boolean, offset: number, silent: boolean): void {
    if (!silent) {
      this.#fuel.markCall();
      this.#event(Event.CALLING, 0, offset);
      if (!tail) this.#event(Event.CALLED, 0);
    }
    if (tail) this.#event(Event.TAIL_CALL, 0, offset);
    this.#reader.effect(-arity.params);
    if (tail) this.#unreachable();
    else this.#reader.effect(arity.results);
  }

  #prefixed(prefix: number, offset: number): void {
    const reader = this.#reader;
    const opcode = reader.u32();
    if (prefix === Op.MORE) return this.#more(opcode, offset);
    if (prefix === Op.SIMD) {
      const form = simdImmediate(opcode);
      if (form === undefined) throw this.#reader.unsupported(prefix, offset, opcode);
      this.#reader.wide = true;
      if (form.memory) this.#reader.memoryArgument();
      reader.skip(form.bytes);
      return this.#reader.effect(form.effect);
    }
    const effect = atomicEffect(opcode);
    if (prefix !== Op.ATOMIC || effect === undefined) throw this.#reader.unsupported(prefix, offset, opcode);
    if (opcode === 0x03) reader.byte();
    else this.#reader.memoryArgument();
    this.#fuel.add(ATOMIC_COST);
    this.#reader.effect(effect);
  }

  #more(opcode: number, offset: number): void {
    const reader = this.#reader;
    const row = MORE[opcode];
    if (row === undefined) throw this.#reader.unsupported(Op.MORE, offset, opcode);
    const [immediate, effect, cost] = row;
    this.#fuel.add(cost);
    if (immediate !== Immediate.NONE) reader.u32();
    if (immediate === Immediate.INDICES) reader.u32();
    this.#reader.effect(effect);
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
}
