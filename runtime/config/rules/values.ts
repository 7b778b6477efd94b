/**
 * protoc-gen-validate's rules for single values. Each check says what the rule is, or nothing when it holds.
 */
import { isIPv4, isIPv6 } from "node:net";

import { regexAccepts } from "./regex.ts";
import type { Rules } from "../schema/rule-shape.ts";
import { ipFamily } from "../../observe/ip-family.ts";

/** A rule that does not hold. */
export interface Broken {
  readonly rule: string;
  readonly message: string;
}

/** A set of rules of one kind, e.g. the members of `StringRules`. */
export type RuleSet = Readonly<Record<string, unknown>>;

/** The member `kind` of field rules. */
export function ruleSet(rules: Rules | undefined, kind: string): RuleSet | undefined {
  const found = rules?.[kind];
  return typeof found === "object" && found !== null ? (found as RuleSet) : undefined;
}

/** string rules; lengths count code points, `*_bytes` count UTF-8 bytes. */
export function checkString(rules: RuleSet, value: string): Broken | undefined {
  if (rules["ignore_empty"] === true && value === "") return undefined;
  const size = codePoints(value);
  const bytes = Buffer.byteLength(value);
  return (
    constant(rules, "string", value) ??
    bound(rules, "string", {
      name: "len",
      holds: (n) => size === n,
      text: (n) => `must have exactly ${n} characters, has ${size}`,
    }) ??
    bound(rules, "string", { name: "min_len", holds: (n) => size >= n, text: (n) => atLeast(n, size, "character") }) ??
    bound(rules, "string", {
      name: "max_len",
      holds: (n) => size <= n,
      text: (n) => `must have at most ${n} characters, has ${size}`,
    }) ??
    bound(rules, "string", {
      name: "len_bytes",
      holds: (n) => bytes === n,
      text: (n) => `must have exactly ${n} bytes, has ${bytes}`,
    }) ??
    bound(rules, "string", { name: "min_bytes", holds: (n) => bytes >= n, text: (n) => atLeast(n, bytes, "byte") }) ??
    bound(rules, "string", {
      name: "max_bytes",
      holds: (n) => bytes <= n,
      text: (n) => `must have at most ${n} bytes, has ${bytes}`,
    }) ??
    part(rules, "string", { name: "pattern", holds: (p) => regexAccepts(p, value), text: (p) => `must match ${p}` }) ??
    part(rules, "string", {
      name: "prefix",
      holds: (p) => value.startsWith(p),
      text: (p) => `must begin with ${JSON.stringify(p)}`,
    }) ??
    part(rules, "string", {
      name: "suffix",
      holds: (p) => value.endsWith(p),
      text: (p) => `must end with ${JSON.stringify(p)}`,
    }) ??
    part(rules, "string", {
      name: "contains",
      holds: (p) => value.includes(p),
      text: (p) => `must contain ${JSON.stringify(p)}`,
    }) ??
    part(rules, "string", {
      name: "not_contains",
      holds: (p) => !value.includes(p),
      text: (p) => `must not contain ${JSON.stringify(p)}`,
    }) ??
    members(rules, "string", value) ??
    format(rules, value)
  );
}

/** Rules of every integer and floating point kind; `kind` names them in messages. */
export function checkNumber(rules: RuleSet, kind: string, value: number | bigint): Broken | undefined {
  if (rules["ignore_empty"] === true && Number(value) === 0) return undefined;
  return constant(rules, kind, value) ?? checkRange(rules, kind, value, String) ?? members(rules, kind, value);
}

/** `bool.const`. */
export function checkBool(rules: RuleSet, value: boolean): Broken | undefined {
  return constant(rules, "bool", value);
}

