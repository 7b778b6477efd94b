/** Bytes as text that fits into a line of the log. */

/** Bytes of a request, or of one direction of a connection, that are told at most. */
export const MOST: i32 = 30_000;
const DIGITS = "0123456789abcdef";

export function hex(bytes: ArrayBuffer): string {
  const view = Uint8Array.wrap(bytes);
  const text = new StaticArray<u16>(view.length * 2);
  for (let at = 0; at < view.length; at++) {
    const byte = <i32>view[at];
    text[at * 2] = <u16>DIGITS.charCodeAt(byte >> 4);
    text[at * 2 + 1] = <u16>DIGITS.charCodeAt(byte & 15);
  }
  return String.UTF16.decodeUnsafe(changetype<usize>(text), text.length * 2);
}
