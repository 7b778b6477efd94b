/** Envoy's RegexMatchAndSubstitute: what routes use to rewrite paths and hosts, and what configuration checks. */
import { RE2JS } from "re2js";
import type { RegexRewrite } from "../config/snapshot.ts";
import { wireText } from "./wire-text.ts";

export type Rewrite = (text: string) => string;

/**
 * Compiles a substitution that replaces every match; `\0` to `\9` are groups, `\\` is a backslash. Texts with
 * bytes outside ASCII are matched byte by byte, as latin-1. Throws re2js' error for a bad expression.
 */
export function compileRegexRewrite(config: RegexRewrite): Rewrite {
  const regex = RE2JS.compile(config.regex);
  // A group that the expression does not have (configuration refuses it) stands for nothing.
  const groups = regex.groupCount();
  const parts = parse(wireText(config.substitution)).filter((part) => typeof part === "string" || part <= groups);
  return (text) => {
    const matcher = regex.matcher(text);
    let out = "";
    let at = 0;
    while (matcher.find()) {
      out += text.slice(at, matcher.start());
      for (const part of parts) out += typeof part === "string" ? part : (matcher.group(part) ?? "");
      at = matcher.end();
    }
    return out + text.slice(at);
  };
}

/** What is wrong with the substitution of a rewrite whose expression is good; undefined when nothing is. */
export function checkSubstitution({ regex, substitution }: RegexRewrite): string | undefined {
  if (/\\(?![0-9\\])/.test(substitution.replaceAll("\\\\", ""))) {
    return `"${substitution}" has a backslash that is followed by neither a digit nor a backslash`;
  }
  const groups = RE2JS.compile(regex).groupCount();
  const missing = parse(substitution).find((part) => typeof part === "number" && part > groups);
  return missing === undefined ? undefined : `"${substitution}" names group ${missing}, the expression has ${groups}`;
}

function parse(substitution: string): (string | number)[] {
  return [...substitution.matchAll(/\\([0-9])|\\\\|[^\\]+|\\/g)].map(([token, group]) => {
    if (group !== undefined) return Number(group);
    return token === "\\\\" ? "\\" : token;
  });
}
