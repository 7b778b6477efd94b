/** Cuts a CEL expression into tokens. Literals have their value already. */
import { int, Uint, uint } from "./values.ts";
import type { Value } from "./values.ts";

/** `quoted`: a field in backticks. `end`: behind the last. */
export type Token =
  | { readonly kind: "name" | "quoted" | "sign"; readonly text: string; readonly at: number }
  | { readonly kind: "literal"; readonly value: Value; readonly text: string; readonly at: number }
  | { readonly kind: "end"; readonly text: ""; readonly at: number };

/** The expression is none; the message says where and why. */
export class SyntaxFault extends Error {}

export function fault(at: number, why: string): SyntaxFault {
  return new SyntaxFault(`${why} at character ${at + 1}`);
}

const SPACE = /(?:[\t\n\f\r ]|\/\/[^\n]*)+/y;
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
const STRING_START = /([bB]?)([rR]?)("""|'''|"|')/y;
const NUMBER = /0[xX][0-9A-Fa-f]+[uU]?|[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|[0-9]+[uU]?/y;
const SIGN = /&&|\|\||[<>=!]=|[-+*/%!?:.,()[\]{}<>]/y;
const QUOTED = /`([A-Za-z0-9_.\-/ ]+)`/y;

export function tokens(source: string): Token[] {
  const list: Token[] = [];
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    return pattern.exec(source);
  };
  for (;;) {
    at += match(SPACE)?.[0].length ?? 0;
    if (at === source.length) break;
    const start = at;
    const quote = match(STRING_START);
    const found = match(NUMBER) ?? match(NAME) ?? match(QUOTED) ?? match(SIGN);
    if (quote !== null) {
      const [value, end] = stringLiteral(source, start, quote);
      list.push({ kind: "literal", value, text: "", at });
      at = end;
    } else if (found === null) throw fault(at, `unexpected "${String.fromCodePoint(source.codePointAt(at)!)}"`);
    else {
      const text = found[0];
      const first = text.charCodeAt(0);
      if (first === 0x60) list.push({ kind: "quoted", text: found[1]!, at });
      else if (isDigit(first) || (first === 0x2e && text.length > 1)) {
        list.push({ kind: "literal", value: numberLiteral(text, at), text, at });
      } else list.push({ kind: isNameStart(first) ? "name" : "sign", text, at });
      at += text.length;
    }
  }
  list.push({ kind: "end", text: "", at });
  return list;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}
function isNameStart(code: number): boolean {
  return code === 0x5f || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
}

function numberLiteral(text: string, at: number): Value {
  const hex = /^0[xX]/.test(text);
  if (/[uU]$/.test(text)) {
    const value = uint(BigInt(text.slice(0, -1)));
    if (value instanceof Uint) return value;
    throw fault(at, "unsigned integer out of range");
  }
  if (!hex && /[.eE]/.test(text)) {
    const value = Number(text);
    if (Number.isFinite(value)) return value;
    throw fault(at, "number out of range");
  }
  const value = BigInt(text);
  // One more than the largest: only legal behind a minus, which the parser sees.
  if (value > 2n ** 63n) throw fault(at, "integer out of range");
  return value;
}

/** The literal `-text`, for which the sign counts: the smallest integer has no positive one. */
export function negative(value: bigint | number, at: number): Value {
  if (typeof value === "number") return -value;
  const result = int(-value);
  if (typeof result === "bigint") return result;
  throw fault(at, "integer out of range");
}

// ---- strings ------------------------------------------------------------------------------------

const SIMPLE: Readonly<Record<string, string>> = {
  a: "\u0007",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  "?": "?",
  '"': '"',
  "'": "'",
  "`": "`",
};
const CODE = /[xX]([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-3][0-7]{2})/y;

/** The value of the string or bytes literal that starts at `start`, and where it ends. */
function stringLiteral(source: string, start: number, prefix: RegExpExecArray): [Value, number] {
  const [all, bytes, raw, quote] = prefix as unknown as [string, string, string, string];
  const pieces: Buffer[] = [];
  let at = start + all.length;
  let from = at;
  const flush = (end: number): void => {
    if (end > from) pieces.push(Buffer.from(source.slice(from, end)));
  };
  while (!source.startsWith(quote, at)) {
    if (at >= source.length) throw fault(start, "string without an end");
    const char = source[at]!;
    if (quote.length === 1 && (char === "\n" || char === "\r")) throw fault(at, "line end in a string");
    if (char !== "\\") at++;
    else if (raw !== "") at += 2;
    else {
      flush(at);
      const [piece, end] = escape(source, at, bytes !== "");
      pieces.push(piece);
      from = at = end;
    }
  }
  flush(at);
  const value = Buffer.concat(pieces);
  return [bytes === "" ? value.toString() : value, at + quote.length];
}

function escape(source: string, at: number, bytes: boolean): [Buffer, number] {
  const simple = SIMPLE[source[at + 1] ?? ""];
  if (simple !== undefined) return [Buffer.from(simple), at + 2];
  CODE.lastIndex = at + 1;
  const found = CODE.exec(source);
  if (found === null) throw fault(at, "unknown escape");
  const [all, x, short, long, octal] = found;
  const end = at + 1 + all.length;
  const code = octal === undefined ? Number.parseInt(x ?? short ?? long!, 16) : Number.parseInt(octal, 8);
  if (bytes) {
    if (short !== undefined || long !== undefined) throw fault(at, "no such escape in bytes");
    return [Buffer.of(code), end];
  }
  if (code > 0x10_ffff || (code >= 0xd800 && code <= 0xdfff)) throw fault(at, "no such character");
  return [Buffer.from(String.fromCodePoint(code)), end];
}
