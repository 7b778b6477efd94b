/** Where things are declared in a `.proto` file: what is wrong with one is told with its line and column. */

/** A field, an enum's value, or a type. */
export interface Declaration {
  /** Names of the types around it and its own, with dots; without the package. */
  readonly path: string;
  readonly kind: "message" | "enum" | "field" | "value";
  readonly at: number;
  /** Of a field: its type as it is written. */
  readonly type: string;
  /** Of a field or a value; NaN when it is not written. */
  readonly number: number;
  readonly numberAt: number;
}

interface Token {
  readonly text: string;
  readonly at: number;
}

const TOKEN = /\/\/[^\n]*|\/\*[^]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[\w.]+|[^\s]/g;

export class ProtoText {
  readonly path: string;
  readonly text: string;
  readonly declarations: Declaration[] = [];
  readonly imports: { readonly path: string; readonly at: number }[] = [];
  /** Where groups are: fields that are messages, of proto2. */
  readonly groups: number[] = [];
  syntax = "";
  readonly #tokens: readonly Token[];
  #next = 0;

  /** Reads what it can; what is no `.proto` has fewer declarations. `path` is for people. */
  constructor(path: string, text: string) {
    this.path = path;
    this.text = text;
    this.#tokens = tokens(text);
    while (this.#next < this.#tokens.length) this.#statement("", "file");
  }

  /** `file:line:column` of an offset. */
  place(at: number): string {
    const lines = this.text.slice(0, at).split("\n");
    return `${this.path}:${lines.length}:${lines.at(-1)!.length + 1}`;
  }

  /** Where a line has this text; the line's start when it has not. */
  placeInLine(line: number, text: string): string {
    const column = (this.text.split("\n")[line - 1] ?? "").indexOf(text);
    return `${this.path}:${line}:${Math.max(column, 0) + 1}`;
  }

  find(path: string): Declaration | undefined {
    return this.declarations.find((one) => one.path === path);
  }

  #statement(scope: string, kind: "file" | "message" | "enum" | "other"): void {
    const first = this.#take();
    if (first === undefined || first.text === ";") return;
    if (first.text === "}") return;
    switch (first.text) {
      case "syntax":
        this.syntax = unquoted(this.#tokens[this.#next + 1]?.text ?? "");
        return this.#skip();
      case "import": {
        const named = this.#rest().find(({ text }) => /^["']/.test(text));
        if (named !== undefined) this.imports.push({ path: unquoted(named.text), at: named.at });
        return;
      }
      case "message":
      case "enum": {
        const name = this.#take();
        if (name === undefined) return;
        const path = scope === "" ? name.text : `${scope}.${name.text}`;
        this.declarations.push({ path, kind: first.text, at: name.at, type: "", number: Number.NaN, numberAt: 0 });
        return this.#block(path, first.text);
      }
      case "oneof":
        this.#take();
        return this.#block(scope, "message");
      case "package":
      case "option":
      case "reserved":
      case "extensions":
      case "extend":
      case "service":
        return this.#skip();
    }
    if (kind === "message" || kind === "enum") this.#member(first, scope, kind);
    else this.#skip();
  }

  #block(scope: string, kind: "message" | "enum"): void {
    if (this.#tokens[this.#next]?.text !== "{") return;
    this.#next++;
    while (this.#next < this.#tokens.length && this.#tokens[this.#next]!.text !== "}") this.#statement(scope, kind);
    this.#next++;
  }

  /** `repeated TYPE NAME = 1 [options];`, `map<K, V> NAME = 1;`, or `NAME = 1;` in an enum. */
  #member(first: Token, scope: string, kind: "message" | "enum"): void {
    const parts = [first, ...this.#rest()];
    const equals = parts.findIndex(({ text }) => text === "=");
    const name = parts[equals - 1];
    if (equals < 1 || name === undefined) return;
    const typed = parts.slice(0, equals - 1).filter(({ text }) => !/^(?:repeated|optional|required)$/.test(text));
    const group = typed.find(({ text }) => text === "group");
    if (group !== undefined) this.groups.push(group.at);
    const negative = parts[equals + 1]?.text === "-";
    const number = parts[equals + (negative ? 2 : 1)];
    this.declarations.push({
      path: `${scope}.${name.text}`,
      kind: kind === "enum" ? "value" : "field",
      at: name.at,
      type: typed.map(({ text }) => text).join(""),
      number: number === undefined ? Number.NaN : Number(number.text) * (negative ? -1 : 1),
      numberAt: number?.at ?? name.at,
    });
  }

  #take(): Token | undefined {
    return this.#tokens[this.#next++];
  }

  /** Tokens up to the statement's end: a semicolon, or a block, outside of all brackets. */
  #rest(): Token[] {
    const parts: Token[] = [];
    let depth = 0;
    for (let token = this.#take(); token !== undefined; token = this.#take()) {
      if (/^[[{(]$/.test(token.text)) depth++;
      else if (/^[\]})]$/.test(token.text)) {
        // The end of what is around: the semicolon is missing.
        if (depth === 0) {
          this.#next--;
          break;
        }
        if (--depth === 0 && token.text === "}") break;
      } else if (token.text === ";" && depth === 0) break;
      parts.push(token);
    }
    return parts;
  }

  #skip(): void {
    this.#rest();
  }
}

function tokens(text: string): Token[] {
  const found: Token[] = [];
  for (const match of text.matchAll(TOKEN))
    if (!/^\/[/*]/.test(match[0])) found.push({ text: match[0], at: match.index });
  return found;
}

function unquoted(text: string): string {
  return text.replaceAll(/^["']|["']$/g, "");
}
