/** What the first pass over a module's code notes about calls: who calls whom, and what callers pay for each function. */
import { IntList } from "./int-list.ts";

export class CallSurvey {
  /** Pairs: calling function, called function, each pair once. */
  readonly calls = new IntList();
  /** Pairs: calling function, type index of what it calls through a table or reference. */
  readonly indirectCalls = new IntList();
  /** Functions that code takes references of. */
  readonly taken = new Set<number>();
  /** By function and type: who was the last to call it. */
  readonly #calledBy: Int32Array;
  readonly #typeCalledBy: Int32Array;
  /** By function: what its callers pay for it; and 1 for those that take no fuel themselves then. */
  readonly #prices: Int32Array;
  readonly #silent: Uint8Array;
  #over = false;

  constructor(functions: number, types: number) {
    this.#calledBy = new Int32Array(functions).fill(-1);
    this.#typeCalledBy = new Int32Array(types).fill(-1);
    this.#prices = new Int32Array(functions);
    this.#silent = new Uint8Array(functions);
  }

  /** Until {@link finish}, all prices are 0. */
  get over(): boolean {
    return this.#over;
  }

  call(caller: number, index: number): void {
    if (this.#over || this.#calledBy[index] === caller) return;
    this.#calledBy[index] = caller;
    this.calls.push(caller);
    this.calls.push(index);
  }

  callType(caller: number, type: number): void {
    if (this.#over || this.#typeCalledBy[type] === caller) return;
    this.#typeCalledBy[type] = caller;
    this.indirectCalls.push(caller);
    this.indirectCalls.push(type);
  }

  take(index: number): void {
    if (!this.#over) this.taken.add(index);
  }

  /** `index` was scanned: what its start costs, and whether it costs nothing else. */
  price(index: number, units: number, silent: boolean): void {
    this.#prices[index] = units;
    this.#silent[index] = silent ? 1 : 0;
  }

  /**
   * All code was seen. Functions that are `entered` from elsewhere take their fuel themselves, unless they cost no more
   * than `leaf` units and take none otherwise.
   */
  finish(entered: ReadonlySet<number>, leaf: number): void {
    this.#over = true;
    for (const one of [...entered, ...this.taken]) {
      if (this.#silent[one] === 0 || this.#prices[one]! > leaf) this.#prices[one] = this.#silent[one] = 0;
    }
  }

  priceOf(index: number): number {
    return this.#over ? this.#prices[index]! : 0;
  }

  isSilent(index: number): boolean {
    return this.#over && this.#silent[index] === 1;
  }
}
