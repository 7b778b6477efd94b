/** The import module `sluice`: what the bundled filters need beyond Proxy-Wasm. */
import * as Status from "../../../abi/status.ts";
import { ResponseFlag } from "../../errors.ts";
import {
  MAX_BUCKET_TOKENS,
  MAX_GUEST_REGEXES,
  MAX_GUEST_REGEX_BYTES,
  MAX_GUEST_REGEX_SIZE,
  MAX_GUEST_REGEX_SIZES,
  MAX_METADATA_BYTES,
  MAX_METADATA_NAMESPACES,
  MAX_SHARED_KEY_BYTES,
  REGEX_COMPILE_FUEL,
  REGEX_MATCH_FUEL,
} from "../../limits.ts";
import { compileRegex, type TextTest } from "../../observe/match.ts";
import type { Instance } from "../instance/instance.ts";
import { encodeDescriptors } from "../values/descriptors.ts";
import { regexSize } from "../values/regex-size.ts";
import { readStruct } from "../values/struct-wire.ts";
import { sampled } from "../values/runtime-fraction.ts";
import { giveBytes, putU32 } from "./give.ts";
import type { HostFunctions } from "./functions.ts";

const NO_STREAM = "the context has no stream, or it is over";
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
  return {
    set_timer(delayMs: number): number {
      return instance.effective.setTimer(delayMs >>> 0)
        ? Status.OK
        : instance.refuse(Status.BAD_ARGUMENT, "set_timer", NO_STREAM);
    },

    get_route_configuration_id(idAt: number): number {
      const id = instance.effective.stream?.perRouteConfigId() ?? 0;
      return putU32(instance, "get_route_configuration_id", "id_p", idAt >>> 0, id);
    },

    get_route_configuration(id: number, pp: number, sp: number): number {
      const bytes = instance.effective.stream?.perRouteConfig(id >>> 0);
      return bytes === undefined
        ? instance.refuse(Status.NOT_FOUND, "get_route_configuration", "id: the stream has no such override")
        : giveBytes(instance, "get_route_configuration", bytes, pp >>> 0, sp >>> 0);
    },

    get_rate_limit_descriptors(stage: number, mode: number, pp: number, sp: number): number {
      const call = "get_rate_limit_descriptors";
      const stream = instance.effective.stream;
      if (stream === null) return instance.refuse(Status.BAD_ARGUMENT, call, NO_STREAM);
      if (mode >>> 0 > 3) return instance.refuse(Status.BAD_ARGUMENT, call, "virtual host mode: unknown");
      const descriptors = encodeDescriptors(stream.rateLimitDescriptors(stage >>> 0, mode));
      return giveBytes(instance, call, descriptors, pp >>> 0, sp >>> 0);
    },

    set_response_flag(flag: number): number {
      const facts = instance.effective.facts;
      if (facts === null) return instance.refuse(Status.BAD_ARGUMENT, "set_response_flag", NO_STREAM);
      if (flag >>> 0 > LAST_FLAG) return instance.refuse(Status.BAD_ARGUMENT, "set_response_flag", "flag: unknown");
      facts.info.setFlag(flag);
      return Status.OK;
    },

    set_dynamic_metadata: (name: number, nameSize: number, at: number, size: number): number =>
      setMetadata(instance, { name: name >>> 0, nameSize: nameSize >>> 0, at: at >>> 0, size: size >>> 0 }, false),

    replace_dynamic_metadata: (name: number, nameSize: number, at: number, size: number): number =>
      setMetadata(instance, { name: name >>> 0, nameSize: nameSize >>> 0, at: at >>> 0, size: size >>> 0 }, true),

    skip_response(): number {
      const stream = instance.effective.stream;
      if (stream === null) return instance.refuse(Status.BAD_ARGUMENT, "skip_response", NO_STREAM);
      stream.skipResponse();
      return Status.OK;
    },

    set_response_pace(bytesPerSecond: number): number {
      const stream = instance.effective.stream;
      if (stream === null) return instance.refuse(Status.BAD_ARGUMENT, "set_response_pace", NO_STREAM);
      if (bytesPerSecond >>> 0 === 0)
        return instance.refuse(Status.BAD_ARGUMENT, "set_response_pace", "rate: would never end");
      stream.paceResponse(bytesPerSecond >>> 0);
      return Status.OK;
    },
  };
}

/** Where a namespace's name and a Struct's bytes lie in the guest. */
interface MetadataPlace {
  readonly name: number;
  readonly nameSize: number;
  readonly at: number;
  readonly size: number;
}

