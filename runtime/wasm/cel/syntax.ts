/** From the text of a CEL expression to its tree. Time is linear in the text; depth and length are bounded. */
import { MAX_EXPRESSION_DEPTH } from "../../limits.ts";
import { isFunction } from "./functions.ts";
import { fault, negative, tokens } from "./tokens.ts";
import type { Token } from "./tokens.ts";
import { TYPES } from "./values.ts";
import type { Value } from "./values.ts";

/** Macros over lists and maps. */
export type FoldKind = "all" | "exists" | "exists_one" | "map" | "filter";

export type Node = { readonly depth: number } & (
  | { readonly kind: "constant"; readonly value: Value }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "select"; readonly of: Node; readonly field: string }
  | { readonly kind: "has"; readonly of: Node; readonly field: string }
  | { readonly kind: "index"; readonly of: Node; readonly key: Node }
  /** A function, or an operator by its sign (`-x` is `neg`). The receiver of a method is the first argument. */
  | { readonly kind: "call"; readonly name: string; readonly method: boolean; readonly args: readonly Node[] }
  | { readonly kind: "and" | "or" | "list"; readonly args: readonly Node[] }
  | { readonly kind: "if"; readonly test: Node; readonly yes: Node; readonly no: Node }
  | { readonly kind: "entries"; readonly keys: readonly Node[]; readonly values: readonly Node[] }
  | {
      readonly kind: "fold";
      readonly fold: FoldKind;
      readonly over: Node;
      readonly name: string;
      /** What an element must pass; null when `map` takes all. */
      readonly test: Node | null;
      /** What `map` makes of it. */
      readonly body: Node | null;
    }
);

type Shape = Node extends infer One ? (One extends unknown ? Omit<One, "depth"> : never) : never;

/** Operators by how tightly they bind. */
const LEVELS: readonly ReadonlySet<string>[] = [
  new Set(["<", "<=", ">=", ">", "==", "!=", "in"]),
  new Set(["+", "-"]),
  new Set(["*", "/", "%"]),
];
const KEYWORDS = new Set(["true", "false", "null", "in"]);
const RESERVED = new Set(
  "as break const continue else for function if import let loop package namespace return var void while".split(" "),
);
const LITERALS: ReadonlyMap<string, Value> = new Map<string, Value>([
  ["true", true],
  ["false", false],
  ["null", null],
]);
const FOLDS: ReadonlySet<string> = new Set<FoldKind>(["all", "exists", "exists_one", "map", "filter"]);

