/**
 * Earliest deadline first: picks items in proportion to their weights, each pick spread as evenly as can be.
 * A pick costs the logarithm of the number of items.
 */

interface Entry<T> {
  readonly item: T;
  deadline: number;
  order: number;
}

export class EdfScheduler<T> {
  /** A binary heap: the parent of `at` is `(at - 1) >> 1`. */
  readonly #heap: Entry<T>[] = [];
  readonly #weightOf: (item: T) => number;
  #now = 0;
  #order = 0;

  /** `weightOf` is asked after each pick, so it may change with the item's load; it must be above 0. */
  constructor(items: readonly T[], weightOf: (item: T) => number) {
    this.#weightOf = weightOf;
    for (const item of items) {
      this.#heap.push({ item, deadline: 1 / weightOf(item), order: this.#order++ });
      this.#up(this.#heap.length - 1);
    }
  }

  /** Throws when there is no item. */
  pick(): T {
    const first = this.#heap[0]!;
    this.#now = first.deadline;
    first.deadline = this.#now + 1 / this.#weightOf(first.item);
    first.order = this.#order++;
    this.#down(0);
    return first.item;
  }

  #before(a: Entry<T>, b: Entry<T>): boolean {
    return a.deadline < b.deadline || (a.deadline === b.deadline && a.order < b.order);
  }

  #up(at: number): void {
    const heap = this.#heap;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(heap[at]!, heap[parent]!)) return;
      [heap[at], heap[parent]] = [heap[parent]!, heap[at]!];
      at = parent;
    }
  }

  #down(at: number): void {
    const heap = this.#heap;
    for (;;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < heap.length && this.#before(heap[child]!, heap[least]!)) least = child;
      }
      if (least === at) return;
      [heap[at], heap[least]] = [heap[least]!, heap[at]!];
      at = least;
    }
  }
}
