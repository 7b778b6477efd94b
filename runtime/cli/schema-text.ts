/** A configuration's schema in words: for `sluice inspect`, and as a configuration to fill in. */
import type { Field, MessageType, Schema } from "../config/schema/schema.ts";
import type { Rules } from "../config/schema/rule-shape.ts";
import { MAX_SCAFFOLD_DEPTH, MAX_SCHEMA_LINES } from "../limits.ts";

/** Lines `name: type, rules`, messages inside indented; at most MAX_SCHEMA_LINES, and a last one that says so. */
export function describeMessage(schema: Schema, name: string, indent = "  "): string[] {
  const lines: string[] = [];
  const describe = (type: MessageType | undefined, typeName: string, space: string, depth: number): void => {
    if (type === undefined) lines.push(`${space}(the type ${typeName} is not in the module)`);
    for (const field of type?.fields ?? []) {
      if (lines.length >= MAX_SCHEMA_LINES) return;
      const rules = describeRules(field.rules);
      lines.push(
        `${space}${field.name}: ${typeText(schema, field)}${rules.length === 0 ? "" : `, ${rules.join(", ")}`}`,
      );
      if (opens(field) && depth < MAX_SCAFFOLD_DEPTH)
        describe(schema.message(field.typeName), field.typeName, `${space}  `, depth + 1);
    }
  };
  describe(schema.message(name), name, indent, 0);
  return lines.length < MAX_SCHEMA_LINES ? lines : [...lines, `${indent}(there is more)`];
}

/**
 * YAML of a `configuration:` with every field: what the rules ask for stands there, the rest is commented out.
 * Fields beyond MAX_SCHEMA_LINES are left out, with a comment.
 */
export function scaffold(schema: Schema, name: string): string[] {
  const room = { fields: MAX_SCHEMA_LINES };
  const lines = scaffoldFields(schema, schema.message(name), "  ", 0, room);
  const more = room.fields > 0 ? [] : ["  # there is more"];
  return ["configuration:", `  "@type": type.googleapis.com/${name}`, ...lines, ...more];
}

function scaffoldFields(
  schema: Schema,
  type: MessageType | undefined,
  indent: string,
  depth: number,
  room: { fields: number },
): string[] {
  if (type === undefined) return [`${indent}# the type is not in the module`];
  const lines: string[] = [];
  let oneof: string | undefined;
  for (const field of type.fields) {
    if (room.fields-- <= 0) break;
    if (field.oneof !== undefined && field.oneof !== oneof) lines.push(`${indent}# one of these:`);
    oneof = field.oneof;
    const rules = describeRules(field.rules);
    lines.push(
      `${indent}# ${typeText(schema, field)}${rules.length === 0 ? "" : `; ${rules.join(", ")}`}${field.deprecated ? "; deprecated" : ""}`,
    );
    const asked = isAsked(field);
    const mark = asked ? "" : "# ";
    if (opens(field) && depth < MAX_SCAFFOLD_DEPTH) {
      lines.push(`${indent}${mark}${field.name}:`);
      const inner = scaffoldFields(schema, schema.message(field.typeName), "  ", depth + 1, room);
      const list = field.repeated ? `${indent}${mark}- ` : `${indent}${mark}  `;
      for (const [n, line] of inner.entries())
        lines.push(((field.repeated && n > 0 ? `${indent}${mark}  ` : list) + line.slice(2)).trimEnd());
    } else {
      lines.push(`${indent}${mark}${field.name}: ${example(schema, field)}`);
    }
  }
  return lines;
}

function opens(field: Field): boolean {
  return field.kind === "message" && field.mapKey === undefined && !field.typeName.startsWith("google.protobuf.");
}

function typeText(schema: Schema, field: Field): string {
  const own =
    field.kind === "enum"
      ? [...(schema.enum(field.typeName)?.byName.keys() ?? [])].join(" | ")
      : field.kind === "message"
        ? field.typeName.replace(/^.*\./, "")
        : field.kind;
  if (field.mapKey !== undefined) return `map of ${field.mapKey} to ${own}`;
  return field.repeated ? `list of ${own}` : own;
}

