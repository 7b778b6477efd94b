/**
 * What the code of a module costs, booked while it is scanned.
 *
 * Fuel is counted in instructions. Each straight piece of code between two joints of the control flow is a segment; a
 * segment that is short joins the charge of the code that always runs before it, a long one gets a charge of its own.
 * So a big function of which little runs (an interpreter loop, a state machine of a Go runtime) pays for what runs.
 *
 * Endless work goes through the start of a loop or function again and again: there the fuel is looked at, elsewhere it is
 * only taken. A short function without loops and calls takes none: the instruction that calls it pays.
 */
import { MERGED_SEGMENT_INSTRUCTIONS, SMALL_LEAF_INSTRUCTIONS } from "../../limits.ts";
import { Charge, ChargeKind, Region } from "./code-facts.ts";
import { IntList } from "./int-list.ts";
import { HEAVY_COST } from "./opcodes.ts";

/** What is taken between two looks at the fuel is less than this: it is never so far below 0 that it comes around. */
const MAX_FUNCTION_COST = 0x3fff_ffff;

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
  /** First charge of the function, and what all its charges cost together. */
  #entry = 0;
  #total = 0;

  /** A function begins, and the book with it. Answers its first charge. */
  begin(): number {
    this.charges.length = this.regions.length = 0;
    this.#total = 0;
    this.#entry = this.charges.length;
    this.openRegion(-1);
    return this.open(ChargeKind.ENTRY);
  }

  /** A function ends. */
  finish(): void {
    // Neither loops nor calls: nothing endless goes through here alone.
    const alone = this.region + Region.SIZE === this.regions.length && !this.calls(this.region);
    const whole = this.charges.at(this.#entry) === this.#total;
    if (alone && whole && this.#total <= SMALL_LEAF_INSTRUCTIONS) this.charges.set(this.#entry, 0);
  }

  /** A joint: a segment begins, which is charged whatever its length if it is not PLAIN. Answers the charge reserved for it. */
  open(kind: number): number {
    this.#reserved = this.charges.length;
    this.charges.push(0);
    this.charges.push(this.region);
    this.charges.push(kind);
    this.#segment = 0;
    this.#heavy = false;
    if (kind !== ChargeKind.PLAIN) {
      this.charge = this.#reserved;
      this.#segment = 1;
    } else if (this.charges.at(this.charge) > MERGED_SEGMENT_INSTRUCTIONS - ROOM) this.charge = this.#reserved;
    return this.#reserved;
  }

  /** The present segment ends. */
  close(): void {
    const { charges } = this;
    const merged = charges.at(this.charge) + this.#segment <= MERGED_SEGMENT_INSTRUCTIONS;
    const to = merged ? this.charge : this.#reserved;
    // At least 1, or a loop would be without a charge.
    const cost = Math.min(this.#segment, Math.max(MAX_FUNCTION_COST - this.#total, 1));
    this.#total += cost;
    charges.add(to + Charge.COST, cost);
    if (this.#heavy && charges.at(to + Charge.KIND) === ChargeKind.PLAIN)
      charges.set(to + Charge.KIND, ChargeKind.CHECKED);
    if (cost > 0) this.charge = to;
    this.#segment = 0;
    this.#heavy = false;
  }

  /** Adds to what the present segment costs. */
  add(units: number): void {
    this.#segment += units;
    if (units >= HEAVY_COST) this.#heavy = true;
  }

  openRegion(outer: number): void {
    this.region = this.regions.length;
    this.regions.push(outer);
    this.regions.push(0);
    this.regions.push(0);
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
