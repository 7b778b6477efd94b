/** Header maps: `proxy_get/add/replace/remove_header_map_value`, pairs and size. */
import { AbiVersion } from "../../../abi/functions.ts";
import * as MapType from "../../../abi/map.ts";
import * as Status from "../../../abi/status.ts";
import { fieldList, isPseudoValue } from "../values/header-text.ts";
import { PAIR_FUEL } from "../../limits.ts";
import type { Instance } from "../instance/instance.ts";
import { pairsSize, writePairs } from "../values/pairs.ts";
import { payForLook, readPairs } from "./fields.ts";
import { giveText, putU32 } from "./give.ts";
import type { HostFunctions } from "./functions.ts";

const LAST_MAP = MapType.HTTP_CALL_RESPONSE_TRAILERS;
const COLON = 0x3a;

const NO_MAP = "map: unknown type";
const HIDDEN = "map: there is none of this type in this phase";
const FIXED = "map: cannot be changed in this phase";

/** A value with a legal name in `type`, added or replaced. Returns a status. */
function writeValue(
  instance: Instance,
  type: number,
  key: number,
  keySize: number,
  value: number,
  valueSize: number,
  replace: boolean,
): number {
  const memory = instance.memory;
  const call = replace ? "proxy_replace_header_map_value" : "proxy_add_header_map_value";
  if (type >>> 0 > LAST_MAP) return instance.refuse(Status.BAD_ARGUMENT, call, NO_MAP);
  if (!memory.has(key, keySize)) return instance.outside(call, "key");
  if (!memory.has(value, valueSize)) return instance.outside(call, "value");
  const context = instance.effective;
  const map = context.mutableMap(type);
  if (map === null) return instance.refuse(Status.BAD_ARGUMENT, call, FIXED);
  const name = memory.fieldName(key, keySize);
  if (name === undefined) return instance.refuse(Status.BAD_ARGUMENT, call, "key: not a field name");
  const text = memory.fieldValue(value, valueSize);
  if (text === undefined) return instance.refuse(Status.BAD_ARGUMENT, call, "value: holds NUL, CR or LF");
  if (name.charCodeAt(0) === COLON) {
    if (!isPseudoValue(name, text))
      return instance.refuse(Status.BAD_ARGUMENT, call, "value: not one that this pseudo-header can have");
    payForLook(instance, map);
    // There is one of each, and they stand first.
    if (map.has(name)) map.set(name, text);
    else map.list.unshift(name, text);
  } else if (replace) {
    payForLook(instance, map);
    map.set(name, text);
  } else map.add(name, text);
  context.mapChanged(type, false);
  return Status.OK;
}

export function headerFunctions(instance: Instance): HostFunctions {
  return { ...oneField(instance), ...wholeMap(instance) };
}

function oneField(instance: Instance): HostFunctions {
  const memory = instance.memory;
  const missingIsEmpty = instance.facts.module.abiVersion === AbiVersion.V0_1_0;
  return {
    proxy_get_header_map_value(type: number, keyAt: number, keySize: number, pp: number, sp: number): number {
      const call = "proxy_get_header_map_value";
      if (type >>> 0 > LAST_MAP) return instance.refuse(Status.BAD_ARGUMENT, call, NO_MAP);
      if (!memory.has(keyAt >>> 0, keySize >>> 0)) return instance.outside(call, "key");
      const context = instance.effective;
      const map = context.map(type);
      if (map === null) return instance.refuse(context.logging ? Status.NOT_FOUND : Status.BAD_ARGUMENT, call, HIDDEN);
      payForLook(instance, map);
      const value = map.get(memory.lookupName(keyAt >>> 0, keySize >>> 0));
      if (value !== undefined) return giveText(instance, call, value, pp >>> 0, sp >>> 0);
      return missingIsEmpty
        ? giveText(instance, call, "", pp >>> 0, sp >>> 0)
        : instance.refuse(Status.NOT_FOUND, call, "key: the map has no such field");
    },

    proxy_add_header_map_value(type: number, key: number, keySize: number, value: number, valueSize: number): number {
      return writeValue(instance, type, key >>> 0, keySize >>> 0, value >>> 0, valueSize >>> 0, false);
    },

    proxy_replace_header_map_value(
      type: number,
      key: number,
      keySize: number,
      value: number,
      valueSize: number,
    ): number {
      return writeValue(instance, type, key >>> 0, keySize >>> 0, value >>> 0, valueSize >>> 0, true);
    },

    proxy_remove_header_map_value(type: number, keyAt: number, keySize: number): number {
      const call = "proxy_remove_header_map_value";
      if (type >>> 0 > LAST_MAP) return instance.refuse(Status.BAD_ARGUMENT, call, NO_MAP);
      if (!memory.has(keyAt >>> 0, keySize >>> 0)) return instance.outside(call, "key");
      const context = instance.effective;
      const map = context.mutableMap(type);
      if (map === null) return instance.refuse(Status.BAD_ARGUMENT, call, FIXED);
      payForLook(instance, map);
      const name = memory.lookupName(keyAt >>> 0, keySize >>> 0);
      if (map.remove(name) > 0) context.mapChanged(type, name.charCodeAt(0) === COLON);
      return Status.OK;
    },
  };
}

function wholeMap(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    proxy_get_header_map_pairs(type: number, pp: number, sp: number): number {
      const call = "proxy_get_header_map_pairs";
      if (type >>> 0 > LAST_MAP) return instance.refuse(Status.BAD_ARGUMENT, call, NO_MAP);
      const map = instance.effective.map(type);
      if (map === null || map.size === 0) return giveText(instance, call, "", pp >>> 0, sp >>> 0);
      instance.spend(map.size * PAIR_FUEL);
      const size = pairsSize(map.list);
      const at = memory.allocate(size);
      if (at === 0)
        return instance.refuse(Status.INVALID_MEMORY_ACCESS, call, "pairs: the guest's allocator gave no memory");
      writePairs(map.list, memory.bytes, memory.view, at);
      if (!memory.putU32(pp >>> 0, at) || !memory.putU32(sp >>> 0, size))
        return instance.outside(call, "result pointer or size");
      return Status.OK;
    },

    proxy_set_header_map_pairs(type: number, at: number, size: number): number {
      const call = "proxy_set_header_map_pairs";
      if (type >>> 0 > LAST_MAP) return instance.refuse(Status.BAD_ARGUMENT, call, NO_MAP);
      if (!memory.has(at >>> 0, size >>> 0)) return instance.outside(call, "pairs");
      const context = instance.effective;
      const map = context.mutableMap(type);
      if (map === null) return instance.refuse(Status.BAD_ARGUMENT, call, FIXED);
      const pairs = readPairs(instance, at >>> 0, size >>> 0);
      // Envoy takes malformed pairs for none and clears the map; a guest that sent nonsense is better told so.
      const list = pairs === undefined ? undefined : fieldList(pairs);
      if (list === undefined)
        return instance.refuse(Status.BAD_ARGUMENT, call, "pairs: malformed, or names and values that are not legal");
      map.replaceAll(list);
      context.mapChanged(type, true);
      return Status.OK;
    },

    proxy_get_header_map_size(type: number, sizeAt: number): number {
      const call = "proxy_get_header_map_size";
      if (type >>> 0 > LAST_MAP) return instance.refuse(Status.BAD_ARGUMENT, call, NO_MAP);
      const map = instance.effective.map(type);
      if (map === null) return instance.refuse(Status.BAD_ARGUMENT, call, HIDDEN);
      payForLook(instance, map);
      return putU32(instance, call, "size_p", sizeAt >>> 0, map.byteSize());
    },
  };
}
