/**
 * Turns the start section into an exported function. A start section runs inside the instantiation,
 * before the host can see the guest's memory, so whatever it logs would be lost (default AssemblyScript builds have one).
 */
import type { ModuleBinary } from "./binary.ts";

/** Name of the export that the start function gets. */
export const START_EXPORT = "sluice_start";

const EXPORT_SECTION = 7;
const START_SECTION = 8;

/** The same module with its start function exported as START_EXPORT; the bytes themselves when it has none. */
export function exposeStart(bytes: Uint8Array, binary: ModuleBinary): Uint8Array {
  if (binary.startFunction < 0) return bytes;
  const parts: Uint8Array[] = [bytes.subarray(0, 8)];
  for (const section of binary.sections) {
    if (section.id === START_SECTION) continue;
    if (section.id !== EXPORT_SECTION) parts.push(bytes.subarray(section.at, section.end));
    else parts.push(extendedExports(bytes.subarray(section.start, section.end), binary));
  }
  return Buffer.concat(parts);
}

function extendedExports(contents: Uint8Array, binary: ModuleBinary): Uint8Array {
  let countLength = 1;
  while (contents[countLength - 1]! >= 0x80) countLength++;
  const name = Buffer.from(START_EXPORT);
  const body = Buffer.concat([
    unsignedLeb(binary.exports.length + 1),
    contents.subarray(countLength),
    unsignedLeb(name.length),
    name,
    Buffer.of(0),
    unsignedLeb(binary.startFunction),
  ]);
  return Buffer.concat([Buffer.of(EXPORT_SECTION), unsignedLeb(body.length), body]);
}

function unsignedLeb(value: number): Buffer {
  const bytes: number[] = [];
  let left = value;
  do {
    bytes.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    left >>>= 7;
  } while (left > 0);
  return Buffer.from(bytes);
}
