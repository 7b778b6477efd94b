/** Copies text into bytes, one byte per character. */

/** Strings up to this length are copied faster by a loop than by a native call. */
const SHORT = 32;

/** The caller has checked that there is room. */
export function writeLatin1(bytes: Buffer, text: string, at: number): void {
  const size = text.length;
  if (size > SHORT) {
    bytes.latin1Write(text, at, size);
    return;
  }
  for (let n = 0; n < size; n++) bytes[at + n] = text.charCodeAt(n);
}
