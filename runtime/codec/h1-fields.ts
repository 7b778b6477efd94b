/**
 * Header lines → names and values, and what they say about framing and the connection. One reader serves
 * all parsers of a thread: a section is read in one go, and its result is taken before anything else runs.
 *
 * API: `fields.begin(reserved)`, `fields.read(…)` → H1Error | null, then `fields.list/count`, `fields.facts`,
 * `fields.contentLength`, `fields.host`; `fields.take()` copies the list out.
 */
import { MAX_NOMINATED_FIELDS } from "../limits.ts";
import { beginNames, fieldName, guessedName, guessName, lastKind, NameKind, TOKEN } from "./h1-chars.ts";
import { H1Errors, type H1Error } from "./h1-errors.ts";
import { lineEnd, sectionBytes } from "./h1-section.ts";

/** What the fields of a head say, as bits. */
export const Fact = {
  LENGTH: 1,
  CHUNKED: 2,
  HOST: 4,
  CLOSE: 8,
  KEEP_ALIVE: 16,
  /** `Connection: upgrade`. */
  UPGRADE_TOKEN: 32,
  /** An Upgrade field other than h2c. */
  UPGRADE_FIELD: 64,
  EXPECT: 128,
  /** Transfer-Encoding that is not exactly `chunked`. */
  CODING: 256,
} as const;

/** What to do with names that hold `_`. Envoy: `headers_with_underscores_action`. */
export type Underscores = "ALLOW" | "REJECT_REQUEST" | "DROP_HEADER";

const DECIMAL = /^[0-9]{1,32}$/;
// The value is trimmed by hand: a lazy match before optional spaces would be quadratic.
const FIELD_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^]*)$/;
const TOKEN_TEXT = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const PROTECTED_NAMES = new Set(["host", "content-length", "transfer-encoding"]);

/** The number of a Content-Length value, or -1 when it is not one decimal number up to 2^53-1. */
export function contentLengthOf(value: string): number {
  if (!DECIMAL.test(value)) return -1;
  const length = Number(value);
  return length <= Number.MAX_SAFE_INTEGER ? length : -1;
}

class FieldReader {
  /** name, value, … up to `count`; what stands behind is left over from earlier messages. */
  list: string[] = [];
  count = 0;
  facts = 0;
  contentLength = 0;
  host = "";
  #underscores: Underscores = "ALLOW";
  #nominated: string[] = [];
  #nominations = 0;
  #reserved = 0;

