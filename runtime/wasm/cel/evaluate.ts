/** Evaluates the tree of a CEL expression. Every step is counted, so that no expression can take for ever. */
import { RE2JS } from "re2js";
import {
  MAX_EXPRESSION_REGEX_PROGRAM,
  MAX_EXPRESSION_REGEXES,
  MAX_GUEST_REGEX_BYTES,
  MAX_GUEST_REGEX_SIZE,
} from "../../limits.ts";
import { regexSize } from "../values/regex-size.ts";
import { apply } from "./functions.ts";
import type { Surroundings } from "./functions.ts";
import { parse } from "./syntax.ts";
import type { FoldKind, Node } from "./syntax.ts";
import { EntryMap, Failure, isList, isMapping, TYPES, Uint } from "./values.ts";
import type { Result, Spend, Value } from "./values.ts";

/** The value of an identifier; undefined when nobody knows it. Takes steps for what depends on the value's size. */
export type Resolve = (name: string, spend: Spend) => Result | undefined;

/** Thrown by the step that is one too many, past every operator that forgives failures. */
class TooLong extends Error {}

const TOO_LONG = new Failure("the expression takes too many steps");

/** A step of matching costs what some steps of evaluating do. */
const MATCH_STEPS_PER_CHARACTER = 1 / 8;
/** Steps for an instruction that is compiled. */
const COMPILE_STEPS = 2;

export class Expression {
  /** Steps that the last evaluation took. */
  steps = 0;
  readonly #root: Node;
  readonly #regexes = new Map<string, RE2JS | undefined>();

  /** Throws SyntaxFault: no expression, or one that names functions there are not. */
  constructor(source: string) {
    this.#root = parse(source);
  }

  /** What it yields with these identifiers, within `limit` steps. Never throws; looking into maps of the result may. */
  evaluate(resolve: Resolve, limit: number): Result {
    return this.evaluateTo(resolve, limit, (value) => value);
  }

  /** The same, and what `write` makes of the value: reading its parts takes steps, too. */
  evaluateTo<To>(resolve: Resolve, limit: number, write: (value: Value) => To): To | Failure {
    const run = new Run(resolve, limit, this.#regexes);
    try {
      const value = run.node(this.#root);
      return value instanceof Failure ? value : write(value);
    } catch (error) {
      if (error instanceof TooLong) return TOO_LONG;
      throw error;
    } finally {
      this.steps = run.steps;
    }
  }

  /** `["request", "path"]` when the expression is nothing but such a path. */
  get path(): readonly string[] | undefined {
    return pathOf(this.#root);
  }
}

function pathOf(node: Node): string[] | undefined {
  if (node.kind === "name") return [node.name];
  if (node.kind === "select") {
    const of = pathOf(node.of);
    of?.push(node.field);
    return of;
  }
  if (node.kind !== "index" || node.key.kind !== "constant" || typeof node.key.value !== "string") return undefined;
  const of = pathOf(node.of);
  of?.push(node.key.value);
  return of;
}

class Run implements Surroundings {
  steps = 0;
  readonly #limit: number;
  readonly #resolve: Resolve;
  readonly #regexes: Map<string, RE2JS | undefined>;
  /** Names that macros have bound, the innermost last. */
  readonly #bound: [name: string, value: Value][] = [];

  constructor(resolve: Resolve, limit: number, regexes: Map<string, RE2JS | undefined>) {
    this.#resolve = resolve;
    this.#limit = limit;
    this.#regexes = regexes;
  }

  spend = (units: number): void => {
    this.steps += units;
    if (this.steps > this.#limit) throw new TooLong();
  };

  node(node: Node): Result {
    this.spend(1);
    switch (node.kind) {
      case "constant":
        return node.value;
      case "name":
        return this.#name(node.name);
      case "select":
        return member(this.node(node.of), node.field);
      case "has": {
        const of = this.node(node.of);
        if (of instanceof Failure) return of;
        return isMapping(of) ? of.get(node.field) !== undefined : NO_FIELDS;
      }
      case "index": {
        const of = this.node(node.of);
        const key = this.node(node.key);
        if (of instanceof Failure) return of;
        return key instanceof Failure ? key : member(of, key);
      }
      case "and":
      case "or":
        return this.#logic(node.args, node.kind === "or");
      case "if": {
        const test = this.node(node.test);
        if (typeof test === "boolean") return this.node(test ? node.yes : node.no);
        return test instanceof Failure ? test : NO_OVERLOAD;
      }
      case "call": {
        const args = this.#all(node.args);
        return args instanceof Failure ? args : apply(node.name, node.method, args, this);
      }
      case "list":
        return this.#all(node.args);
      case "entries":
        return this.#entries(node.keys, node.values);
      case "fold":
        return this.#fold(node.fold, node);
    }
  }

  #name(name: string): Result {
    for (let n = this.#bound.length - 1; n >= 0; n--) if (this.#bound[n]![0] === name) return this.#bound[n]![1];
    const value = this.#resolve(name, this.spend);
    return value === undefined ? (TYPES.get(name) ?? new Failure(`${name} is unknown`)) : value;
  }

  #all(nodes: readonly Node[]): Value[] | Failure {
    const values: Value[] = [];
    for (const node of nodes) {
      const value = this.node(node);
      if (value instanceof Failure) return value;
      values.push(value);
    }
    return values;
  }

  /** `decides`: the operand that settles it. A failure counts only when no operand does. */
  #logic(args: readonly Node[], decides: boolean): Result {
    let failure: Failure | null = null;
    for (const arg of args) {
      const value = this.node(arg);
      if (value === decides) return decides;
      if (typeof value !== "boolean") failure ??= value instanceof Failure ? value : NO_OVERLOAD;
    }
    return failure ?? !decides;
  }

  #entries(keys: readonly Node[], values: readonly Node[]): Result {
    const map = new EntryMap();
    for (const [n, keyNode] of keys.entries()) {
      const key = this.node(keyNode);
      if (key instanceof Failure) return key;
      const value = this.node(values[n]!);
      if (value instanceof Failure) return value;
      if (!map.add(key, value)) return new Failure("a key twice, or one that can be none");
    }
    return map;
  }

  #fold(kind: FoldKind, { over, name, test, body }: Node & { readonly kind: "fold" }): Result {
    const range = this.node(over);
    if (range instanceof Failure) return range;
    const elements = isList(range) ? range : isMapping(range) ? Array.from(range.entries(), ([key]) => key) : null;
    if (elements === null) return NO_OVERLOAD;
    const fold = FOLDS[kind]();
    let failure: Failure | null = null;
    for (const element of elements) {
      this.#bound.push([name, element]);
      const held = test === null ? true : this.node(test);
      const value = held === true && body !== null ? this.node(body) : element;
      this.#bound.pop();
      const failed = typeof held !== "boolean" ? (held instanceof Failure ? held : NO_OVERLOAD) : value;
      if (failed instanceof Failure) {
        // Only what a later element settles may forgive it.
        if (kind !== "all" && kind !== "exists") return failed;
        failure ??= failed;
      } else if (fold.add(held as boolean, value as Value)) return fold.result;
    }
    return failure ?? fold.result;
  }

