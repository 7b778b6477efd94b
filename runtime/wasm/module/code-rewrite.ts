/**
 * Writes the code section anew: the guest's instructions as they were, with fuel taken at the places that the scan
 * found, recursion counted, and notes about what a copy of memory and globals does not bring back.
 */
import { ProxyError } from "../../errors.ts";
import {
  GUEST_STACK_BYTES,
  LOOP_REPEATS,
  MAX_FUNCTION_BYTES,
  MAX_HARDENED_BYTES,
  MAX_REPEATED_COST,
  MAX_REPEATING_FUNCTION_BYTES,
  MAX_REPEATING_MODULE_BYTES,
} from "../../limits.ts";
import { ByteWriter } from "./byte-writer.ts";
import { bulkPrices, Charge, ChargeKind, Event, EVENT_SIZE, FUEL_EVENTS, Region } from "./code-facts.ts";
import type { BulkPrice, CodeScan, FunctionScan } from "./code-facts.ts";
import { CODE, CodeWriter, EMPTY_BLOCK } from "./code-writer.ts";
import type { HostGlobals } from "./host-code.ts";
import { GuestFlag, Restriction } from "./hardened.ts";
import { IntList } from "./int-list.ts";
import { I32 } from "./value-types.ts";

export interface RewriteInput {
  readonly bytes: Uint8Array;
  readonly scan: CodeScan;
  /** Index of the first function that is not imported. */
  readonly firstFunction: number;
  readonly globals: HostGlobals;
  /** By function without imports: parameters, bytes of stack that it counts for (0: it is not counted), its block type. */
  readonly params: readonly number[];
  readonly weights: readonly number[];
  /** Fuel is taken. */
  readonly fuel: boolean;
  /** Pages that the memory may grow to. */
  readonly memoryPages: number;
  /** Runs are counted, in a memory of that index; -1: they are not. */
  readonly counters: number;
  /** Block type of a block that leaves the results of function `n` without imports: 0x40, a value type, or an index; as bytes. */
  readonly resultBlock: (n: number) => readonly number[];
}

/** Offsets are into the code section's contents as written, and into the original file. */
export interface Rewritten {
  readonly code: ByteWriter;
  /** Pairs: written offset, original offset. */
  readonly offsets: IntList;
  /** Original offsets of the pieces of code whose runs are counted. */
  readonly pieces: IntList;
}

/** Bodies of all functions of the module, each behind its size; the count in front is not written. */
export function rewriteCode(input: RewriteInput): Rewritten {
  return new Rewriter(input).run();
}

class Rewriter {
  readonly #input: RewriteInput;
  readonly #code: ByteWriter;
  /** One body; copied behind its size once that is known. */
  readonly #body: CodeWriter;
  readonly #offsets = new IntList();
  readonly #pieces = new IntList();
  /** Pairs of the body under way, relative to it. */
  #bodyOffsets = new IntList();
  /** Locals of the function under way that the host adds: fuel left, length of a bulk instruction, stack in use. */
  #left = 0;
  #length = 0;
  #stack = 0;
  #counted = false;
  /** The function keeps the fuel in `left` from start to end, but for calls. */
  #held = false;
  /** Short loops are written out several times. While one is: how many more blocks lead out of it, and what the present round has paid for others. */
  #repeats = false;
  #shift = 0;
  #unpaid = 0;
  #weight = 0;

  constructor(input: RewriteInput) {
    this.#input = input;
    const size = input.bytes.length;
    this.#code = new ByteWriter(size + (size >> 1));
    this.#body = new CodeWriter(64 * 1024);
  }

