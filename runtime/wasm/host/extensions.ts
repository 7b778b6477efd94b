/** The import module `sluice`: what the bundled filters need beyond Proxy-Wasm. */
import * as Status from "../../../abi/status.ts";
import { ResponseFlag } from "../../errors.ts";
import {
  MAX_BUCKET_TOKENS,
  MAX_GUEST_REGEXES,
  MAX_GUEST_REGEX_BYTES,
  MAX_METADATA_BYTES,
  MAX_METADATA_NAMESPACES,
  MAX_SHARED_KEY_BYTES,
} from "../../limits.ts";
import { compileRegex, type TextTest } from "../../observe/match.ts";
import type { Instance } from "../instance/instance.ts";
import { encodeDescriptors } from "../values/descriptors.ts";
import { readStruct } from "../values/struct-wire.ts";
import { sampled } from "../values/runtime-fraction.ts";
import type { HostFunctions } from "./functions.ts";

const LAST_FLAG = ResponseFlag.UDO;

export function extensionFunctions(instance: Instance): HostFunctions {
  return {
    ...streamExtensions(instance),
    ...bucketExtensions(instance),
    ...runtimeExtensions(instance),
    ...regexExtensions(instance),
  };
}

function streamExtensions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    set_timer(delayMs: number): number {
      return instance.effective.setTimer(delayMs >>> 0) ? Status.OK : Status.BAD_ARGUMENT;
    },

    get_route_configuration_id(idAt: number): number {
      const id = instance.effective.stream?.perRouteConfigId() ?? 0;
      return memory.putU32(idAt >>> 0, id) ? Status.OK : Status.INVALID_MEMORY_ACCESS;
    },

    get_route_configuration(id: number, pp: number, sp: number): number {
      const bytes = instance.effective.stream?.perRouteConfig(id >>> 0);
      return bytes === undefined ? Status.NOT_FOUND : memory.giveBytes(bytes, pp >>> 0, sp >>> 0);
    },

    get_rate_limit_descriptors(stage: number, mode: number, pp: number, sp: number): number {
      const stream = instance.effective.stream;
      if (stream === null || mode >>> 0 > 3) return Status.BAD_ARGUMENT;
      return memory.giveBytes(encodeDescriptors(stream.rateLimitDescriptors(stage >>> 0, mode)), pp >>> 0, sp >>> 0);
    },

    set_response_flag(flag: number): number {
      const stream = instance.effective.stream;
      if (stream === null || flag >>> 0 > LAST_FLAG) return Status.BAD_ARGUMENT;
      stream.info.setFlag(flag);
      return Status.OK;
    },

    set_dynamic_metadata(name: number, nameSize: number, at: number, size: number): number {
      if (!memory.has(name >>> 0, nameSize >>> 0) || !memory.has(at >>> 0, size >>> 0)) {
        return Status.INVALID_MEMORY_ACCESS;
      }
      const info = instance.effective.stream?.info;
      if (info === undefined || nameSize >>> 0 > MAX_SHARED_KEY_BYTES || size >>> 0 > MAX_METADATA_BYTES) {
        return Status.BAD_ARGUMENT;
      }
      const fields = readStruct(memory.copy(at >>> 0, size >>> 0));
      if (fields === undefined) return Status.PARSE_FAILURE;
      const namespace = memory.utf8(name >>> 0, nameSize >>> 0);
      const namespaces = (info.dynamicMetadata ??= new Map());
      const before = namespaces.get(namespace);
      if (before === undefined && namespaces.size >= MAX_METADATA_NAMESPACES) return Status.BAD_ARGUMENT;
      namespaces.set(namespace, before === undefined ? fields : { ...before, ...fields });
      return Status.OK;
    },

    skip_response(): number {
      const stream = instance.effective.stream;
      if (stream === null) return Status.BAD_ARGUMENT;
      stream.skipResponse();
      return Status.OK;
    },

    set_response_pace(bytesPerSecond: number): number {
      const stream = instance.effective.stream;
      if (stream === null || bytesPerSecond >>> 0 === 0) return Status.BAD_ARGUMENT;
      stream.paceResponse(bytesPerSecond >>> 0);
      return Status.OK;
    },
  };
}

