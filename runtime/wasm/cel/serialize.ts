/** A value of CEL in the bytes that a guest gets: the encodings of properties. */
import { MAX_PAIRS, MAX_PAIRS_BYTES } from "../../limits.ts";
import { encodePairs } from "../values/pairs.ts";
import { booleanValue } from "../values/property-value.ts";
import { Duration, isList, isMapping, Timestamp, TypeName, Uint } from "./values.ts";
import type { Value } from "./values.ts";

/** A few steps can make a list whose copies inside each other would fill the memory. */
class TooBig extends Error {}

/** Null: the value has no byte form (null, a type), or too long a one. */
export function serialize(value: Value): Uint8Array | null {
  try {
    return bytesOf(value, { left: MAX_PAIRS_BYTES });
  } catch (error) {
    if (error instanceof TooBig) return null;
    throw error;
  }
}

interface Room {
  left: number;
}

function bytesOf(value: Value, room: Room): Uint8Array | null {
  switch (typeof value) {
    case "string":
      return taken(Buffer.from(value), room);
    case "bigint":
      return taken(
        word((bytes) => bytes.writeBigInt64LE(value)),
        room,
      );
    case "number":
      return taken(
        word((bytes) => bytes.writeDoubleLE(value)),
        room,
      );
    case "boolean":
      return taken(booleanValue(value), room);
    default:
      return objectBytes(value, room);
  }
}

function objectBytes(value: Exclude<Value, string | bigint | number | boolean>, room: Room): Uint8Array | null {
  if (value === null || value instanceof TypeName) return null;
  if (value instanceof Uint8Array) return taken(value, room);
  if (value instanceof Uint)
    return taken(
      word((bytes) => bytes.writeBigUInt64LE(value.value)),
      room,
    );
  if (value instanceof Timestamp || value instanceof Duration) {
    // The ends of CEL's timestamps have more nanoseconds than 64 bits.
    return taken(
      word((bytes) => bytes.writeBigInt64LE(BigInt.asIntN(64, value.ns))),
      room,
    );
  }
  if (isMapping(value)) {
    if (value.serialized !== undefined) return taken(value.serialized(), room);
    return pairsOf(value.entries(), room);
  }
  return isList(value) ? pairsOf(elements(value), room) : null;
}

/** A list has its elements for keys, with nothing behind them. */
function* elements(list: readonly Value[]): Iterable<readonly [Value, Value]> {
  for (const one of list) yield [one, ""];
}

function pairsOf(entries: Iterable<readonly [Value, Value]>, room: Room): Uint8Array | null {
  const list: string[] = [];
  for (const [key, value] of entries) {
    if (list.length >= MAX_PAIRS * 2) throw new TooBig();
    const bytes = [bytesOf(key, room), bytesOf(value, room)];
    if (bytes[0] === null || bytes[1] === null) return null;
    for (const one of bytes) list.push(Buffer.from(one!).latin1Slice());
  }
  return encodePairs(list);
}

function taken(bytes: Uint8Array, room: Room): Uint8Array {
  // What stands around each of them in pairs counts too, so that empty ones are not free.
  room.left -= bytes.length + 5;
  if (room.left < 0) throw new TooBig();
  return bytes;
}

function word(write: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.alloc(8);
  write(bytes);
  return bytes;
}
