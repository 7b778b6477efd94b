/** Header maps and pairs at their price: a guest can make maps of any size, and looks go through them from the beginning. */
import type { HeaderMap } from "../../codec/headers.ts";
import {
  FREE_HEADER_FIELDS,
  HEADER_FIELD_FUEL,
  MAX_PAIRS,
  MAX_PAIRS_BYTES,
  PAIR_FUEL,
  PAIRS_FUEL_PER_BYTE,
} from "../../limits.ts";
import type { Instance } from "../instance/instance.ts";
import { decodePairs } from "../values/pairs.ts";

/** Takes fuel for one look into `map`, if it is a large one. */
export function payForLook(instance: Instance, map: HeaderMap | null): void {
  if (map !== null && map.size > FREE_HEADER_FIELDS)
    instance.spend((map.size - FREE_HEADER_FIELDS) * HEADER_FIELD_FUEL);
}

/** The pairs at a checked place, as `decodePairs` reads them. */
export function readPairs(instance: Instance, at: number, size: number): string[] | undefined {
  const { memory } = instance;
  if (size >= 4 && size <= MAX_PAIRS_BYTES) {
    const count = Math.min(memory.view.getUint32(at, true), MAX_PAIRS);
    instance.spend(count * PAIR_FUEL + size * PAIRS_FUEL_PER_BYTE);
  }
  return decodePairs(memory.bytes, at, size);
}
