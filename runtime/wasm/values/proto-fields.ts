/** The fields of a small protobuf message from a guest, without its descriptor. */
import { ProtoCursor, WireType } from "../../codec/proto-wire.ts";

/** Bytes of a length-delimited field, or the number of a varint. */
export type ProtoField = Buffer | number;

/** The messages that are read so have no higher field; others are passed over, for there can be millions. */
const LAST_FIELD = 15;

/** Fields by number, the last of each; undefined when the bytes are no message. */
export function protoFields(bytes: Buffer): ReadonlyMap<number, ProtoField> | undefined {
  const fields = new Map<number, ProtoField>();
  const cursor = new ProtoCursor(bytes);
  while (cursor.next()) {
    if (cursor.number > LAST_FIELD) continue;
    if (cursor.wire === WireType.VARINT) fields.set(cursor.number, cursor.value);
    else if (cursor.wire === WireType.DELIMITED) fields.set(cursor.number, cursor.content);
  }
  return cursor.malformed ? undefined : fields;
}

/** A length-delimited field; empty when it is absent or of another kind. */
export function bytesOf(fields: ReadonlyMap<number, ProtoField>, number: number): Buffer {
  const value = fields.get(number);
  return Buffer.isBuffer(value) ? value : EMPTY;
}

/** A varint field; 0 when it is absent or of another kind. */
export function numberOf(fields: ReadonlyMap<number, ProtoField>, number: number): number {
  const value = fields.get(number);
  return typeof value === "number" ? value : 0;
}

const EMPTY = Buffer.alloc(0);