  run(): Rewritten {
    this.#input.scan.functions.forEach((one, n) => this.#function(one, n));
    return { code: this.#code, offsets: this.#offsets, pieces: this.#pieces };
  }

  #function(one: FunctionScan, n: number): void {
    const body = this.#body;
    this.#input.scan.visit(n);
    body.length = 0;
    this.#bodyOffsets.length = 0;
    this.#weight = this.#input.weights[n]!;
    this.#counted = this.#weight > 0;
    this.#held = this.#input.fuel && !one.catches && !one.throws && this.#isWorthHolding();
    this.#left = this.#input.params[n]! + one.locals;
    this.#length = this.#left + 1;
    this.#stack = this.#left + 2;
    if (!this.#counted && !this.#changes()) {
      this.#copy(one.start, one.end);
      return this.#finish(n);
    }
    this.#locals(one);
    if (this.#counted) this.#enter();
    if (this.#held) this.#takeHold();
    const wrapped = this.#counted || this.#held;
    if (wrapped) {
      body.byte(CODE.BLOCK);
      body.list(this.#input.resultBlock(n));
    }
    // Each piece of code has one counter, so it stands there once.
    this.#repeats =
      this.#input.counters < 0 &&
      one.end - one.start <= MAX_REPEATING_FUNCTION_BYTES &&
      this.#input.bytes.length <= MAX_REPEATING_MODULE_BYTES;
    this.#stretch(one.codeStart, one.end, 0, this.#input.scan.events.length);
    if (this.#held) this.#giveBack();
    if (this.#counted) this.#leave();
    if (wrapped) body.byte(CODE.END);
    this.#finish(n);
  }

  #finish(n: number): void {
    const body = this.#body;
    if (body.length > MAX_FUNCTION_BYTES) {
      throw new ProxyError(
        "MODULE_TOO_LARGE",
        "config",
        `code of function ${this.#input.firstFunction + n}: ${body.length} bytes with fuel, at most ${MAX_FUNCTION_BYTES}`,
      );
    }
    if (this.#code.length + body.length > MAX_HARDENED_BYTES)
      throw new ProxyError("MODULE_TOO_LARGE", "config", `code of more than ${MAX_HARDENED_BYTES} bytes with fuel`);
    this.#code.unsigned(body.length);
    const start = this.#code.length;
    for (let at = 0; at < this.#bodyOffsets.length; at += 2) {
      this.#offsets.push(start + this.#bodyOffsets.at(at));
      this.#offsets.push(this.#bodyOffsets.at(at + 1));
    }
    this.#code.copy(body.bytes, 0, body.length);
  }

  #changes(): boolean {
    const { events } = this.#input.scan;
    for (let n = 0; n < events.length; n += EVENT_SIZE) {
      if (this.#acts(events.at(n + 1), events.at(n + 2))) return true;
    }
    return false;
  }

  #locals(one: FunctionScan): void {
    const { bytes } = this.#input;
    const body = this.#body;
    let groups = one.start;
    while (bytes[groups]! >= 0x80) groups++;
    body.unsigned(one.localGroups + 1);
    body.copy(bytes, groups + 1, one.codeStart);
    body.unsigned(3);
    body.byte(I32);
  }

  /** Copies code, and at each event from number `first` on puts in what it asks for. */
  #stretch(from: number, to: number, first: number, last: number): void {
    const { events, regions } = this.#input.scan;
    let copied = from;
    for (let n = first; n < last; n += EVENT_SIZE) {
      const offset = events.at(n);
      const kind = events.at(n + 1);
      const argument = events.at(n + 2);
      const repeated = kind === Event.LOOP && this.#isRepeated(argument, events.at(n + EVENT_SIZE + 2));
      if (!repeated && !this.#acts(kind, argument)) continue;
      this.#copy(copied, offset);
      this.#note(offset);
      if (repeated) {
        n = this.#repeat(n) - EVENT_SIZE;
        copied = regions.at(argument + Region.END) + 1;
      } else copied = this.#insert(kind, argument, offset);
    }
    this.#copy(copied, to);
  }

  /** `charge`: of each round. */
  #isRepeated(region: number, charge: number): boolean {
    return (
      this.#repeats &&
      this.#input.fuel &&
      this.#isQuiet(region) &&
      this.#input.scan.regions.at(region + Region.END) > 0 &&
      this.#price(charge) <= MAX_REPEATED_COST
    );
  }

  /**
   * Writes a loop out several times, so that one charge does for so many rounds:
   *
   *   block  loop  charge  block ROUND end  block ROUND end  …  ROUND  end end
   *
   * What leads to the next round leads out of the block that the round is in, and so into the next one; what leaves the loop
   * passes one or two blocks more and gets back what rounds that do not run any more have paid. Answers the number of the
   * first event behind the loop; this one is `n`.
   */
  #repeat(n: number): number {
    const { events, regions } = this.#input.scan;
    const region = events.at(n + 2);
    const start = events.at(n) + 2;
    const end = regions.at(region + Region.END);
    let last = n + EVENT_SIZE;
    while (last < events.length && events.at(last) <= end) last += EVENT_SIZE;
    if (this.#acts(Event.LOOP, region)) this.#insert(Event.LOOP, region, start);
    const charge = events.at(n + EVENT_SIZE + 2);
    const body = this.#body;
    body.list([CODE.BLOCK, EMPTY_BLOCK, CODE.LOOP, EMPTY_BLOCK]);
    this.#charge(charge, LOOP_REPEATS);
    for (let rounds = LOOP_REPEATS - 1; rounds >= 0; rounds--) {
      this.#unpaid = rounds * this.#price(charge);
      this.#shift = rounds === 0 ? 1 : 2;
      if (rounds > 0) body.list([CODE.BLOCK, EMPTY_BLOCK]);
      this.#stretch(start, end, n + 2 * EVENT_SIZE, last);
      if (rounds > 0) {
        this.#refund();
        body.list([CODE.BR, 2, CODE.END]);
      }
    }
    this.#shift = this.#unpaid = 0;
    body.list([CODE.END, CODE.END]);
    return last;
  }

  #copy(from: number, to: number): void {
    if (to === from) return;
    this.#note(from);
    this.#body.copy(this.#input.bytes, from, to);
  }

  #note(original: number): void {
    this.#bodyOffsets.push(this.#body.length);
    this.#bodyOffsets.push(original);
  }

  #acts(kind: number, argument: number): boolean {
    if (!this.#input.fuel && FUEL_EVENTS.has(kind)) return false;
    switch (kind) {
      case Event.CHARGE:
        return this.#input.counters >= 0 || this.#price(argument) > 0;
      case Event.LOOP:
        return this.#keeps(argument) && !this.#keeps(this.#input.scan.regions.at(argument + Region.OUTER));
      case Event.LEAVE:
      case Event.LEAVE_IF:
      case Event.LEAVE_BY:
        return this.#keeps(this.#input.scan.leaves.at(argument)) && (this.#shift > 0 || this.#ends(argument));
      case Event.RETURN:
        return this.#counted || this.#held;
      case Event.CALLING:
      case Event.CALLED:
        return this.#held;
      case Event.TAIL_CALL:
      case Event.CAUGHT:
        return this.#counted;
      default:
        return true;
    }
  }

  /** Answers where copying goes on in the original. */
  #insert(kind: number, argument: number, offset: number): number {
    switch (kind) {
      case Event.CHARGE:
        if (this.#input.counters >= 0) {
          this.#body.countRun(this.#input.counters, this.#pieces.length);
          this.#pieces.push(offset);
        }
        if (this.#price(argument) > 0) this.#charge(argument);
        return offset;
      case Event.LOOP:
      case Event.CALLED:
        this.#takeHold();
        return offset;
      case Event.CALLING:
        this.#giveBack();
        return offset;
      case Event.LEAVE:
        this.#part(argument);
        return offset;
      case Event.LEAVE_IF:
        this.#body.list([CODE.IF, EMPTY_BLOCK]);
        this.#part(argument);
        this.#branch(this.#input.scan.leaves.at(argument + 2) + 1);
        this.#body.byte(CODE.END);
        return this.#behindIndex(offset + 1);
      case Event.LEAVE_BY:
        this.#part(argument);
        this.#branch(this.#input.scan.leaves.at(argument + 2));
        return this.#behindIndex(offset + 1);
      case Event.RETURN:
        this.#branch(argument);
        return offset + 1;
      case Event.TAIL_CALL:
        this.#leave();
        return offset;
      case Event.CAUGHT:
        this.#restoreStack();
        return offset;
      case Event.RESTRICTED:
        this.#refuseRestricted();
        return offset;
      case Event.GROWN:
        this.#noteDenied();
        return offset;
      case Event.BULK:
        this.#takeBulkFuel(argument);
        return offset;
      default:
        this.#setFlag(GuestFlag.UNRESTORABLE);
        return offset;
    }
  }

  /** True for the body of a loop in which nothing is called that takes fuel. */
  #isQuiet(region: number): boolean {
    const { regions } = this.#input.scan;
    return region >= 0 && regions.at(region + Region.OUTER) >= 0 && regions.at(region + Region.CALLS) === 0;
  }

