/**
 * Context ids to contexts: open addressing, no garbage while contexts come and go, tolerant to ids that it
 * does not know. Ids are never 0 (that is the host's own VM context).
 */
export class IdTable<T> {
  private keys: StaticArray<u32> = new StaticArray<u32>(16);
  private values: StaticArray<T | null> = new StaticArray<T | null>(16);
  private mask: u32 = 15;
  size: u32 = 0;

  get(key: u32): T | null {
    const mask = this.mask;
    let at = key & mask;
    while (true) {
      const found = unchecked(this.keys[at]);
      if (found == key) return unchecked(this.values[at]);
      if (found == 0) return null;
      at = (at + 1) & mask;
    }
  }

  set(key: u32, value: T): void {
    if (key == 0) return;
    if (this.size << 1 > this.mask) this.grow();
    const mask = this.mask;
    let at = key & mask;
    while (true) {
      const found = unchecked(this.keys[at]);
      if (found == 0) {
        unchecked((this.keys[at] = key));
        this.size++;
        break;
      }
      if (found == key) break;
      at = (at + 1) & mask;
    }
    unchecked((this.values[at] = value));
  }

  /** Takes the key out and closes the gap, so that no tombstones pile up. */
  delete(key: u32): void {
    const mask = this.mask;
    let at = key & mask;
    while (unchecked(this.keys[at]) != key) {
      if (unchecked(this.keys[at]) == 0) return;
      at = (at + 1) & mask;
    }
    let next = (at + 1) & mask;
    while (true) {
      const moving = unchecked(this.keys[next]);
      if (moving == 0) break;
      // An entry may fill the gap only if its own place does not lie between the gap and itself.
      if (((next - (moving & mask)) & mask) >= ((next - at) & mask)) {
        unchecked((this.keys[at] = moving));
        unchecked((this.values[at] = this.values[next]));
        at = next;
      }
      next = (next + 1) & mask;
    }
    unchecked((this.keys[at] = 0));
    unchecked((this.values[at] = null));
    this.size--;
  }

  private grow(): void {
    const keys = this.keys;
    const values = this.values;
    const capacity = keys.length << 1;
    this.keys = new StaticArray<u32>(capacity);
    this.values = new StaticArray<T | null>(capacity);
    this.mask = <u32>capacity - 1;
    this.size = 0;
    for (let i = 0; i < keys.length; i++) {
      const key = unchecked(keys[i]);
      if (key != 0) this.set(key, unchecked(values[i])!);
    }
  }
}