/** bytes rules; texts in rules stand for their UTF-8 bytes. */
export function checkBytes(rules: RuleSet, value: Uint8Array): Broken | undefined {
  if (rules["ignore_empty"] === true && value.length === 0) return undefined;
  const hex = (raw: unknown): string => Buffer.from(raw as string | Uint8Array).toString("hex");
  const text = Buffer.from(value).toString("hex");
  const has = (name: string, holds: (part: string) => boolean): Broken | undefined =>
    rules[name] === undefined || holds(hex(rules[name]))
      ? undefined
      : { rule: `bytes.${name}`, message: `breaks the rule ${name} ${hex(rules[name])} (hex)` };
  const list = (name: string): string[] => (Array.isArray(rules[name]) ? (rules[name] as unknown[]).map(hex) : []);
  const size = value.length;
  return (
    has("const", (part) => text === part) ??
    bound(rules, "bytes", {
      name: "len",
      holds: (n) => size === n,
      text: (n) => `must have exactly ${n} bytes, has ${size}`,
    }) ??
    bound(rules, "bytes", { name: "min_len", holds: (n) => size >= n, text: (n) => atLeast(n, size, "byte") }) ??
    bound(rules, "bytes", {
      name: "max_len",
      holds: (n) => size <= n,
      text: (n) => `must have at most ${n} bytes, has ${size}`,
    }) ??
    part(rules, "bytes", {
      name: "pattern",
      holds: (p) => regexAccepts(p, Buffer.from(value).toString("latin1")),
      text: (p) => `must match ${p}`,
    }) ??
    has("prefix", (p) => text.startsWith(p)) ??
    has("suffix", (p) => text.endsWith(p)) ??
    has("contains", (p) => Buffer.from(value).includes(Buffer.from(p, "hex"))) ??
    (list("in").length > 0 && !list("in").includes(text)
      ? { rule: "bytes.in", message: "is not one of the allowed values" }
      : undefined) ??
    (list("not_in").includes(text)
      ? { rule: "bytes.not_in", message: "is one of the values that are not allowed" }
      : undefined) ??
    bytesAddress(rules, size)
  );
}

/** enum rules; `defined` tells whether the number has a name, `name` prints a number. */
export function checkEnum(
  rules: RuleSet,
  value: number,
  type: { has(n: number): boolean; name(n: number): string },
): Broken | undefined {
  if (rules["const"] !== undefined && rules["const"] !== value)
    return { rule: "enum.const", message: `must be ${type.name(Number(rules["const"]))}` };
  if (rules["defined_only"] === true && !type.has(value))
    return { rule: "enum.defined_only", message: `must be a defined value, ${value} is none` };
  const allowed = rules["in"];
  if (Array.isArray(allowed) && allowed.length > 0 && !allowed.includes(value)) {
    return { rule: "enum.in", message: `must be one of ${allowed.map((n) => type.name(Number(n))).join(", ")}` };
  }
  const refused = rules["not_in"];
  if (Array.isArray(refused) && refused.includes(value))
    return { rule: "enum.not_in", message: `must not be ${type.name(value)}` };
  return undefined;
}

/** gt, gte, lt, lte: with a lower bound above the upper one the values between them are the forbidden ones. */
export function checkRange<T extends number | bigint>(
  rules: RuleSet,
  kind: string,
  value: T,
  show: (bound: T) => string,
): Broken | undefined {
  const low = (rules["gt"] ?? rules["gte"]) as T | undefined;
  const high = (rules["lt"] ?? rules["lte"]) as T | undefined;
  const above = low === undefined || (rules["gt"] === undefined ? value >= low : value > low);
  const below = high === undefined || (rules["lt"] === undefined ? value <= high : value < high);
  const inverted = low !== undefined && high !== undefined && low > high;
  if (inverted ? above || below : above && below) return undefined;
  const lowText = low === undefined ? "" : `${rules["gt"] === undefined ? "at least" : "more than"} ${show(low)}`;
  const highText = high === undefined ? "" : `${rules["lt"] === undefined ? "at most" : "less than"} ${show(high)}`;
  const both = lowText !== "" && highText !== "" ? (inverted ? " or " : " and ") : "";
  const name =
    !above && low !== undefined ? (rules["gt"] === undefined ? "gte" : "gt") : rules["lt"] === undefined ? "lte" : "lt";
  return { rule: `${kind}.${name}`, message: `must be ${lowText}${both}${highText}, is ${show(value)}` };
}

/** `in` and `not_in` for values that === compares. */
export function members(rules: RuleSet, kind: string, value: unknown): Broken | undefined {
  const allowed = rules["in"];
  if (Array.isArray(allowed) && allowed.length > 0 && !allowed.includes(value)) {
    return { rule: `${kind}.in`, message: `must be one of ${allowed.map((item) => JSON.stringify(item)).join(", ")}` };
  }
  const refused = rules["not_in"];
  if (Array.isArray(refused) && refused.includes(value))
    return { rule: `${kind}.not_in`, message: `must not be ${JSON.stringify(value)}` };
  return undefined;
}

