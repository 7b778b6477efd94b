/**
 * What the code of a module costs, booked while it is scanned.
 *
 * Fuel is counted in instructions. Each straight piece of code between two joints of the control flow is a segment; a
 * segment that is short joins the charge of the code that always runs before it, a long one gets a charge of its own.
 * So a big function of which little runs (an interpreter loop, a state machine of a Go runtime) pays for what runs.
 *
 * Endless work goes through the start of a loop or through a call again and again: there the fuel is looked at, elsewhere
 * it is only taken. What runs at the start of each function its callers pay, together with what they run themselves: taking
 * fuel twice for a call would often cost more than the call. Functions that are called through a table or by the host take
 * their own, unless they are very short.
 */
import { MERGED_SEGMENT_INSTRUCTIONS } from "../../limits.ts";
import { Charge, ChargeKind, Region } from "./code-facts.ts";
import { IntList } from "./int-list.ts";
import { HEAVY_COST } from "./opcodes.ts";

/**
 * What one charge takes at most, and what a function takes without a look at the fuel: even one after the other they do not
 * take it so far below 0 that it comes around. Straight code that costs more would be larger than modules may be, nearly.
 */
const MAX_COST = 0x3fff_ffff;

/** Of functions that do not look at the fuel when they begin: what they may take without a look, and how many calls pay at once. */
const UNSEEN_COST = 0x1_0000;
const CALLS_PAID_AT_ONCE = 256;
/** What a segment has paid for calls when another one begins, so that no payment is cut off. */
const PAID_AT_ONCE = 0x100_0000;

/** With less room than this left in a charge, another one begins, that what follows can join. */
const ROOM = 16;

export class FuelBook {
  readonly charges = new IntList();
  readonly regions = new IntList();
  /** The charge that runs before the present code. */
  charge = 0;
  /** The region of the present code. */
  region = 0;
  /** The charge reserved for the present segment, what the segment costs so far, and whether there is a heavy instruction in it. */
  #reserved = 0;
  #segment = 0;
  #heavy = false;
  /** Behind a branch that always jumps: nothing runs. */
  #dead = false;
  /** What all charges of the function cost together. */
  #total = 0;
  /** What the present segment takes for functions that it calls, and how many it calls. */
  #payment = 0;
  #calls = 0;
  /** Units that a charge may hold of segments that need not run. */
  readonly #merged: number;

  constructor(exact: boolean) {
    this.#merged = exact ? 0 : MERGED_SEGMENT_INSTRUCTIONS;
  }

  /** A function begins, and the book with it. Answers its first charge, which is the first of the book. */
  begin(): number {
    this.charges.length = this.regions.length = 0;
    this.#total = 0;
    this.openRegion(-1);
    return this.open(ChargeKind.ENTRY);
  }

  /** A function ends: whether all that it costs stands in its first charge, and nothing endless goes through it. */
  finish(): boolean {
    const alone = this.region + Region.SIZE === this.regions.length && !this.calls(this.region);
    return alone && this.charges.at(Charge.COST) === this.#total;
  }

  /** The function takes nothing for its start: its callers do. */
  release(): void {
    const { charges } = this;
    charges.set(Charge.COST, 0);
    charges.set(Charge.KIND, charges.at(Charge.PAYMENT) > 0 ? ChargeKind.CHECKED : ChargeKind.PLAIN);
    if (this.#total <= UNSEEN_COST) return;
    for (let at = 0; at < charges.length; at += Charge.SIZE) charges.set(at + Charge.KIND, ChargeKind.CHECKED);
  }

  /** A joint: a segment begins, which is charged whatever its length if it is not PLAIN. Answers the charge reserved for it. */
  open(kind: number): number {
    this.#reserved = this.charges.length;
    this.charges.push(0);
    this.charges.push(this.region);
    this.charges.push(kind);
    this.charges.push(0);
    this.#segment = this.#payment = this.#calls = 0;
    this.#heavy = this.#dead = false;
    if (kind !== ChargeKind.PLAIN || this.charges.at(this.charge) > this.#merged - ROOM) this.charge = this.#reserved;
    return this.#reserved;
  }

  /** The present segment ends. */
  close(): void {
    const { charges } = this;
    // What is paid for a call that is not made is too much.
    const merged = this.#calls === 0 && charges.at(this.charge) + this.#segment <= this.#merged;
    const to = merged ? this.charge : this.#reserved;
    // At least 1, or a loop would be without a charge.
    const least = charges.at(this.#reserved + Charge.KIND) === ChargeKind.PLAIN ? 0 : 1;
    const cost = Math.min(Math.max(this.#segment, least), MAX_COST);
    const payment = Math.min(this.#payment, Math.max(MAX_COST - cost, 1));
    this.#total += cost + payment;
    charges.add(to + Charge.COST, cost);
    charges.add(to + Charge.PAYMENT, payment);
    const looks = this.#heavy || this.#calls > 0 || this.#total > MAX_COST;
    if (looks && charges.at(to + Charge.KIND) === ChargeKind.PLAIN) charges.set(to + Charge.KIND, ChargeKind.CHECKED);
    if (cost > 0) this.charge = to;
    this.#segment = this.#payment = this.#calls = 0;
    this.#heavy = false;
  }

  /** Adds to what the present segment costs. */
  add(units: number): void {
    if (this.#dead) return;
    this.#segment += units;
    if (units >= HEAVY_COST) this.#heavy = true;
  }

  /** The present segment calls a function of the module, and pays so much for it. True when it has paid for enough of them. */
  pay(units: number): boolean {
    if (this.#dead) return false;
    this.#payment += units;
    return ++this.#calls >= CALLS_PAID_AT_ONCE || this.#payment >= PAID_AT_ONCE;
  }

  /** What follows in the present segment is never reached. */
  stop(): void {
    this.#dead = true;
  }

  openRegion(outer: number): void {
    this.region = this.regions.length;
    this.regions.push(outer);
    for (let n = 1; n < Region.SIZE; n++) this.regions.push(0);
  }

  /** Goes back to `region`, which is the present one or one around it. */
  closeRegion(region: number): void {
    const calls = this.calls(this.region);
    this.region = region;
    if (calls) this.markCall();
  }

  /** Something is called in the present region. */
  markCall(): void {
    this.regions.set(this.region + Region.CALLS, 1);
  }

  calls(region: number): boolean {
    return this.regions.at(region + Region.CALLS) === 1;
  }
}
