/**
 * The schema that a module carries for its own configuration: the custom section `sluice.schema`, a serialized
 * `google.protobuf.FileDescriptorSet` whose options hold protoc-gen-validate's rules. The module is not run.
 */
import { MAX_SCHEMA_SECTION_BYTES } from "../../limits.ts";
import { canonicalRules } from "./rule-shape.ts";
import { builtInSchema, type RawField, type RawMessage, Schema } from "./schema.ts";
import { type Decoded, decodePlain } from "./wire.ts";

const SCHEMA_SECTION = "sluice.schema";

/** The module's types on top of ours; undefined when it carries none. Throws Error with the reason when it is malformed. */
export function moduleSchema(bytes: Uint8Array): Schema | undefined {
  const section = customSection(bytes, SCHEMA_SECTION);
  if (section === undefined) return undefined;
  if (section.length > MAX_SCHEMA_SECTION_BYTES)
    throw new Error(`the section ${SCHEMA_SECTION} is longer than ${MAX_SCHEMA_SECTION_BYTES} bytes`);
  try {
    return schemaOfDescriptors(section);
  } catch (error) {
    throw new Error(
      `the section ${SCHEMA_SECTION} is not a FileDescriptorSet: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

/** The types of a serialized FileDescriptorSet on top of ours. Throws Error when it is malformed. */
export function schemaOfDescriptors(bytes: Uint8Array): Schema {
  const parent = builtInSchema();
  const set = decodePlain(parent, parent.expect("google.protobuf.FileDescriptorSet"), bytes);
  const collected: Collected = { messages: {}, enums: {} };
  for (const file of objects(set["file"])) {
    const scope: Scope = { prefix: text(file["package"]), proto3: text(file["syntax"]) === "proto3", collected };
    for (const message of objects(file["message_type"])) addMessage(scope, message);
    for (const type of objects(file["enum_type"])) addEnum(scope, type);
  }
  const schema = new Schema({ ...collected, known: [] }, parent);
  for (const [name, message] of Object.entries(collected.messages)) checkReferences(schema, name, message);
  return schema;
}

/** The first custom section of that name. Throws Error when the bytes are not a module. */
export function customSection(bytes: Uint8Array, name: string): Uint8Array | undefined {
  const magic = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
  if (magic.some((byte, index) => bytes[index] !== byte))
    throw new Error("not a WebAssembly module (wrong first eight bytes)");
  for (let at = magic.length; at < bytes.length;) {
    const id = bytes[at];
    const size = leb128(bytes, at + 1);
    const end = size.next + size.value;
    if (end > bytes.length) throw new Error(`section ${id} at byte ${at} is cut off`);
    if (id === 0) {
      const length = leb128(bytes, size.next);
      const start = length.next + length.value;
      if (start > end) throw new Error(`the name of the custom section at byte ${at} is cut off`);
      if (Buffer.from(bytes.subarray(length.next, start)).toString("utf8") === name) return bytes.subarray(start, end);
    }
    at = end;
  }
  return undefined;
}

function leb128(bytes: Uint8Array, at: number): { value: number; next: number } {
  let value = 0;
  for (let index = 0; index < 5; index += 1) {
    const byte = bytes[at + index];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return { value, next: at + index + 1 };
  }
  throw new Error(`a number at byte ${at} is malformed`);
}

interface Collected {
  readonly messages: Record<string, RawMessage>;
  readonly enums: Record<string, Record<string, number>>;
}
interface Scope {
  readonly prefix: string;
  readonly proto3: boolean;
  readonly collected: Collected;
}

const SCALARS: Readonly<Record<number, string>> = {
  1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32", 8: "bool", 9: "string",
  12: "bytes", 13: "uint32", 15: "sfixed32", 16: "sfixed64", 17: "sint32", 18: "sint64",
}; // prettier-ignore
const TYPE_MESSAGE = 11;
const TYPE_ENUM = 14;
const LABEL_REPEATED = 3;

function fullName(scope: Scope, name: unknown): string {
  const own = text(name);
  if (!/^[A-Za-z_]\w*$/.test(own)) throw new Error(`a type has the name ${JSON.stringify(own)}`);
  return scope.prefix === "" ? own : `${scope.prefix}.${own}`;
}

function addMessage(scope: Scope, message: Decoded): void {
  const name = fullName(scope, message["name"]);
  const inner: Scope = { ...scope, prefix: name };
  const nested = objects(message["nested_type"]);
  const entries = new Map<string, Decoded>();
  for (const type of nested) {
    if (object(type["options"])["map_entry"] === true) entries.set(`.${fullName(inner, type["name"])}`, type);
    else addMessage(inner, type);
  }
  for (const type of objects(message["enum_type"])) addEnum(inner, type);
  // Ours are the types that the walk knows by name.
  if (name.startsWith("google.protobuf.")) return;
  const oneofs = objects(message["oneof_decl"]);
  const options = object(message["options"]);
  const required = oneofs
    .filter((oneof) => object(oneof["options"])["(validate.required)"] === true)
    .map((oneof) => text(oneof["name"]));
  scope.collected.messages[name] = {
    f: objects(message["field"]).map((field) => rawField({ scope, entries, oneofs }, field)),
    ...(required.length > 0 ? { r: required } : {}),
    ...(options["(validate.disabled)"] === true || options["(validate.ignored)"] === true ? { d: 1 as const } : {}),
  };
}

interface MessageScope {
  readonly scope: Scope;
  readonly entries: ReadonlyMap<string, Decoded>;
  readonly oneofs: readonly Decoded[];
}

function rawField({ scope, entries, oneofs }: MessageScope, field: Decoded): RawField {
  const name = text(field["name"]);
  const options = object(field["options"]);
  const entry = entries.get(text(field["type_name"]));
  const repeated = entry === undefined && field["label"] === LABEL_REPEATED;
  const optional = field["proto3_optional"] === true;
  const oneof =
    typeof field["oneof_index"] === "number" && !optional ? text(oneofs[field["oneof_index"]]?.["name"]) : "";
  const presence = optional || (!scope.proto3 && !repeated && entry === undefined);
  const rules = canonicalRules(options["(validate.rules)"]);
  if (name === "" || typeof field["number"] !== "number") throw new Error("a field has no name or number");
  return {
    n: name,
    i: field["number"],
    t: entry === undefined ? typeText(field) : mapText(entry),
    ...(repeated ? { l: 1 as const } : {}),
    ...(oneof === "" ? {} : { o: oneof }),
    ...(presence && oneof === "" ? { p: 1 as const } : {}),
    ...(options["deprecated"] === true ? { d: 1 as const } : {}),
    ...(options["debug_redact"] === true ? { s: 1 as const } : {}),
    ...(rules === undefined ? {} : { v: rules }),
  };
}

function typeText(field: Decoded): string {
  const number = Number(field["type"]);
  if (number === TYPE_MESSAGE) return `.${text(field["type_name"]).replace(/^\./, "")}`;
  if (number === TYPE_ENUM) return `#${text(field["type_name"]).replace(/^\./, "")}`;
  const scalar = SCALARS[number];
  if (scalar === undefined) throw new Error(`the field ${text(field["name"])} has the unsupported type ${number}`);
  return scalar;
}

function mapText(entry: Decoded): string {
  const [key, value] = objects(entry["field"]).toSorted((a, b) => Number(a["number"]) - Number(b["number"]));
  if (key === undefined || value === undefined)
    throw new Error(`the map entry ${text(entry["name"])} lacks key or value`);
  return `${typeText(key)}>${typeText(value)}`;
}

function addEnum(scope: Scope, type: Decoded): void {
  const values = objects(type["value"]).map((value) => [text(value["name"]), Number(value["number"] ?? 0)] as const);
  scope.collected.enums[fullName(scope, type["name"])] = Object.fromEntries(values);
}

function checkReferences(schema: Schema, name: string, message: RawMessage): void {
  for (const field of message.f) {
    const target = field.t.slice(field.t.indexOf(">") + 1);
    const found = target.startsWith(".")
      ? schema.message(target.slice(1))
      : target.startsWith("#")
        ? schema.enum(target.slice(1))
        : true;
    if (found === undefined)
      throw new Error(`${name}.${field.n} is of the type ${target.slice(1)}, which is not there`);
  }
}

function objects(value: unknown): Decoded[] {
  return Array.isArray(value) ? (value as Decoded[]) : [];
}

function object(value: unknown): Decoded {
  return typeof value === "object" && value !== null ? (value as Decoded) : {};
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
