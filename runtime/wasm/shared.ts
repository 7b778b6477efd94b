/**
 * What guests share across workers: data, metrics, token buckets, queues. Made once by the main thread and handed to
 * each worker as plain shared buffers; nothing here needs a message between threads.
 */
import { MAX_CONCURRENCY } from "../limits.ts";
import type { Stat } from "../observe/stats-registry.ts";
import { OverlaidData, SharedData } from "./shared/data.ts";
import { MapCounter, SHARED_MAP_BYTES, SharedMap } from "./shared/map.ts";
import { GuestMetrics, METRIC_BYTES } from "./shared/metrics.ts";
import { QUEUE_BYTES, SharedQueues } from "./shared/queues.ts";
import { BUCKET_BYTES, TokenBuckets } from "./shared/token-bucket.ts";

/** What a worker is given, by postMessage. A handle serves one thread. */
export interface SharedHandle {
  readonly map: SharedArrayBuffer;
  readonly metrics: SharedArrayBuffer;
  readonly buckets: SharedArrayBuffer;
  readonly queues: SharedArrayBuffer;
  /** One Int32 per worker: its module instances. */
  readonly instances: SharedArrayBuffer;
  /** The thread's number: marks what it holds, so that `recover` can free it. */
  readonly owner: number;
}

export class SharedStore {
  readonly data: SharedData;
  readonly metrics: GuestMetrics;
  readonly buckets: TokenBuckets;
  readonly queues: SharedQueues;
  readonly #map: SharedMap;
  readonly #instances: Int32Array;
  readonly #handle: SharedHandle;

  /** The store as the thread with this handle sees it; data lies over that of `under`. */
  constructor(handle: SharedHandle, under?: SharedStore) {
    this.#handle = handle;
    this.#instances = new Int32Array(handle.instances);
    this.#map = new SharedMap(handle.map, handle.owner);
    this.data = under === undefined ? new SharedData(this.#map) : new OverlaidData(this.#map, under.data);
    this.metrics = new GuestMetrics(this.#map, handle.metrics);
    this.buckets = new TokenBuckets(this.#map, handle.buckets);
    this.queues = new SharedQueues(this.#map, handle.queues, handle.owner);
  }

  /** The store of the process; the calling (main) thread may use it as any other. */
  static create(under?: SharedStore): SharedStore {
    const handle = {
      map: new SharedArrayBuffer(SHARED_MAP_BYTES),
      metrics: new SharedArrayBuffer(METRIC_BYTES),
      buckets: new SharedArrayBuffer(BUCKET_BYTES),
      queues: new SharedArrayBuffer(QUEUE_BYTES),
      instances: new SharedArrayBuffer(MAX_CONCURRENCY * 4),
      owner: 1,
    };
    const store = new SharedStore(handle, under);
    store.#map.words[MapCounter.OWNERS] = 1;
    return store;
  }

  /** A handle with a number of its own: one for every worker that is started, replacements too. */
  handle(): SharedHandle {
    return { ...this.#handle, owner: Atomics.add(this.#map.words, MapCounter.OWNERS, 1) + 1 };
  }

  /** Module instances of the whole process. Only approximately now: other workers count at the same time. */
  instances(): number {
    return this.#instances.reduce((sum, count) => sum + count, 0);
  }

  countInstance(worker: number, change: number): void {
    this.#instances[worker]! += change;
  }

  /** The worker starts, perhaps in place of one that died: it has none. */
  resetInstances(worker: number): void {
    this.#instances[worker] = 0;
  }

  /**
   * To be called when the worker with this handle's `owner` has ended: frees the lock if it died holding it.
   * The data is whole in any case. True when the lock had to be freed.
   */
  recover(owner: number): boolean {
    return this.#map.lock.recover(owner);
  }

  /** All metrics of all guests, for `/stats`: fits StatsRegistry.provide. */
  readMetrics(): Stat[] {
    return this.metrics.read();
  }

  /** Ends the notices of queues to this thread. */
  close(): void {
    this.queues.close();
  }
}
