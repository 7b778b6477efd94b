/** Path rewrites of routes and redirects, compiled to functions from `:path` to `:path`. */
import type { RegexRewrite, RouteMatch } from "../config/snapshot.ts";
import { compileRegexRewrite, type Rewrite } from "../observe/regex-rewrite.ts";
import { wireText } from "../observe/wire-text.ts";
import { pathLength } from "./route-match.ts";

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
