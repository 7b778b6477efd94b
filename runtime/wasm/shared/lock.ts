/**
 * A lock between threads in one word of shared memory. The word holds the owner's number, so that the main thread
 * can take the lock away from a worker that died with it (`recover`). What it guards must therefore be consistent
 * after every single store; map.ts says how.
 */

/** Tries before the thread goes to sleep; the lock is held for a microsecond or two. */
const SPINS = 200;
/** Milliseconds of one sleep: only bounds the delay should a wake-up be lost with a dying thread. */
const SLEEP_MS = 5;

export class SharedLock {
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #owner: number;

  /** `owner` is this thread's number, not 0. */
  constructor(words: Int32Array, at: number, owner: number) {
    this.#words = words;
    this.#at = at;
    this.#owner = owner;
  }

  acquire(): void {
    for (let spin = 0; spin < SPINS; spin++) {
      if (Atomics.compareExchange(this.#words, this.#at, 0, this.#owner) === 0) return;
    }
    for (;;) {
      const holder = Atomics.compareExchange(this.#words, this.#at, 0, this.#owner);
      if (holder === 0) return;
      Atomics.wait(this.#words, this.#at, holder, SLEEP_MS);
    }
  }

  /** Gives up after `milliseconds`; false then. For the main thread: only it can free a dead owner's lock. */
  acquireWithin(milliseconds: number): boolean {
    const endMs = performance.now() + milliseconds;
    for (;;) {
      const holder = Atomics.compareExchange(this.#words, this.#at, 0, this.#owner);
      if (holder === 0) return true;
      if (performance.now() >= endMs) return false;
      Atomics.wait(this.#words, this.#at, holder, SLEEP_MS);
    }
  }

  release(): void {
    Atomics.store(this.#words, this.#at, 0);
    Atomics.notify(this.#words, this.#at, 1);
  }

  /** Frees the lock if the dead thread `owner` held it. */
  recover(owner: number): boolean {
    if (Atomics.compareExchange(this.#words, this.#at, owner, 0) !== owner) return false;
    Atomics.notify(this.#words, this.#at);
    return true;
  }
}
