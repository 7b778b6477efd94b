/**
 * Time of this process that passes only when a test says so: however long the machine pauses, no timeout of what is under
 * test comes before its turn. Sockets, child processes and `setImmediate` go on meanwhile.
 */
import { mock } from "node:test";
import type { TestContext } from "node:test";

/** Longer than any time that a configuration names: what is still armed at the end of a test runs out then. */
const THE_REST_MS = 48 * 3_600_000;

export class StillClock {
  #nowMs = performance.now();

  /**
   * `setTimeout` and `performance.now` stand still until the test is over. What the test made before ends before the clock
   * goes on: make it after the proxy under test, and before the first connection.
   */
  constructor(t: TestContext) {
    mock.timers.enable({ apis: ["setTimeout"] });
    const now = mock.method(performance, "now", () => this.#nowMs);
    t.after(() => {
      // Deadlines of equal length share a timer (runtime/timers.ts): none may be left that nobody moves on.
      this.pass(THE_REST_MS);
      now.mock.restore();
      mock.timers.reset();
    });
  }

  /** What is due within `ms` happens. */
  pass(ms: number): void {
    this.#nowMs += ms;
    mock.timers.tick(ms);
  }
}
