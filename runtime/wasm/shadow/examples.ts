/** The last differences that shadows have shown, for people. */
import { SHADOW_EXAMPLES } from "../../limits.ts";

export interface ShadowExample {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  /** The stream, by its `x-request-id`, or the connection, to find it in access logs; "" when it has none. */
  readonly of: string;
  readonly text: string;
}

export class ShadowExamples {
  #last: ShadowExample[] = [];

  add(of: string, text: string): void {
    this.#last = newestExamples(this.#last, [{ atMs: Date.now(), of: of.slice(0, 64), text }]);
  }

  get last(): readonly ShadowExample[] {
    return this.#last;
  }
}

/** Oldest first. */
export function newestExamples(a: readonly ShadowExample[], b: readonly ShadowExample[]): ShadowExample[] {
  return [...a, ...b].sort((one, other) => one.atMs - other.atMs).slice(-SHADOW_EXAMPLES);
}
