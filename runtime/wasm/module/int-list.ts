/** A list of 32-bit integers that grows, without an object per entry. */
export class IntList {
  #items = new Int32Array(1024);
  length = 0;

  push(value: number): void {
    if (this.length === this.#items.length) {
      const larger = new Int32Array(this.length * 2);
      larger.set(this.#items);
      this.#items = larger;
    }
    this.#items[this.length++] = value;
  }

  at(index: number): number {
    return this.#items[index]!;
  }

  set(index: number, value: number): void {
    this.#items[index] = value;
  }

  add(index: number, amount: number): void {
    this.#items[index]! += amount;
  }

  /** A copy, as numbers without a sign, on shared memory. */
  shared(): Uint32Array {
    const copy = new Uint32Array(new SharedArrayBuffer(this.length * 4));
    copy.set(this.#items.subarray(0, this.length));
    return copy;
  }
}
