/** protobuf's MergeFrom: what `--config-yaml` does to the file. */
import { Message, type Single, type Slot } from "./message.ts";

/** Merges `from` into `into`: lists append, messages merge, maps and scalars are replaced where set. */
export function mergeFrom(into: Message, from: Message): void {
  for (const [name, slot] of from.slots) {
    if (slot.field.oneof !== undefined) {
      const set = into.which(slot.field.oneof);
      if (set !== undefined && set !== name) into.slots.delete(set);
    }
    const before = into.slots.get(name);
    if (before === undefined) into.slots.set(name, slot);
    else into.slots.set(name, mergeSlots(before, slot));
  }
  if (from.json !== undefined) into.json = mergeJson(into.json, from.json);
  if (from.anyType !== "") {
    into.anyType = from.anyType;
    into.any = from.any;
  }
}

function mergeSlots(before: Slot, after: Slot): Slot {
  const [a, b] = [before.value, after.value];
  if (Array.isArray(a) && Array.isArray(b)) {
    return { ...after, value: [...a, ...b], spots: [...before.spots, ...after.spots] };
  }
  if (a instanceof Map && b instanceof Map) return mergeMaps(before, a, after, b);
  if (a instanceof Message && b instanceof Message) {
    // An Any is merged as its two fields are: the later one replaces the earlier one.
    if (b.anyType !== "") return after;
    mergeFrom(a, b);
    return before;
  }
  // An unset scalar and one set to its default value are the same in proto3.
  return after.field.presence || !isDefault(b) ? after : before;
}

function mergeMaps(before: Slot, a: Map<string, Single>, after: Slot, b: Map<string, Single>): Slot {
  const values = new Map(a);
  const spots = new Map([...a.keys()].map((key, index) => [key, before.spots[index] ?? before.at]));
  for (const [index, key] of [...b.keys()].entries()) spots.set(key, after.spots[index] ?? after.at);
  for (const [key, value] of b) values.set(key, value);
  return { ...after, value: values, spots: [...values.keys()].map((key) => spots.get(key) ?? after.at) };
}

/** True for the value that a scalar without presence has when it is unset. */
export function isDefault(value: unknown): boolean {
  return (
    value === 0 ||
    value === "" ||
    value === false ||
    value === 0n ||
    (value instanceof Uint8Array && value.length === 0)
  );
}

/** A Struct is a map: members of the later one replace members of the earlier one. */
function mergeJson(a: unknown, b: unknown): unknown {
  if (Array.isArray(a) && Array.isArray(b)) return [...(a as unknown[]), ...(b as unknown[])];
  const both =
    typeof a === "object" &&
    typeof b === "object" &&
    a !== null &&
    b !== null &&
    !Array.isArray(a) &&
    !Array.isArray(b);
  return both ? { ...a, ...b } : b;
}
