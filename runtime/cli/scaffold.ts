/** A schema as a configuration to fill in: what the rules ask for stands there with a value that they take, the rest is commented out. */
import { isWrapper } from "../config/document/well-known.ts";
import type { Rules } from "../config/schema/rule-shape.ts";
import type { Field, MessageType, Schema } from "../config/schema/schema.ts";
import { checkBool, checkBytes, checkEnum, checkNumber, checkString, ruleSet } from "../config/rules/values.ts";
import { MAX_SCAFFOLD_DEPTH, MAX_SCHEMA_LINES } from "../limits.ts";
import { describeRules, durationSeconds, opens, typeText } from "./schema-text.ts";

/** YAML of a `configuration:` with every field. Fields beyond MAX_SCHEMA_LINES are left out, with a comment. */
export function scaffold(schema: Schema, name: string): string[] {
  const room = { fields: MAX_SCHEMA_LINES };
  const lines = scaffoldFields(schema, schema.message(name), { indent: "  ", depth: 0, room });
  const more = room.fields > 0 ? [] : ["  # there is more"];
  return ["configuration:", `  "@type": type.googleapis.com/${name}`, ...lines, ...more];
}

interface Level {
  readonly indent: string;
  readonly depth: number;
  /** Of the whole scaffold. */
  readonly room: { fields: number };
}

function scaffoldFields(schema: Schema, type: MessageType | undefined, { indent, depth, room }: Level): string[] {
  if (type === undefined) return [`${indent}# the type is not in the module`];
  const lines: string[] = [];
  let oneof: string | undefined;
  const asked = askedFields(schema, type);
  for (const field of type.fields) {
    if (room.fields-- <= 0) break;
    if (field.oneof !== undefined && field.oneof !== oneof) lines.push(`${indent}# one of these:`);
    oneof = field.oneof;
    const rules = describeRules(field.rules);
    lines.push(
      `${indent}# ${typeText(schema, field)}${rules.length === 0 ? "" : `; ${rules.join(", ")}`}${field.deprecated ? "; deprecated" : ""}`,
    );
    const mark = asked.has(field) ? "" : "# ";
    const inner =
      opens(field) && depth < MAX_SCAFFOLD_DEPTH
        ? scaffoldFields(schema, schema.message(field.typeName), { indent: "  ", depth: depth + 1, room })
        : [];
    if (inner.length > 0 && (!asked.has(field) || saysSomething(inner))) {
      lines.push(`${indent}${mark}${field.name}:`);
      const list = field.repeated ? `${indent}${mark}- ` : `${indent}${mark}  `;
      for (const [n, line] of inner.entries())
        lines.push(((field.repeated && n > 0 ? `${indent}${mark}  ` : list) + line.slice(2)).trimEnd());
    } else {
      lines.push(`${indent}${mark}${field.name}: ${example(schema, field)}`);
    }
  }
  return lines;
}

