/** Reads the fields of one packet. Nothing aborts: past the end `failed` stays true and every read gives zero. */
import { latin1At } from "../sdk/memory.ts";

export class Cursor {
  private at: usize;
  private readonly end: usize;
  failed: bool = false;

  constructor(at: usize, size: usize) {
    this.at = at;
    this.end = at + size;
  }

  get address(): usize {
    return this.at;
  }
  get left(): usize {
    return this.end - this.at;
  }

  skip(size: u64): void {
    if (size > <u64>this.left) {
      this.failed = true;
      this.at = this.end;
    } else this.at += <usize>size;
  }

  u8(): u32 {
    return this.number(1);
  }
  u16(): u32 {
    return this.number(2);
  }
  u32(): u32 {
    return this.number(4);
  }

  /** Little endian, of `size` bytes. */
  private number(size: usize): u32 {
    if (this.left < size) {
      this.skip(size);
      return 0;
    }
    let value: u32 = 0;
    for (let n: u32 = 0; n < <u32>size; n++) {
      const byte: u32 = load<u8>(this.at + n);
      value |= byte << (8 * n);
    }
    this.at += size;
    return value;
  }

  /** A length-encoded integer: one byte, or a mark with 2, 3 or 8 bytes behind it. */
  length(): u64 {
    const first = this.u8();
    if (first < 0xfb) return first;
    if (first == 0xfc) return this.number(2);
    if (first == 0xfd) return this.number(3);
    if (first == 0xfe) {
      const low = <u64>this.number(4);
      return low | ((<u64>this.number(4)) << 32);
    }
    this.failed = true;
    return 0;
  }

  /** Bytes up to a zero byte, one UTF-16 unit each. */
  text(): string {
    const start = this.at;
    while (this.at < this.end && load<u8>(this.at) != 0) this.at++;
    const text = latin1At(start, this.at - start);
    if (this.at == this.end) this.failed = true;
    else this.at++;
    return text;
  }

  /** What is left, as text. */
  rest(): string {
    const text = latin1At(this.at, this.left);
    this.at = this.end;
    return text;
  }
}
