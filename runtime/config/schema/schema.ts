/**
 * Message types as plain tables: what the walk over the document, the rules and the wire format need to know.
 * Types come from the bundle that ships with us and, per plugin, from the schema in a module's artifact.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { Rules } from "./rule-shape.ts";

/** A field as it stands in the bundle; see `bundle/generate.ts` for the text of `t`. */
export interface RawField {
  readonly n: string;
  readonly i: number;
  readonly t: string;
  /** Repeated. */
  readonly l?: 1;
  readonly o?: string;
  /** A scalar that knows whether it was set. */
  readonly p?: 1;
  /** Deprecated. */
  readonly d?: 1;
  /** Secret: never shown. */
  readonly s?: 1;
  readonly v?: Rules;
}
export interface RawMessage {
  readonly f: readonly RawField[];
  /** Names of oneofs that must be set. */
  readonly r?: readonly string[];
  /** No rules are checked. */
  readonly d?: 1;
}
export interface RawBundle {
  readonly messages: Readonly<Record<string, RawMessage>>;
  readonly enums: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Message types that Envoy has and we do not. */
  readonly known: readonly string[];
}

export type ScalarType =
  | "double" | "float"
  | "int32" | "uint32" | "sint32" | "fixed32" | "sfixed32"
  | "int64" | "uint64" | "sint64" | "fixed64" | "sfixed64"
  | "bool" | "string" | "bytes"; // prettier-ignore

export interface Field {
  readonly name: string;
  readonly jsonName: string;
  readonly id: number;
  readonly kind: ScalarType | "message" | "enum";
  /** Full name of a message or enum type; "" for scalars. */
  readonly typeName: string;
  readonly repeated: boolean;
  /** Set for maps: `kind` and `typeName` then tell the value. */
  readonly mapKey: ScalarType | undefined;
  readonly oneof: string | undefined;
  /** Unset differs from the default value. */
  readonly presence: boolean;
  readonly deprecated: boolean;
  readonly sensitive: boolean;
  readonly rules: Rules | undefined;
}

export interface MessageType {
  readonly name: string;
  readonly fields: readonly Field[];
  /** By proto name and by JSON name. */
  readonly byName: ReadonlyMap<string, Field>;
  readonly requiredOneofs: readonly string[];
  readonly rulesDisabled: boolean;
}

export interface EnumType {
  readonly name: string;
  readonly byName: ReadonlyMap<string, number>;
  readonly byNumber: ReadonlyMap<number, string>;
}

/** Types by full name, made when first asked for; `parent` is asked for what is not here. */
export class Schema {
  readonly #raw: RawBundle;
  readonly #parent: Schema | undefined;
  readonly #messages = new Map<string, MessageType>();
  readonly #enums = new Map<string, EnumType>();
  #known: Set<string> | undefined;

  constructor(raw: RawBundle, parent?: Schema) {
    this.#raw = raw;
    this.#parent = parent;
  }

  message(name: string): MessageType | undefined {
    const made = this.#messages.get(name);
    if (made !== undefined) return made;
    if (!Object.hasOwn(this.#raw.messages, name)) return this.#parent?.message(name);
    const raw = this.#raw.messages[name];
    if (raw === undefined) return undefined;
    const type = messageType(name, raw);
    this.#messages.set(name, type);
    return type;
  }

  enum(name: string): EnumType | undefined {
    const made = this.#enums.get(name);
    if (made !== undefined) return made;
    if (!Object.hasOwn(this.#raw.enums, name)) return this.#parent?.enum(name);
    const values = Object.entries(this.#raw.enums[name] ?? {});
    // With aliases the first name of a number is the one that is printed.
    const byNumber = new Map<number, string>();
    for (const [text, number] of values) if (!byNumber.has(number)) byNumber.set(number, text);
    const type: EnumType = { name, byName: new Map(values), byNumber };
    this.#enums.set(name, type);
    return type;
  }

  /** Throws when the type is missing: for types that are part of the bundle for certain. */
  expect(name: string): MessageType {
    const type = this.message(name);
    if (type === undefined) throw new Error(`the descriptor bundle lacks ${name}`);
    return type;
  }

  /** True for a type that Envoy has but we do not support. */
  knows(name: string): boolean {
    this.#known ??= new Set(this.#raw.known);
    return this.#known.has(name) || (this.#parent?.knows(name) ?? false);
  }

  /** Every message name, for suggestions. */
  names(): string[] {
    return [...Object.keys(this.#raw.messages), ...(this.#parent?.names() ?? [])];
  }
}

let builtIn: Schema | undefined;

/** The types that ship with us. Throws when the bundle is missing. */
export function builtInSchema(): Schema {
  builtIn ??= new Schema(
    JSON.parse(readFileSync(join(import.meta.dirname, "../bundle/descriptors.json"), "utf8")) as RawBundle,
  );
  return builtIn;
}

function messageType(name: string, raw: RawMessage): MessageType {
  const fields = raw.f.map(makeField);
  const byName = new Map<string, Field>();
  for (const field of fields) if (field.jsonName !== field.name) byName.set(field.jsonName, field);
  for (const field of fields) byName.set(field.name, field);
  return { name, fields, byName, requiredOneofs: raw.r ?? [], rulesDisabled: raw.d === 1 };
}

function makeField(raw: RawField): Field {
  const arrow = raw.t.indexOf(">");
  const text = raw.t.slice(arrow + 1);
  const kind = text.startsWith(".") ? "message" : text.startsWith("#") ? "enum" : (text as ScalarType);
  return {
    name: raw.n,
    jsonName: raw.n.includes("_") ? jsonName(raw.n) : raw.n,
    id: raw.i,
    kind,
    typeName: kind === "message" || kind === "enum" ? text.slice(1) : "",
    repeated: raw.l === 1,
    mapKey: arrow === -1 ? undefined : (raw.t.slice(0, arrow) as ScalarType),
    oneof: raw.o,
    presence: raw.p === 1 || raw.o !== undefined || kind === "message",
    deprecated: raw.d === 1,
    sensitive: raw.s === 1,
    rules: raw.v,
  };
}

function jsonName(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_all, letter: string) => letter.toUpperCase());
}
