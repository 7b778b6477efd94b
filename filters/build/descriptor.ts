/**
 * The artifact's section `sluice.schema`: a serialized `google.protobuf.FileDescriptorSet` of the
 * configuration message with all that it reaches, its protoc-gen-validate rules as real options
 * (extension 1071 of FieldOptions, OneofOptions, MessageOptions), so that a host checks a configuration
 * before it loads the module.
 */
import protobuf from "protobufjs";
import { nearest } from "./nearest.ts";
import { nameInPackage, type ProtoDefinition, type ProtoSet } from "./proto.ts";
import { checkFit, checkValue } from "./rule-mistakes.ts";

const FIELD_TYPES: Readonly<Record<string, number>> = {
  double: 1,
  float: 2,
  int64: 3,
  uint64: 4,
  int32: 5,
  fixed64: 6,
  fixed32: 7,
  bool: 8,
  string: 9,
  bytes: 12,
  uint32: 13,
  sfixed32: 15,
  sfixed64: 16,
  sint32: 17,
  sint64: 18,
};
const TYPE_MESSAGE = 11;
const TYPE_ENUM = 14;
const LABEL = { optional: 1, required: 2, repeated: 3 };

type Plain = Record<string, unknown>;

/**
 * Bytes of the descriptor set. A validation rule that does not exist is an error in the files `own` (throws,
 * with the field's name); in imported files it is newer than the validate.proto at hand and left out.
 */
export function descriptorSet(
  set: ProtoSet,
  definitions: readonly ProtoDefinition[],
  own: readonly string[],
): Uint8Array {
  for (const { type, file } of definitions) if (own.includes(file)) checkRules(type, set.root);
  const files = new Map<string, Plain & { message_type: Plain[]; enum_type: Plain[]; dependency: string[] }>();
  const fileOf = new Map(definitions.map((definition) => [definition.type.fullName, definition.file]));
  for (const { type, file, package: packageName } of definitions) {
    let entry = files.get(file);
    if (entry === undefined) {
      entry = { name: file, package: packageName, syntax: "proto3", message_type: [], enum_type: [], dependency: [] };
      files.set(file, entry);
    }
    for (const dependency of dependencies(type, fileOf)) {
      if (dependency !== file && !entry.dependency.includes(dependency)) entry.dependency.push(dependency);
    }
    if (type.parent instanceof protobuf.Type) continue;
    if (type instanceof protobuf.Enum) entry.enum_type.push(enumDescriptor(type));
    else entry.message_type.push(messageDescriptor(type, fileOf));
  }
  const type = set.root.lookupType("google.protobuf.FileDescriptorSet");
  return type.encode(type.fromObject({ file: inOrder(files) })).finish();
}

/** Imported files before the files that import them, as `protoc` writes them; else by name. */
function inOrder<F extends { dependency: string[] }>(files: ReadonlyMap<string, F>): F[] {
  const ordered = new Set<F>();
  const visiting = new Set<string>();
  const visit = (name: string): void => {
    const file = files.get(name);
    if (file === undefined || visiting.has(name)) return;
    visiting.add(name);
    file.dependency.sort();
    file.dependency.forEach(visit);
    ordered.add(file);
  };
  [...files.keys()].sort().forEach(visit);
  return [...ordered];
}

function dependencies(type: protobuf.Type | protobuf.Enum, fileOf: ReadonlyMap<string, string>): string[] {
  if (type instanceof protobuf.Enum) return [];
  return type.fieldsArray.flatMap((field) => {
    const file = field.resolvedType === null ? undefined : fileOf.get(field.resolvedType.fullName);
    return file === undefined ? [] : [file];
  });
}

function messageDescriptor(type: protobuf.Type, included: ReadonlyMap<string, string>): Plain {
  const nested = type.nestedArray.filter((inner) => included.has(inner.fullName));
  const maps = type.fieldsArray.map(asMap).filter((map) => map !== undefined);
  return {
    name: type.name,
    field: type.fieldsArray.map((field) => fieldDescriptor(field)),
    nested_type: [
      ...nested.filter((inner) => inner instanceof protobuf.Type).map((inner) => messageDescriptor(inner, included)),
      ...maps.map(mapEntry),
    ],
    enum_type: nested.filter((inner) => inner instanceof protobuf.Enum).map(enumDescriptor),
    oneof_decl: type.oneofsArray.map((oneof) => ({
      name: oneof.name,
      ...options(oneof),
    })),
    ...options(type),
  };
}

