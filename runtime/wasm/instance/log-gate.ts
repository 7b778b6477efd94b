/** Keeps a guest from flooding the log: so many lines and bytes within a second, and then one line that says what was left out. */
import { GUEST_LOG_BYTES_PER_SECOND, GUEST_LOG_LINES_PER_SECOND } from "../../limits.ts";

export class LogGate {
  #windowMs = -Infinity;
  #lines = 0;
  #bytes = 0;
  #dropped = 0;
  readonly #tell: (dropped: number) => void;

  /** `tell` is called with the number of lines that were dropped, before the next one goes out. */
  constructor(tell: (dropped: number) => void) {
    this.#tell = tell;
  }

  /** True when a line of `size` characters may go out now. */
  admit(size: number): boolean {
    const nowMs = performance.now();
    if (nowMs - this.#windowMs >= 1000) {
      this.#windowMs = nowMs;
      this.#lines = this.#bytes = 0;
      if (this.#dropped > 0) this.#tell(this.#dropped);
      this.#dropped = 0;
    }
    this.#lines++;
    this.#bytes += size;
    if (this.#lines <= GUEST_LOG_LINES_PER_SECOND && this.#bytes <= GUEST_LOG_BYTES_PER_SECOND) return true;
    this.#dropped++;
    return false;
  }
}
