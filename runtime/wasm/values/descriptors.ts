/** How rate limit descriptors are handed to a guest: u32 count, then per descriptor u32 length and the message. */

/** The list form of `descriptors`, all numbers little-endian. */
export function encodeDescriptors(descriptors: readonly Uint8Array[]): Buffer {
  let size = 4;
  for (const one of descriptors) size += 4 + one.length;
  const bytes = Buffer.allocUnsafe(size);
  let at = bytes.writeUInt32LE(descriptors.length, 0);
  for (const one of descriptors) {
    at = bytes.writeUInt32LE(one.length, at);
    bytes.set(one, at);
    at += one.length;
  }
  return bytes;
}
