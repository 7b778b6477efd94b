/** A clock that stands still until a test moves it: ticks, timeouts and the time that guests read follow it. */
import { mock } from "node:test";

export class FakeClock {
  readonly #startMs: number;
  #elapsedMs = 0;
  readonly #monotonic;

  /** Takes over `setTimeout`, `setInterval`, `Date` and `performance.now` of this thread until {@link restore}. */
  constructor(startMs: number) {
    this.#startMs = performance.now();
    mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: startMs });
    this.#monotonic = mock.method(performance, "now", () => this.#startMs + this.#elapsedMs);
  }

  /** Milliseconds since the clock was stopped. */
  get elapsedMs(): number {
    return this.#elapsedMs;
  }

  /** Lets `ms` milliseconds pass, in steps of one at most, so that what is due happens in its order; calls are answered in between. */
  async advance(ms: number): Promise<void> {
    for (let left = ms; left > 0; left--) {
      const step = Math.min(left, 1);
      this.#elapsedMs += step;
      mock.timers.tick(step);
      await settled();
    }
  }

  /** The thread has its own clock again. */
  restore(): void {
    this.#monotonic.mock.restore();
    mock.timers.reset();
  }
}

const immediate = setImmediate;

/** Resolves when everything that is under way without waiting for time has happened. */
export function settled(): Promise<void> {
  return new Promise((resolve) => immediate(resolve));
}
