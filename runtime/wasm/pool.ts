/**
 * Pristine instances for plugins whose streams or connections do not share one. Each use begins with the state that the
 * template has at that moment: started, configured, and with whatever its ticks and calls have changed since. What a
 * stream changes goes away with it.
 *
 * Instances are brought back to that state, or made, when nothing waits for them; on the path of a request only when the
 * pool is empty. Those that cannot be brought back (a table was written, memory grew, a trap) are replaced.
 */
import type { ConnectionInfo } from "../observe/stream-info.ts";
import type { Counter } from "../observe/stats.ts";
import { POOL_MEMORY_MS, RESTORES_PER_TURN } from "../limits.ts";
import type { Instance, Snapshot } from "./instance/instance.ts";

/** One instance of the pool. */
export interface Pooled {
  readonly instance: Instance;
  /** What its memory and globals go back to; null when it has started by itself and is used once. */
  snapshot: Snapshot | null;
  /** State of the template that the instance was brought to last. */
  version: number;
}

/** What the pool needs of the VM it belongs to. */
export interface PoolOwner {
  /** Number of the template's present state; grows whenever a root callback has run. */
  readonly version: number;
  /** A new instance; null when a bound, the system or the plugin itself forbids it. */
  create(): Pooled | null;
  /** Brings an instance to the template's present state; false when it is of no more use. */
  renew(pooled: Pooled): boolean;
  /** The instance is gone for good. */
  discard(pooled: Pooled): void;
}

export interface PoolStats {
  /** Instances made while a stream waited. */
  readonly misses: Counter;
  /** Streams that got no instance. */
  readonly exhausted: Counter;
}

export class InstancePool {
  readonly #owner: PoolOwner;
  readonly #stats: PoolStats;
  readonly #ready: Pooled[] = [];
  readonly #used: Pooled[] = [];
  readonly #byConnection = new Map<ConnectionInfo, Pooled>();
  /** What connections call when they close. */
  readonly #closers = new Map<ConnectionInfo, () => void>();
  #leased = 0;
  #working = false;
  #closed = false;
  /** Most instances in use at a time, in this period and the one before. */
  #peak = 1;
  #lastPeak = 1;
  #periodMs = 0;

  constructor(owner: PoolOwner, stats: PoolStats) {
    this.#owner = owner;
    this.#stats = stats;
  }

  /** An instance for one stream; null when there is none. */
  lease(): Pooled | null {
    const pooled = this.#ready.pop() ?? this.#used.pop() ?? null;
    if (pooled !== null && (pooled.version === this.#owner.version || this.#owner.renew(pooled))) {
      return this.#count(pooled);
    }
    if (pooled !== null) this.#owner.discard(pooled);
    this.#stats.misses.inc();
    const fresh = this.#owner.create();
    if (fresh === null) this.#stats.exhausted.inc();
    else this.#count(fresh);
    return fresh;
  }

  /** The instance of a connection: all its streams get the same, unless that has failed. */
  leaseFor(connection: ConnectionInfo): Pooled | null {
    const present = this.#byConnection.get(connection);
    if (present !== undefined) return present;
    const pooled = this.lease();
    if (pooled === null) return null;
    if (!this.#closers.has(connection)) {
      const closer = (): void => this.#connectionClosed(connection);
      this.#closers.set(connection, closer);
      (connection.closers ??= []).push(closer);
    }
    this.#byConnection.set(connection, pooled);
    return pooled;
  }

  /** The stream or connection is over. */
  release(pooled: Pooled): void {
    this.#leased--;
    if (this.#closed || pooled.instance.failed) {
      this.#owner.discard(pooled);
      return;
    }
    // Not the state of the template any more, whatever that is.
    pooled.version = -1;
    this.#used.push(pooled);
    this.#schedule();
  }

  /** A leased instance failed: nobody releases it. */
  lost(instance: Instance): void {
    this.#leased--;
    instance.onUnused = null;
    for (const [connection, pooled] of this.#byConnection) {
      if (pooled.instance === instance) this.#byConnection.delete(connection);
    }
  }

  /** Fills the pool before anybody asks. */
  warm(): void {
    this.#schedule();
  }

  /** Connections without a stream give their instances back; others keep theirs until they close. */
  close(): void {
    this.#closed = true;
    for (const [connection, pooled] of this.#byConnection) {
      if (pooled.instance.contexts.count > pooled.instance.roots.length) continue;
      const closers = connection.closers ?? [];
      const at = closers.indexOf(this.#closers.get(connection)!);
      if (at !== -1) closers.splice(at, 1);
      this.#connectionClosed(connection);
    }
    for (const pooled of [...this.#ready.splice(0), ...this.#used.splice(0)]) this.#owner.discard(pooled);
  }

  #connectionClosed(connection: ConnectionInfo): void {
    const last = this.#byConnection.get(connection);
    this.#byConnection.delete(connection);
    this.#closers.delete(connection);
    if (last !== undefined) this.release(last);
  }

  #count(pooled: Pooled): Pooled {
    this.#leased++;
    if (this.#leased > this.#peak) this.#peak = this.#leased;
    return pooled;
  }

  #schedule(): void {
    if (this.#working || this.#closed) return;
    this.#working = true;
    setImmediate(this.#work);
  }

  readonly #work = (): void => {
    this.#working = false;
    if (this.#closed) return;
    this.#turnPeriod();
    const wanted = Math.max(this.#peak, this.#lastPeak) - this.#leased;
    for (let left = RESTORES_PER_TURN; left > 0; left--) {
      const pooled = this.#used.pop();
      if (pooled === undefined) break;
      if (this.#ready.length < Math.max(wanted, 1) && this.#owner.renew(pooled)) this.#ready.push(pooled);
      else this.#owner.discard(pooled);
    }
    if (this.#ready.length === 0 && this.#used.length === 0) {
      const fresh = this.#owner.create();
      if (fresh !== null) this.#ready.push(fresh);
    }
    if (this.#used.length > 0) this.#schedule();
  };

  #turnPeriod(): void {
    const nowMs = performance.now();
    if (nowMs - this.#periodMs < POOL_MEMORY_MS) return;
    this.#periodMs = nowMs;
    this.#lastPeak = this.#peak;
    this.#peak = Math.max(this.#leased, 1);
  }
}
