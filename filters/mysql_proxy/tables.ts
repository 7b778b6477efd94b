/** Tables with what is done to them, as dynamic metadata has them: table to a list of operations. */
import { Writer } from "../sdk/wire-writer.ts";

/** Operations as bits, in alphabetical order, which is the order of the lists. */
export const ALTER: u32 = 1;
export const CREATE: u32 = 2;
export const DELETE: u32 = 4;
export const DROP: u32 = 8;
export const INSERT: u32 = 16;
export const SELECT: u32 = 32;
export const UPDATE: u32 = 64;
const NAMES: StaticArray<string> = ["alter", "create", "delete", "drop", "insert", "select", "update"];

/** Tables remembered at a time: more than a join may have in MySQL (61). */
const MAX_TABLES: i32 = 64;

// Tags of google.protobuf.Struct, Value and ListValue: field number << 3 | 2, all of them have a length.
const FIELDS: u32 = 0x0a;
const KEY: u32 = 0x0a;
const VALUE: u32 = 0x12;
const STRING_VALUE: u32 = 0x1a;
const LIST_VALUE: u32 = 0x32;
const VALUES: u32 = 0x0a;

export class Tables {
  private readonly names: Array<string> = [];
  private readonly operations: Array<u32> = [];

  get size(): i32 {
    return this.names.length;
  }

  clear(): void {
    this.names.length = 0;
    this.operations.length = 0;
  }

  /** Notes operations. `name` has one UTF-16 unit per byte. False when there is nothing new in it. */
  add(name: string, operations: u32): bool {
    if (name.length == 0) return false;
    const index = this.names.indexOf(name);
    if (index >= 0) {
      const before = this.operations[index];
      this.operations[index] = before | operations;
      return (operations & ~before) != 0;
    }
    if (this.names.length == MAX_TABLES) return false;
    this.names.push(name);
    this.operations.push(operations);
    return true;
  }

  /** Notes all of others. False when there is nothing new in them. */
  addAll(others: Tables): bool {
    let changed = false;
    for (let n = 0; n < others.names.length; n++) {
      if (this.add(others.names[n], others.operations[n])) changed = true;
    }
    return changed;
  }

  /** A serialized google.protobuf.Struct. */
  encode(): ArrayBuffer {
    const writer = new Writer();
    for (let n = 0; n < this.names.length; n++) {
      writer.tag(FIELDS);
      const entry = writer.enter();
      writer.tag(KEY);
      writer.byteString(bytesOf(this.names[n]));
      writer.tag(VALUE);
      const value = writer.enter();
      writer.tag(LIST_VALUE);
      const list = writer.enter();
      for (let bit = 0; bit < NAMES.length; bit++) {
        if ((this.operations[n] & (1 << bit)) == 0) continue;
        writer.tag(VALUES);
        const item = writer.enter();
        writer.tag(STRING_VALUE);
        writer.string(NAMES[bit]);
        writer.exit(item);
      }
      writer.exit(list);
      writer.exit(value);
      writer.exit(entry);
    }
    return writer.finish();
  }
}

function bytesOf(text: string): ArrayBuffer {
  const bytes = new ArrayBuffer(text.length);
  for (let n = 0; n < text.length; n++) store<u8>(changetype<usize>(bytes) + n, <u8>text.charCodeAt(n));
  return bytes;
}
