/** A configuration's schema in words, for `sluice inspect`. */
import type { Field, MessageType, Schema } from "../config/schema/schema.ts";
import type { Rules } from "../config/schema/rule-shape.ts";
import { MAX_SCAFFOLD_DEPTH, MAX_SCHEMA_LINES, MAX_SHOWN_VALUES } from "../limits.ts";

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

/** True for fields whose messages are told with their own fields. */
export function opens(field: Field): boolean {
  return field.kind === "message" && field.mapKey === undefined && !field.typeName.startsWith("google.protobuf.");
}

/** The type in words; of an enum its values. */
export function typeText(schema: Schema, field: Field): string {
  const own =
    field.kind === "enum"
      ? valuesText([...(schema.enum(field.typeName)?.byName.keys() ?? [])])
      : field.kind === "message"
        ? field.typeName.replace(/^.*\./, "")
        : field.kind;
  if (field.mapKey !== undefined) return `map of ${field.mapKey} to ${own}`;
  return field.repeated ? `list of ${own}` : own;
}

function valuesText(names: readonly string[]): string {
  if (names.length <= MAX_SHOWN_VALUES) return names.join(" | ");
  return `${names.slice(0, MAX_SHOWN_VALUES - 1).join(" | ")} | … (${names.length} values)`;
}

/** protoc-gen-validate's rules in words. */
export function describeRules(rules: Rules | undefined): string[] {
  const words: string[] = [];
  for (const [kind, value] of Object.entries(rules ?? {})) {
    if (typeof value !== "object" || value === null) continue;
    for (const [rule, bound] of Object.entries(value as Record<string, unknown>)) {
      if (kind === "repeated" && rule === "items")
        words.push(...describeRules(bound as Rules).map((text) => `each ${text}`));
      // A name that is none is refused when it is read.
      else if (kind !== "enum" || rule !== "defined_only") words.push(ruleText(rule, boundText(kind, bound)));
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

/** `{seconds, nanos}` of a rule about durations, in seconds; undefined for anything else. */
export function durationSeconds(bound: unknown): number | undefined {
  if (typeof bound !== "object" || bound === null || Array.isArray(bound)) return undefined;
  const { seconds, nanos } = bound as { readonly seconds?: unknown; readonly nanos?: unknown };
  return Number(seconds ?? 0) + Number(nanos ?? 0) / 1e9;
}

function boundText(kind: string, bound: unknown): unknown {
  const seconds = kind === "duration" ? durationSeconds(bound) : undefined;
  return seconds === undefined ? bound : `${seconds}s`;
}

function ruleText(rule: string, bound: unknown): string {
  const shown = typeof bound === "string" ? bound : JSON.stringify(bound);
  const words = RULE_WORDS[rule];
  if (words !== undefined) return words(shown);
  return bound === true ? rule.replaceAll("_", " ") : `${rule.replaceAll("_", " ")} ${shown}`;
}
