/** Decides whether a stream passes: its descriptors' buckets, then the default one. */
import { rateLimitDescriptors } from "../sdk/extensions.ts";
import { Property } from "../sdk/property.ts";
import { Bucket, BucketCache, BucketSize, ProcessBucket } from "./bucket.ts";
import { LocalRateLimit, LocalRateLimitDescriptor, RateLimitDescriptor, TokenBucket } from "./local_ratelimit.pb.ts";

/** Connections whose buckets an instance remembers: more than one worker usually has. */
const CONNECTIONS: u32 = 16384;
/** Buckets of wildcard descriptors, unless `max_dynamic_descriptors` says otherwise. */
const DYNAMIC_DESCRIPTORS: u32 = 20;
/** `rateLimitDescriptors` (extensions.ts): those of the configuration at hand, not of the route. */
const OWN_RATE_LIMITS: i32 = 3;
const CONNECTION_ID = new Property("connection.id");

/** One configured descriptor. An entry without a value stands for any value, and each has a bucket of its own. */
class DescriptorRule {
  readonly descriptor: LocalRateLimitDescriptor;
  readonly size: BucketSize;
  private readonly bucket: Bucket | null;
  private readonly dynamic: BucketCache | null;

  constructor(descriptor: LocalRateLimitDescriptor, key: string, dynamicDescriptors: u32) {
    this.descriptor = descriptor;
    const size = bucketSize(descriptor.tokenBucket!);
    this.size = size;
    let wildcard = false;
    for (let i = 0; i < descriptor.entries.length; i++) {
      if (descriptor.entries[i].value.length == 0) wildcard = true;
    }
    this.bucket = wildcard ? null : new ProcessBucket(size, key);
    this.dynamic = wildcard ? new BucketCache(size, dynamicDescriptors) : null;
  }

  /** The bucket for a stream's descriptor; null when the descriptor does not match. */
  bucketFor(actual: RateLimitDescriptor): Bucket | null {
    const entries = this.descriptor.entries;
    if (entries.length != actual.entries.length) return null;
    for (let i = 0; i < entries.length; i++) {
      if (entries[i].key != actual.entries[i].key) return null;
      if (entries[i].value.length > 0 && entries[i].value != actual.entries[i].value) return null;
    }
    const dynamic = this.dynamic;
    if (dynamic === null) return this.bucket;
    let key = "";
    for (let i = 0; i < entries.length; i++) key += actual.entries[i].value + "\0";
    return dynamic.get(key);
  }
}

/** A descriptor of the stream with the bucket it takes from. */
class Match {
  readonly bucket: Bucket;
  readonly hits: u32;
  readonly shadow: bool;
  constructor(bucket: Bucket, hits: u32, shadow: bool) {
    this.bucket = bucket;
    this.hits = hits;
    this.shadow = shadow;
  }
}

export class Limiter {
  private readonly stage: i32;
  private readonly virtualHostMode: i32;
  private readonly alwaysDefault: bool;
  private bucket: Bucket | null = null;
  private connections: BucketCache | null = null;
  private readonly rules: Array<DescriptorRule> = [];
  /** After `allows`: the bucket that decided; null when there was none. */
  decider: Bucket | null = null;
  /** After `allows`: a descriptor in shadow mode would have refused. */
  shadowed: bool = false;

  /** `key` names this configuration among all of the process. */
  constructor(message: LocalRateLimit, key: string) {
    this.stage = <i32>message.stage;
    this.virtualHostMode = message.rateLimits.length > 0 ? OWN_RATE_LIMITS : message.vhRateLimits;
    const always = message.alwaysConsumeDefaultTokenBucket;
    this.alwaysDefault = always === null || always.value;
    const tokenBucket = message.tokenBucket;
    if (tokenBucket !== null) {
      const size = bucketSize(tokenBucket);
      if (message.localRateLimitPerDownstreamConnection) this.connections = new BucketCache(size, CONNECTIONS);
      else this.bucket = new ProcessBucket(size, key);
    }
    const dynamic = message.maxDynamicDescriptors;
    for (let i = 0; i < message.descriptors.length; i++) {
      const ruleKey = key + "#" + i.toString();
      const limit = dynamic === null ? DYNAMIC_DESCRIPTORS : dynamic.value;
      this.rules.push(new DescriptorRule(message.descriptors[i], ruleKey, limit));
    }
  }

  /** Takes from every bucket that counts for the current stream; false as soon as one has not enough. */
  allows(): bool {
    this.decider = null;
    this.shadowed = false;
    let matched = false;
    if (this.rules.length > 0) {
      const matches = this.matches();
      for (let i = 0; i < matches.length; i++) {
        const match = matches[i];
        if (match.bucket.take(match.hits)) {
          if (this.decider === null) this.decider = match.bucket;
        } else if (match.shadow) {
          this.shadowed = true;
        } else {
          this.decider = match.bucket;
          return false;
        }
        matched = true;
      }
    }
    if (matched && !this.alwaysDefault) return true;
    const bucket = this.defaultBucket();
    if (bucket === null) return true;
    const allowed = bucket.take(1);
    if (!allowed || this.decider === null) this.decider = bucket;
    return allowed;
  }

  private defaultBucket(): Bucket | null {
    const connections = this.connections;
    if (connections === null) return this.bucket;
    return connections.get(CONNECTION_ID.integer().toString());
  }

  /** The stream's descriptors that have a rule, slowest bucket first: what is scarce decides. */
  private matches(): Array<Match> {
    const matches = new Array<Match>();
    const descriptors = rateLimitDescriptors(this.stage, this.virtualHostMode);
    for (let i = 0; i < descriptors.length; i++) {
      const descriptor = RateLimitDescriptor.decode(descriptors[i]);
      if (descriptor === null) continue;
      const hits = descriptor.hitsAddend;
      for (let r = 0; r < this.rules.length; r++) {
        const bucket = this.rules[r].bucketFor(descriptor);
        if (bucket === null) continue;
        const count = hits === null ? 1 : <u32>min<u64>(hits.value, u32.MAX_VALUE);
        matches.push(new Match(bucket, count, this.rules[r].descriptor.shadowMode));
        break;
      }
    }
    if (matches.length > 1) {
      matches.sort((a, b) =>
        a.bucket.size.rate < b.bucket.size.rate ? -1 : a.bucket.size.rate > b.bucket.size.rate ? 1 : 0,
      );
    }
    return matches;
  }
}

function bucketSize(message: TokenBucket): BucketSize {
  const perFill = message.tokensPerFill;
  const interval = message.fillInterval;
  const milliseconds = interval === null ? 0 : interval.milliseconds();
  return new BucketSize(
    message.maxTokens,
    perFill === null ? 1 : perFill.value,
    <u32>max<i64>(1, min<i64>(milliseconds, u32.MAX_VALUE)),
  );
}
