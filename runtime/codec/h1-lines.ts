/**
 * Header lines out. Whatever a guest put into a header map, no line written here holds CR, LF, NUL or
 * another control character but its own end, so no message can be split: names that are no token are left
 * out, bad characters of values become spaces (RFC 9110 section 5.5), and so do characters above U+00FF,
 * which a latin-1 write would cut down to some other byte, perhaps a line feed.
 *
 * API: `isOwn(name)`; `lineOf(name, value)` → checked `name: value\r\n`, "" when the name is refused;
 * `new LineMemory().line(at, name, value)` the same, remembered by place.
 */

const GOOD_LINE = /^[!#$%&'*+\-.^_`|~0-9a-z]+: [\t\x20-\x7e\x80-\xff]*\r\n$/;
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const BAD_CHARACTERS = /[^\t\x20-\x7e\x80-\xff]/g;
/** Longest line and highest place remembered: bounds what a connection holds. */
const LINE_BYTES = 256;
const PLACES = 32;

/** Whether the codec writes this field itself, or never: pseudo-headers, framing and connection fields. */
export function isOwn(name: string): boolean {
  switch (name.length) {
    case 2:
      return name === "te";
    case 4:
      return name === "host";
    case 5:
      return name === ":path";
    case 7:
      return name === ":method" || name === ":scheme" || name === ":status" || name === "upgrade";
    case 10:
      return name === ":authority" || name === "connection" || name === "keep-alive";
    case 14:
      return name === "content-length";
    case 16:
      return name === "proxy-connection";
    case 17:
      return name === "transfer-encoding";
    default:
      return false;
  }
}

/** One header line with its end; control characters of the value are replaced, "" when the name is no token. */
export function lineOf(name: string, value: string): string {
  const line = `${name}: ${value}\r\n`;
  // One pass over the whole line, which also makes it one flat string. The name's end is looked at by itself:
  // `x: y` as a name would pass as `x`.
  if (GOOD_LINE.test(line) && line.indexOf(":") === name.length) return line;
  // Maps hold lower-case names, but a guest may write what it likes: `Transfer-Encoding` must not slip through.
  if (!NAME.test(name)) return "";
  const lower = name.toLowerCase();
  if (isOwn(lower)) return "";
  return `${lower}: ${value.replace(BAD_CHARACTERS, " ")}\r\n`;
}

/**
 * Remembers the line last written at each place of a head. Heads on one connection resemble each other
 * and values that came out of a parser's memory are the same string objects, so most lines are neither
 * built nor checked again.
 */
export class LineMemory {
  readonly #names: string[] = [];
  readonly #values: string[] = [];
  readonly #lines: string[] = [];

  line(at: number, name: string, value: string): string {
    if (at < this.#lines.length && this.#values[at] === value && this.#names[at] === name) return this.#lines[at]!;
    const line = lineOf(name, value);
    if (at <= this.#lines.length && at < PLACES && line.length <= LINE_BYTES) {
      this.#names[at] = name;
      this.#values[at] = value;
      this.#lines[at] = line;
    }
    return line;
  }
}
