/** Metrics that guests define: one value per name for the whole process, in shared 64-bit slots. */
import * as MetricKind from "../../../abi/metric.ts";
import { GUEST_METRIC_SLOTS, MAX_GUEST_METRICS } from "../../limits.ts";
import { KeyKind, processKey } from "./keys.ts";
import { MapCounter } from "./map.ts";
import type { SharedMap } from "./map.ts";

/** Upper bounds of histogram buckets: Envoy's, made for milliseconds. */
export const GUEST_HISTOGRAM_BOUNDS: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000,
];
/** Slots of a histogram: samples, their sum, one per bound, one above all. */
const HISTOGRAM_SLOTS = GUEST_HISTOGRAM_BOUNDS.length + 3;

/** Bytes of the slots. */
export const METRIC_BYTES = GUEST_METRIC_SLOTS * 8;

/** What the main thread reads for `/stats`. */
export type GuestMetricReading =
  | { readonly name: string; readonly kind: "counter" | "gauge"; readonly value: bigint }
  | {
      readonly name: string;
      readonly kind: "histogram";
      readonly count: bigint;
      readonly sum: bigint;
      /** Samples per bound of GUEST_HISTOGRAM_BOUNDS (not added up), then those above. */
      readonly buckets: readonly bigint[];
    };

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

  #sample(value: bigint): void {
    const number = Number(value);
    let bucket = 0;
    while (bucket < GUEST_HISTOGRAM_BOUNDS.length && number > GUEST_HISTOGRAM_BOUNDS[bucket]!) bucket++;
    Atomics.add(this.#values, this.slot, 1n);
    Atomics.add(this.#values, this.slot + 1, value);
    Atomics.add(this.#values, this.slot + 2 + bucket, 1n);
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
      const value = Buffer.alloc(4);
      value.writeUInt32LE(slot);
      if (!map.put(key, value)) return undefined;
      map.count(MapCounter.METRICS, 1);
      return slot;
    } finally {
      map.lock.release();
    }
  }

  /** All metrics of all guests as they stand, by name. */
  read(): GuestMetricReading[] {
    this.#map.lock.acquire();
    let entries: [Buffer, Buffer][];
    try {
      entries = this.#map.entries(KeyKind.METRIC);
    } finally {
      this.#map.lock.release();
    }
    const readings = entries.map(([key, value]) => this.#reading(key.toString("utf8", 1), value.readUInt32LE(0)));
    return readings.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #reading(local: string, slot: number): GuestMetricReading {
    const kind = Number(local[0]);
    const name = local.slice(1);
    const at = (n: number): bigint => Atomics.load(this.#values, slot + n);
    if (kind !== MetricKind.HISTOGRAM) return { name, kind: kind === MetricKind.COUNTER ? "counter" : "gauge", value: at(0) };
    const buckets = Array.from({ length: HISTOGRAM_SLOTS - 2 }, (_, n) => at(n + 2));
    return { name, kind: "histogram", count: at(0), sum: at(1), buckets };
  }
}
