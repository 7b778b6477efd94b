/** The fields of a small protobuf message from a guest, without its descriptor. */

/** Bytes of a length-delimited field, or the number of a varint. */
export type ProtoField = Buffer | number;

/** The messages that are read so have no higher field; others are passed over, for there can be millions. */
const LAST_FIELD = 15;

/** Fields by number, the last of each; undefined when the bytes are no message. */
export function protoFields(bytes: Buffer): ReadonlyMap<number, ProtoField> | undefined {
  const fields = new Map<number, ProtoField>();
  let at = 0;
  const varint = (): number => {
    let value = 0;
    let scale = 1;
    for (let n = 0; n < 10; n++) {
      const byte = bytes[at++];
      if (byte === undefined) return Number.NaN;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    return Number.NaN;
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag % 8;
    const number = Math.floor(tag / 8);
    if (!(number > 0)) return undefined;
    if (wire === 0) {
      const value = varint();
      if (Number.isNaN(value)) return undefined;
      if (number <= LAST_FIELD) fields.set(number, value);
    } else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else if (wire === 2) {
      const length = varint();
      if (!(length <= bytes.length - at)) return undefined;
      if (number <= LAST_FIELD) fields.set(number, bytes.subarray(at, at + length));
      at += length;
    } else return undefined;
    if (at > bytes.length || Number.isNaN(at)) return undefined;
  }
  return fields;
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