function constant(rules: RuleSet, kind: string, value: unknown): Broken | undefined {
  const wanted = rules["const"];
  return wanted === undefined || wanted === value
    ? undefined
    : { rule: `${kind}.const`, message: `must be ${JSON.stringify(wanted)}` };
}

interface Check<T> {
  readonly name: string;
  readonly holds: (rule: T) => boolean;
  readonly text: (rule: T) => string;
}

function bound(rules: RuleSet, kind: string, check: Check<number>): Broken | undefined {
  const rule = rules[check.name];
  const failed = rule !== undefined && !check.holds(Number(rule));
  return failed ? { rule: `${kind}.${check.name}`, message: check.text(Number(rule)) } : undefined;
}

function part(rules: RuleSet, kind: string, check: Check<string>): Broken | undefined {
  const rule = rules[check.name];
  return typeof rule === "string" && !check.holds(rule)
    ? { rule: `${kind}.${check.name}`, message: check.text(rule) }
    : undefined;
}

function atLeast(least: number, size: number, unit: string): string {
  if (size === 0 && least === 1) return "must not be empty";
  return `must have at least ${least} ${unit}${least === 1 ? "" : "s"}, has ${size}`;
}

function codePoints(text: string): number {
  let count = 0;
  for (const _point of text) count += 1;
  return count;
}

const FORMATS: Readonly<Record<string, (value: string) => boolean>> = {
  email: (value) =>
    value.length <= 254 &&
    /^[^\s@<>]{1,64}@[^\s@<>]+$/.test(value) &&
    isHostname(value.slice(value.lastIndexOf("@") + 1)),
  hostname: isHostname,
  ip: (value) => ipFamily(value) !== 0,
  ipv4: isIPv4,
  ipv6: isIPv6,
  uri: (value) => /^[A-Za-z][A-Za-z0-9+.-]*:/.test(value) && URL.canParse(value),
  uri_ref: (value) => URL.canParse(value, "http://a/"),
  address: (value) => ipFamily(value) !== 0 || isHostname(value),
  uuid: (value) => /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(value),
};

/* eslint-disable no-control-regex -- the rules are about control characters */
const HEADER_NAME = { strict: /^:?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+$/, loose: /^[^\u0000\u000A\u000D]+$/ };
const HEADER_VALUE = { strict: /^[^\u0000-\u0008\u000A-\u001F\u007F]*$/, loose: /^[^\u0000\u000A\u000D]*$/ };

function format(rules: RuleSet, value: string): Broken | undefined {
  for (const [name, holds] of Object.entries(FORMATS)) {
    if (rules[name] === true && !holds(value))
      return { rule: `string.${name}`, message: `must be a valid ${name.replace("_", " ")}` };
  }
  const wellKnown = rules["well_known_regex"];
  if (wellKnown !== "HTTP_HEADER_NAME" && wellKnown !== "HTTP_HEADER_VALUE") return undefined;
  const regexes = wellKnown === "HTTP_HEADER_NAME" ? HEADER_NAME : HEADER_VALUE;
  // Unset means strict. An unset name is for other rules to refuse.
  const accepted = (rules["strict"] === false ? regexes.loose : regexes.strict).test(value);
  if (accepted || (value === "" && rules["strict"] === false)) return undefined;
  return {
    rule: "string.well_known_regex",
    message: `must be a valid ${wellKnown === "HTTP_HEADER_NAME" ? "header name" : "header value"}`,
  };
}

function bytesAddress(rules: RuleSet, size: number): Broken | undefined {
  const sizes: Record<string, number[]> = { ip: [4, 16], ipv4: [4], ipv6: [16] };
  for (const [name, allowed] of Object.entries(sizes)) {
    if (rules[name] === true && !allowed.includes(size))
      return { rule: `bytes.${name}`, message: `must be the bytes of an ${name} address` };
  }
  return undefined;
}

function isHostname(value: string): boolean {
  const name = value.endsWith(".") ? value.slice(0, -1) : value;
  return (
    name.length <= 253 && name.split(".").every((label) => /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/.test(label))
  );
}
