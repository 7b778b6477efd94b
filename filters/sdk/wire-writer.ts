/** Writing the protobuf wire format: one growing buffer, sizes of nested messages filled in afterwards. */
export class Writer {
  private buffer: ArrayBuffer = new ArrayBuffer(256);
  private size: usize = 0;

  /** What was written. */
  finish(): ArrayBuffer {
    return this.buffer.slice(0, <i32>this.size);
  }

  tag(tag: u32): void {
    this.varint(tag);
  }

  varint(value: u64): void {
    let at = this.reserve(10);
    while (value >= 0x80) {
      store<u8>(at++, <u8>(value | 0x80));
      value >>>= 7;
    }
    store<u8>(at++, <u8>value);
    this.size = at - changetype<usize>(this.buffer);
  }

  int32(value: i32): void {
    this.varint(<u64>(<i64>value));
  }
  uint32(value: u32): void {
    this.varint(value);
  }
  sint32(value: i32): void {
    this.varint(<u32>((value << 1) ^ (value >> 31)));
  }
  int64(value: i64): void {
    this.varint(<u64>value);
  }
  uint64(value: u64): void {
    this.varint(value);
  }
  sint64(value: i64): void {
    this.varint(<u64>((value << 1) ^ (value >> 63)));
  }
  bool(value: bool): void {
    this.varint(value ? 1 : 0);
  }
  fixed32(value: u32): void {
    store<u32>(this.reserve(4), value);
    this.size += 4;
  }
  fixed64(value: u64): void {
    store<u64>(this.reserve(8), value);
    this.size += 8;
  }
  sfixed32(value: i32): void {
    this.fixed32(<u32>value);
  }
  sfixed64(value: i64): void {
    this.fixed64(<u64>value);
  }
  float(value: f32): void {
    this.fixed32(reinterpret<u32>(value));
  }
  double(value: f64): void {
    this.fixed64(reinterpret<u64>(value));
  }

  string(value: string): void {
    const length = <usize>String.UTF8.byteLength(value);
    this.varint(length);
    String.UTF8.encodeUnsafe(changetype<usize>(value), value.length, this.reserve(length));
    this.size += length;
  }

  byteString(value: ArrayBuffer): void {
    const length = <usize>value.byteLength;
    this.varint(length);
    memory.copy(this.reserve(length), changetype<usize>(value), length);
    this.size += length;
  }

  /** Opens a nested message or packed list; hand the result to `exit`. */
  enter(): usize {
    this.reserve(1);
    return ++this.size;
  }

  /** Closes it: writes its size before it, moving it when the size needs more than one byte. */
  exit(start: usize): void {
    const length = this.size - start;
    let prefix: usize = 1;
    for (let rest = length >>> 7; rest != 0; rest >>>= 7) prefix++;
    if (prefix > 1) {
      this.reserve(prefix - 1);
      const body = changetype<usize>(this.buffer) + start;
      memory.copy(body + prefix - 1, body, length);
    }
    const end = this.size + prefix - 1;
    this.size = start - 1;
    this.varintAt(length);
    this.size = end;
  }

  private varintAt(value: usize): void {
    let at = changetype<usize>(this.buffer) + this.size;
    while (value >= 0x80) {
      store<u8>(at++, <u8>(value | 0x80));
      value >>>= 7;
    }
    store<u8>(at, <u8>value);
  }

  /** Address at which `more` bytes can be written. */
  private reserve(more: usize): usize {
    const wanted = this.size + more;
    const capacity = <usize>this.buffer.byteLength;
    if (wanted > capacity) {
      const bigger = new ArrayBuffer(<i32>max(wanted, capacity << 1));
      memory.copy(changetype<usize>(bigger), changetype<usize>(this.buffer), this.size);
      this.buffer = bigger;
    }
    return changetype<usize>(this.buffer) + this.size;
  }
}
