/**
 * Histograms with Envoy's default buckets: how one lies in a statistics page, and quantiles of what was
 * recorded. Quantiles are interpolated inside a bucket, so they are as coarse as the buckets are.
 */

/** Upper bounds of the buckets (Envoy's default `histogram_bucket_settings`); one more bucket holds the rest. */
export const BUCKET_BOUNDS: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
];
/** The quantiles that Envoy's admin prints. */
export const QUANTILES: readonly number[] = [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1];

/** Offsets inside a histogram's slots: the buckets come first. */
export const SUM_SLOT = BUCKET_BOUNDS.length + 1;
export const MIN_SLOT = SUM_SLOT + 1;
export const MAX_SLOT = SUM_SLOT + 2;
/** Slots (doubles) that one histogram takes in a page. */
export const HISTOGRAM_SLOTS = SUM_SLOT + 3;

/** What a histogram held at one moment: plain data. */
export interface HistogramSnapshot {
  /** Values per bucket (not cumulative), one more than {@link BUCKET_BOUNDS}. */
  readonly buckets: readonly number[];
  readonly count: number;
  readonly sum: number;
  /** Infinity and -Infinity while `count` is 0. */
  readonly min: number;
  readonly max: number;
}

export const EMPTY_HISTOGRAM: HistogramSnapshot = {
  buckets: BUCKET_BOUNDS.map(() => 0).concat(0),
  count: 0,
  sum: 0,
  min: Infinity,
  max: -Infinity,
};

/** Index of the bucket of `value`: the first bound that is at least as large. */
export function bucketOf(value: number): number {
  let low = 0;
  let high = BUCKET_BOUNDS.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (BUCKET_BOUNDS[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Reads the histogram whose slots begin at `at`. */
export function readHistogram(page: Float64Array, at: number): HistogramSnapshot {
  const buckets: number[] = [];
  let count = 0;
  for (let index = 0; index <= BUCKET_BOUNDS.length; index++) {
    // A fresh page holds -0, the mark for "never touched": 0 + -0 is 0.
    const held = 0 + page[at + index]!;
    buckets.push(held);
    count += held;
  }
  if (count === 0) return EMPTY_HISTOGRAM;
  return { buckets, count, sum: page[at + SUM_SLOT]!, min: page[at + MIN_SLOT]!, max: page[at + MAX_SLOT]! };
}

/** Both together. */
export function addHistograms(a: HistogramSnapshot, b: HistogramSnapshot): HistogramSnapshot {
  if (a.count === 0) return b;
  if (b.count === 0) return a;
  return {
    buckets: a.buckets.map((held, index) => held + b.buckets[index]!),
    count: a.count + b.count,
    sum: a.sum + b.sum,
    min: Math.min(a.min, b.min),
    max: Math.max(a.max, b.max),
  };
}

/** What `now` holds beyond `before`, an earlier snapshot of the same histogram. Extremes are the buckets' bounds. */
export function subtractHistogram(now: HistogramSnapshot, before: HistogramSnapshot): HistogramSnapshot {
  if (before.count === 0) return now;
  const buckets = now.buckets.map((held, index) => Math.max(0, held - before.buckets[index]!));
  const first = buckets.findIndex((held) => held > 0);
  if (first === -1) return EMPTY_HISTOGRAM;
  const last = buckets.findLastIndex((held) => held > 0);
  return {
    buckets,
    count: buckets.reduce((total, held) => total + held, 0),
    sum: now.sum - before.sum,
    min: Math.max(now.min, BUCKET_BOUNDS[first - 1] ?? 0),
    max: Math.min(now.max, BUCKET_BOUNDS[last] ?? now.max),
  };
}

/** The value below which the share `q` (0 to 1) of all values lies; NaN when there are none. */
export function quantile(histogram: HistogramSnapshot, q: number): number {
  if (histogram.count === 0) return NaN;
  if (q <= 0) return histogram.min;
  const wanted = q * histogram.count;
  let below = 0;
  for (let index = 0; index < histogram.buckets.length; index++) {
    const held = histogram.buckets[index]!;
    if (held > 0 && below + held >= wanted) {
      const low = Math.max(histogram.min, BUCKET_BOUNDS[index - 1] ?? 0);
      const high = Math.min(histogram.max, BUCKET_BOUNDS[index] ?? histogram.max);
      return low + (high - low) * ((wanted - below) / held);
    }
    below += held;
  }
  return histogram.max;
}
