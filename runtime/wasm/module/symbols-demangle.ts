/**
 * Mangled names of functions, made readable: `_ZN4core9panicking5panic17h0123456789abcdefE` to `core::panicking::panic`.
 * Rust's two schemes and plain C++ names. Types of parameters and generic arguments are left out: a reader of a
 * backtrace wants the path. What is not understood stays as it was.
 */
import { MAX_MANGLED_DEPTH, MAX_MANGLED_STEPS } from "../../limits.ts";

/** Escapes of Rust's legacy scheme. */
const ESCAPES: Readonly<Record<string, string>> = {
  SP: "@",
  BP: "*",
  RF: "&",
  LT: "<",
  GT: ">",
  LP: "(",
  RP: ")",
  C: ",",
};

export function demangle(name: string): string {
  // wasm-ld and LLVM's passes append such endings to copies.
  const plain = name.replace(/(?:\.llvm\.\d+|\.\d+)+$/, "");
  try {
    if (/^_?_R[A-Z]/.test(plain)) return new RustName(plain.slice(plain.indexOf("R") + 1)).read() ?? name;
    if (/^_?_ZN/.test(plain)) return nested(plain.slice(plain.indexOf("N") + 1)) ?? name;
    const flat = /^_Z(\d+)/.exec(plain);
    if (flat !== null) return plain.slice(flat[0].length, flat[0].length + Number(flat[1])) || name;
  } catch {
    // A scheme, or a corner of one, that is not known here: the name as it is says more than none.
  }
  return name;
}

/** The inside of `_ZN…E`: names behind their lengths. Rust ends them with a hash. */
function nested(text: string): string | undefined {
  const parts: string[] = [];
  // Qualifiers of methods.
  let at = /^[KVrRO]*/.exec(text)![0].length;
  while (text[at] !== "E") {
    const digits = /^\d{1,4}/.exec(text.slice(at, at + 4))?.[0];
    if (digits === undefined) {
      // Constructors, destructors, operators, template arguments: what stands before them is enough.
      return parts.length === 0 ? undefined : `${parts.join("::")}…`;
    }
    at += digits.length;
    const part = text.slice(at, at + Number(digits));
    if (part.length < Number(digits)) return undefined;
    parts.push(part);
    at += part.length;
  }
  if (!/^h[0-9a-f]{16}$/.test(parts.at(-1) ?? "")) return parts.join("::");
  return parts.slice(0, -1).map(unescapeRust).join("::");
}

function unescapeRust(part: string): string {
  return part
    .replace(/^_\$/, "$")
    .replaceAll("..", "::")
    .replace(/\$(?:u([0-9a-f]{1,6})|([A-Z]{1,2}))\$/g, (all, code: string | undefined, short: string | undefined) => {
      if (code !== undefined) return String.fromCodePoint(Math.min(parseInt(code, 16), 0x10_ffff));
      return ESCAPES[short ?? ""] ?? all;
    });
}

/** Rust's v0 scheme (RFC 2603), as far as paths go. */
class RustName {
  readonly #text: string;
  #at = 0;
  #depth = 0;
  #steps = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): string | undefined {
    const path = this.#path();
    return path === "" ? undefined : path;
  }

  #next(): string {
    if (++this.#steps > MAX_MANGLED_STEPS || this.#at >= this.#text.length) throw new Error("not understood");
    return this.#text[this.#at++]!;
  }

  #is(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #inside<T>(read: () => T): T {
    if (++this.#depth > MAX_MANGLED_DEPTH) throw new Error("not understood");
    const value = read();
    this.#depth--;
    return value;
  }

  #path(): string {
    return this.#inside(() => {
      switch (this.#next()) {
        case "C":
          return this.#identifier();
        case "N": {
          const space = this.#next();
          const parent = this.#path();
          const name = this.#identifier();
          if (space === "C") return `${parent}::{closure}`;
          return name === "" ? parent : `${parent}::${name}`;
        }
        case "I": {
          const path = this.#path();
          while (!this.#is("E")) this.#argument();
          return path;
        }
        case "M":
          this.#implementation();
          return `<${this.#type()}>`;
        case "X": {
          this.#implementation();
          const type = this.#type();
          return `<${type} as ${this.#path()}>`;
        }
        case "Y": {
          const type = this.#type();
          return `<${type} as ${this.#path()}>`;
        }
        case "B":
          return this.#back(() => this.#path());
        default:
          throw new Error("not understood");
      }
    });
  }

  /** Where an implementation stands: not shown. */
  #implementation(): void {
    if (this.#is("s")) this.#base62();
    this.#path();
  }

  #argument(): void {
    if (this.#is("L")) this.#base62();
    else if (this.#is("K")) this.#constant();
    else this.#type();
  }

  #constant(): void {
    if (this.#is("p")) return;
    if (this.#is("B")) return this.#back(() => this.#constant());
    this.#next();
    while (!this.#is("_")) this.#next();
  }

  #type(): string {
    return this.#inside(() => {
      const at = this.#at;
      const tag = this.#next();
      const basic = BASIC_TYPES[tag];
      if (basic !== undefined) return basic;
      switch (tag) {
        case "R":
        case "Q":
          if (this.#is("L")) this.#base62();
          return `&${this.#type()}`;
        case "P":
        case "O":
          return `*${this.#type()}`;
        case "S":
          return `[${this.#type()}]`;
        case "A": {
          const type = this.#type();
          this.#constant();
          return `[${type}; _]`;
        }
        case "T": {
          const types: string[] = [];
          while (!this.#is("E")) types.push(this.#type());
          return `(${types.join(", ")})`;
        }
        case "B":
          return this.#back(() => this.#type());
        default:
          this.#at = at;
          return this.#path();
      }
    });
  }

  #back<T>(read: () => T): T {
    const from = this.#at - 1;
    const target = this.#base62();
    if (target >= from) throw new Error("not understood");
    const end = this.#at;
    this.#at = target;
    const value = this.#inside(read);
    this.#at = end;
    return value;
  }

  #base62(): number {
    if (this.#is("_")) return 0;
    let value = 0;
    while (!this.#is("_")) {
      const digit = BASE62.indexOf(this.#next());
      if (digit < 0) throw new Error("not understood");
      value = value * 62 + digit;
    }
    return value + 1;
  }

  #identifier(): string {
    if (this.#is("s")) this.#base62();
    const encoded = this.#is("u");
    const digits = /^\d{1,4}/.exec(this.#text.slice(this.#at, this.#at + 4))?.[0];
    if (digits === undefined) throw new Error("not understood");
    this.#at += digits.length;
    this.#is("_");
    const name = this.#text.slice(this.#at, this.#at + Number(digits));
    this.#at += Number(digits);
    // Letters beyond ASCII stay in their encoding.
    return encoded ? `{${name}}` : name;
  }
}

const BASE62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const BASIC_TYPES: Readonly<Record<string, string>> = {
  a: "i8",
  b: "bool",
  c: "char",
  d: "f64",
  e: "str",
  f: "f32",
  h: "u8",
  i: "isize",
  j: "usize",
  l: "i32",
  m: "u32",
  n: "i128",
  o: "u128",
  s: "i16",
  t: "u16",
  u: "()",
  v: "...",
  x: "i64",
  y: "u64",
  z: "!",
  p: "_",
};
