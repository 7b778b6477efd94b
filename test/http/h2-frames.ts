/** HTTP/2 by hand: frames out, frames in, heads without a table. */

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
/** RFC 9113 section 6. */
export const Frame = { DATA: 0, HEADERS: 1, RST_STREAM: 3, SETTINGS: 4, GOAWAY: 7, WINDOW_UPDATE: 8 } as const;
export const END_STREAM = 1;
export const END_HEADERS = 4;

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** RFC 7541 section 6.2.2: every field literal, names included. */
export function block(fields: readonly string[]): Buffer {
  const parts: Buffer[] = [];
  for (const [at, text] of fields.entries()) {
    if (at % 2 === 0) parts.push(Buffer.from([0]));
    parts.push(Buffer.from([text.length]), Buffer.from(text, "latin1"));
  }
  return Buffer.concat(parts);
}

/** The frames that came so far, as type and stream, and the flags of the last one. */
export function frames(bytes: Buffer): { readonly type: number; readonly stream: number; readonly flags: number }[] {
  const found = [];
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3))
    found.push({ type: bytes[at + 3]!, flags: bytes[at + 4]!, stream: bytes.readUInt32BE(at + 5) });
  return found;
}

/** The fields of a request. */
export const head = (method: string, path: string, authority = "a.test"): string[] => [
  ...[":method", method, ":scheme", "http"],
  ...[":path", path, ":authority", authority],
];
