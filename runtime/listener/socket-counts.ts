/** The key of all listeners' counts; a listener's name is never empty. */
export const ALL_LISTENERS = "";

/**
 * How many sockets each worker has of one listener, or of all: one cell per worker in memory that the threads
 * share. Limits are checked against the sum, exact balance looks for the smallest.
 */
export class SocketCounts {
  readonly #cells: Int32Array;
  readonly #worker: number;

  /** `worker` is the one whose sockets `enter` and `leave` count. */
  constructor(buffer: SharedArrayBuffer, worker: number) {
    this.#cells = new Int32Array(buffer);
    this.#worker = worker;
  }

  enter(): void {
    Atomics.add(this.#cells, this.#worker, 1);
  }

  leave(): void {
    Atomics.sub(this.#cells, this.#worker, 1);
  }

  /** Takes back what `enterFewest` counted for another worker, which is not to have it after all. */
  undo(worker: number): void {
    Atomics.sub(this.#cells, worker, 1);
  }

  total(): number {
    let total = 0;
    for (let worker = 0; worker < this.#cells.length; worker++) total += Atomics.load(this.#cells, worker);
    return total;
  }

  /**
   * The worker with the fewest sockets among this one and those that `reachable` takes, the first of equals. Its
   * number is raised at once: two threads never choose by the same number.
   */
  enterFewest(reachable: (worker: number) => boolean): number {
    const cells = this.#cells;
    for (;;) {
      let chosen = this.#worker;
      let fewest = Atomics.load(cells, chosen);
      for (let worker = 0; worker < cells.length; worker++) {
        const count = Atomics.load(cells, worker);
        if (count > fewest || (count === fewest && worker >= chosen) || !reachable(worker)) continue;
        chosen = worker;
        fewest = count;
      }
      if (Atomics.compareExchange(cells, chosen, fewest, fewest + 1) === fewest) return chosen;
    }
  }

  /** Room for that many workers. */
  static room(workers: number): SharedArrayBuffer {
    return new SharedArrayBuffer(Math.max(1, workers) * Int32Array.BYTES_PER_ELEMENT);
  }
}
