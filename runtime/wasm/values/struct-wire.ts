/** Reads `google.protobuf.Struct` from a guest into plain values, for dynamic metadata. */
import { MAX_STRUCT_DEPTH } from "../../limits.ts";

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

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
    if (number !== 1 || wire !== LENGTH_DELIMITED) continue;
    const entry = readFields(content);
    if (entry === undefined) return undefined;
    const value = valueOf(last(entry, 2, LENGTH_DELIMITED)?.content ?? NOTHING, depth);
    if (value === undefined) return undefined;
    entries.push([last(entry, 1, LENGTH_DELIMITED)?.content.toString("utf8") ?? "", value]);
  }
  // Makes own properties of all keys, of `__proto__` too.
  return Object.fromEntries(entries);
}

/** google.protobuf.Value: null 1, number 2, string 3, bool 4, struct 5, list 6; the last one counts. */
function valueOf(bytes: Buffer, depth: number): Value | undefined {
  const fields = readFields(bytes);
  if (fields === undefined) return undefined;
  for (const { number, wire, content, set } of fields.toReversed()) {
    if (number === 1 && wire === VARINT) return null;
    if (number === 2 && wire === FIXED64) return content.readDoubleLE(0);
    if (number === 3 && wire === LENGTH_DELIMITED) return content.toString("utf8");
    if (number === 4 && wire === VARINT) return set;
    if (number === 5 && wire === LENGTH_DELIMITED) return structOf(content, depth + 1);
    if (number === 6 && wire === LENGTH_DELIMITED) return listOf(content, depth + 1);
  }
  return null;
}

function listOf(bytes: Buffer, depth: number): Value[] | undefined {
  const fields = depth > MAX_STRUCT_DEPTH ? undefined : readFields(bytes);
  if (fields === undefined) return undefined;
  const list: Value[] = [];
  for (const { number, wire, content } of fields) {
    if (number !== 1 || wire !== LENGTH_DELIMITED) continue;
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
  for (let at = 0; at < bytes.length;) {
    const tag = varint(bytes, at);
    if (tag === undefined || tag.value >= 2 ** 32 || tag.value < 8) return undefined;
    const wire = tag.value % 8;
    const number = Math.floor(tag.value / 8);
    let start = tag.next;
    let end = start + (wire === FIXED64 ? 8 : 4);
    let set = false;
    if (wire === VARINT || wire === LENGTH_DELIMITED) {
      const read = varint(bytes, start);
      if (read === undefined) return undefined;
      start = read.next;
      end = wire === VARINT ? start : start + read.value;
      set = read.value !== 0;
    } else if (wire !== FIXED64 && wire !== FIXED32) return undefined;
    if (end > bytes.length) return undefined;
    fields.push({ number, wire, content: bytes.subarray(start, end), set });
    at = end;
  }
  return fields;
}

/** Exact up to 2^53, which is past every length. */
function varint(bytes: Buffer, at: number): { value: number; next: number } | undefined {
  let value = 0;
  let scale = 1;
  for (let next = at; next < bytes.length && next < at + 10;) {
    const byte = bytes[next++]!;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value, next };
    scale *= 128;
  }
  return undefined;
}
