/** Header maps: `proxy_get/add/replace/remove_header_map_value`, pairs and size. */
import { AbiVersion } from "../../../abi/functions.ts";
import * as MapType from "../../../abi/map.ts";
import * as Status from "../../../abi/status.ts";
import { fieldList, isPseudoValue } from "../values/header-text.ts";
import type { Instance } from "../instance/instance.ts";
import { decodePairs, pairsSize, writePairs } from "../values/pairs.ts";
import type { HostFunctions } from "./functions.ts";

const LAST_MAP = MapType.HTTP_CALL_RESPONSE_TRAILERS;
const COLON = 0x3a;

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
  if (type >>> 0 > LAST_MAP) return Status.BAD_ARGUMENT;
  if (!memory.has(key, keySize) || !memory.has(value, valueSize)) return Status.INVALID_MEMORY_ACCESS;
  const context = instance.effective;
  const map = context.mutableMap(type);
  if (map === null) return Status.BAD_ARGUMENT;
  const name = memory.fieldName(key, keySize);
  const text = memory.fieldValue(value, valueSize);
  if (name === undefined || text === undefined) return Status.BAD_ARGUMENT;
  if (name.charCodeAt(0) === COLON) {
    if (!isPseudoValue(name, text)) return Status.BAD_ARGUMENT;
    // There is one of each, and they stand first.
    if (map.has(name)) map.set(name, text);
    else map.list.unshift(name, text);
  } else if (replace) map.set(name, text);
  else map.add(name, text);
  context.mapChanged(type, false);
  return Status.OK;
}

export function headerFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  const missingIsEmpty = instance.facts.module.abiVersion === AbiVersion.V0_1_0;
  return {
    proxy_get_header_map_value(type: number, keyAt: number, keySize: number, pp: number, sp: number): number {
      if (type >>> 0 > LAST_MAP) return Status.BAD_ARGUMENT;
      if (!memory.has(keyAt >>> 0, keySize >>> 0)) return Status.INVALID_MEMORY_ACCESS;
      const context = instance.effective;
      const map = context.map(type);
      if (map === null) return context.logging ? Status.NOT_FOUND : Status.BAD_ARGUMENT;
      const value = map.get(memory.lookupName(keyAt >>> 0, keySize >>> 0));
      if (value !== undefined) return memory.giveText(value, pp >>> 0, sp >>> 0);
      return missingIsEmpty ? memory.giveText("", pp >>> 0, sp >>> 0) : Status.NOT_FOUND;
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
      if (type >>> 0 > LAST_MAP) return Status.BAD_ARGUMENT;
      if (!memory.has(keyAt >>> 0, keySize >>> 0)) return Status.INVALID_MEMORY_ACCESS;
      const context = instance.effective;
      const map = context.mutableMap(type);
      if (map === null) return Status.BAD_ARGUMENT;
      const name = memory.lookupName(keyAt >>> 0, keySize >>> 0);
      if (map.remove(name) > 0) context.mapChanged(type, name.charCodeAt(0) === COLON);
      return Status.OK;
    },

    proxy_get_header_map_pairs(type: number, pp: number, sp: number): number {
      if (type >>> 0 > LAST_MAP) return Status.BAD_ARGUMENT;
      const map = instance.effective.map(type);
      if (map === null || map.size === 0) return memory.giveText("", pp >>> 0, sp >>> 0);
      const size = pairsSize(map.list);
      const at = memory.allocate(size);
      if (at === 0) return Status.INVALID_MEMORY_ACCESS;
      writePairs(map.list, memory.bytes, memory.view, at);
      if (!memory.putU32(pp >>> 0, at) || !memory.putU32(sp >>> 0, size)) return Status.INVALID_MEMORY_ACCESS;
      return Status.OK;
    },

    proxy_set_header_map_pairs(type: number, at: number, size: number): number {
      if (type >>> 0 > LAST_MAP) return Status.BAD_ARGUMENT;
      if (!memory.has(at >>> 0, size >>> 0)) return Status.INVALID_MEMORY_ACCESS;
      const context = instance.effective;
      const map = context.mutableMap(type);
      if (map === null) return Status.BAD_ARGUMENT;
      const pairs = decodePairs(memory.bytes, at >>> 0, size >>> 0);
      // Envoy takes malformed pairs for none and clears the map; a guest that sent nonsense is better told so.
      const list = pairs === undefined ? undefined : fieldList(pairs);
      if (list === undefined) return Status.BAD_ARGUMENT;
      map.list = list;
      context.mapChanged(type, true);
      return Status.OK;
    },

    proxy_get_header_map_size(type: number, sizeAt: number): number {
      if (type >>> 0 > LAST_MAP) return Status.BAD_ARGUMENT;
      const map = instance.effective.map(type);
      if (map === null) return Status.BAD_ARGUMENT;
      return memory.putU32(sizeAt >>> 0, map.byteSize()) ? Status.OK : Status.INVALID_MEMORY_ACCESS;
    },
  };
}
