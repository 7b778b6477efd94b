/** Metrics that guests define: one value per name for the whole process, in shared 64-bit slots. */
import * as MetricKind from "../../../abi/metric.ts";
import { GUEST_METRIC_SLOTS, MAX_GUEST_METRICS } from "../../limits.ts";
import { bucketOf, EMPTY_HISTOGRAM, HISTOGRAM_SLOTS, MAX_SLOT, MIN_SLOT, SUM_SLOT } from "../../observe/histogram.ts";
import type { HistogramSnapshot } from "../../observe/histogram.ts";
import type { Stat } from "../../observe/stats-registry.ts";
import { KeyKind, processKey } from "./keys.ts";
import { MapCounter } from "./map.ts";
import type { SharedMap } from "./map.ts";

/** Bytes of the slots. */
export const METRIC_BYTES = GUEST_METRIC_SLOTS * 8;
/** Milliseconds that reading waits for the lock. */
const LOCK_PATIENCE_MS = 100;
const LEAST = -(2n ** 63n);
const MOST = 2n ** 63n - 1n;

export class GuestMetric {
  readonly kind: number;
  readonly slot: number;
  readonly #values: BigInt64Array;

  constructor(kind: number, slot: number, values: BigInt64Array) {
    this.kind = kind;
    this.slot = slot;
    this.#values = values;
  }

  /** False where Envoy answers BadArgument: a histogram, or a counter that would not grow. */
  increment(offset: bigint): boolean {
    if (this.kind === MetricKind.HISTOGRAM || (this.kind === MetricKind.COUNTER && offset <= 0n)) return false;
    Atomics.add(this.#values, this.slot, offset);
    return true;
  }

  /** A counter grows by the value, a gauge takes it, a histogram has one more sample. */
  record(value: bigint): void {
    if (this.kind === MetricKind.COUNTER) Atomics.add(this.#values, this.slot, value);
    else if (this.kind === MetricKind.GAUGE) Atomics.store(this.#values, this.slot, value);
    else this.#sample(value);
  }

  /** Undefined for a histogram. */
  value(): bigint | undefined {
    return this.kind === MetricKind.HISTOGRAM ? undefined : Atomics.load(this.#values, this.slot);
  }

  /** A histogram lies as in a statistics page: buckets, sum, least, most. */
  #sample(value: bigint): void {
    const values = this.#values;
    Atomics.add(values, this.slot + bucketOf(Number(value)), 1n);
    Atomics.add(values, this.slot + SUM_SLOT, value);
    for (let seen = Atomics.load(values, this.slot + MIN_SLOT); value < seen;) {
      const now = Atomics.compareExchange(values, this.slot + MIN_SLOT, seen, value);
      if (now === seen) break;
      seen = now;
    }
    for (let seen = Atomics.load(values, this.slot + MAX_SLOT); value > seen;) {
      const now = Atomics.compareExchange(values, this.slot + MAX_SLOT, seen, value);
      if (now === seen) break;
      seen = now;
    }
  }
}

export class GuestMetrics {
  readonly #map: SharedMap;
  readonly #values: BigInt64Array;
  readonly #known = new Map<string, GuestMetric>();

  constructor(map: SharedMap, buffer: SharedArrayBuffer) {
    this.#map = map;
    this.#values = new BigInt64Array(buffer);
  }

  /** Get or create; undefined when there are too many. `kind` of abi/metric.ts. */
  define(kind: number, name: string): GuestMetric | undefined {
    const local = `${kind}${name}`;
    let metric = this.#known.get(local);
    if (metric !== undefined) return metric;
    const slot = this.#slotOf(kind, processKey(KeyKind.METRIC, Buffer.from(local)));
    if (slot === undefined) return undefined;
    metric = new GuestMetric(kind, slot, this.#values);
    this.#known.set(local, metric);
    return metric;
  }

  #slotOf(kind: number, key: Buffer): number | undefined {
    const map = this.#map;
    map.lock.acquire();
    try {
      const known = map.get(key);
      if (known !== undefined) return known.value.readUInt32LE(0);
      const size = kind === MetricKind.HISTOGRAM ? HISTOGRAM_SLOTS : 1;
      const slot = map.words[MapCounter.METRIC_SLOTS]!;
      if (slot + size > GUEST_METRIC_SLOTS || map.words[MapCounter.METRICS]! >= MAX_GUEST_METRICS) return undefined;
      // Taken first: a thread that dies right here wastes slots, but never shares them.
      map.words[MapCounter.METRIC_SLOTS] = slot + size;
      if (kind === MetricKind.HISTOGRAM) {
        Atomics.store(this.#values, slot + MIN_SLOT, MOST);
        Atomics.store(this.#values, slot + MAX_SLOT, LEAST);
      }
      const value = Buffer.alloc(4);
      value.writeUInt32LE(slot);
      if (!map.put(key, value)) return undefined;
      map.count(MapCounter.METRICS, 1);
      return slot;
    } finally {
      map.lock.release();
    }
  }

  /** All metrics of all guests as they stand. Counts above 2^53 lose their last digits here. */
  read(): Stat[] {
    // Who holds the lock for so long is dead, and then nobody writes: what can be seen is whole.
    const locked = this.#map.lock.acquireWithin(LOCK_PATIENCE_MS);
    let entries: [Buffer, Buffer][];
    try {
      entries = this.#map.entries(KeyKind.METRIC);
    } finally {
      if (locked) this.#map.lock.release();
    }
    return entries.map(([key, value]) => this.#stat(key.toString("utf8", 1), value.readUInt32LE(0)));
  }

  #stat(local: string, slot: number): Stat {
    const kind = Number(local[0]);
    const name = local.slice(1);
    const at = (n: number): number => Number(Atomics.load(this.#values, slot + n));
    if (kind !== MetricKind.HISTOGRAM) {
      const value = at(0);
      return { name, type: kind === MetricKind.COUNTER ? "counter" : "gauge", used: value !== 0, value };
    }
    const buckets = Array.from({ length: SUM_SLOT }, (_, n) => at(n));
    const count = buckets.reduce((sum, one) => sum + one, 0);
    const held: HistogramSnapshot =
      count === 0 ? EMPTY_HISTOGRAM : { buckets, count, sum: at(SUM_SLOT), min: at(MIN_SLOT), max: at(MAX_SLOT) };
    // Guests' samples are not cut into intervals: both are what was recorded since the start.
    return { name, type: "histogram", used: count > 0, cumulative: held, interval: held };
  }
}