function bucketExtensions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  const defined = instance.buckets;
  const { shared } = instance.facts.environment;
  return {
    define_token_bucket(
      key: number,
      keySize: number,
      max: number,
      perFill: number,
      intervalMs: number,
      idAt: number,
    ): number {
      if (!memory.has(key >>> 0, keySize >>> 0)) return Status.INVALID_MEMORY_ACCESS;
      if (keySize >>> 0 > MAX_SHARED_KEY_BYTES || intervalMs >>> 0 === 0) return Status.BAD_ARGUMENT;
      if (max >>> 0 > MAX_BUCKET_TOKENS || perFill >>> 0 > MAX_BUCKET_TOKENS) return Status.BAD_ARGUMENT;
      const bucket = shared.buckets.define(memory.copy(key >>> 0, keySize >>> 0), {
        maxTokens: max >>> 0,
        tokensPerFill: perFill >>> 0,
        fillIntervalMs: intervalMs >>> 0,
      });
      if (bucket === undefined) return Status.INTERNAL_FAILURE;
      let index = defined.indexOf(bucket);
      if (index < 0) index = defined.push(bucket) - 1;
      return memory.putU32(idAt >>> 0, index + 1) ? Status.OK : Status.INVALID_MEMORY_ACCESS;
    },

    take_tokens(id: number, count: number, remainingAt: number, resetAt: number): number {
      const bucket = defined[(id >>> 0) - 1];
      if (bucket === undefined) return Status.NOT_FOUND;
      const taken = bucket.take(count >>> 0);
      if (!memory.putU32(remainingAt >>> 0, bucket.remaining) || !memory.putU32(resetAt >>> 0, bucket.resetMs)) {
        return Status.INVALID_MEMORY_ACCESS;
      }
      return taken ? Status.OK : Status.EMPTY;
    },
  };
}

function runtimeExtensions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  // A Map, since the guest chooses the key: no name may reach a prototype.
  const runtime = new Map(Object.entries(instance.facts.environment.runtime));
  return {
    runtime_fraction(key: number, keySize: number, numerator: number, denominator: number): number {
      if (!memory.has(key >>> 0, keySize >>> 0)) return Status.INVALID_MEMORY_ACCESS;
      if (denominator >>> 0 === 0) return Status.BAD_ARGUMENT;
      const value = keySize === 0 ? undefined : runtime.get(memory.latin1(key >>> 0, keySize >>> 0));
      return sampled(value, numerator >>> 0, denominator >>> 0) ? Status.OK : Status.EMPTY;
    },

    runtime_number(key: number, keySize: number, valueAt: number): number {
      if (!memory.has(key >>> 0, keySize >>> 0)) return Status.INVALID_MEMORY_ACCESS;
      const value = runtime.get(memory.latin1(key >>> 0, keySize >>> 0));
      if (typeof value !== "number") return Status.NOT_FOUND;
      return memory.putU32(valueAt >>> 0, value >>> 0) ? Status.OK : Status.INVALID_MEMORY_ACCESS;
    },

    random: (): number => (Math.random() * 0x1_0000_0000) | 0,
  };
}

/** Expressions come from filters' configurations, so they are few; a guest that makes them up pays by compiling anew. */
function regexExtensions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  const compiled = new Map<string, TextTest>();
  return {
    match_regex(regex: number, regexSize: number, text: number, textSize: number): number {
      if (!memory.has(regex >>> 0, regexSize >>> 0) || !memory.has(text >>> 0, textSize >>> 0)) {
        return Status.INVALID_MEMORY_ACCESS;
      }
      if (regexSize >>> 0 > MAX_GUEST_REGEX_BYTES) return Status.BAD_ARGUMENT;
      const expression = memory.copy(regex >>> 0, regexSize >>> 0).toString("utf8");
      let test = compiled.get(expression);
      if (test === undefined) {
        const made = compileGuestRegex(expression);
        if (made === undefined) return Status.BAD_ARGUMENT;
        if (compiled.size >= MAX_GUEST_REGEXES) compiled.clear();
        compiled.set(expression, (test = made));
      }
      return test(memory.latin1(text >>> 0, textSize >>> 0)) ? Status.OK : Status.EMPTY;
    },
  };
}

function compileGuestRegex(expression: string): TextTest | undefined {
  try {
    return compileRegex(expression);
  } catch {
    // Not an expression: the guest is told by the status.
    return undefined;
  }
}
