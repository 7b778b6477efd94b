/** Reads `google.protobuf.Struct` from a guest into plain values, for dynamic metadata. */
import { ProtoCursor, WireType } from "../../codec/proto-wire.ts";
import { MAX_STRUCT_DEPTH } from "../../limits.ts";

interface Field {
  readonly number: number;
  readonly wire: number;
  /** Content of a length-delimited or fixed field; empty for a varint. */
  readonly content: Buffer;
  /** Of a varint: false for 0. */
  readonly set: boolean;
}
type Fields = readonly Field[];
type Value = string | number | boolean | null | readonly Value[] | { readonly [key: string]: Value };

/** The object that a serialized Struct stands for; undefined when the bytes are no such message. */
export function readStruct(bytes: Buffer): Record<string, unknown> | undefined {
  return structOf(bytes, 0);
}

/** `fields` (1) is a map: entries of key (1) and Value (2). */
function structOf(bytes: Buffer, depth: number): Record<string, Value> | undefined {
  const fields = depth > MAX_STRUCT_DEPTH ? undefined : readFields(bytes);
  if (fields === undefined) return undefined;
  const entries: [string, Value][] = [];
  for (const { number, wire, content } of fields) {
    if (number !== 1 || wire !== WireType.DELIMITED) continue;
    const entry = readFields(content);
    if (entry === undefined) return undefined;
    const value = valueOf(last(entry, 2, WireType.DELIMITED)?.content ?? NOTHING, depth);
    if (value === undefined) return undefined;
    entries.push([last(entry, 1, WireType.DELIMITED)?.content.toString("utf8") ?? "", value]);
  }
  // Makes own properties of all keys, of `__proto__` too.
  return Object.fromEntries(entries);
}

/** google.protobuf.Value: null 1, number 2, string 3, bool 4, struct 5, list 6; the last one counts. */
function valueOf(bytes: Buffer, depth: number): Value | undefined {
  const fields = readFields(bytes);
  if (fields === undefined) return undefined;
  for (const { number, wire, content, set } of fields.toReversed()) {
    if (number === 1 && wire === WireType.VARINT) return null;
    if (number === 2 && wire === WireType.FIXED64) return content.readDoubleLE(0);
    if (number === 3 && wire === WireType.DELIMITED) return content.toString("utf8");
    if (number === 4 && wire === WireType.VARINT) return set;
    if (number === 5 && wire === WireType.DELIMITED) return structOf(content, depth + 1);
    if (number === 6 && wire === WireType.DELIMITED) return listOf(content, depth + 1);
  }
  return null;
}

function listOf(bytes: Buffer, depth: number): Value[] | undefined {
  const fields = depth > MAX_STRUCT_DEPTH ? undefined : readFields(bytes);
  if (fields === undefined) return undefined;
  const list: Value[] = [];
  for (const { number, wire, content } of fields) {
    if (number !== 1 || wire !== WireType.DELIMITED) continue;
    const value = valueOf(content, depth);
    if (value === undefined) return undefined;
    list.push(value);
  }
  return list;
}

const NOTHING = Buffer.alloc(0);

function last(fields: Fields, number: number, wire: number): Field | undefined {
  return fields.findLast((field) => field.number === number && field.wire === wire);
}

/** The fields of a message in order; undefined when the bytes are malformed. */
function readFields(bytes: Buffer): Fields | undefined {
  const fields: Field[] = [];
  const cursor = new ProtoCursor(bytes);
  while (cursor.next()) {
    const { number, wire, content, value } = cursor;
    fields.push({ number, wire, content, set: value !== 0 });
  }
  return cursor.malformed ? undefined : fields;
}
