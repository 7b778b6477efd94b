/**
 * Messages to protobuf's wire format and back, along the tables of a schema; protobufjs writes and reads the bytes.
 */
import protobuf from "protobufjs/minimal.js";

import { WireType } from "../../codec/proto-wire.ts";
import { MAX_DESCRIPTOR_DEPTH } from "../../limits.ts";
import { isDefault } from "../document/merge.ts";
import { Message, type Single } from "../document/message.ts";
import { isStruct } from "../document/well-known.ts";
import type { Field, MessageType, ScalarType, Schema } from "./schema.ts";

type Writer = protobuf.Writer;
type Reader = protobuf.Reader;

/** The serialized form of a message; map entries and fields in the order of the text. */
export function encodeMessage(message: Message): Uint8Array {
  const writer = protobuf.Writer.create();
  writeMessage(writer, message);
  return new Uint8Array(writer.finish());
}

function writeMessage(writer: Writer, message: Message): void {
  if (message.type.name === "google.protobuf.Any") {
    if (message.anyType !== "") writer.uint32(10).string(`type.googleapis.com/${message.anyType}`);
    const content = message.any === undefined ? new Uint8Array(0) : encodeMessage(message.any);
    if (content.length > 0) writer.uint32(18).bytes(content);
    return;
  }
  if (isStruct(message.type.name)) {
    writeJson(writer, message.type.name, message.json);
    return;
  }
  for (const { field, value } of message.slots.values()) {
    if (value instanceof Map) writeMap(writer, field, value);
    else if (Array.isArray(value)) writeList(writer, field, value);
    else if (field.presence || !isDefault(value)) writeField(writer, field, value);
  }
}

function writeField(writer: Writer, field: Field, value: Single): void {
  if (value instanceof Message) {
    writer.uint32((field.id << 3) | WireType.DELIMITED).fork();
    writeMessage(writer, value);
    writer.ldelim();
    return;
  }
  const kind = field.kind === "enum" || field.kind === "message" ? "int32" : field.kind;
  writer.uint32(((field.id << 3) | wireType(kind)) >>> 0);
  writeScalar(writer, kind, value);
}

function writeList(writer: Writer, field: Field, values: readonly Single[]): void {
  const packable = field.kind !== "message" && field.kind !== "string" && field.kind !== "bytes";
  if (!packable) {
    for (const value of values) writeField(writer, field, value);
    return;
  }
  if (values.length === 0) return;
  const kind = field.kind === "enum" ? "int32" : (field.kind as ScalarType);
  writer.uint32((field.id << 3) | WireType.DELIMITED).fork();
  for (const value of values) if (!(value instanceof Message)) writeScalar(writer, kind, value);
  writer.ldelim();
}

function writeMap(writer: Writer, field: Field, values: ReadonlyMap<string, Single>): void {
  const keyKind = field.mapKey ?? "string";
  for (const [key, value] of values) {
    writer.uint32((field.id << 3) | WireType.DELIMITED).fork();
    writer.uint32((1 << 3) | wireType(keyKind));
    writeScalar(writer, keyKind, keyKind === "string" ? key : keyKind === "bool" ? key === "true" : BigInt(key));
    writeField(writer, { ...field, id: 2 }, value);
    writer.ldelim();
  }
}

function wireType(kind: ScalarType): number {
  if (kind === "string" || kind === "bytes") return WireType.DELIMITED;
  if (kind === "double" || kind === "fixed64" || kind === "sfixed64") return WireType.FIXED64;
  return kind === "float" || kind === "fixed32" || kind === "sfixed32" ? WireType.FIXED32 : WireType.VARINT;
}

function writeScalar(writer: Writer, kind: ScalarType, value: string | number | bigint | boolean | Uint8Array): void {
  switch (kind) {
    case "string":
      writer.string(String(value));
      break;
    case "bytes":
      writer.bytes(value as Uint8Array);
      break;
    case "bool":
      writer.bool(value === true);
      break;
    case "int64":
    case "uint64":
    case "sint64":
    case "fixed64":
    case "sfixed64":
      writer[kind](halves(BigInt(value as number | bigint)));
      break;
    default:
      writer[kind](Number(value));
  }
}