function setMetadata(instance: Instance, place: MetadataPlace, alone: boolean): number {
  const call = alone ? "replace_dynamic_metadata" : "set_dynamic_metadata";
  const { memory } = instance;
  const { name, nameSize, at, size } = place;
  if (!memory.has(name, nameSize)) return instance.outside(call, "namespace");
  if (!memory.has(at, size)) return instance.outside(call, "fields");
  const facts = instance.effective.facts;
  if (facts === null) return instance.refuse(Status.BAD_ARGUMENT, call, NO_STREAM);
  const { info } = facts;
  if (nameSize > MAX_SHARED_KEY_BYTES || size > MAX_METADATA_BYTES)
    return instance.refuse(Status.BAD_ARGUMENT, call, "namespace or fields: too long");
  const fields = readStruct(memory.copy(at, size));
  if (fields === undefined) return instance.refuse(Status.PARSE_FAILURE, call, "fields: not a Struct");
  const namespace = memory.utf8(name, nameSize);
  const namespaces = (info.dynamicMetadata ??= new Map());
  const before = namespaces.get(namespace);
  if (before === undefined && namespaces.size >= MAX_METADATA_NAMESPACES)
    return instance.refuse(Status.BAD_ARGUMENT, call, "namespace: the stream has too many");
  namespaces.set(namespace, before === undefined || alone ? fields : { ...before, ...fields });
  facts.acts?.wrote(namespace, Buffer.from(JSON.stringify(fields)));
  return Status.OK;
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
      const call = "define_token_bucket";
      if (!memory.has(key >>> 0, keySize >>> 0)) return instance.outside(call, "key");
      if (keySize >>> 0 > MAX_SHARED_KEY_BYTES) return instance.refuse(Status.BAD_ARGUMENT, call, "key: too long");
      if (intervalMs >>> 0 === 0) return instance.refuse(Status.BAD_ARGUMENT, call, "fill interval: 0");
      if (max >>> 0 > MAX_BUCKET_TOKENS || perFill >>> 0 > MAX_BUCKET_TOKENS)
        return instance.refuse(Status.BAD_ARGUMENT, call, "tokens: more than a bucket can hold");
      const bucket = shared.buckets.define(memory.copy(key >>> 0, keySize >>> 0), {
        maxTokens: max >>> 0,
        tokensPerFill: perFill >>> 0,
        fillIntervalMs: intervalMs >>> 0,
      });
      if (bucket === undefined)
        return instance.refuse(Status.INTERNAL_FAILURE, call, "the process has too many buckets");
      let index = defined.indexOf(bucket);
      if (index < 0) index = defined.push(bucket) - 1;
      return putU32(instance, call, "id_p", idAt >>> 0, index + 1);
    },

    take_tokens(id: number, count: number, remainingAt: number, resetAt: number): number {
      const call = "take_tokens";
      const bucket = defined[(id >>> 0) - 1];
      if (bucket === undefined)
        return instance.refuse(Status.NOT_FOUND, call, "id: this instance has defined no such bucket");
      const taken = bucket.take(count >>> 0);
      if (!memory.putU32(remainingAt >>> 0, bucket.remaining)) return instance.outside(call, "remaining_p");
      if (!memory.putU32(resetAt >>> 0, bucket.resetMs)) return instance.outside(call, "reset_ms_p");
      return taken ? Status.OK : instance.refuse(Status.EMPTY, call, "not enough tokens are left");
    },
  };
}

function runtimeExtensions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  // A Map, since the guest chooses the key: no name may reach a prototype.
  const runtime = new Map(Object.entries(instance.facts.environment.runtime));
  return {
    runtime_fraction(key: number, keySize: number, numerator: number, denominator: number): number {
      const call = "runtime_fraction";
      if (!memory.has(key >>> 0, keySize >>> 0)) return instance.outside(call, "key");
      if (denominator >>> 0 === 0) return instance.refuse(Status.BAD_ARGUMENT, call, "denominator: 0");
      const value = keySize === 0 ? undefined : runtime.get(memory.latin1(key >>> 0, keySize >>> 0));
      return sampled(value, numerator >>> 0, denominator >>> 0)
        ? Status.OK
        : instance.refuse(Status.EMPTY, call, "not in the sampled share");
    },

    runtime_number(key: number, keySize: number, valueAt: number): number {
      const call = "runtime_number";
      if (!memory.has(key >>> 0, keySize >>> 0)) return instance.outside(call, "key");
      const value = runtime.get(memory.latin1(key >>> 0, keySize >>> 0));
      if (typeof value !== "number")
        return instance.refuse(Status.NOT_FOUND, call, "key: the runtime has no such number");
      return putU32(instance, call, "value_p", valueAt >>> 0, value >>> 0);
    },

    random: (): number => (Math.random() * 0x1_0000_0000) | 0,
  };
}

interface GuestRegex {
  readonly test: TextTest;
  /** Instructions, roughly. */
  readonly size: number;
}

/** Expressions come from filters' configurations, so they are few; a guest that makes them up pays by compiling anew. */
function regexExtensions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  const compiled = new Map<string, GuestRegex>();
  let instructions = 0;

  /** The expression, compiled now or before. A string: why it is not taken. */
  function regexOf(expression: string): GuestRegex | string {
    const known = compiled.get(expression);
    if (known !== undefined) return known;
    const size = regexSize(expression);
    if (size > MAX_GUEST_REGEX_SIZE) return "expression: too large once its repetitions are written out";
    instance.spend(size * REGEX_COMPILE_FUEL);
    const test = compileGuestRegex(expression);
    if (test === undefined) return "expression: not of RE2";
    instructions += size;
    if (compiled.size >= MAX_GUEST_REGEXES || instructions > MAX_GUEST_REGEX_SIZES) {
      compiled.clear();
      instructions = size;
    }
    const made = { test, size };
    compiled.set(expression, made);
    return made;
  }

  return {
    match_regex(regex: number, regexSize: number, text: number, textSize: number): number {
      const call = "match_regex";
      if (!memory.has(regex >>> 0, regexSize >>> 0)) return instance.outside(call, "expression");
      if (!memory.has(text >>> 0, textSize >>> 0)) return instance.outside(call, "text");
      if (regexSize >>> 0 > MAX_GUEST_REGEX_BYTES)
        return instance.refuse(Status.BAD_ARGUMENT, call, "expression: too long");
      const found = regexOf(memory.copy(regex >>> 0, regexSize >>> 0).toString("utf8"));
      if (typeof found === "string") return instance.refuse(Status.BAD_ARGUMENT, call, found);
      // Each byte may keep every instruction busy.
      instance.spend((textSize >>> 0) * found.size * REGEX_MATCH_FUEL);
      return found.test(memory.latin1(text >>> 0, textSize >>> 0))
        ? Status.OK
        : instance.refuse(Status.EMPTY, call, "text: does not match");
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
