/**
 * Buckets: those of the whole process live in the host; those that come and go with connections or with the
 * values of a wildcard descriptor live here, per instance, and the least recently used are forgotten.
 */
import { TokenBucket } from "../sdk/extensions.ts";
import { nowNanoseconds } from "../sdk/time.ts";

/** Size of a bucket, as configured. */
export class BucketSize {
  readonly maxTokens: u32;
  readonly tokensPerFill: u32;
  readonly fillIntervalMs: u32;

  constructor(maxTokens: u32, tokensPerFill: u32, fillIntervalMs: u32) {
    this.maxTokens = maxTokens;
    this.tokensPerFill = tokensPerFill;
    this.fillIntervalMs = fillIntervalMs;
  }
  /** Tokens per second. */
  get rate(): f64 {
    return (<f64>this.tokensPerFill * 1000) / <f64>this.fillIntervalMs;
  }
}

export abstract class Bucket {
  readonly size: BucketSize;
  /** After `take`: tokens left, and milliseconds to the next fill. */
  remaining: u32 = 0;
  resetMs: u32 = 0;

  constructor(size: BucketSize) {
    this.size = size;
  }
  abstract take(count: u32): bool;
}

/** Shared by all workers of the process through its key. */
export class ProcessBucket extends Bucket {
  private readonly shared: TokenBucket;

  constructor(size: BucketSize, key: string) {
    super(size);
    this.shared = new TokenBucket(key, size.maxTokens, size.tokensPerFill, size.fillIntervalMs);
  }

  take(count: u32): bool {
    const taken = this.shared.take(count);
    this.remaining = this.shared.remaining;
    this.resetMs = this.shared.resetMs;
    return taken;
  }
}

/** One of this instance. */
export class OwnBucket extends Bucket {
  private tokens: u32;
  private filledMs: i64;

  constructor(size: BucketSize) {
    super(size);
    this.tokens = size.maxTokens;
    this.filledMs = nowNanoseconds() / 1000000;
  }

  take(count: u32): bool {
    const interval = <i64>this.size.fillIntervalMs;
    const sinceMs = max<i64>(nowNanoseconds() / 1000000 - this.filledMs, 0);
    const fills = sinceMs / interval;
    this.filledMs += fills * interval;
    const filled = <u64>this.tokens + <u64>fills * this.size.tokensPerFill;
    this.tokens = <u32>min<u64>(filled, this.size.maxTokens);
    const taken = this.tokens >= count;
    if (taken) this.tokens -= count;
    this.remaining = this.tokens;
    this.resetMs = <u32>(interval - (sinceMs - fills * interval));
    return taken;
  }
}

/** Buckets by key, at most twice `capacity`: when the young are full, the old are forgotten. */
export class BucketCache {
  private readonly size: BucketSize;
  private readonly capacity: i32;
  private young: Map<string, OwnBucket> = new Map<string, OwnBucket>();
  private old: Map<string, OwnBucket> = new Map<string, OwnBucket>();

  constructor(size: BucketSize, capacity: u32) {
    this.size = size;
    this.capacity = <i32>min<u32>(capacity, 65536);
  }

  get(key: string): OwnBucket {
    if (this.young.has(key)) return this.young.get(key);
    const bucket = this.old.has(key) ? this.old.get(key) : new OwnBucket(this.size);
    if (this.young.size >= this.capacity) {
      this.old = this.young;
      this.young = new Map<string, OwnBucket>();
    }
    this.young.set(key, bucket);
    return bucket;
  }
}
