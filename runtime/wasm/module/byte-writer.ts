/** Bytes of a module as it is written: a buffer that grows, and the numbers of the binary format. */
export class ByteWriter {
  bytes: Buffer;
  length = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(Math.max(size, 64));
  }

  /** Makes room, so that the next `count` bytes can be stored without looking. */
  reserve(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, this.length + count));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  byte(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  list(values: readonly number[]): void {
    this.reserve(values.length);
    for (const value of values) this.bytes[this.length++] = value;
  }

  copy(from: Uint8Array, start: number, end: number): void {
    this.reserve(end - start);
    this.bytes.set(from.subarray(start, end), this.length);
    this.length += end - start;
  }

  unsigned(value: number): void {
    this.reserve(10);
    let left = value;
    while (left > 0x7f) {
      this.bytes[this.length++] = (left % 0x80) | 0x80;
      left = Math.floor(left / 0x80);
    }
    this.bytes[this.length++] = left;
  }

  /** A signed 32-bit number. */
  signed(value: number): void {
    this.reserve(5);
    let left = value | 0;
    for (;;) {
      const byte = left & 0x7f;
      left >>= 7;
      const done = (left === 0 && (byte & 0x40) === 0) || (left === -1 && (byte & 0x40) !== 0);
      this.bytes[this.length++] = done ? byte : byte | 0x80;
      if (done) return;
    }
  }

  name(text: string): void {
    const bytes = Buffer.from(text);
    this.unsigned(bytes.length);
    this.copy(bytes, 0, bytes.length);
  }

  view(): Buffer {
    return this.bytes.subarray(0, this.length);
  }
}