  matches(expression: string, text: string): boolean | undefined {
    if (!this.#regexes.has(expression)) {
      // Compiling takes longer the more there is once repetitions are written out.
      const size = Buffer.byteLength(expression) > MAX_GUEST_REGEX_BYTES ? Infinity : regexSize(expression);
      this.spend(size > MAX_GUEST_REGEX_SIZE ? expression.length : expression.length + size * COMPILE_STEPS);
      if (this.#regexes.size >= MAX_EXPRESSION_REGEXES) this.#regexes.clear();
      this.#regexes.set(expression, size > MAX_GUEST_REGEX_SIZE ? undefined : regex(expression));
    }
    const compiled = this.#regexes.get(expression);
    if (compiled === undefined) return undefined;
    // An expression of n instructions takes n steps for a character at most.
    this.spend(Math.ceil(text.length * compiled.programSize() * MATCH_STEPS_PER_CHARACTER));
    return compiled.test(text);
  }
}

const NO_OVERLOAD = new Failure("no such overload");
const NO_FIELDS = new Failure("a value without fields");

function member(of: Result, key: Value): Result {
  if (of instanceof Failure) return of;
  const found = isMapping(of) ? of.get(key) : undefined;
  if (found !== undefined) return found;
  if (isMapping(of)) return new Failure("no such key");
  if (!isList(of)) return NO_FIELDS;
  const index = key instanceof Uint ? key.value : key;
  if (typeof index !== "bigint" && !(typeof index === "number" && Number.isInteger(index))) return NO_OVERLOAD;
  return index >= 0 && index < of.length ? of[Number(index)]! : new Failure("index out of range");
}

function regex(expression: string): RE2JS | undefined {
  try {
    const compiled = RE2JS.compile(expression);
    return compiled.programSize() > MAX_EXPRESSION_REGEX_PROGRAM ? undefined : compiled;
  } catch {
    // Not an expression.
    return undefined;
  }
}

/** What a macro gathers: `add` hears of each element and is true when nothing more can change. */
interface Fold {
  result: Result;
  add(held: boolean, value: Value): boolean;
}

const FOLDS: Readonly<Record<FoldKind, () => Fold>> = {
  all: () => ({
    result: true,
    add(held) {
      if (!held) this.result = false;
      return !held;
    },
  }),
  exists: () => ({
    result: false,
    add(held) {
      if (held) this.result = true;
      return held;
    },
  }),
  exists_one: () => {
    let count = 0;
    return {
      get result() {
        return count === 1;
      },
      add(held) {
        if (held) count++;
        return false;
      },
    };
  },
  map: gather,
  filter: gather,
};

function gather(): Fold {
  const list: Value[] = [];
  return {
    result: list,
    add(held, value) {
      if (held) list.push(value);
      return false;
    },
  };
}