/** The shape that protobufjs takes for 64-bit values when no Long library is there. */
function halves(value: bigint): { low: number; high: number; unsigned: boolean } {
  const bits = BigInt.asUintN(64, value);
  return { low: Number(bits & 0xffff_ffffn) | 0, high: Number(bits >> 32n) | 0, unsigned: value >= 0n };
}

/** Struct {1 map}, Value {oneof 1..6}, ListValue {1 list}. */
function writeJson(writer: Writer, typeName: string, json: unknown): void {
  if (typeName === "google.protobuf.Struct") {
    for (const [key, value] of Object.entries(json ?? {})) {
      writer.uint32(10).fork().uint32(10).string(key).uint32(18).fork();
      writeJson(writer, "google.protobuf.Value", value);
      writer.ldelim().ldelim();
    }
  } else if (typeName === "google.protobuf.ListValue") {
    for (const value of Array.isArray(json) ? (json as unknown[]) : []) {
      writer.uint32(10).fork();
      writeJson(writer, "google.protobuf.Value", value);
      writer.ldelim();
    }
  } else if (typeof json === "number") writer.uint32(17).double(json);
  else if (typeof json === "string") writer.uint32(26).string(json);
  else if (typeof json === "boolean") writer.uint32(32).bool(json);
  else if (typeof json === "object" && json !== null) {
    writer.uint32(Array.isArray(json) ? 50 : 42).fork();
    writeJson(writer, Array.isArray(json) ? "google.protobuf.ListValue" : "google.protobuf.Struct", json);
    writer.ldelim();
  } else writer.uint32(8).int32(0);
}

/** A plain object with a member per field that is present; lists for repeated fields, names as in the .proto file. */
export type Decoded = Record<string, unknown>;

/** Reads a message of a table without maps (descriptors have none). Throws RangeError or Error on malformed bytes. */
export function decodePlain(schema: Schema, type: MessageType, bytes: Uint8Array): Decoded {
  return readMessage({ schema, depth: 0 }, type, protobuf.Reader.create(bytes));
}

interface Reading {
  readonly schema: Schema;
  readonly depth: number;
}

function readMessage(reading: Reading, type: MessageType, reader: Reader, end = reader.len): Decoded {
  if (reading.depth > MAX_DESCRIPTOR_DEPTH) throw new RangeError(`messages nest deeper than ${MAX_DESCRIPTOR_DEPTH}`);
  if (end > reader.len) throw new RangeError("a message is cut off");
  const byId = new Map(type.fields.map((field) => [field.id, field]));
  const result: Decoded = {};
  while (reader.pos < end) {
    const tag = reader.uint32();
    const field = byId.get(tag >>> 3);
    if (field === undefined || !fits(field, tag & 7)) reader.skipType(tag & 7);
    else readField(reading, field, { reader, packed: (tag & 7) === WireType.DELIMITED, result });
  }
  if (reader.pos !== end) throw new RangeError("a message ends inside a field");
  return result;
}

function fits(field: Field, wire: number): boolean {
  const kind = field.kind === "message" ? "bytes" : field.kind === "enum" ? "int32" : field.kind;
  return wire === wireType(kind) || (field.repeated && wire === WireType.DELIMITED);
}

function readField(reading: Reading, field: Field, into: { reader: Reader; packed: boolean; result: Decoded }): void {
  const { reader, result } = into;
  const delimited = field.kind === "message" || field.kind === "string" || field.kind === "bytes";
  if (!field.repeated) {
    result[field.name] = readValue(reading, field, reader);
    return;
  }
  const list = (result[field.name] ??= []) as unknown[];
  if (!into.packed || delimited) {
    list.push(readValue(reading, field, reader));
    return;
  }
  const length = reader.uint32();
  const end = reader.pos + length;
  if (end > reader.len) throw new RangeError("a list is cut off");
  while (reader.pos < end) list.push(readValue(reading, field, reader));
}

function readValue(reading: Reading, field: Field, reader: Reader): unknown {
  if (field.kind === "message") {
    const length = reader.uint32();
    const type = reading.schema.expect(field.typeName);
    return readMessage({ ...reading, depth: reading.depth + 1 }, type, reader, reader.pos + length);
  }
  if (field.kind === "enum") return reader.int32();
  if (field.kind === "bytes") return new Uint8Array(reader.bytes());
  if (!field.kind.endsWith("64")) return reader[field.kind]();
  return Number(reader[field.kind]());
}
