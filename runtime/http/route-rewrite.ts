/** Path rewrites of routes and redirects, compiled to functions from `:path` to `:path`. */
import { RE2JS } from "re2js";
import type { RegexRewrite, RouteMatch } from "../config/snapshot.ts";
import { wireText } from "../observe/wire-text.ts";
import { pathLength } from "./route-match.ts";

export type Rewrite = (text: string) => string;

/** The rewrite of a route or redirect; null when there is none. The query stays as it is. */
export function compilePathRewrite(
  match: RouteMatch,
  prefixRewrite: string | undefined,
  regexRewrite: RegexRewrite | undefined,
): Rewrite | null {
  if (regexRewrite !== undefined) {
    const rewrite = compileRegexRewrite(regexRewrite);
    return (path) => {
      const end = pathLength(path);
      return rewrite(path.slice(0, end)) + path.slice(end);
    };
  }
  if (prefixRewrite === undefined) return null;
  const replacement = wireText(prefixRewrite);
  const { kind } = match.path;
  if (kind === "prefix" || kind === "path_separated_prefix") {
    const matched = wireText(match.path.value).length;
    return (path) => replacement + path.slice(matched);
  }
  // Whatever else matched, it matched the whole path.
  return (path) => replacement + path.slice(pathLength(path));
}

/**
 * Replaces every match of the expression; `\0` to `\9` in the substitution are groups, `\\` a backslash.
 * Texts with bytes outside ASCII are matched byte by byte, as latin-1.
 */
export function compileRegexRewrite(config: RegexRewrite): Rewrite {
  const regex = RE2JS.compile(config.regex);
  const parts = parseSubstitution(wireText(config.substitution));
  return (text) => {
    const matcher = regex.matcher(text);
    let out = "";
    let at = 0;
    while (matcher.find()) {
      out += text.slice(at, matcher.start());
      for (const part of parts) out += typeof part === "string" ? part : (matcher.group(part) ?? "");
      at = matcher.end();
    }
    return at === 0 && out === "" ? text : out + text.slice(at);
  };
}

/** How many groups a substitution refers to at most, or undefined when it is malformed. */
export function highestGroup(substitution: string): number | undefined {
  if (/\\(?![0-9\\])/.test(substitution.replaceAll("\\\\", ""))) return undefined;
  return Math.max(0, ...parseSubstitution(substitution).map((part) => (typeof part === "number" ? part : 0)));
}

function parseSubstitution(text: string): (string | number)[] {
  return [...text.matchAll(/\\([0-9])|\\\\|[^\\]+|\\/g)].map(([token, group]) => {
    if (group !== undefined) return Number(group);
    return token === "\\\\" ? "\\" : token;
  });
}
