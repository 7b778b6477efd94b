/**
 * Token buckets that hold across workers: one 64-bit word each, changed by compare-and-swap only.
 *
 * The word counts tokens given out since the bucket was made. With f = fills so far × tokens per fill, the bucket holds
 * f + max - spent tokens, and `spent` is taken as f at least, since the bucket never holds more than max. Filling thus needs
 * no write, and one exchange decides a take: no two workers get the same token, and none is lost.
 */
import { MAX_TOKEN_BUCKETS } from "../../limits.ts";
import { KeyKind, processKey } from "./keys.ts";
import { MapCounter } from "./map.ts";
import type { SharedMap } from "./map.ts";

/** Bytes of the words. */
export const BUCKET_BYTES = MAX_TOKEN_BUCKETS * 8;
/** u32 max, per fill, interval, slot; f64 start. */
const ENTRY_BYTES = 24;

/**
 * The system's monotonic clock, the same for all threads; performance.now starts anew in each. A thread that loses its
 * core between the two readings would have another clock than the others, so the closest of a few pairs counts.
 */
function monotonicOffset(): number {
  let [closest, offsetMs] = [Infinity, 0];
  for (let n = 0; n < 5; n++) {
    const before = performance.now();
    const systemMs = Number(process.hrtime.bigint()) / 1e6;
    const after = performance.now();
    if (after - before >= closest) continue;
    closest = after - before;
    offsetMs = systemMs - (before + after) / 2;
  }
  return offsetMs;
}
const monotonicOffsetMs = monotonicOffset();
function monotonicMs(): number {
  return monotonicOffsetMs + performance.now();
}

export interface TokenBucketSize {
  readonly maxTokens: number;
  readonly tokensPerFill: number;
  readonly fillIntervalMs: number;
}

export class TokenBucket {
  readonly size: TokenBucketSize;
  readonly #words: BigInt64Array;
  readonly #slot: number;
  readonly #startMs: number;
  /** Tokens left after the last take of this thread. */
  remaining = 0;
  /** Milliseconds from that take to the next fill. */
  resetMs = 0;

  constructor(size: TokenBucketSize, words: BigInt64Array, slot: number, startMs: number) {
    this.size = size;
    this.#words = words;
    this.#slot = slot;
    this.#startMs = startMs;
  }

  /** Takes `count` tokens or none; sets `remaining` and `resetMs`. */
  take(count: number): boolean {
    const { maxTokens, tokensPerFill, fillIntervalMs } = this.size;
    const sinceMs = Math.max(0, monotonicMs() - this.#startMs);
    const fills = Math.floor(sinceMs / fillIntervalMs);
    this.resetMs = Math.ceil(fillIntervalMs - (sinceMs - fills * fillIntervalMs));
    const perFill = Math.min(tokensPerFill, maxTokens);
    let filled = fills * perFill;
    for (;;) {
      const seen = Atomics.load(this.#words, this.#slot);
      // More is spent than there has been: another thread has seen a fill that this one's clock has not come to.
      const ahead = Number(seen) - filled - maxTokens;
      if (ahead > 0) filled += Math.ceil(ahead / perFill) * perFill;
      const spent = Math.max(Number(seen), filled);
      const held = filled + maxTokens - spent;
      if (held < count) {
        this.remaining = Math.max(held, 0);
        return false;
      }
      if (Atomics.compareExchange(this.#words, this.#slot, seen, BigInt(spent + count)) === seen) {
        this.remaining = held - count;
        return true;
      }
    }
  }
}

export class TokenBuckets {
  readonly #map: SharedMap;
  readonly #words: BigInt64Array;
  readonly #known = new Map<string, TokenBucket>();

  constructor(map: SharedMap, buffer: SharedArrayBuffer) {
    this.#map = map;
    this.#words = new BigInt64Array(buffer);
  }

  /** Get or create by key; other numbers than before make a new, full bucket. Undefined when there are too many. */
  define(key: Uint8Array, size: TokenBucketSize): TokenBucket | undefined {
    const local = `${size.maxTokens}/${size.tokensPerFill}/${size.fillIntervalMs}/${Buffer.from(key).latin1Slice()}`;
    const known = this.#known.get(local);
    if (known !== undefined) return known;
    this.#map.lock.acquire();
    try {
      const bucket = this.#shared(processKey(KeyKind.BUCKET, Buffer.from(local, "latin1")), size);
      if (bucket !== undefined) this.#known.set(local, bucket);
      return bucket;
    } finally {
      this.#map.lock.release();
    }
  }

  #shared(key: Buffer, size: TokenBucketSize): TokenBucket | undefined {
    const map = this.#map;
    const stored = map.get(key)?.value;
    if (stored !== undefined)
      return new TokenBucket(size, this.#words, stored.readUInt32LE(12), stored.readDoubleLE(16));
    const slot = map.words[MapCounter.BUCKETS]!;
    if (slot >= MAX_TOKEN_BUCKETS) return undefined;
    map.words[MapCounter.BUCKETS] = slot + 1;
    const entry = Buffer.alloc(ENTRY_BYTES);
    const startMs = monotonicMs();
    entry.writeUInt32LE(size.maxTokens, 0);
    entry.writeUInt32LE(size.tokensPerFill, 4);
    entry.writeUInt32LE(size.fillIntervalMs, 8);
    entry.writeUInt32LE(slot, 12);
    entry.writeDoubleLE(startMs, 16);
    return map.put(key, entry) ? new TokenBucket(size, this.#words, slot, startMs) : undefined;
  }
}