/** A message of comments only would be none: its first plain field is taken out of them. False when it has none. */
function saysSomething(lines: string[]): boolean {
  if (lines.some((line) => !line.startsWith("  #"))) return true;
  const first = lines.findIndex((line) => /^ {2}# \w+: \S/.test(line));
  if (first < 0) return false;
  lines[first] = `  ${lines[first]!.slice("  # ".length)}`;
  return true;
}

/** Fields without which the rules refuse a message; of those of which one must be set, the first. */
function askedFields(schema: Schema, type: MessageType): ReadonlySet<Field> {
  const asked = new Set<Field>();
  for (const field of type.fields) if (isAsked(schema, field)) asked.add(field);
  for (const oneof of type.requiredOneofs) {
    const choices = type.fields.filter((field) => field.oneof === oneof && !field.deprecated);
    if (choices.length > 0 && !choices.some((field) => asked.has(field))) asked.add(choices[0]!);
  }
  return asked;
}

/** True when the rules refuse a configuration without the field. */
function isAsked(schema: Schema, field: Field): boolean {
  const { rules, kind, repeated, mapKey, presence, oneof } = field;
  if (["message", "any", "duration", "timestamp"].some((name) => at(rules, name, "required") === true)) return true;
  if (mapKey !== undefined) return Number(at(rules, "map", "min_pairs") ?? 0) > 0;
  if (repeated) return Number(at(rules, "repeated", "min_items") ?? 0) > 0;
  if (presence || oneof !== undefined || kind === "message") return false;
  return !DEFAULTS[kind === "string" || kind === "bool" || kind === "bytes" || kind === "enum" ? kind : "number"](
    schema,
    field,
  );
}

/** Whether the rules take the value that a field has when it is not set. */
const DEFAULTS: Readonly<
  Record<"string" | "bool" | "bytes" | "enum" | "number", (schema: Schema, field: Field) => boolean>
> = {
  string: (_schema, { rules }) => takesString(rules, ""),
  bool: (_schema, { rules }) => takesBool(rules, false),
  bytes: (_schema, { rules }) => takesBytes(rules, Buffer.alloc(0)),
  enum: (schema, field) => takesEnum(schema, field, 0),
  number: (_schema, { rules, kind }) => takesNumber(rules, kind, 0),
};

function takesString(rules: Rules | undefined, value: string): boolean {
  const set = ruleSet(rules, "string");
  return set === undefined || checkString(set, value) === undefined;
}
function takesBool(rules: Rules | undefined, value: boolean): boolean {
  const set = ruleSet(rules, "bool");
  return set === undefined || checkBool(set, value) === undefined;
}
function takesBytes(rules: Rules | undefined, value: Uint8Array): boolean {
  const set = ruleSet(rules, "bytes");
  return set === undefined || checkBytes(set, value) === undefined;
}
function takesEnum(schema: Schema, { rules, typeName }: Field, value: number): boolean {
  const set = ruleSet(rules, "enum");
  const values = schema.enum(typeName)?.byNumber;
  if (set === undefined || values === undefined) return true;
  return checkEnum(set, value, { has: (n) => values.has(n), name: (n) => values.get(n) ?? String(n) }) === undefined;
}
/** Rules of 64-bit kinds are of large integers. */
function takesNumber(rules: Rules | undefined, kind: string, value: number): boolean {
  const set = ruleSet(rules, kind);
  if (set === undefined) return true;
  const wide = Object.values(set)
    .flat()
    .some((bound) => typeof bound === "bigint");
  return checkNumber(set, kind, wide ? BigInt(Math.trunc(value)) : value) === undefined;
}

/** A value of the field's type that its rules take; where none is found, one to be replaced. */
function example(schema: Schema, field: Field): string {
  const { rules, repeated, mapKey } = field;
  if (mapKey !== undefined) {
    if (Number(at(rules, "map", "min_pairs") ?? 0) === 0) return "{}";
    const key = {
      ...field,
      kind: mapKey,
      rules: at(rules, "map", "keys") as Rules | undefined,
      mapKey: undefined,
      repeated: false,
    };
    const value = {
      ...field,
      rules: at(rules, "map", "values") as Rules | undefined,
      mapKey: undefined,
      repeated: false,
    };
    return `{ ${one(schema, key)}: ${one(schema, value)} }`;
  }
  if (!repeated) return one(schema, field);
  const items = { ...field, rules: at(rules, "repeated", "items") as Rules | undefined, repeated: false };
  return `[${one(schema, items)}]`;
}

function one(schema: Schema, field: Field): string {
  const { rules, kind, typeName } = field;
  switch (kind) {
    case "string":
      return JSON.stringify(stringExample(rules));
    case "bytes": {
      const sizes = [0, ...["len", "min_len"].map((rule) => Number(at(rules, "bytes", rule) ?? 0)), 4, 16];
      const size = sizes.find((n) => n <= MOST_FILLER && takesBytes(rules, Buffer.alloc(n, "x"))) ?? 0;
      return JSON.stringify(Buffer.alloc(size, "x").toString("base64"));
    }
    case "bool":
      return String(!takesBool(rules, false));
    case "enum": {
      const values = [...(schema.enum(typeName)?.byNumber ?? [])];
      return values.find(([number]) => takesEnum(schema, field, number))?.[1] ?? "0";
    }
    case "message":
      return messageExample(typeName, rules);
    default:
      return numberExample(rules, kind);
  }
}

/** Characters of an example that a rule asks for the length of. */
const MOST_FILLER = 64;
/** What well-known formats and many patterns take. */
const TEXTS = [
  "example", "a", "A", "1", "10", "true", "x-name", "/", "/path", "example.com", "a@example.com", "192.0.2.1", "2001:db8::1",
  "https://example.com/", "00000000-0000-4000-8000-000000000000", "1.0.0", "10s", "*",
] as const; // prettier-ignore

function stringExample(rules: Rules | undefined): string {
  const rule = (name: string): unknown => at(rules, "string", name);
  const text = (name: string): string => (typeof rule(name) === "string" ? String(rule(name)) : "");
  const listed = rule("in");
  const least = ["len", "min_len", "len_bytes", "min_bytes"].map((name) => Number(rule(name) ?? 0));
  const ends = text("prefix").length + text("contains").length + text("suffix").length;
  const filler = "x".repeat(Math.min(Math.max(0, ...least) - Math.min(ends, Math.max(0, ...least)), MOST_FILLER));
  const candidates = [
    text("const"),
    ...(Array.isArray(listed) ? listed.map(String) : []),
    `${text("prefix")}${filler}${text("contains")}${text("suffix")}`,
    ...TEXTS,
  ];
  return candidates.find((value) => takesString(rules, value)) ?? "";
}

function numberExample(rules: Rules | undefined, kind: string): string {
  const bound = (name: string): number[] => {
    const value = at(rules, kind, name);
    return value === undefined || Array.isArray(value) ? [] : [Number(value)];
  };
  const listed = at(rules, kind, "in");
  const candidates = [
    ...bound("const"),
    ...(Array.isArray(listed) ? listed.map(Number) : []),
    ...bound("gte"),
    ...bound("gt").map((n) => n + 1),
    0,
    1,
    ...bound("gt").map((n) => n + 0.001),
    ...bound("lte"),
    ...bound("lt").map((n) => n - 1),
  ];
  return String(candidates.find((value) => takesNumber(rules, kind, value)) ?? 0);
}

function messageExample(type: string, rules: Rules | undefined): string {
  if (type === "google.protobuf.Duration") return durationExample(rules);
  if (type === "google.protobuf.Timestamp") return '"2026-01-01T00:00:00Z"';
  if (!isWrapper(type)) return "{}";
  if (type.endsWith(".StringValue")) return JSON.stringify(stringExample(rules));
  if (type.endsWith(".BytesValue")) return '""';
  if (type.endsWith(".BoolValue")) return String(!takesBool(rules, false));
  return numberExample(rules, type.replace(/^.*\.(\w+)Value$/, "$1").toLowerCase());
}

function durationExample(rules: Rules | undefined): string {
  const bounds = ["const", "gte", "lte"].map((name) => durationSeconds(at(rules, "duration", name)));
  const above = durationSeconds(at(rules, "duration", "gt"));
  const below = durationSeconds(at(rules, "duration", "lt"));
  const [constant, least, most] = bounds;
  if (constant !== undefined) return `${constant}s`;
  const fits = (seconds: number): boolean =>
    (least === undefined || seconds >= least) &&
    (most === undefined || seconds <= most) &&
    (above === undefined || seconds > above) &&
    (below === undefined || seconds < below);
  const candidates = [
    1,
    least,
    most,
    above === undefined ? undefined : above + 1,
    below === undefined ? undefined : below / 2,
  ];
  return `${candidates.find((seconds) => seconds !== undefined && fits(seconds)) ?? 1}s`;
}

function at(rules: Rules | undefined, kind: string, rule: string): unknown {
  const value = rules?.[kind];
  return typeof value === "object" && value !== null && Object.hasOwn(value, rule)
    ? (value as Record<string, unknown>)[rule]
    : undefined;
}
