/**
 * The walk over a document along a message type: protobuf's JSON mapping, read reflectively from the tables of
 * the schema. It never stops at the first problem and never throws on input.
 */
import type { Problems, Spot } from "../problem.ts";
import type { Field, MessageType, Schema } from "../schema/schema.ts";
import { Message, type Single, type Slot } from "./message.ts";
import { describe, Mismatch, readScalar, shorten } from "./scalar.ts";
import { didYouMean, nearest } from "./suggest.ts";
import type { MapTree, ScalarTree, Tree } from "./tree.ts";
import { readWellKnown, WELL_KNOWN_TYPES } from "./well-known.ts";

/** An Any whose type the schema lacks: perhaps a module's own schema has it. */
export interface PendingAny {
  readonly any: Message;
  readonly tree: MapTree;
  /** The full type name and where it stands. */
  readonly typeName: string;
  readonly typeAt: Spot;
  readonly typedStruct: boolean;
}

/** How one walk goes; `place` is where it stands in the field tree. */
interface Place {
  readonly path: string;
  /** Inside a TypedStruct a single value may stand for a list, as Envoy accepts. */
  readonly lenient: boolean;
}

const TYPED_STRUCTS = new Set(["udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"]);

/** Decodes trees of one schema; problems and unresolved Any messages are collected. */
export class Decoder {
  readonly pending: PendingAny[] = [];
  readonly #schema: Schema;
  readonly #problems: Problems;
  readonly #unknownFieldsAllowed: boolean;

  constructor(schema: Schema, problems: Problems, options: { readonly allowUnknownFields: boolean }) {
    this.#schema = schema;
    this.#problems = problems;
    this.#unknownFieldsAllowed = options.allowUnknownFields;
  }

  message(type: MessageType, tree: Tree, path: string): Message {
    return this.#message(type, tree, { path, lenient: false }) ?? new Message(type, tree.at, path);
  }

  /** Decodes an Any that was left open, by this decoder's schema; false when the type is not in it either. */
  resolve(open: PendingAny): boolean {
    const type = this.#schema.message(open.typeName);
    if (type === undefined) return false;
    open.any.any = this.#anyContent(type, open.tree, { path: open.any.path, lenient: open.typedStruct });
    return true;
  }

