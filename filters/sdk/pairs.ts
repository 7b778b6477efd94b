/**
 * Lists of name and value, and their wire format: u32 count, then per pair u32 name size and u32 value size,
 * then per pair name, NUL, value, NUL; little endian.
 */
import { latin1At, beginCall, bytesOf, bytesSize } from "./memory.ts";

export class Pairs {
  /** name, value, name, value … */
  private items: Array<ArrayBuffer> = new Array<ArrayBuffer>();

  /** The pairs of an encoded list; of a malformed one, none. */
  static decode(bytes: ArrayBuffer): Pairs {
    const pairs = new Pairs();
    const size = <u64>bytes.byteLength;
    if (size < 4) return pairs;
    const base = changetype<usize>(bytes);
    const count = <u64>load<u32>(base);
    let at = 4 + count * 8;
    if (at > size) return pairs;
    for (let i: u64 = 0; i < count * 2; i++) {
      const length = <u64>load<u32>(base + <usize>(4 + i * 4));
      if (at + length + 1 > size) return new Pairs();
      pairs.items.push(bytes.slice(<i32>at, <i32>(at + length)));
      at += length + 1;
    }
    return pairs;
  }

  get length(): i32 {
    return this.items.length >> 1;
  }

  name(index: i32): string {
    return text(this.items[index << 1]);
  }

  value(index: i32): string {
    return text(this.items[(index << 1) + 1]);
  }

  valueBytes(index: i32): ArrayBuffer {
    return this.items[(index << 1) + 1];
  }

  /** The first value of that name, null when there is none. Names are compared as they are: hosts give them in lower case. */
  get<N>(name: N): string | null {
    beginCall();
    const wanted = bytesOf<N>(name);
    const size = bytesSize;
    for (let i = 0; i < this.items.length; i += 2) {
      const candidate = this.items[i];
      if (<usize>candidate.byteLength != size) continue;
      if (memory.compare(changetype<usize>(candidate), wanted, size) == 0) return text(this.items[i + 1]);
    }
    return null;
  }

  /** Appends a pair; returns the list, for chains. */
  add<N, V>(name: N, value: V): Pairs {
    this.items.push(copy<N>(name));
    this.items.push(copy<V>(value));
    return this;
  }

  encode(): ArrayBuffer {
    const items = this.items;
    const count = items.length;
    let size = 4 + count * 5;
    for (let i = 0; i < count; i++) size += items[i].byteLength;
    const bytes = new ArrayBuffer(size);
    const base = changetype<usize>(bytes);
    store<u32>(base, count >> 1);
    let at = base + 4 + ((<usize>count) << 2);
    for (let i = 0; i < count; i++) {
      const length = <usize>items[i].byteLength;
      store<u32>(base + 4 + ((<usize>i) << 2), <u32>length);
      memory.copy(at, changetype<usize>(items[i]), length);
      at += length + 1;
    }
    return bytes;
  }
}

function text(bytes: ArrayBuffer): string {
  return latin1At(changetype<usize>(bytes), <usize>bytes.byteLength);
}

function copy<T>(value: T): ArrayBuffer {
  beginCall();
  const source = bytesOf<T>(value);
  const bytes = new ArrayBuffer(<i32>bytesSize);
  memory.copy(changetype<usize>(bytes), source, bytesSize);
  return bytes;
}
