/**
 * How property values are handed to a guest (Envoy's encodings): text raw, integers and durations as 8 bytes,
 * booleans as 1, doubles as 8, maps and lists as serialized pairs, messages serialized. There is no type tag.
 */
import { encodePairs } from "./pairs.ts";

/** Encoded: a latin-1 string, or bytes; undefined: there is no such value; null: it has no byte form. */
export type PropertyValue = string | Uint8Array | undefined | null;

const TRUE = Buffer.of(1);
const FALSE = Buffer.of(0);

/** Whole numbers; what is none (a malformed header's) becomes 0. */
export function integerValue(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigInt64LE(Number.isSafeInteger(value) ? BigInt(value) : 0n);
  return bytes;
}

/** A duration or a time since the epoch, in nanoseconds. */
export function timeValue(milliseconds: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigInt64LE(BigInt(Math.round(milliseconds * 1000)) * 1000n);
  return bytes;
}

export function booleanValue(value: boolean): Buffer {
  return value ? TRUE : FALSE;
}

/** Text that may hold more than latin-1: configured names. */
export function textValue(text: string): Buffer {
  return Buffer.from(text, "utf8");
}

/** The value at `path` inside a JSON value; undefined when there is none. */
export function walkJson(value: unknown, path: readonly string[]): unknown {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null) return undefined;
    if (Array.isArray(at)) at = /^\d{1,9}$/.test(key) ? (at as unknown[])[Number(key)] : undefined;
    else at = Object.hasOwn(at, key) ? (at as Record<string, unknown>)[key] : undefined;
  }
  return at;
}

/** A JSON value as google.protobuf.Struct values reach guests. */
export function jsonValue(value: unknown): PropertyValue {
  switch (typeof value) {
    case "string":
      return textValue(value);
    case "boolean":
      return booleanValue(value);
    case "number": {
      const bytes = Buffer.allocUnsafe(8);
      bytes.writeDoubleLE(value);
      return bytes;
    }
    case "object":
      if (value === null) return null;
      return encodePairs(Array.isArray(value) ? value.flatMap((one) => [nested(one), ""]) : entryPairs(value));
    default:
      return undefined;
  }
}

function entryPairs(value: object): string[] {
  return Object.entries(value).flatMap(([key, one]) => [Buffer.from(key).latin1Slice(), nested(one)]);
}

/** One character per byte, as pairs hold it. */
function nested(value: unknown): string {
  const encoded = jsonValue(value);
  if (typeof encoded === "string") return encoded;
  return encoded === undefined || encoded === null
    ? ""
    : Buffer.from(encoded.buffer, encoded.byteOffset, encoded.length).latin1Slice();
}
