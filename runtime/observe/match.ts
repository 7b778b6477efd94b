/**
 * Envoy's matchers for headers, query parameters and strings, compiled to functions: for routes, rate limits
 * and access log filters. Texts that are matched are byte strings (wire-text.ts).
 */
import { RE2JS } from "re2js";
import type { HeaderMap } from "../codec/headers.ts";
import type {
  HeaderMatcher,
  QueryParameterMatcher,
  RuntimeFraction,
  Snapshot,
  StringMatcher,
} from "../config/snapshot.ts";
import { queryParameter } from "./query.ts";
import { byteText, wireText } from "./wire-text.ts";

export type TextTest = (text: string) => boolean;
export type HeaderTest = (headers: HeaderMap) => boolean;

/** Compiles a StringMatcher. Throws re2js' RE2JSException for a bad regular expression. */
export function compileString(matcher: StringMatcher): TextTest {
  const { kind, ignoreCase } = matcher;
  if (kind === "safe_regex") return compileRegex(matcher.value);
  const value = ignoreCase ? lowerAscii(wireText(matcher.value)) : wireText(matcher.value);
  const test = plainTest(kind, value);
  return ignoreCase ? (text) => test(lowerAscii(text)) : test;
}

function plainTest(kind: "exact" | "prefix" | "suffix" | "contains", value: string): TextTest {
  switch (kind) {
    case "exact":
      return (text) => text === value;
    case "prefix":
      return (text) => text.startsWith(value);
    case "suffix":
      return (text) => text.endsWith(value);
    case "contains":
      return (text) => text.includes(value);
  }
}

/** Compiles a regular expression that has to match a whole text, in time linear to it. */
export function compileRegex(regex: string): TextTest {
  const compiled = RE2JS.compile(regex);
  return (text) => compiled.testExact(byteText(text));
}

/** Lower case of ASCII letters only: the bytes of other characters must stay as they are. */
export function lowerAscii(text: string): string {
  return /[A-Z]/.test(text) ? text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase()) : text;
}

/** Compiles a HeaderMatcher: several values are joined with `,` first; absence is Envoy's. */
export function compileHeader(config: HeaderMatcher): HeaderTest {
  const { name, invert, matcher } = config;
  if (matcher.kind === "present") {
    const wanted = matcher.present !== invert;
    if (!config.treatMissingAsEmpty) return (headers) => headers.has(name) === wanted;
    return () => wanted;
  }
  const test = matcher.kind === "range" ? rangeTest(matcher.start, matcher.end) : compileString(matcher.string);
  return (headers) => {
    const value = headers.joined(name);
    if (value !== undefined) return test(value) !== invert;
    return config.treatMissingAsEmpty && test("") !== invert;
  };
}

function rangeTest(start: number, end: number): TextTest {
  return (text) => {
    if (!/^[+-]?[0-9]{1,19}$/.test(text)) return false;
    const value = Number(text);
    return value >= start && value < end;
  };
}

/** All of them have to match; undefined when there are none, so that the caller can skip the call. */
export function compileHeaders(configs: readonly HeaderMatcher[]): HeaderTest | undefined {
  const tests = configs.map(compileHeader);
  if (tests.length <= 1) return tests[0];
  return (headers) => {
    for (const test of tests) if (!test(headers)) return false;
    return true;
  };
}

/** All of them have to match the query of a `:path`; undefined when there are none. */
export function compileQuery(configs: readonly QueryParameterMatcher[]): TextTest | undefined {
  if (configs.length === 0) return undefined;
  const tests = configs.map((config) => {
    const name = wireText(config.name);
    const test = config.string === undefined ? undefined : compileString(config.string);
    return (path: string): boolean => {
      const value = queryParameter(path, name);
      return value !== undefined && (test === undefined || test(value));
    };
  });
  return (path) => {
    for (const test of tests) if (!test(path)) return false;
    return true;
  };
}

/** Compares a random number (0 to below 1) with the fraction, which the runtime may override. */
export function compileFraction(fraction: RuntimeFraction, runtime: Snapshot["runtime"]): (random: number) => boolean {
  const { numerator, denominator } = effectiveFraction(fraction, runtime);
  return (random) => random * denominator < numerator;
}

function effectiveFraction(
  fraction: RuntimeFraction,
  runtime: Snapshot["runtime"],
): { numerator: number; denominator: number } {
  const value = fraction.runtimeKey === "" ? undefined : runtime[fraction.runtimeKey];
  if (typeof value === "number") return { numerator: value, denominator: 100 };
  if (typeof value === "object") return value;
  return fraction;
}
