/** The counters that Envoy keeps per response code, created when a code is first seen. */
import type { Counter, Stats } from "./stats.ts";

/** `<prefix>completed`, `<prefix>2xx` and, when asked for, `<prefix>200`: e.g. prefix `cluster.x.upstream_rq_`. */
export class ResponseCodeStats {
  readonly #stats: Stats;
  readonly #prefix: string;
  readonly #completed: Counter;
  readonly #classes: readonly Counter[];
  readonly #codes: (Counter | undefined)[] | undefined;

  constructor(stats: Stats, prefix: string, everyCode: boolean) {
    this.#stats = stats;
    this.#prefix = prefix;
    this.#completed = stats.counter(`${prefix}completed`);
    this.#classes = [1, 2, 3, 4, 5].map((digit) => stats.counter(`${prefix}${digit}xx`));
    this.#codes = everyCode ? Array.from({ length: 500 }, () => undefined) : undefined;
  }

  /** Counts one response; a code outside 100 to 599 counts as completed only. */
  charge(code: number): void {
    this.#completed.inc();
    const group = this.#classes[((code / 100) | 0) - 1];
    if (group === undefined) return;
    group.inc();
    const codes = this.#codes;
    if (codes === undefined) return;
    (codes[code - 100] ??= this.#stats.counter(`${this.#prefix}${code}`)).inc();
  }
}