  /** Undefined when the value has not the form of the message, which is reported. */
  #message(type: MessageType, tree: Tree, place: Place): Message | undefined {
    const message = new Message(type, tree.at, place.path);
    if (type.name === "google.protobuf.Any") return this.#any(message, tree, place) ? message : undefined;
    if (WELL_KNOWN_TYPES.has(type.name)) {
      const problem = readWellKnown(message, tree);
      if (problem === undefined) return message;
      this.#problems.error(tree.at, place.path, "type", problem.message);
      return undefined;
    }
    if (tree.kind === "map") {
      this.#fields(message, tree, place, undefined);
      return message;
    }
    const found = `expected a map of fields (${type.name}), found ${describe(tree)}`;
    this.#problems.error(tree.at, place.path, "type", found);
    return undefined;
  }

  #fields(message: Message, tree: MapTree, place: Place, skip: string | undefined): void {
    for (const entry of tree.entries) {
      if (entry.key === skip) continue;
      const field = message.type.byName.get(entry.key);
      if (field === undefined) this.#misspelt(message, entry, place.path);
      else if (message.slots.has(field.name)) {
        this.#problems.error(
          entry.at,
          message.pathOf(field.name),
          "duplicate-field",
          `the field is set twice, as ${field.name} and as ${field.jsonName}; keep one`,
        );
      } else this.#field(message, field, { at: entry.at, tree: entry.value, lenient: place.lenient });
    }
  }

  #misspelt(message: Message, entry: { key: string; at: Spot }, path: string): void {
    this.#unknownField(message.type, entry, path);
    const meant = nearest(
      entry.key,
      message.type.fields.map((field) => field.name),
    );
    if (meant !== undefined) message.markFailed(meant);
  }

  #unknownField(type: MessageType, entry: { key: string; at: Spot }, path: string): void {
    const names = type.fields.map((field) => field.name);
    const hint =
      didYouMean(entry.key, names) ||
      (names.length > 0 && names.length <= 12 ? `; its fields are ${names.join(", ")}` : "");
    const text = `${type.name} has no such field${hint}`;
    const full = path === "" ? entry.key : `${path}.${entry.key}`;
    if (this.#unknownFieldsAllowed) this.#problems.warn(entry.at, full, "unknown-field", text);
    else this.#problems.error(entry.at, full, "unknown-field", text);
  }

  #field(message: Message, field: Field, given: { at: Spot; tree: Tree; lenient: boolean }): void {
    const { tree } = given;
    const path = message.pathOf(field.name);
    const isNull = tree.kind === "scalar" && tree.value === null;
    if (isNull && field.typeName !== "google.protobuf.Value" && field.typeName !== "google.protobuf.NullValue") return;
    if (field.deprecated) this.#problems.warn(given.at, path, "deprecated", "the field is deprecated");
    const other = field.oneof === undefined ? undefined : message.which(field.oneof);
    if (other !== undefined) {
      this.#problems.error(
        given.at,
        path,
        "oneof",
        `only one of the fields of "${field.oneof}" may be set, and ${other} is set too; remove one`,
      );
      return;
    }
    const place: Place = { path, lenient: given.lenient };
    const slot =
      field.mapKey !== undefined
        ? this.#map(field, tree, place)
        : field.repeated
          ? this.#list(field, tree, place)
          : this.#single(field, tree, place);
    if (slot === undefined) message.markFailed(field.name);
    else message.slots.set(field.name, slot);
  }

  #single(field: Field, tree: Tree, place: Place): Slot | undefined {
    const value = this.#value(field, tree, place);
    return value === undefined ? undefined : { field, value, at: tree.at, spots: [] };
  }

  #list(field: Field, tree: Tree, place: Place): Slot | undefined {
    const items = tree.kind === "list" ? tree.items : place.lenient ? [tree] : undefined;
    if (items === undefined) {
      this.#problems.error(
        tree.at,
        place.path,
        "type",
        `expected a list, found ${describe(tree)}; begin each value with "- "`,
      );
      return undefined;
    }
    const values: Single[] = [];
    const spots: Spot[] = [];
    for (const [index, item] of items.entries()) {
      const value = this.#item(field, item, { path: `${place.path}[${index}]`, lenient: place.lenient });
      if (value === undefined) continue;
      values.push(value);
      spots.push(item.at);
    }
    return { field, value: values, at: tree.at, spots };
  }

  #map(field: Field, tree: Tree, place: Place): Slot | undefined {
    if (tree.kind !== "map") {
      this.#problems.error(tree.at, place.path, "type", `expected a map, found ${describe(tree)}`);
      return undefined;
    }
    const values = new Map<string, Single>();
    const spots: Spot[] = [];
    for (const entry of tree.entries) {
      const path = `${place.path}[${JSON.stringify(entry.key)}]`;
      const wrong = keyMismatch(field, entry.key, entry.at);
      if (wrong !== undefined) this.#problems.error(entry.at, path, "type", wrong.message);
      const value = this.#item(field, entry.value, { path, lenient: place.lenient });
      if (value === undefined || wrong !== undefined) continue;
      values.set(entry.key, value);
      spots.push(entry.value.at);
    }
    return { field, value: values, at: tree.at, spots };
  }

  #item(field: Field, tree: Tree, place: Place): Single | undefined {
    const nullAllowed = field.typeName === "google.protobuf.Value";
    if (tree.kind === "scalar" && tree.value === null && !nullAllowed) {
      this.#problems.error(tree.at, place.path, "type", "null cannot be a member of a list or map");
      return undefined;
    }
    return this.#value(field, tree, place);
  }

  #value(field: Field, tree: Tree, place: Place): Single | undefined {
    if (field.kind === "message") {
      const type = this.#schema.message(field.typeName);
      if (type !== undefined) return this.#message(type, tree, place);
      this.#problems.error(tree.at, place.path, "schema", `the schema lacks the type ${field.typeName}`);
      return undefined;
    }
    if (tree.kind !== "scalar") {
      this.#problems.error(
        tree.at,
        place.path,
        "type",
        `expected ${field.kind === "enum" ? "a name" : `a single value (${field.kind})`}, found ${describe(tree)}`,
      );
      return undefined;
    }
    const value = field.kind === "enum" ? this.#enum(field, tree) : readScalar(tree, field.kind);
    if (!(value instanceof Mismatch)) return value;
    this.#problems.error(tree.at, place.path, field.kind === "enum" ? "enum" : "type", value.message);
    return undefined;
  }

  #enum(field: Field, tree: ScalarTree): number | Mismatch {
    const type = this.#schema.enum(field.typeName);
    if (type === undefined)
      return field.typeName === "google.protobuf.NullValue"
        ? 0
        : new Mismatch(`the schema lacks the type ${field.typeName}`);
    if (typeof tree.value === "number") {
      const number = readScalar(tree, "int32");
      return number instanceof Mismatch || typeof number === "number" ? number : new Mismatch("expected a name");
    }
    if (typeof tree.value !== "string")
      return new Mismatch(`expected one of ${[...type.byName.keys()].join(", ")}, found ${describe(tree)}`);
    const number = type.byName.get(tree.value);
    if (number !== undefined) return number;
    const names = [...type.byName.keys()];
    const hint = didYouMean(tree.value, names) || `; expected one of ${names.slice(0, 12).join(", ")}`;
    return new Mismatch(`${type.name} has no value ${JSON.stringify(shorten(tree.value))}${hint}`);
  }

  #any(message: Message, tree: Tree, place: Place): boolean {
    if (tree.kind !== "map") {
      const found = `expected a map with "@type", found ${describe(tree)}`;
      this.#problems.error(tree.at, place.path, "type", found);
      return false;
    }
    if (tree.entries.length === 0) return true;
    const type = tree.entries.find(({ key }) => key === "@type")?.value;
    if (type?.kind !== "scalar" || typeof type.value !== "string" || type.value === "") {
      const hint = `"@type" is missing; add e.g. "@type": type.googleapis.com/<message name>`;
      this.#problems.error(type?.at ?? tree.at, place.path, "any", hint);
      return false;
    }
    const typeName = shortTypeName(type.value);
    if (TYPED_STRUCTS.has(typeName)) this.#typedStruct(message, tree, place);
    else this.#anyOf({ any: message, tree, typeName, typeAt: type.at, typedStruct: false }, place);
    return true;
  }

  #typedStruct(message: Message, tree: MapTree, place: Place): void {
    const wrapper = new Message(this.#schema.expect("udpa.type.v1.TypedStruct"), tree.at, place.path);
    this.#fields(wrapper, tree, place, "@type");
    const typeName = shortTypeName(wrapper.text("type_url"));
    if (typeName === "") {
      this.#problems.error(
        wrapper.spot("type_url"),
        wrapper.pathOf("type_url"),
        "any",
        "type_url is missing; it names the message that value holds",
      );
      return;
    }
    const value = tree.entries.find(({ key }) => key === "value")?.value;
    const inner: MapTree = value?.kind === "map" ? value : { kind: "map", at: tree.at, entries: [] };
    this.#anyOf(
      { any: message, tree: inner, typeName, typeAt: wrapper.spot("type_url"), typedStruct: true },
      { path: wrapper.pathOf("value"), lenient: true },
    );
  }

  #anyOf(open: PendingAny, place: Place): void {
    open.any.anyType = open.typeName;
    const type = this.#schema.message(open.typeName);
    if (type !== undefined)
      open.any.any = this.#anyContent(type, open.tree, {
        path: place.path,
        lenient: place.lenient || open.typedStruct,
      });
    else if (!this.#schema.knows(open.typeName)) this.pending.push(open);
  }

  /** The message inside an Any: its fields beside "@type", or, for well-known types, what stands in "value". */
  #anyContent(type: MessageType, tree: MapTree, place: Place): Message {
    if (!WELL_KNOWN_TYPES.has(type.name) && type.name !== "google.protobuf.Any") {
      const message = new Message(type, tree.at, place.path);
      this.#fields(message, tree, place, "@type");
      return message;
    }
    // The content of a TypedStruct is the Struct itself.
    if (place.lenient && type.name === "google.protobuf.Struct") return this.message(type, tree, place.path);
    const value = tree.entries.find(({ key }) => key === "value");
    for (const extra of tree.entries) {
      if (extra.key !== "@type" && extra !== value) this.#unknownField(type, extra, place.path);
    }
    if (value !== undefined) return this.message(type, value.value, `${place.path}.value`);
    this.#problems.error(tree.at, place.path, "any", `${type.name} in an Any needs the member "value"`);
    return new Message(type, tree.at, place.path);
  }
}

function shortTypeName(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
}

function keyMismatch(field: Field, key: string, at: Spot): Mismatch | undefined {
  if (field.mapKey === undefined || field.mapKey === "string") return undefined;
  const value = field.mapKey === "bool" && (key === "true" || key === "false") ? key === "true" : key;
  const read = readScalar({ kind: "scalar", at, value, text: key }, field.mapKey);
  return read instanceof Mismatch ? read : undefined;
}