  /** Starts a section; `reserved` places of the list are left to the caller. */
  begin(reserved: number, underscores: Underscores): void {
    this.count = reserved;
    this.#reserved = reserved;
    this.facts = 0;
    this.contentLength = 0;
    this.host = "";
    this.#underscores = underscores;
    if (this.#nominations > 0) this.#nominated = [];
    this.#nominations = 0;
  }

  /** Removes every field `name`. */
  drop(name: string): void {
    const list = this.list;
    let to = this.#reserved;
    for (let at = to; at < this.count; at += 2) {
      if (list[at] === name) continue;
      list[to++] = list[at]!;
      list[to++] = list[at + 1]!;
    }
    this.count = to;
  }

  /** A copy of the list that others may change. */
  take(): string[] {
    return this.list.slice(0, this.count);
  }

  /** Reads lines `from` … `to - 1` of the section scanned last; `text` is that section as latin-1. */
  read(text: string, from: number, to: number): H1Error | null {
    const bytes = sectionBytes();
    const token = TOKEN;
    const list = this.list;
    let at = lineEnd(from - 1) + 2;
    beginNames();
    for (let index = from; index < to; index++) {
      const end = lineEnd(index);
      let i = guessName(bytes, at);
      let name: string;
      if (i > 0) {
        name = guessedName();
      } else {
        i = at;
        let hash = 0;
        let char = token[bytes[i]!]!;
        while (char !== 0) {
          hash = (Math.imul(hash, 31) + char) | 0;
          char = token[bytes[++i]!]!;
        }
        if (bytes[i] !== 0x3a || i === at) return lineError(bytes[at]!);
        name = fieldName(bytes, at, i, hash);
      }
      const kind = lastKind();
      let first = i + 1;
      while (first < end && isSpace(bytes[first]!)) first++;
      let last = end;
      while (last > first && isSpace(bytes[last - 1]!)) last--;
      const value = text.substring(first, last);
      if (kind === NameKind.OTHER) {
        list[this.count++] = name;
        list[this.count++] = value;
      } else {
        const error = this.#special(kind, name, value);
        if (error !== null) return error;
      }
      at = end + 2;
    }
    if (this.#nominations > 0 || (this.facts & Fact.UPGRADE_FIELD) !== 0) this.#settle();
    return null;
  }

  /** Reads a whole trailer section of `lines` lines; fields named in `dropped` are left out. */
  readTrailers(text: string, lines: number, dropped: ReadonlySet<string>): H1Error | null {
    let at = 0;
    for (let index = 0; index < lines; index++) {
      const end = lineEnd(index);
      const line = FIELD_LINE.exec(text.substring(at, end));
      if (line === null) return lineError(text.charCodeAt(at));
      const name = line[1]!.toLowerCase();
      const underscore = this.#underscores !== "ALLOW" && name.includes("_");
      if (underscore && this.#underscores === "REJECT_REQUEST") return H1Errors.UNDERSCORE;
      if (!underscore && !dropped.has(name)) this.#push(name, trimmed(line[2]!));
      at = end + 2;
    }
    return null;
  }

  #push(name: string, value: string): null {
    this.list[this.count++] = name;
    this.list[this.count++] = value;
    return null;
  }

  #special(kind: number, name: string, value: string): H1Error | null {
    switch (kind) {
      case NameKind.HOST:
        if ((this.facts & Fact.HOST) !== 0) return H1Errors.HOST;
        this.facts |= Fact.HOST;
        this.host = value;
        return null;
      case NameKind.CONTENT_LENGTH:
        return this.#length(name, value);
      case NameKind.TRANSFER_ENCODING:
        this.facts |= (this.facts & Fact.CHUNKED) !== 0 || value.toLowerCase() !== "chunked" ? Fact.CODING : 0;
        this.facts |= Fact.CHUNKED;
        return null;
      case NameKind.CONNECTION:
        return this.#connection(value);
      case NameKind.EXPECT:
        if (value.toLowerCase() !== "100-continue") return this.#push(name, value);
        this.facts |= Fact.EXPECT;
        return null;
      case NameKind.UPGRADE:
        if (value.toLowerCase() === "h2c" || value === "") return null;
        this.facts |= Fact.UPGRADE_FIELD;
        return this.#push(name, value);
      case NameKind.TE:
        return namesToken(value, "trailers") ? this.#push(name, "trailers") : null;
      case NameKind.PROXY_CONNECTION:
        if (namesToken(value, "close")) this.facts |= Fact.CLOSE;
        return null;
      case NameKind.UNDERSCORE:
        if (this.#underscores === "REJECT_REQUEST") return H1Errors.UNDERSCORE;
        return this.#underscores === "DROP_HEADER" ? null : this.#push(name, value);
      default:
        return null;
    }
  }

  #length(name: string, value: string): H1Error | null {
    if ((this.facts & Fact.LENGTH) !== 0) return H1Errors.DUPLICATE_CONTENT_LENGTH;
    const length = contentLengthOf(value);
    if (length < 0) return H1Errors.CONTENT_LENGTH;
    this.facts |= Fact.LENGTH;
    this.contentLength = length;
    // Leading zeros are legal, but the next reader may take them for octal: written anew.
    return this.#push(name, value.charCodeAt(0) === 0x30 && value.length > 1 ? String(length) : value);
  }

  #connection(value: string): H1Error | null {
    if (value === "keep-alive") {
      this.facts |= Fact.KEEP_ALIVE;
      return null;
    }
    for (const part of value.split(",")) {
      const token = part.trim().toLowerCase();
      if (token === "") continue;
      if (token === "close") this.facts |= Fact.CLOSE;
      else if (token === "keep-alive") this.facts |= Fact.KEEP_ALIVE;
      else if (token === "upgrade") this.facts |= Fact.UPGRADE_TOKEN;
      else if (token !== "te" && token !== "connection") {
        if (!TOKEN_TEXT.test(token) || PROTECTED_NAMES.has(token) || token.startsWith("x-forwarded-")) {
          return H1Errors.CONNECTION;
        }
        if (++this.#nominations >= MAX_NOMINATED_FIELDS) return H1Errors.CONNECTION;
        this.#nominated.push(token);
      }
    }
    return null;
  }

  /** Removes what Connection nominated, and Upgrade that Connection did not name (RFC 9110 section 7.8). */
  #settle(): void {
    const list = this.list;
    const upgrade = (this.facts & Fact.UPGRADE_TOKEN) !== 0;
    if (!upgrade) this.facts &= ~Fact.UPGRADE_FIELD;
    let to = this.#reserved;
    for (let at = to; at < this.count; at += 2) {
      const name = list[at]!;
      if ((name === "upgrade" && !upgrade) || this.#nominated.includes(name)) continue;
      list[to] = name;
      list[to + 1] = list[at + 1]!;
      to += 2;
    }
    this.count = to;
  }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x09;
}

/** What a line without a proper name is, by its first byte. */
function lineError(first: number): H1Error {
  return isSpace(first) ? H1Errors.OBS_FOLD : H1Errors.HEADER_NAME;
}

function trimmed(value: string): string {
  let first = 0;
  let last = value.length;
  while (first < last && (value[first] === " " || value[first] === "\t")) first++;
  while (last > first && (value[last - 1] === " " || value[last - 1] === "\t")) last--;
  return value.substring(first, last);
}

function namesToken(value: string, token: string): boolean {
  const text = value.toLowerCase();
  if (text === token) return true;
  for (const part of text.split(",")) if (part.split(";", 1)[0]!.trim() === token) return true;
  return false;
}

/** The reader of this thread. */
export const fields = new FieldReader();
