/**
 * Header lines out. Whatever a guest put into a header map, no line written here holds CR, LF, NUL or
 * another control character but its own end, so no message can be split: names that are no token are left
 * out, bad characters of values become spaces (RFC 9110 section 5.5), and so do characters above U+00FF,
 * which a latin-1 write would cut down to some other byte, perhaps a line feed.
 *
 * API: `isOwn(name)`; `lineOf(name, value)` → checked `name: value\r\n`, "" when the name is refused.
 */
import { MAX_REMEMBERED_NAMES, REMEMBERED_NAME_CHARACTERS } from "../limits.ts";

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const BAD_CHARACTERS = /[^\t\x20-\x7e\x80-\xff]/g;
const starts = new Map<string, string>();
/** Characters up to which a value is checked by a loop. */
const SHORT_VALUE = 128;

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
  let start = starts.get(name);
  if (start === undefined) {
    if (!NAME.test(name)) return "";
    // Maps hold lower-case names, but a guest may write what it likes: `Transfer-Encoding` must not slip through.
    const lower = name.toLowerCase();
    if (lower !== name && isOwn(lower)) return "";
    start = `${lower}: `;
    if (starts.size < MAX_REMEMBERED_NAMES && name.length <= REMEMBERED_NAME_CHARACTERS) starts.set(name, start);
  }
  return isClean(value) ? `${start}${value}\r\n` : `${start}${value.replace(BAD_CHARACTERS, " ")}\r\n`;
}

/** A loop over the few characters of a usual value is quicker than the expression, which it stands for. */
function isClean(value: string): boolean {
  const length = value.length;
  if (length > SHORT_VALUE) return value.search(BAD_CHARACTERS) < 0;
  for (let at = 0; at < length; at++) {
    const code = value.charCodeAt(at);
    if (code > 0xff || code === 0x7f || (code < 0x20 && code !== 0x09)) return false;
  }
  return true;
}
