/**
 * Reading the protobuf wire format. Generated message classes use it; nothing here aborts: after a malformed
 * byte `failed` stays true and every read gives zero, and the message as a whole decodes to null.
 */

/** Messages inside messages, at most: a guest's stack is finite. Protobuf's own readers stop at 100 as well. */
const MAX_DEPTH: i32 = 100;

export class Reader {
  private at: usize;
  private end: usize;
  private depth: i32 = 0;
  failed: bool = false;
  /** Keeps the bytes alive. */
  readonly bytes: ArrayBuffer;

  constructor(bytes: ArrayBuffer) {
    this.bytes = bytes;
    this.at = changetype<usize>(bytes);
    this.end = this.at + <usize>bytes.byteLength;
  }

  /** The next field's tag, `number << 3 | wire type`; 0 at the end of the message or after a failure. */
  tag(): u32 {
    if (this.failed || this.at >= this.end) return 0;
    const tag = this.varint64();
    if (tag > 0xffffffff || tag < 8) return <u32>this.fail();
    return <u32>tag;
  }

  varint64(): u64 {
    let value: u64 = 0;
    let shift: u64 = 0;
    let at = this.at;
    const end = this.end;
    while (at < end && shift < 70) {
      const byte = <u64>load<u8>(at++);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.at = at;
        return value;
      }
      shift += 7;
    }
    return this.fail();
  }

  int32(): i32 {
    return <i32>this.varint64();
  }
  uint32(): u32 {
    return <u32>this.varint64();
  }
  sint32(): i32 {
    const value = <u32>this.varint64();
    return <i32>(value >>> 1) ^ -(<i32>(value & 1));
  }
  int64(): i64 {
    return <i64>this.varint64();
  }
  uint64(): u64 {
    return this.varint64();
  }
  sint64(): i64 {
    const value = this.varint64();
    return <i64>(value >>> 1) ^ -(<i64>(value & 1));
  }
  bool(): bool {
    return this.varint64() != 0;
  }

  fixed32(): u32 {
    const at = this.skipBytes(4);
    return at == 0 ? 0 : load<u32>(at);
  }
  fixed64(): u64 {
    const at = this.skipBytes(8);
    return at == 0 ? 0 : load<u64>(at);
  }
  sfixed32(): i32 {
    return <i32>this.fixed32();
  }
  sfixed64(): i64 {
    return <i64>this.fixed64();
  }
  float(): f32 {
    return reinterpret<f32>(this.fixed32());
  }
  double(): f64 {
    return reinterpret<f64>(this.fixed64());
  }

  /** UTF-8 text; bytes that are no UTF-8 fail the message, as protobuf asks. */
  string(): string {
    const size = this.length();
    const at = this.skipBytes(size);
    if (at == 0 || size == 0) return "";
    if (isUtf8(at, at + size)) return String.UTF8.decodeUnsafe(at, size);
    this.fail();
    return "";
  }

  /** A copy of a bytes field. */
  byteString(): ArrayBuffer {
    const size = this.length();
    const at = this.skipBytes(size);
    const copy = new ArrayBuffer(at == 0 ? 0 : <i32>size);
    if (at != 0) memory.copy(changetype<usize>(copy), at, size);
    return copy;
  }

  /** Narrows the reader to a nested message or packed list; hand the result to `exit`. */
  enter(): usize {
    const outer = this.end;
    const size = this.length();
    if (size > outer - this.at || ++this.depth > MAX_DEPTH) {
      this.fail();
      return outer;
    }
    this.end = this.at + size;
    return outer;
  }
  exit(outer: usize): void {
    this.depth--;
    this.end = outer;
    if (this.failed) this.at = outer;
  }
  /** True while a packed list has more elements. */
  more(): bool {
    return !this.failed && this.at < this.end;
  }

  /** Steps over a field that nobody knows. */
  skip(tag: u32): void {
    const wireType = tag & 7;
    if (wireType == 0) this.varint64();
    else if (wireType == 1) this.skipBytes(8);
    else if (wireType == 2) this.skipBytes(this.length());
    else if (wireType == 3) this.skipGroup(tag >>> 3);
    else if (wireType == 5) this.skipBytes(4);
    else this.fail();
  }

  private skipGroup(number: u32): void {
    if (++this.depth > MAX_DEPTH) {
      this.fail();
      return;
    }
    while (true) {
      const tag = this.tag();
      if (tag == 0) {
        this.fail();
        return;
      }
      if ((tag & 7) == 4) {
        if (tag >>> 3 != number) this.fail();
        break;
      }
      this.skip(tag);
    }
    this.depth--;
  }

  /** A length prefix; one beyond the address space fails. */
  private length(): usize {
    const size = this.varint64();
    if (size > 0x7fffffff) return <usize>this.fail();
    return <usize>size;
  }

  /** Address of the next `size` bytes, stepping over them; 0 when there are not so many. */
  private skipBytes(size: usize): usize {
    const at = this.at;
    if (this.failed || size > this.end - at) {
      this.fail();
      return 0;
    }
    this.at = at + size;
    return at;
  }

  private fail(): u64 {
    this.failed = true;
    this.at = this.end;
    return 0;
  }
}

/** True when the bytes are UTF-8 (no overlong forms, no surrogates, nothing above U+10FFFF). */
function isUtf8(at: usize, end: usize): bool {
  while (at < end) {
    const lead = <u32>load<u8>(at++);
    if (lead < 0x80) continue;
    let more: i32;
    let low: u32 = 0x80;
    let high: u32 = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) more = 1;
    else if (lead >= 0xe0 && lead <= 0xef) {
      more = 2;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      more = 3;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    } else return false;
    for (let i = 0; i < more; i++) {
      if (at >= end) return false;
      const next = <u32>load<u8>(at++);
      if (next < low || next > high) return false;
      low = 0x80;
      high = 0xbf;
    }
  }
  return true;
}
