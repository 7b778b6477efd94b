/** Reads function names from the contents of a `name` section. Whatever is wrong with it ends the search, quietly. */
import { MAX_FUNCTION_NAME_BYTES } from "../../limits.ts";
import { Reader } from "./reader.ts";

const FUNCTION_NAMES = 1;

/** Names of the functions `wanted`, as far as the section has them. One pass, without memory for the names not wanted. */
export function functionNames(section: Uint8Array, wanted: ReadonlySet<number>): Map<number, string> {
  const names = new Map<number, string>();
  try {
    const reader = new Reader(section, 0, section.length);
    while (reader.at < section.length) {
      const id = reader.byte();
      const size = reader.u32();
      const start = reader.at;
      reader.skip(size);
      if (id === FUNCTION_NAMES) readNames(new Reader(section, start, start + size), wanted, names);
    }
  } catch {
    // What was found before stays.
  }
  return names;
}

function readNames(reader: Reader, wanted: ReadonlySet<number>, names: Map<number, string>): void {
  for (let left = reader.u32(); left > 0 && names.size < wanted.size; left--) {
    const index = reader.u32();
    const length = reader.u32();
    const start = reader.at;
    reader.skip(length);
    if (length === 0 || !wanted.has(index) || names.has(index)) continue;
    // A copy: text decoders take no shared memory.
    const text = Buffer.from(reader.bytes.slice(start, start + Math.min(length, MAX_FUNCTION_NAME_BYTES)));
    names.set(index, text.toString("utf8"));
  }
}
