/**
 * How long streams took, counted in buckets that grow with what they count: sixteen in each doubling, so that a percentile is
 * told to a sixteenth. Counting takes no memory but the buckets'.
 */
import { LATENCY_DEVIATIONS, LATENCY_DOUBLINGS, LATENCY_FROM_MS } from "../limits.ts";

const STEPS = 16;
export const LATENCY_BUCKETS = LATENCY_DOUBLINGS * STEPS;

/** A double's upper half: sign, eleven bits of exponent, and twenty of the fraction, of which four tell the sixteenth. */
const value = new Float64Array(1);
const halves = new Uint32Array(value.buffer);
const upper = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 1 : 0;
const FRACTION_BITS = 20 - Math.log2(STEPS);
const FIRST = stepOf(LATENCY_FROM_MS);

function stepOf(ms: number): number {
  value[0] = ms;
  return halves[upper]! >>> FRACTION_BITS;
}

/** The bucket of a time; the first and the last one hold all beyond. */
export function latencyBucket(ms: number): number {
  const bucket = ms > LATENCY_FROM_MS ? stepOf(ms) - FIRST : 0;
  return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/** Where a bucket begins. */
function startOf(bucket: number): number {
  return LATENCY_FROM_MS * 2 ** Math.floor(bucket / STEPS) * (1 + (bucket % STEPS) / STEPS);
}

/** Counts of streams by bucket, as many as {@link LATENCY_BUCKETS}. */
export type LatencyCounts = Float64Array | Uint32Array;

/** Milliseconds that `percentile` percent of the streams do not exceed, told to a sixteenth; 0 without any. */
export function latencyAt(counts: LatencyCounts, percentile: number): number {
  const streams = sumOf(counts);
  return atRank(counts, (streams * percentile) / 100);
}

/**
 * By how many milliseconds streams of `one` are longer at a percentile than those of `other`, as far as chance does not
 * explain it: with ranks LATENCY_DEVIATIONS standard deviations below in `one` and above in `other`. undefined while there are
 * too few streams to say: about 900 of `other` for the 99th percentile, 9 for the 50th.
 */
export function addedLatency(one: LatencyCounts, other: LatencyCounts, percentile: number): number | undefined {
  const [n, m] = [sumOf(one), sumOf(other)];
  const low = rank(n, percentile, -LATENCY_DEVIATIONS);
  const high = rank(m, percentile, LATENCY_DEVIATIONS);
  if (low <= 0 || high >= m) return undefined;
  return atRank(one, low) - atRank(other, high);
}

/** How many streams are no longer than one at a percentile, this many standard deviations away (binomial distribution). */
function rank(streams: number, percentile: number, deviations: number): number {
  const share = percentile / 100;
  return streams * share + deviations * Math.sqrt(streams * share * (1 - share));
}

/** Evenly between a bucket's ends. */
function atRank(counts: LatencyCounts, wanted: number): number {
  let before = 0;
  for (let bucket = 0; bucket < counts.length; bucket++) {
    const count = counts[bucket]!;
    if (count > 0 && before + count >= wanted) {
      const start = startOf(bucket);
      return start + ((startOf(bucket + 1) - start) * Math.max(wanted - before, 0)) / count;
    }
    before += count;
  }
  return 0;
}

function sumOf(counts: LatencyCounts): number {
  let sum = 0;
  for (const count of counts) sum += count;
  return sum;
}
