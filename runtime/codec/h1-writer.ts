/**
 * Heads, chunk framing and trailers out, as latin-1 strings: `socket.write(text, "latin1")`.
 *
 * API: one encoder per connection and direction.
 * `RequestEncoder.head(headers, endStream, upgrade?)` → text, "" when the request line cannot be written.
 * `ResponseEncoder.head(status, headers, endStream, flags)` → text; `flags` are bits of `WriteFlag`.
 * Both then say how the body is framed: `chunked` (write `chunkHead(n)` + data + CRLF for each piece, then
 * `LAST_CHUNK` or `trailersText(map)`), else raw; `ResponseEncoder.closeAfter` says that the connection ends
 * with the body. `admit(bytes)` before each piece of a body: false when the message would become longer
 * than its Content-Length, which must not be written: the peer would take it for another message.
 * `complete` says at the end whether it is as long as it said.
 */
import { REMEMBERED_RUN_BYTES } from "../limits.ts";
import { kindOf, NameKind } from "./h1-chars.ts";
import { contentLengthOf } from "./h1-fields.ts";
import { isOwn, lineOf } from "./h1-lines.ts";
import { statusLine } from "./h1-reasons.ts";
import { isAuthority, isPath } from "./h1-target.ts";
import type { HeaderMap } from "./headers.ts";

/** What the encoder of a response must know of the request and the connection, as bits. */
export const WriteFlag = {
  /** The request was HEAD. */
  HEAD: 1,
  /** The downstream speaks HTTP/1.0. */
  HTTP_1_0: 2,
  /** The connection closes after this response. */
  CLOSE: 4,
  /** 101, or 2xx to CONNECT: connection and upgrade fields are written. */
  UPGRADE: 8,
} as const;

/** Ends a chunked body without trailers. */
export const LAST_CHUNK = "0\r\n\r\n";
export const CRLF = "\r\n";

const CHUNKED_LINE = "transfer-encoding: chunked\r\n";
const ZERO_LINE = "content-length: 0\r\n";
const CLOSE_LINE = "connection: close\r\n";
const KEEP_ALIVE_LINE = "connection: keep-alive\r\n";
const UPGRADE_LINE = "connection: upgrade\r\n";
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Length not known. */
const UNKNOWN = -1;
const COLON = 0x3a;

/** Size line of a chunk; the data and CRLF follow. `length` must not be 0: an empty chunk is the end of a body. */
export function chunkHead(length: number): string {
  return `${length.toString(16)}\r\n`;
}

/** The end of a chunked body with trailers. */
export function trailersText(trailers: HeaderMap): string {
  const list = trailers.list;
  let text = "0\r\n";
  for (let at = 0; at < list.length; at += 2) {
    const kind = kindOf(list[at]!);
    if (kind === NameKind.OTHER || kind === NameKind.UNDERSCORE) text += lineOf(list[at]!, list[at + 1]!);
  }
  return `${text}\r\n`;
}

abstract class Encoder {
  /** The body of the head written last goes in chunks. */
  chunked = false;
  /** Bytes of body still to be written, or -1 when no length was said. */
  remaining = UNKNOWN;
  /** Names and values of the first fields of the heads before, their lines, and the length among them. */
  #run: readonly string[] = [];
  #runText = "";
  #runLength = UNKNOWN;
  /** Content-Length found by `fieldLines`, or -1. */
  protected length = UNKNOWN;

  /** Counts `bytes` of body; false, counting nothing, when the message would exceed its Content-Length. */
  admit(bytes: number): boolean {
    if (this.remaining === UNKNOWN) return true;
    if (bytes > this.remaining) return false;
    this.remaining -= bytes;
    return true;
  }

  /** Every byte that Content-Length promised was admitted. */
  get complete(): boolean {
    return this.remaining <= 0;
  }

  /** The lines of all fields that are not the codec's own; notes Content-Length in `length`. */
  protected fieldLines(list: readonly string[], upgrade: boolean): string {
    if (upgrade) {
      this.length = UNKNOWN;
      return this.#lines(list, 0, list.length, true);
    }
    // Heads of one connection mostly begin with the same fields: their lines are one remembered string.
    let first = 0;
    while (first < list.length && list[first]!.charCodeAt(0) === COLON) first += 2;
    const run = this.#run;
    let same = 0;
    while (same < run.length && list[first + same] === run[same]) same++;
    if (same === run.length && same > 0) {
      this.length = this.#runLength;
      return this.#runText + this.#lines(list, first + same, list.length, false);
    }
    return this.#remember(list, first, same & ~1);
  }

  /** Remembers the lines of the first `same` fields, or of all fields when none stayed the same. */
  #remember(list: readonly string[], first: number, same: number): string {
    const end = same > 0 ? first + same : list.length;
    this.length = UNKNOWN;
    const text = this.#lines(list, first, end, false);
    if (text.length <= REMEMBERED_RUN_BYTES) {
      this.#run = list.slice(first, end);
      // Through bytes and back: one flat string, where concatenation only made a tree of its parts.
      this.#runText = Buffer.from(text, "latin1").toString("latin1");
      this.#runLength = this.length;
    } else {
      this.#run = [];
    }
    return text + this.#lines(list, end, list.length, false);
  }

  #lines(list: readonly string[], from: number, to: number, upgrade: boolean): string {
    let text = "";
    for (let at = from; at < to; at += 2) {
      const name = list[at]!;
      if (isOwn(name)) {
        if (name.length === 14) this.#noteLength(list[at + 1]!);
        else if (upgrade && name === "upgrade") text += lineOf(name, list[at + 1]!);
        else if (name === "te" && list[at + 1] === "trailers") text += "te: trailers\r\n";
      } else {
        text += lineOf(name, list[at + 1]!);
      }
    }
    return text;
  }

  /** The first valid one counts: a second one would make the message ambiguous. */
  #noteLength(value: string): void {
    if (this.length === UNKNOWN) this.length = contentLengthOf(value);
  }
}