  /**
   * Where it is true, `left` is the fuel, and the global gets it back when that is left: two accesses to memory in each
   * round often cost more than the rest.
   */
  #keeps(region: number): boolean {
    return region >= 0 && (this.#held || this.#isQuiet(region));
  }

  /** Keeping the fuel from start to end saves accesses at each loop, and costs some at each call. */
  #isWorthHolding(): boolean {
    const { events } = this.#input.scan;
    let loops = 0;
    let calls = 0;
    for (let n = 0; n < events.length; n += EVENT_SIZE) {
      const kind = events.at(n + 1);
      if (kind === Event.LOOP && this.#isQuiet(events.at(n + 2))) loops++;
      else if (kind === Event.CALLING) calls++;
    }
    return loops >= 2 && loops >= calls;
  }

  #takeHold(): void {
    this.#body.global(CODE.GLOBAL_GET, this.#input.globals.fuel);
    this.#body.local(CODE.LOCAL_SET, this.#left);
  }

  /** Nobody keeps the fuel behind a leave. */
  #ends(leave: number): boolean {
    return !this.#held && !this.#keeps(this.#input.scan.leaves.at(leave + 1));
  }

  /** A loop is left: it gets back what it has not used, and the global gets the fuel unless a loop around keeps it. */
  #part(leave: number): void {
    this.#refund();
    if (this.#ends(leave)) this.#giveBack();
  }

  #refund(): void {
    if (this.#unpaid === 0) return;
    this.#body.local(CODE.LOCAL_GET, this.#left);
    this.#body.constant(this.#unpaid);
    this.#body.byte(CODE.I32_ADD);
    this.#body.local(CODE.LOCAL_SET, this.#left);
  }

  /** A branch to what was `label` in the original. */
  #branch(label: number): void {
    this.#body.byte(CODE.BR);
    this.#body.unsigned(label + this.#shift);
  }

  #behindIndex(at: number): number {
    const { bytes } = this.#input;
    let end = at;
    while (bytes[end]! >= 0x80) end++;
    return end + 1;
  }

  #charge(at: number, times = 1): void {
    const { charges } = this.#input.scan;
    const region = charges.at(at + Charge.REGION);
    const keeps = this.#keeps(region);
    if (this.#counted && this.#input.scan.regions.at(region + Region.CAUGHT) === 1) this.#restoreStack();
    this.#fuel(keeps);
    this.#body.constant(times * this.#price(at));
    // Rounds that need not run may go below 0, so that fuel which is just enough is enough.
    this.#take(keeps, charges.at(at + Charge.KIND) !== ChargeKind.PLAIN, (1 - times) * this.#price(at));
  }

  #price(at: number): number {
    const { charges } = this.#input.scan;
    return charges.at(at + Charge.COST) + charges.at(at + Charge.PAYMENT);
  }

  #takeBulkFuel(at: number): void {
    const { bulks } = this.#input.scan;
    const keeps = this.#keeps(bulks.at(at + 1));
    this.#body.local(CODE.LOCAL_SET, this.#length);
    for (const price of bulkPrices(bulks.at(at), this.#input.memoryPages)) this.#takeByLength(keeps, price);
    this.#body.local(CODE.LOCAL_GET, this.#length);
  }

  #takeByLength(keeps: boolean, { mask, shift }: BulkPrice): void {
    this.#fuel(keeps);
    this.#body.local(CODE.LOCAL_GET, this.#length);
    if (mask !== -1) {
      this.#body.constant(mask);
      this.#body.byte(CODE.I32_AND);
    }
    this.#body.constant(Math.abs(shift));
    this.#body.byte(shift < 0 ? CODE.I32_SHR_U : CODE.I32_SHL);
    this.#take(keeps, true);
  }

  #fuel(keeps: boolean): void {
    if (keeps) this.#body.local(CODE.LOCAL_GET, this.#left);
    else this.#body.global(CODE.GLOBAL_GET, this.#input.globals.fuel);
  }

  /** Takes what is on top of the stack from the fuel below it. */
  #take(keeps: boolean, check: boolean, least = 0): void {
    this.#body.byte(CODE.I32_SUB);
    if (check) this.#body.local(CODE.LOCAL_TEE, this.#left);
    if (!keeps) this.#body.global(CODE.GLOBAL_SET, this.#input.globals.fuel);
    else if (!check) this.#body.local(CODE.LOCAL_SET, this.#left);
    if (!check) return;
    if (!keeps) this.#body.local(CODE.LOCAL_GET, this.#left);
    this.#body.constant(least);
    this.#body.list([CODE.I32_LT_S, CODE.IF, EMPTY_BLOCK]);
    if (keeps) this.#giveBack();
    this.#body.list([CODE.UNREACHABLE, CODE.END]);
  }

  #giveBack(): void {
    this.#body.local(CODE.LOCAL_GET, this.#left);
    this.#body.global(CODE.GLOBAL_SET, this.#input.globals.fuel);
  }

  #enter(): void {
    const { stack } = this.#input.globals;
    this.#body.global(CODE.GLOBAL_GET, stack);
    this.#body.constant(this.#weight);
    this.#body.byte(CODE.I32_ADD);
    this.#body.local(CODE.LOCAL_TEE, this.#stack);
    this.#body.global(CODE.GLOBAL_SET, stack);
    this.#body.local(CODE.LOCAL_GET, this.#stack);
    this.#body.constant(GUEST_STACK_BYTES);
    this.#body.list([CODE.I32_GT_S, CODE.IF, EMPTY_BLOCK, CODE.UNREACHABLE, CODE.END]);
  }

  #restoreStack(): void {
    this.#body.local(CODE.LOCAL_GET, this.#stack);
    this.#body.global(CODE.GLOBAL_SET, this.#input.globals.stack);
  }

  /** Sets the stack to what it was when the function began, whatever happened in between. */
  #leave(): void {
    this.#body.local(CODE.LOCAL_GET, this.#stack);
    this.#body.constant(this.#weight);
    this.#body.byte(CODE.I32_SUB);
    this.#body.global(CODE.GLOBAL_SET, this.#input.globals.stack);
  }

  #refuseRestricted(): void {
    const { restricted } = this.#input.globals;
    this.#body.global(CODE.GLOBAL_GET, restricted);
    this.#body.list([CODE.IF, EMPTY_BLOCK]);
    this.#body.constant(Restriction.BROKEN);
    this.#body.global(CODE.GLOBAL_SET, restricted);
    this.#body.list([CODE.UNREACHABLE, CODE.END]);
  }

  #noteDenied(): void {
    this.#body.local(CODE.LOCAL_TEE, this.#length);
    this.#body.constant(-1);
    this.#body.list([CODE.I32_EQ, CODE.IF, EMPTY_BLOCK]);
    this.#setFlag(GuestFlag.MEMORY_DENIED);
    this.#body.byte(CODE.END);
    this.#body.local(CODE.LOCAL_GET, this.#length);
  }

  #setFlag(flag: number): void {
    const { flags } = this.#input.globals;
    this.#body.global(CODE.GLOBAL_GET, flags);
    this.#body.constant(flag);
    this.#body.byte(CODE.I32_OR);
    this.#body.global(CODE.GLOBAL_SET, flags);
  }
}
