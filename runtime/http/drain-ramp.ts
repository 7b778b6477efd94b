/**
 * Which answers ask downstream to close its connection while something drains: a share of them that grows from none to
 * all over a time (Envoy: `--drain-strategy gradual`), or every one when there is no time.
 */
export class DrainRamp {
  readonly #fromMs: number;
  readonly #overMs: number;
  readonly #random: () => number;

  /** It began `elapsedMs` ago. `random` gives numbers from 0 to 1, as `Math.random` does. */
  constructor(overMs: number, elapsedMs = 0, random: () => number = Math.random) {
    this.#fromMs = performance.now() - elapsedMs;
    this.#overMs = overMs;
    this.#random = random;
  }

  /** Looked at for each answer. */
  asks(): boolean {
    const elapsedMs = performance.now() - this.#fromMs;
    return elapsedMs >= this.#overMs || this.#random() * this.#overMs < elapsedMs;
  }
}
