/**
 * The serialized form of header maps and of every map or list that crosses the boundary:
 *
 *   u32 count │ count × (u32 key bytes, u32 value bytes) │ count × (key, 0x00, value, 0x00)
 *
 * All numbers little-endian, lengths without the zero bytes. Pure functions over flat
 * name, value, … lists of latin-1 strings (one character per byte).
 */
import { MAX_PAIRS, MAX_PAIRS_BYTES } from "../../limits.ts";
import { writeLatin1 } from "../instance/latin1.ts";

/** Bytes that `list` takes; 0 for an empty one, which the ABI hands over as no bytes at all. */
export function pairsSize(list: readonly string[]): number {
  if (list.length === 0) return 0;
  // Per pair 8 bytes of lengths and 2 terminators; per string its characters.
  let size = 4 + list.length * 5;
  for (let n = 0; n < list.length; n++) size += list[n]!.length;
  return size;
}

/** Writes `list` at `at`; the caller made room for `pairsSize` bytes. `view` shows the same bytes as `bytes`. */
export function writePairs(list: readonly string[], bytes: Buffer, view: DataView, at: number): void {
  const count = list.length >> 1;
  view.setUint32(at, count, true);
  let lengths = at + 4;
  let data = lengths + count * 8;
  for (let n = 0; n < list.length; n++) {
    const text = list[n]!;
    view.setUint32(lengths, text.length, true);
    lengths += 4;
    writeLatin1(bytes, text, data);
    data += text.length;
    bytes[data++] = 0;
  }
}

/** The serialized form of `list`; empty for an empty list. */
export function encodePairs(list: readonly string[]): Buffer {
  const size = pairsSize(list);
  const bytes = Buffer.alloc(size);
  if (size > 0) writePairs(list, bytes, new DataView(bytes.buffer, bytes.byteOffset, size), 0);
  return bytes;
}

/**
 * Reads `size` bytes at `at`, which must lie in `bytes`. No bytes, one zero byte and four zero bytes are all
 * the empty list. Undefined when malformed: too long, too many, overrunning, unterminated, or with bytes left over.
 */
export function decodePairs(bytes: Buffer, at: number, size: number): string[] | undefined {
  if (size === 0 || (size === 1 && bytes[at] === 0)) return [];
  if (size < 4 || size > MAX_PAIRS_BYTES) return undefined;
  const count = bytes.readUInt32LE(at);
  const end = at + size;
  if (count > MAX_PAIRS || 4 + count * 8 > size) return undefined;
  const list: string[] = [];
  let lengths = at + 4;
  let data = lengths + count * 8;
  for (let n = count * 2; n > 0; n--) {
    const length = bytes.readUInt32LE(lengths);
    lengths += 4;
    const next = data + length;
    if (next >= end || bytes[next] !== 0) return undefined;
    list.push(bytes.latin1Slice(data, next));
    data = next + 1;
  }
  return data === end ? list : undefined;
}