function fieldDescriptor(field: protobuf.Field): Plain {
  const oneof = field.partOf;
  const map = asMap(field);
  return {
    name: field.name,
    number: field.id,
    label: field.repeated || map !== undefined ? LABEL.repeated : field.required ? LABEL.required : LABEL.optional,
    ...(map !== undefined
      ? { type: TYPE_MESSAGE, type_name: `${field.parent!.fullName}.${entryName(field)}` }
      : fieldType(field.type, field.resolvedType)),
    ...(oneof === null ? {} : { oneof_index: (oneof.parent as protobuf.Type).oneofsArray.indexOf(oneof) }),
    ...(field.getOption("proto3_optional") === true ? { proto3_optional: true } : {}),
    ...options(field),
  };
}

/** protobufjs declares MapField beside Field, although it extends it. */
function asMap(field: protobuf.Field): protobuf.MapField | undefined {
  const object: unknown = field;
  return object instanceof protobuf.MapField ? object : undefined;
}

function fieldType(type: string, resolved: protobuf.Type | protobuf.Enum | null): Plain {
  if (resolved === null) return { type: FIELD_TYPES[type] };
  return { type: resolved instanceof protobuf.Enum ? TYPE_ENUM : TYPE_MESSAGE, type_name: resolved.fullName };
}

function entryName(field: { readonly name: string }): string {
  return field.name.replaceAll(/(?:^|_)([a-z0-9])/g, (_all, letter: string) => letter.toUpperCase()) + "Entry";
}

function mapEntry(map: protobuf.MapField): Plain {
  return {
    name: entryName(map),
    field: [
      { name: "key", number: 1, label: LABEL.optional, ...fieldType(map.keyType, null) },
      { name: "value", number: 2, label: LABEL.optional, ...fieldType(map.type, map.resolvedType) },
    ],
    options: { map_entry: true },
  };
}

function enumDescriptor(type: protobuf.ReflectionObject): Plain {
  const values = Object.entries((type as protobuf.Enum).values);
  return { name: type.name, value: values.map(([name, number]) => ({ name, number })) };
}

/** protoc-gen-validate's options of a field, oneof or message; nothing when it has none. */
function options(of: protobuf.ReflectionObject): Plain {
  const extensions: Plain = {};
  for (const option of of.parsedOptions ?? []) {
    const values: Plain = option;
    for (const [name, value] of Object.entries(values)) {
      const match = /^\((validate\.\w+)\)$/.exec(name);
      if (match === null) continue;
      const key = `.${match[1]}`;
      extensions[key] = merge(extensions[key], joined(value));
    }
  }
  if (Object.keys(extensions).length === 0) return {};
  return { options: extensions };
}

/** protobufjs lists the parts of a message that is set in several steps; no validation rule is a list of messages. */
function joined(value: unknown): unknown {
  if (Array.isArray(value)) return value.every(isPlain) ? value.map(joined).reduce(merge) : value;
  if (!isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, joined(inner)]));
}

function merge(old: unknown, value: unknown): unknown {
  if (!isPlain(old) || !isPlain(value)) return value;
  const merged: Plain = { ...old };
  for (const [name, inner] of Object.entries(value)) merged[name] = merge(merged[name], inner);
  return merged;
}

/** Throws for a misspelt rule of a message's fields, oneofs or of itself. */
function checkRules(type: protobuf.Type | protobuf.Enum, root: protobuf.Root): void {
  if (type instanceof protobuf.Enum) return;
  const check = (of: protobuf.ReflectionObject, kind: string): void => {
    const rules = options(of)["options"];
    checkNames(rules, root.lookupType(`google.protobuf.${kind}`), nameInPackage(of));
  };
  check(type, "MessageOptions");
  for (const field of type.fieldsArray) {
    check(field, "FieldOptions");
    const rules = options(field)["options"];
    if (isPlain(rules)) checkFit(field, rules[".validate.rules"], nameInPackage(field));
  }
  for (const oneof of type.oneofsArray) check(oneof, "OneofOptions");
}

/** protobufjs leaves unknown names out in silence; a misspelt rule must not be a rule that is not there. */
function checkNames(value: unknown, type: protobuf.Type, path: string): void {
  if (!isPlain(value)) return;
  for (const [name, inner] of Object.entries(value)) {
    const field = type.fields[name];
    if (field === undefined) {
      const meant = nearest(name, Object.keys(type.fields));
      const hint = meant === undefined ? "" : `; did you mean "${meant}"?`;
      throw new Error(`${path}: no validation rule "${name}" in ${type.fullName.slice(1)}${hint}`);
    }
    checkValue(name, inner, field, path);
    if (field.resolvedType instanceof protobuf.Type) {
      for (const item of Array.isArray(inner) ? inner : [inner]) checkNames(item, field.resolvedType, path);
    }
  }
}

function isPlain(value: unknown): value is Plain {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
