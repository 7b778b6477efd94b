/** Reads the numbers and names of a WebAssembly binary; whatever does not fit is a ProxyError, never a bad read. */
import { ProxyError } from "../../errors.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });

export function corrupted(what: string, cause?: unknown): ProxyError {
  return new ProxyError("MODULE_CORRUPTED", "config", `the module ${what}`, cause);
}

export class Reader {
  readonly bytes: Uint8Array;
  at: number;
  end: number;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  byte(): number {
    if (this.at >= this.end) throw corrupted("ends in the middle of a section");
    return this.bytes[this.at++]!;
  }

  /** Unsigned LEB128 of at most 64 bits; as a number, since nothing here exceeds 2^53. */
  unsigned(): number {
    let value = 0;
    let scale = 1;
    for (let n = 0; n < 10; n++) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    throw corrupted("holds an over-long number");
  }

  /** Unsigned LEB128 of at most 32 bits. */
  u32(): number {
    const first = this.at < this.end ? this.bytes[this.at]! : 0x80;
    if (first < 0x80) {
      this.at++;
      return first;
    }
    const value = this.unsigned();
    if (value > 0xffff_ffff) throw corrupted("holds an index of more than 32 bits");
    return value;
  }

  /** Passes over a LEB128 number of at most `bits` bits. */
  skipLeb(bits: 32 | 33 | 64): void {
    const most = Math.ceil(bits / 7);
    for (let n = 0; n < most; n++) if (this.byte() < 0x80) return;
    throw corrupted("holds an over-long number");
  }

  skip(bytes: number): void {
    if (bytes > this.end - this.at) throw corrupted("ends in the middle of a section");
    this.at += bytes;
  }

  name(): string {
    const length = this.unsigned();
    if (length > this.end - this.at) throw corrupted("holds a name that overruns its section");
    const text = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    try {
      return utf8.decode(text);
    } catch (cause) {
      throw corrupted("holds a name that is not UTF-8", cause);
    }
  }

  /** A number of things that each take at least one byte. */
  count(limit: number, what: string): number {
    const count = this.unsigned();
    if (count > limit) throw new ProxyError("MODULE_TOO_LARGE", "config", `${count} ${what}, at most ${limit}`);
    if (count > this.end - this.at) throw corrupted(`says it holds ${count} ${what}, more than its bytes`);
    return count;
  }
}
