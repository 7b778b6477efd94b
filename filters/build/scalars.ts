/** The scalar kinds of protobuf: AssemblyScript type, wire type, reader and writer method. */
import protobuf from "protobufjs";

export const WIRE_VARINT = 0;
export const WIRE_FIXED64 = 1;
export const WIRE_LENGTH = 2;
export const WIRE_FIXED32 = 5;

interface DefaultHolder {
  readonly options?: Record<string, unknown> | undefined;
  readonly resolvedType: protobuf.Type | protobuf.Enum | null;
}

export interface Scalar {
  readonly type: string;
  readonly wire: number;
  /** Of Reader and Writer alike. */
  readonly method: string;
  /** The field's value before anything is decoded. */
  initial(field: DefaultHolder | undefined): string;
  /** True when a value differs from proto3's default, and so is written. */
  present(value: string): string;
}

const NUMBERS: Readonly<Record<string, readonly [type: string, wire: number]>> = {
  double: ["f64", WIRE_FIXED64],
  float: ["f32", WIRE_FIXED32],
  int32: ["i32", WIRE_VARINT],
  uint32: ["u32", WIRE_VARINT],
  sint32: ["i32", WIRE_VARINT],
  int64: ["i64", WIRE_VARINT],
  uint64: ["u64", WIRE_VARINT],
  sint64: ["i64", WIRE_VARINT],
  fixed32: ["u32", WIRE_FIXED32],
  fixed64: ["u64", WIRE_FIXED64],
  sfixed32: ["i32", WIRE_FIXED32],
  sfixed64: ["i64", WIRE_FIXED64],
};

/** A field's tag: number and wire type. */
export function tag(id: number, wire: number): number {
  return id * 8 + wire;
}

/** True for fields that hold no message. */
export function isScalar(field: { resolvedType: protobuf.Type | protobuf.Enum | null }): boolean {
  return !(field.resolvedType instanceof protobuf.Type);
}

/** The kind of a scalar or enum field. Throws for a type that is neither. */
export function scalar(field: { type: string; resolvedType: protobuf.Type | protobuf.Enum | null }): Scalar {
  if (field.resolvedType instanceof protobuf.Enum) return number("i32", WIRE_VARINT, "int32");
  const entry = NUMBERS[field.type];
  if (entry !== undefined) return number(entry[0], entry[1], field.type);
  if (field.type === "bool") {
    return {
      ...number("bool", WIRE_VARINT, "bool"),
      initial: (at) => JSON.stringify(defaultOf(at) ?? false),
      present: (value) => value,
    };
  }
  if (field.type === "string") {
    return {
      type: "string",
      wire: WIRE_LENGTH,
      method: "string",
      initial: (at) => JSON.stringify(defaultOf(at) ?? ""),
      present: (value) => `${value}.length > 0`,
    };
  }
  if (field.type === "bytes") {
    return {
      type: "ArrayBuffer",
      wire: WIRE_LENGTH,
      method: "byteString",
      initial: () => "new ArrayBuffer(0)",
      present: (value) => `${value}.byteLength > 0`,
    };
  }
  throw new Error(`no scalar type: ${field.type}`);
}

function number(type: string, wire: number, method: string): Scalar {
  return {
    type,
    wire,
    method,
    initial: (field) => {
      const value = defaultOf(field);
      return value === undefined ? "0" : JSON.stringify(value);
    },
    // -0 is no default: it is written, and equal to 0 by comparison.
    present: (value) =>
      type === "f32"
        ? `reinterpret<u32>(${value}) != 0`
        : type === "f64"
          ? `reinterpret<u64>(${value}) != 0`
          : `${value} != 0`,
  };
}

/** An explicit default (proto2). */
function defaultOf(field: DefaultHolder | undefined): unknown {
  const value: unknown = field?.options?.["default"];
  if (field?.resolvedType instanceof protobuf.Enum && typeof value === "string")
    return field.resolvedType.values[value];
  return value;
}