/** Parses an expression. Throws SyntaxFault. */
export function parse(source: string): Node {
  return new Parser(tokens(source)).whole();
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(list: readonly Token[]) {
    this.#tokens = list;
  }

  whole(): Node {
    const node = this.#expression();
    if (this.#token.kind !== "end") throw fault(this.#token.at, `unexpected "${this.#token.text}"`);
    return node;
  }

  get #token(): Token {
    return this.#tokens[this.#at]!;
  }
  #is(sign: string): boolean {
    const token = this.#token;
    return token.kind === "sign" && token.text === sign;
  }
  #take(sign: string): boolean {
    const is = this.#is(sign);
    if (is) this.#at++;
    return is;
  }
  #need(sign: string): void {
    if (!this.#take(sign)) throw fault(this.#token.at, `"${sign}" expected`);
  }

  /** Adds the depth, which evaluating recurses by. */
  #make(shape: Shape, ...children: readonly Node[]): Node {
    let depth = 1;
    for (const child of children) depth = Math.max(depth, child.depth + 1);
    if (depth > MAX_EXPRESSION_DEPTH) throw fault(this.#token.at, "expression too deep");
    return { ...shape, depth };
  }
  #call(name: string, method: boolean, ...args: readonly Node[]): Node {
    if (!isFunction(name, method)) throw fault(this.#token.at, `no function "${name}"`);
    return this.#make({ kind: "call", name, method, args }, ...args);
  }

  #expression(): Node {
    if (++this.#depth > MAX_EXPRESSION_DEPTH) throw fault(this.#token.at, "expression too deep");
    const test = this.#logic("||");
    let node = test;
    if (this.#take("?")) {
      const yes = this.#logic("||");
      this.#need(":");
      const no = this.#expression();
      node = this.#make({ kind: "if", test, yes, no }, test, yes, no);
    }
    this.#depth--;
    return node;
  }

  /** Any number of operands, flat: chains may be long. */
  #logic(sign: "||" | "&&"): Node {
    const next = (): Node => (sign === "||" ? this.#logic("&&") : this.#binary(0));
    const args = [next()];
    while (this.#take(sign)) args.push(next());
    return args.length === 1 ? args[0]! : this.#make({ kind: sign === "||" ? "or" : "and", args }, ...args);
  }

  #binary(level: number): Node {
    const signs = LEVELS[level];
    if (signs === undefined) return this.#unary();
    let left = this.#binary(level + 1);
    for (;;) {
      const token = this.#token;
      if ((token.kind !== "sign" && token.text !== "in") || !signs.has(token.text)) return left;
      this.#at++;
      left = this.#call(token.text, false, left, this.#binary(level + 1));
    }
  }

  #unary(): Node {
    const { at, text } = this.#token;
    if (!this.#is("-") && !this.#is("!")) return this.#member();
    let count = 0;
    while (this.#take(text)) count++;
    const next = this.#token;
    const number = text === "-" && next.kind === "literal" && /^[0-9.]/.test(next.text);
    if (number) count--;
    let node = this.#member(number ? at : -1);
    // Pairs cancel out, but one must stay: the operand has to be of a kind that has the sign.
    for (let n = count > 2 ? 2 - (count % 2) : count; n > 0; n--)
      node = this.#call(text === "-" ? "neg" : "!", false, node);
    return node;
  }

  /** `minusAt`: where a minus stands that a number behind it takes; -1 for none. */
  #member(minusAt = -1): Node {
    let node = this.#primary(minusAt);
    for (;;) {
      if (this.#take("[")) {
        const key = this.#expression();
        this.#need("]");
        node = this.#make({ kind: "index", of: node, key }, node, key);
      } else if (this.#take(".")) node = this.#select(node);
      else return node;
    }
  }

  #select(of: Node): Node {
    const token = this.#token;
    if (token.kind !== "quoted" && (token.kind !== "name" || KEYWORDS.has(token.text))) {
      throw fault(token.at, "field expected");
    }
    this.#at++;
    const field = token.text;
    if (token.kind === "quoted" || !this.#take("("))
      return this.#qualified(this.#noMessage(this.#make({ kind: "select", of, field }, of)));
    const args = this.#list(")");
    return FOLDS.has(field) || field === "existsOne"
      ? this.#fold(field === "existsOne" ? "exists_one" : (field as FoldKind), of, args, token.at)
      : this.#call(field, true, of, ...args);
  }

  #noMessage(node: Node): Node {
    if (this.#is("{")) throw fault(this.#token.at, "messages cannot be made");
    return node;
  }

  /** The names of some types have dots. */
  #qualified(node: Node): Node {
    const name = dotted(node);
    const type = name === undefined ? undefined : TYPES.get(name);
    return type === undefined ? node : this.#make({ kind: "constant", value: type });
  }

  #fold(fold: FoldKind, over: Node, args: readonly Node[], at: number): Node {
    const [variable, first, second] = args;
    const two = args.length === 2;
    if (variable?.kind !== "name" || first === undefined || !(two || (fold === "map" && args.length === 3))) {
      throw fault(at, `${fold} takes a name and ${fold === "map" ? "one or two expressions" : "an expression"}`);
    }
    const body = fold === "map" ? (second ?? first) : null;
    const test = fold === "map" && two ? null : first;
    return this.#make({ kind: "fold", fold, over, name: variable.name, test, body }, over, ...args);
  }

  #primary(minusAt: number): Node {
    const token = this.#token;
    this.#at++;
    if (token.kind === "literal") return this.#make({ kind: "constant", value: literal(token, minusAt) });
    if (token.kind === "name") return this.#name(token.text, token.at);
    switch (token.text) {
      case "(": {
        const node = this.#expression();
        this.#need(")");
        return node;
      }
      case "[": {
        const args = this.#list("]");
        return this.#make({ kind: "list", args }, ...args);
      }
      case "{":
        return this.#entries();
      case ".": {
        const next = this.#token;
        if (next.kind === "name") {
          this.#at++;
          return this.#name(next.text, next.at);
        }
      }
    }
    throw fault(token.at, token.kind === "end" ? "unexpected end" : `unexpected "${token.text}"`);
  }

  #name(name: string, at: number): Node {
    if (LITERALS.has(name)) return this.#make({ kind: "constant", value: LITERALS.get(name)! });
    if (RESERVED.has(name) || KEYWORDS.has(name)) throw fault(at, `"${name}" is reserved`);
    if (!this.#take("(")) return this.#noMessage(this.#make({ kind: "name", name }));
    const args = this.#list(")");
    if (name !== "has") return this.#call(name, false, ...args);
    const [field] = args;
    if (args.length !== 1 || field?.kind !== "select") throw fault(at, "has takes a field");
    return this.#make({ kind: "has", of: field.of, field: field.field }, field.of);
  }

  /** Expressions with commas between, up to `end`, before which lists may have one comma more. */
  #list(end: ")" | "]"): Node[] {
    const list: Node[] = [];
    while (!this.#take(end)) {
      list.push(this.#expression());
      if (this.#take(end)) break;
      this.#need(",");
      if (end === ")" && this.#is(end)) throw fault(this.#token.at, "expression expected");
    }
    return list;
  }

  #entries(): Node {
    const keys: Node[] = [];
    const values: Node[] = [];
    while (!this.#take("}")) {
      keys.push(this.#expression());
      this.#need(":");
      values.push(this.#expression());
      if (this.#take("}")) break;
      this.#need(",");
    }
    return this.#make({ kind: "entries", keys, values }, ...keys, ...values);
  }
}

function literal(token: Token & { readonly kind: "literal" }, minusAt: number): Value {
  const { value } = token;
  if (minusAt >= 0 && (typeof value === "bigint" || typeof value === "number")) return negative(value, minusAt);
  if (typeof value === "bigint" && value === 2n ** 63n) throw fault(token.at, "integer out of range");
  return value;
}

/** `a.b.c` when a node is such a path of fields. */
function dotted(node: Node): string | undefined {
  if (node.kind === "name") return node.name;
  if (node.kind !== "select") return undefined;
  const of = dotted(node.of);
  return of === undefined || of.length > MAX_TYPE_NAME ? undefined : `${of}.${node.field}`;
}

/** Longer paths are no type's name: building theirs again at every dot would be quadratic. */
const MAX_TYPE_NAME = 40;