export class RequestEncoder extends Encoder {
  #method = "GET";
  #path = "/";
  #authority = "";
  #start = "GET / HTTP/1.1\r\nhost: \r\n";

  /**
   * The head of a request; "" when method, path or authority cannot stand in a request line. `upgrade`
   * keeps the Upgrade field.
   */
  head(headers: HeaderMap, endStream: boolean, upgrade = false): string {
    const list = headers.list;
    let method = "GET";
    let path = "/";
    let authority = "";
    for (let at = 0; at < list.length; at += 2) {
      const name = list[at]!;
      if (name.charCodeAt(0) !== 0x3a) continue;
      if (name === ":path") path = list[at + 1]!;
      else if (name === ":method") method = list[at + 1]!;
      else if (name === ":authority") authority = list[at + 1]!;
    }
    if (path !== this.#path || method !== this.#method || authority !== this.#authority) {
      if (!this.#startLine(method, path, authority)) return "";
    }
    let text = this.#start + this.fieldLines(list, upgrade);
    if (upgrade) text += UPGRADE_LINE;
    return `${text}${this.#framing(endStream, upgrade)}\r\n`;
  }

  #startLine(method: string, path: string, authority: string): boolean {
    if (!METHOD.test(method) || (authority !== "" && !isAuthority(authority))) return false;
    const connect = method === "CONNECT";
    if (connect ? authority === "" : !isPath(path) || (path === "*" && method !== "OPTIONS")) return false;
    this.#method = method;
    this.#path = path;
    this.#authority = authority;
    this.#start = `${method} ${connect ? authority : path} HTTP/1.1\r\nhost: ${authority}\r\n`;
    return true;
  }

  /** The framing field, as Envoy chooses it. */
  #framing(endStream: boolean, upgrade: boolean): string {
    this.chunked = false;
    this.remaining = 0;
    if (upgrade || this.#method === "CONNECT") {
      this.remaining = UNKNOWN;
      return "";
    }
    if (endStream) return this.length === UNKNOWN && isBodiless(this.#method) ? "" : ZERO_LINE;
    if (this.length !== UNKNOWN) {
      this.remaining = this.length;
      return `content-length: ${this.length}\r\n`;
    }
    this.chunked = true;
    this.remaining = UNKNOWN;
    return CHUNKED_LINE;
  }
}

/** Methods whose requests need no `content-length: 0`. */
function isBodiless(method: string): boolean {
  return method === "GET" || method === "HEAD" || method === "DELETE" || method === "TRACE";
}

export class ResponseEncoder extends Encoder {
  /** The connection ends with this response: asked for, or because nothing else tells where the body ends. */
  closeAfter = false;

  /** The head of a response; `flags` are bits of {@link WriteFlag}. */
  head(status: number, headers: HeaderMap, endStream: boolean, flags: number): string {
    const http10 = (flags & WriteFlag.HTTP_1_0) !== 0;
    const upgrade = (flags & WriteFlag.UPGRADE) !== 0;
    let text = statusLine(status, http10) + this.fieldLines(headers.list, upgrade);
    if (status < 200 && !upgrade) {
      this.#raw(0);
      return `${text}\r\n`;
    }
    this.closeAfter = (flags & WriteFlag.CLOSE) !== 0;
    if (upgrade) {
      this.#raw(UNKNOWN);
      this.closeAfter = true;
      return `${text}${status === 101 ? UPGRADE_LINE : ""}\r\n`;
    }
    text += this.#framing(status, endStream, flags);
    if (this.closeAfter) text += CLOSE_LINE;
    else if (http10) text += KEEP_ALIVE_LINE;
    return `${text}\r\n`;
  }

  #raw(remaining: number): void {
    this.chunked = false;
    this.remaining = remaining;
  }

  /** The framing field (RFC 9112 section 6.2); sets `closeAfter` where only the end of the connection tells. */
  #framing(status: number, endStream: boolean, flags: number): string {
    const length = this.length;
    this.#raw(0);
    if (status === 204) return "";
    if ((flags & WriteFlag.HEAD) !== 0 || status === 304) {
      return length === UNKNOWN ? "" : `content-length: ${length}\r\n`;
    }
    if (endStream) return ZERO_LINE;
    if (length !== UNKNOWN) {
      this.remaining = length;
      return `content-length: ${length}\r\n`;
    }
    this.remaining = UNKNOWN;
    if ((flags & WriteFlag.HTTP_1_0) !== 0) {
      this.closeAfter = true;
      return "";
    }
    this.chunked = true;
    return CHUNKED_LINE;
  }
}
