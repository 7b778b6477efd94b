/** Reading DER (X.690), as far as certificates need it. Bounds are checked at every step: nothing here throws on any bytes. */

/** Tags, X.690 section 8.1.2, with their class and form bits. */
export const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OBJECT_IDENTIFIER: 0x06,
  ENUMERATED: 0x0a,
  UTF8_STRING: 0x0c,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  UNIVERSAL_STRING: 0x1c,
  BMP_STRING: 0x1e,
  SEQUENCE: 0x30,
} as const;

/** One element; `tag` 0 stands for "there is none", which every reader below takes as empty. */
export interface Element {
  readonly tag: number;
  /** The element with its tag and length, and its content alone. */
  readonly whole: Buffer;
  readonly content: Buffer;
}

const NONE: Element = { tag: 0, whole: Buffer.alloc(0), content: Buffer.alloc(0) };

/** The element at the beginning of `bytes`. */
export function firstElement(bytes: Buffer): Element {
  return elementAt(bytes, 0);
}

function elementAt(bytes: Buffer, at: number): Element {
  if (at + 2 > bytes.length) return NONE;
  let length = bytes[at + 1]!;
  let from = at + 2;
  if (length > 0x7f) {
    const count = length & 0x7f;
    if (count === 0 || count > 4 || from + count > bytes.length) return NONE;
    length = bytes.readUIntBE(from, count);
    from += count;
  }
  const end = from + length;
  if (end > bytes.length) return NONE;
  return { tag: bytes[at]!, whole: bytes.subarray(at, end), content: bytes.subarray(from, end) };
}

/** The elements inside a constructed one, up to the first that is malformed. */
export function elementsOf(parent: Element): Element[] {
  const found: Element[] = [];
  for (let at = 0; at < parent.content.length;) {
    const element = elementAt(parent.content, at);
    if (element.tag === 0) break;
    found.push(element);
    at += element.whole.length;
  }
  return found;
}

/** An object identifier in dotted form. */
export function dottedOid(element: Element | undefined): string {
  const bytes = element?.content;
  if (element?.tag !== Tag.OBJECT_IDENTIFIER || bytes === undefined || bytes.length === 0) return "";
  const parts: number[] = [];
  let value = 0;
  for (const byte of bytes) {
    // Arcs beyond 2^53 are nobody's; multiplication keeps the sign that a shift would lose.
    value = value * 128 + (byte & 0x7f);
    if ((byte & 0x80) !== 0) continue;
    if (parts.length === 0) {
      const first = Math.min(2, Math.floor(value / 40));
      parts.push(first, value - first * 40);
    } else parts.push(value);
    value = 0;
  }
  return parts.join(".");
}

/** A small positive integer; NaN when it is none, or beyond 2^48. */
export function integer({ tag, content }: Element): number {
  if (tag !== Tag.INTEGER || content.length === 0 || content.length > 6 || content[0]! > 0x7f) return NaN;
  return content.readUIntBE(0, content.length);
}

/** A character string of any of the types that names use. */
export function stringText(element: Element): string {
  const { content, tag } = element;
  if (tag === Tag.UTF8_STRING) return content.toString("utf8");
  if (tag === Tag.BMP_STRING && content.length % 2 === 0) return Buffer.from(content).swap16().toString("utf16le");
  if (tag === Tag.UNIVERSAL_STRING && content.length % 4 === 0) {
    let text = "";
    for (let at = 0; at < content.length; at += 4) {
      const point = content.readUInt32BE(at);
      text += point <= 0x10_ffff ? String.fromCodePoint(point) : "\ufffd";
    }
    return text;
  }
  return content.toString("latin1");
}

/** Milliseconds since the epoch of a UTCTime or GeneralizedTime (RFC 5280 section 4.1.2.5); NaN when malformed. */
export function timeMillis(element: Element | undefined): number {
  const text = element?.content.toString("latin1") ?? "";
  const match = /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(text);
  if (match === null) return NaN;
  const [, years, ...rest] = match;
  const year = Number(years);
  const full = years!.length === 4 ? year : year < 50 ? 2000 + year : 1900 + year;
  const [month, day, hours, minutes, seconds] = rest.map(Number);
  return Date.UTC(full, month! - 1, day, hours, minutes, seconds);
}
