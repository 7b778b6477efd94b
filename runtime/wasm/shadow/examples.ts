/** The last differences that shadows have shown, for people. */
import { SHADOW_EXAMPLES } from "../../limits.ts";

export interface ShadowExample {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  /** `x-request-id` of the stream, to find it in access logs; "" when it has none. */
  readonly request: string;
  readonly text: string;
}

export class ShadowExamples {
  #last: ShadowExample[] = [];

  add(request: string, text: string): void {
    this.#last = newestExamples(this.#last, [{ atMs: Date.now(), request: request.slice(0, 64), text }]);
  }

  get last(): readonly ShadowExample[] {
    return this.#last;
  }
}

/** Oldest first. */
export function newestExamples(a: readonly ShadowExample[], b: readonly ShadowExample[]): ShadowExample[] {
  return [...a, ...b].sort((one, other) => one.atMs - other.atMs).slice(-SHADOW_EXAMPLES);
}
