/** The expressions that a guest has created, by token. Copies of an instance begin with those of its snapshot. */
import { MAX_EXPRESSIONS } from "../../limits.ts";
import { Expression } from "./evaluate.ts";

/** Tables as they were: what a snapshot keeps. */
export interface KeptExpressions {
  readonly changes: number;
  readonly next: number;
  readonly byToken: ReadonlyMap<number, Expression>;
}

export class Expressions {
  #byToken = new Map<number, Expression>();
  #next = 0;
  /** Tells one state of the table from another. */
  #changes = 0;

  /** The token of a new expression, counted from 0; undefined when there are too many. Throws SyntaxFault: no expression. */
  create(source: string): number | undefined {
    if (this.#byToken.size >= MAX_EXPRESSIONS) return undefined;
    const expression = new Expression(source);
    while (this.#byToken.has(this.#next)) this.#next = (this.#next + 1) >>> 0;
    const token = this.#next;
    this.#next = (token + 1) >>> 0;
    this.#byToken.set(token, expression);
    this.#changes++;
    return token;
  }

  get(token: number): Expression | undefined {
    return this.#byToken.get(token);
  }

  delete(token: number): void {
    if (this.#byToken.delete(token)) this.#changes++;
  }

  keep(): KeptExpressions {
    return { changes: this.#changes, next: this.#next, byToken: new Map(this.#byToken) };
  }

  /** Becomes what was kept; costs nothing when nothing has changed since. */
  restore(kept: KeptExpressions): void {
    if (kept.changes === this.#changes) return;
    this.#byToken = new Map(kept.byToken);
    this.#next = kept.next;
    this.#changes = kept.changes;
  }
}
