/**
 * What our host offers beyond Proxy-Wasm (abi/functions.ts): timers of a stream, route configuration, rate
 * limit descriptors, token buckets of the whole process. A module that uses this file runs in Sluice only.
 */
import * as Status from "../../abi/status.ts";
import {
  beginCall,
  bytesOf,
  bytesSize,
  expectBuffer,
  expectNothing,
  resultP,
  resultSizeP,
  scalarP,
  takeBuffer,
} from "./memory.ts";
import * as sluice from "./sluice.ts";

/** Calls `onTimer` of the current stream after so many milliseconds; a new time replaces the old, 0 cancels. */
export function setTimer(milliseconds: i32): bool {
  return sluice.set_timer(milliseconds) == Status.OK;
}

/** Id of this filter's most specific `typed_per_filter_config` for the current stream; 0: there is none. */
export function routeConfigurationId(): u32 {
  return sluice.get_route_configuration_id(scalarP) == Status.OK ? load<u32>(scalarP) : 0;
}

/** The serialized message of that id. Decode it once per id and keep it: ids do not change their meaning. */
export function routeConfiguration(id: u32): ArrayBuffer | null {
  store<usize>(resultP, 0);
  expectBuffer();
  if (sluice.get_route_configuration(id, resultP, resultSizeP) == Status.OK) return takeBuffer();
  expectNothing();
  return null;
}

/**
 * The route's rate limit descriptors, each a serialized `RateLimitDescriptor`. `virtualHostMode`: 0 as the
 * route says, 1 include, 2 ignore those of the virtual host, 3 instead of both the `rate_limits` of the filter's own
 * configuration (of its route's, if that has any).
 */
export function rateLimitDescriptors(stage: i32, virtualHostMode: i32): Array<ArrayBuffer> {
  const descriptors = new Array<ArrayBuffer>();
  store<usize>(resultP, 0);
  expectBuffer();
  if (sluice.get_rate_limit_descriptors(stage, virtualHostMode, resultP, resultSizeP) != Status.OK) {
    expectNothing();
    return descriptors;
  }
  const bytes = takeBuffer();
  const size = <u64>bytes.byteLength;
  if (size < 4) return descriptors;
  const base = changetype<usize>(bytes);
  const count = load<u32>(base);
  let at: u64 = 4;
  for (let i: u32 = 0; i < count; i++) {
    if (at + 4 > size) break;
    const length = <u64>load<u32>(base + <usize>at);
    at += 4;
    if (at + length > size) break;
    descriptors.push(bytes.slice(<i32>at, <i32>(at + length)));
    at += length;
  }
  return descriptors;
}

/** Sets a response flag (abi/response-flag.ts) of the current stream. */
export function setResponseFlag(flag: i32): void {
  sluice.set_response_flag(flag);
}

/** Adds the fields of a serialized `google.protobuf.Struct` to a namespace of the dynamic metadata of the stream or connection. */
export function setDynamicMetadata<N>(namespace: N, fields: ArrayBuffer): bool {
  beginCall();
  const address = bytesOf<N>(namespace);
  return sluice.set_dynamic_metadata(address, bytesSize, changetype<usize>(fields), fields.byteLength) == Status.OK;
}

/** The namespace holds these fields and no others then. */
export function replaceDynamicMetadata<N>(namespace: N, fields: ArrayBuffer): bool {
  beginCall();
  const address = bytesOf<N>(namespace);
  const status = sluice.replace_dynamic_metadata(address, bytesSize, changetype<usize>(fields), fields.byteLength);
  return status == Status.OK;
}

/** This filter has nothing to do with the current stream's response: the host does not call it for that. */
export function skipResponse(): void {
  sluice.skip_response();
}

/** From now on the response body leaves at this rate. */
export function paceResponse(bytesPerSecond: i32): void {
  sluice.set_response_pace(bytesPerSecond);
}

/** True when this stream is in the share; `key` names a runtime value that comes before the numbers given. */
export function runtimeFraction<K>(key: K, numerator: u32, denominator: u32): bool {
  beginCall();
  const address = bytesOf<K>(key);
  return sluice.runtime_fraction(address, bytesSize, numerator, denominator) == Status.OK;
}

/** A runtime value, or `missing`. */
export function runtimeNumber<K>(key: K, missing: i32): i32 {
  beginCall();
  const address = bytesOf<K>(key);
  return sluice.runtime_number(address, bytesSize, scalarP) == Status.OK ? load<i32>(scalarP) : missing;
}

/** 32 random bits of the host. */
export function randomBits(): u32 {
  return sluice.random();
}

/** True when the whole of `text` (one UTF-16 unit per byte, as header values are) matches the RE2 expression. */
export function matchRegex<R>(regex: R, text: string): bool {
  beginCall();
  const regexAt = bytesOf<R>(regex);
  const regexSize = bytesSize;
  const textAt = bytesOf<string>(text);
  return sluice.match_regex(regexAt, regexSize, textAt, bytesSize) == Status.OK;
}

/** A token bucket that all workers of the process share by its key. */
export class TokenBucket {
  private readonly id: u32;
  /** After `take`: tokens left, and milliseconds to the next fill. */
  remaining: u32 = 0;
  resetMs: u32 = 0;

  constructor(key: string, maxTokens: u32, tokensPerFill: u32, fillIntervalMs: u32) {
    beginCall();
    const address = bytesOf<string>(key);
    const status = sluice.define_token_bucket(address, bytesSize, maxTokens, tokensPerFill, fillIntervalMs, scalarP);
    this.id = status == Status.OK ? load<u32>(scalarP) : 0;
  }

  /** Takes so many tokens if all of them are there; 0 only looks. */
  take(count: u32 = 1): bool {
    const status = sluice.take_tokens(this.id, count, scalarP, scalarP + 4);
    this.remaining = load<u32>(scalarP);
    this.resetMs = load<u32>(scalarP + 4);
    return status == Status.OK;
  }
}
