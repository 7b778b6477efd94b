/** Validation rules that do not fit the field they stand at: protobufjs would write them down, and no host could keep them. */
import protobuf from "protobufjs";
import { RE2JS } from "re2js";

type Plain = Record<string, unknown>;

/** What the rules of a field may be called, by its type; nothing: only `message`, or `any`. */
const MESSAGE_RULES: Readonly<Record<string, string>> = {
  ".google.protobuf.Duration": "duration",
  ".google.protobuf.Timestamp": "timestamp",
  ".google.protobuf.Any": "any",
  ".google.protobuf.DoubleValue": "double",
  ".google.protobuf.FloatValue": "float",
  ".google.protobuf.Int64Value": "int64",
  ".google.protobuf.UInt64Value": "uint64",
  ".google.protobuf.Int32Value": "int32",
  ".google.protobuf.UInt32Value": "uint32",
  ".google.protobuf.BoolValue": "bool",
  ".google.protobuf.StringValue": "string",
  ".google.protobuf.BytesValue": "bytes",
};

/** Throws for rules of another type than the field's, and for expressions that are none; `path` begins the message. */
export function checkFit(field: protobuf.Field, rules: unknown, path: string): void {
  const object: unknown = field;
  const map = object instanceof protobuf.MapField ? object : undefined;
  const outer = map !== undefined ? "map" : field.repeated ? "repeated" : undefined;
  if (outer === undefined) return checkKinds(rules, kindsOf(field.type, field.resolvedType), path);
  if (!isPlain(rules)) return;
  checkKinds(rules, [outer], path);
  const inner = rules[outer];
  if (!isPlain(inner)) return;
  checkKinds(inner["items"] ?? inner["values"], kindsOf(field.type, field.resolvedType), path);
  if (map !== undefined) checkKinds(inner["keys"], [map.keyType], path);
}

function kindsOf(type: string, resolved: protobuf.Type | protobuf.Enum | null): readonly string[] {
  if (resolved instanceof protobuf.Enum) return ["enum"];
  if (resolved === null) return [type];
  const own = MESSAGE_RULES[resolved.fullName];
  return own === undefined ? ["message"] : [own, "message"];
}

function checkKinds(rules: unknown, kinds: readonly string[], path: string): void {
  if (!isPlain(rules)) return;
  for (const [kind, inner] of Object.entries(rules)) {
    if (!kinds.includes(kind))
      throw new Error(`${path}: rules of ${kind} do not fit a field of ${kinds[0]!}: (validate.rules).${kinds[0]!}`);
    const pattern = isPlain(inner) ? inner["pattern"] : undefined;
    if (typeof pattern === "string") checkPattern(pattern, path);
  }
}

function checkPattern(pattern: string, path: string): void {
  try {
    RE2JS.compile(pattern);
  } catch (cause) {
    throw new Error(
      `${path}: "${pattern}" is no regular expression: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        cause,
      },
    );
  }
}

/** Throws when the value of a rule is of another type than the rule takes. */
export function checkValue(name: string, value: unknown, rule: protobuf.Field, path: string): void {
  const takes = wanted(rule);
  for (const item of Array.isArray(value) ? value : [value]) {
    const right =
      takes === "a number"
        ? typeof item === "number" || (typeof item === "string" && /^-?\d+$/.test(item))
        : takes === "true or false"
          ? typeof item === "boolean"
          : takes === "text"
            ? typeof item === "string"
            : isPlain(item);
    if (!right) throw new Error(`${path}: ${name} takes ${takes}, not ${JSON.stringify(item)}`);
  }
}

function wanted({ type, resolvedType }: protobuf.Field): string {
  if (resolvedType instanceof protobuf.Type) return "a message";
  if (resolvedType instanceof protobuf.Enum || type === "string" || type === "bytes") return "text";
  return type === "bool" ? "true or false" : "a number";
}

function isPlain(value: unknown): value is Plain {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
