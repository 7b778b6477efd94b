/** Protobuf's wire format (protobuf.dev/programming-guides/encoding), for messages that are read without their descriptor. */

/** How the content of a field is written. Groups (3 and 4) nobody writes any more: they count as malformed. */
export const WireType = { VARINT: 0, FIXED64: 1, DELIMITED: 2, FIXED32: 5 } as const;

/** Bytes of the longest varint, of 64 bits. */
const MAX_VARINT_BYTES = 10;
/** Tags are 32 bits wide: 29 for the number of the field, 3 for the wire type. */
const TAGS = 2 ** 32;

/** Walks over the fields of a message in their order. Whatever the bytes are, it stays inside them. */
export class ProtoCursor {
  readonly #bytes: Buffer;
  #at = 0;
  #start = 0;
  /** Of the field under the cursor. */
  number = 0;
  wire = 0;
  /** Of a varint, exact up to 2^53; of a delimited field its length. */
  value = 0;
  /** The walk has ended because the bytes are no message. */
  malformed = false;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Goes to the next field. False at the end, and where the bytes are {@link malformed}. */
  next(): boolean {
    if (this.malformed || this.#at >= this.#bytes.length) return false;
    const tag = this.#varint();
    this.wire = tag % 8;
    this.number = Math.floor(tag / 8);
    // A varint that is none is NaN, which no comparison holds for.
    const end = tag < TAGS && this.number > 0 ? this.#end() : Number.NaN;
    if (!(end <= this.#bytes.length)) {
      this.malformed = true;
      return false;
    }
    this.#at = end;
    return true;
  }

  /** What stands in a delimited or fixed field; empty for a varint. */
  get content(): Buffer {
    return this.#bytes.subarray(this.#start, this.#at);
  }

  /** Where the field under the cursor ends; NaN when it is malformed. */
  #end(): number {
    switch (this.wire) {
      case WireType.VARINT:
        this.value = this.#varint();
        this.#start = this.#at;
        return Number.isNaN(this.value) ? Number.NaN : this.#at;
      case WireType.DELIMITED:
        this.value = this.#varint();
        this.#start = this.#at;
        return this.#at + this.value;
      case WireType.FIXED64:
        this.#start = this.#at;
        return this.#at + 8;
      case WireType.FIXED32:
        this.#start = this.#at;
        return this.#at + 4;
      default:
        return Number.NaN;
    }
  }

  #varint(): number {
    let value = 0;
    let scale = 1;
    for (let n = 0; n < MAX_VARINT_BYTES; n++) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) return Number.NaN;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    return Number.NaN;
  }
}
