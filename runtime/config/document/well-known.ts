/** The messages that have a JSON form of their own. */
import type { Message, Slot } from "./message.ts";
import { describe, Mismatch, readDuration, readScalar, readTimestamp } from "./scalar.ts";
import type { ScalarTree, Tree } from "./tree.ts";

const STRUCT_TYPES = new Set(["google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"]);
const WRAPPER_TYPES = new Set(
  ["Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes"].map(
    (name) => `google.protobuf.${name}Value`,
  ),
);

/** Every type that {@link readWellKnown} reads (Any is read by the decoder itself). */
export const WELL_KNOWN_TYPES: ReadonlySet<string> = new Set([
  "google.protobuf.Duration",
  "google.protobuf.Timestamp",
  "google.protobuf.FieldMask",
  ...STRUCT_TYPES,
  ...WRAPPER_TYPES,
]);

/** True for UInt32Value and its like. */
export function isWrapper(typeName: string): boolean {
  return WRAPPER_TYPES.has(typeName);
}

/** True for Struct, Value and ListValue, whose value is {@link Message.json}. */
export function isStruct(typeName: string): boolean {
  return STRUCT_TYPES.has(typeName);
}

/** Fills a message of a well-known type; tells what is wrong with the value. */
export function readWellKnown(message: Message, tree: Tree): Mismatch | undefined {
  const name = message.type.name;
  if (STRUCT_TYPES.has(name)) return readStruct(message, tree);
  if (tree.kind !== "scalar") return new Mismatch(`expected a single value (${name}), found ${describe(tree)}`);
  if (name === "google.protobuf.FieldMask") return readFieldMask(message, tree);
  if (WRAPPER_TYPES.has(name)) return readWrapper(message, tree);
  const read = name === "google.protobuf.Duration" ? readDuration(tree) : readTimestamp(tree);
  if (read instanceof Mismatch) return read;
  set(message, "seconds", read.seconds);
  set(message, "nanos", read.nanos);
  return undefined;
}

/** The plain JSON value of a tree. */
export function plainJson(tree: Tree): unknown {
  if (tree.kind === "scalar") return tree.value;
  if (tree.kind === "list") return tree.items.map(plainJson);
  // fromEntries defines own properties, so that a key "__proto__" stays data.
  return Object.fromEntries(tree.entries.map(({ key, value }) => [key, plainJson(value)]));
}

function readStruct(message: Message, tree: Tree): Mismatch | undefined {
  if (message.type.name === "google.protobuf.Struct" && tree.kind !== "map")
    return new Mismatch(`expected a map, found ${describe(tree)}`);
  if (message.type.name === "google.protobuf.ListValue" && tree.kind !== "list")
    return new Mismatch(`expected a list, found ${describe(tree)}`);
  message.json = plainJson(tree);
  return undefined;
}

function readWrapper(message: Message, tree: ScalarTree): Mismatch | undefined {
  const field = message.type.byName.get("value");
  if (field === undefined || field.kind === "message" || field.kind === "enum")
    return new Mismatch("this wrapper has no value");
  const read = readScalar(tree, field.kind);
  if (read instanceof Mismatch) return read;
  set(message, "value", read);
  return undefined;
}

function readFieldMask(message: Message, tree: ScalarTree): Mismatch | undefined {
  if (typeof tree.value !== "string")
    return new Mismatch(`expected field names with commas between them, found ${describe(tree)}`);
  const names = tree.value
    .split(",")
    .map((name) => name.trim().replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  set(
    message,
    "paths",
    names.filter((name) => name !== ""),
  );
  return undefined;
}

function set(message: Message, name: string, value: Slot["value"]): void {
  const field = message.type.byName.get(name);
  if (field === undefined) return;
  const spots = Array.isArray(value) ? value.map(() => message.at) : [];
  message.slots.set(field.name, { field, value, at: message.at, spots });
}