/** True when the rules refuse a configuration without the field. */
function isAsked({ rules, kind, repeated, presence }: Field): boolean {
  if (
    at(rules, "message", "required") === true ||
    at(rules, "any", "required") === true ||
    at(rules, "duration", "required") === true
  )
    return true;
  if (repeated) return Number(at(rules, "repeated", "min_items") ?? 0) > 0;
  if (presence) return false;
  return (
    kind === "string" &&
    (Number(at(rules, "string", "min_len") ?? 0) > 0 ||
      Number(at(rules, "string", "min_bytes") ?? 0) > 0 ||
      at(rules, "string", "pattern") !== undefined)
  );
}

/** A value of the field's type; where the rules say how long or how large, one that they take. */
function example(schema: Schema, field: Field): string {
  const one = scalarExample(schema, field);
  if (field.mapKey !== undefined) return `{}`;
  return field.repeated ? `[${one}]` : one;
}

function scalarExample(schema: Schema, field: Field): string {
  const rules = field.repeated ? (at(field.rules, "repeated", "items") as Rules | undefined) : field.rules;
  switch (field.kind) {
    case "string": {
      const known = at(rules, "string", "in");
      if (Array.isArray(known) && typeof known[0] === "string") return JSON.stringify(known[0]);
      const least = Number(at(rules, "string", "min_len") ?? at(rules, "string", "min_bytes") ?? 0);
      return JSON.stringify("x".repeat(Math.min(least, 64)));
    }
    case "bytes":
      return '""';
    case "bool":
      return "false";
    case "enum":
      return schema.enum(field.typeName)?.byNumber.get(0) ?? "0";
    case "message":
      return messageExample(field.typeName);
    default: {
      const least = at(rules, field.kind, "gte") ?? at(rules, field.kind, "gt");
      return String(Number(least ?? 0) + (at(rules, field.kind, "gt") === undefined ? 0 : 1));
    }
  }
}

function messageExample(type: string): string {
  if (type === "google.protobuf.Duration") return "1s";
  if (type === "google.protobuf.Timestamp") return '"2026-01-01T00:00:00Z"';
  if (/^google\.protobuf\.(?:U?Int|Float|Double)/.test(type)) return "0";
  if (type === "google.protobuf.BoolValue") return "false";
  if (/^google\.protobuf\.(?:String|Bytes)Value$/.test(type)) return '""';
  return "{}";
}

/** protoc-gen-validate's rules in words. */
export function describeRules(rules: Rules | undefined): string[] {
  const words: string[] = [];
  for (const [kind, value] of Object.entries(rules ?? {})) {
    if (typeof value !== "object" || value === null) continue;
    for (const [rule, bound] of Object.entries(value as Record<string, unknown>)) {
      if (kind === "repeated" && rule === "items")
        words.push(...describeRules(bound as Rules).map((text) => `each ${text}`));
      else words.push(ruleText(rule, bound));
    }
  }
  return words;
}

const RULE_WORDS: Readonly<Record<string, (bound: string) => string>> = {
  min_len: (bound) => `at least ${bound} characters`,
  max_len: (bound) => `at most ${bound} characters`,
  len: (bound) => `${bound} characters`,
  min_bytes: (bound) => `at least ${bound} bytes`,
  max_bytes: (bound) => `at most ${bound} bytes`,
  min_items: (bound) => `at least ${bound} items`,
  max_items: (bound) => `at most ${bound} items`,
  pattern: (bound) => `matches ${bound}`,
  prefix: (bound) => `begins with ${bound}`,
  suffix: (bound) => `ends with ${bound}`,
  contains: (bound) => `contains ${bound}`,
  in: (bound) => `one of ${bound}`,
  not_in: (bound) => `none of ${bound}`,
  const: (bound) => `is ${bound}`,
  gte: (bound) => `>= ${bound}`,
  gt: (bound) => `> ${bound}`,
  lte: (bound) => `<= ${bound}`,
  lt: (bound) => `< ${bound}`,
};

function ruleText(rule: string, bound: unknown): string {
  const shown = typeof bound === "string" ? bound : JSON.stringify(bound);
  const words = RULE_WORDS[rule];
  if (words !== undefined) return words(shown);
  return bound === true ? rule.replaceAll("_", " ") : `${rule.replaceAll("_", " ")} ${shown}`;
}

function at(rules: Rules | undefined, kind: string, rule: string): unknown {
  const value = rules?.[kind];
  return typeof value === "object" && value !== null && Object.hasOwn(value, rule)
    ? (value as Record<string, unknown>)[rule]
    : undefined;
}
