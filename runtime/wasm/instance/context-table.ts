/**
 * Contexts of one instance by id. Ids count up and are not handed out again soon, so that a late answer meant for a
 * context that is gone never reaches another one; the slot is the id's low bits, so that finding one costs an array access.
 */
import type { Context } from "../contexts/context.ts";

const FIRST_SIZE = 64;
const LAST_ID = 0x7fff_ffff;

export class ContextTable {
  #slots: (Context | null)[] = Array.from({ length: FIRST_SIZE }, () => null);
  #mask = FIRST_SIZE - 1;
  /** The id that is tried first for the next context. */
  next = 1;
  #count = 0;

  /** Gives `context` its id. */
  add(context: Context): void {
    if (this.#count * 2 > this.#mask) this.#grow();
    let id = this.next;
    while (this.#slots[id & this.#mask] !== null) id = id === LAST_ID ? 1 : id + 1;
    context.id = id;
    this.#slots[id & this.#mask] = context;
    this.next = id === LAST_ID ? 1 : id + 1;
    this.#count++;
  }

  /** Puts `context` under an id that nobody has: one that a guest's copied memory knows already. */
  place(context: Context, id: number): void {
    while (this.#slots[id & this.#mask] !== null) this.#grow();
    context.id = id;
    this.#slots[id & this.#mask] = context;
    this.#count++;
  }

  get(id: number): Context | undefined {
    const context = this.#slots[id & this.#mask]!;
    return context !== null && context.id === id ? context : undefined;
  }

  remove(context: Context): void {
    if (this.get(context.id) !== context) return;
    this.#slots[context.id & this.#mask] = null;
    this.#count--;
  }

  get count(): number {
    return this.#count;
  }

  /** All contexts now, in no order. */
  all(): Context[] {
    return this.#slots.filter((context) => context !== null);
  }

  #grow(): void {
    const contexts = this.all();
    const size = this.#slots.length * 2;
    this.#slots = Array.from({ length: size }, () => null);
    this.#mask = size - 1;
    // Ids that differ in fewer low bits differ in more: nothing collides.
    for (const context of contexts) this.#slots[context.id & this.#mask] = context;
  }
}
