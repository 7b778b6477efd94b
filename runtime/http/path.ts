/**
 * Path normalisation (Envoy: `PathCanonicalizer`; RFC 3986 5.2.4 and 6.2.2): percent-decodes unreserved
 * characters, turns backslashes into slashes, removes dot segments. The query is not touched.
 */

const UNRESERVED = /[A-Za-z0-9\-._~]/;

/** The normal form of `:path`, or undefined when it has a bad escape or an escaped NUL. */
export function normalizePath(target: string): string | undefined {
  const question = target.indexOf("?");
  const path = question < 0 ? target : target.slice(0, question);
  const query = question < 0 ? "" : target.slice(question);
  const decoded = decodeUnreserved(path.replaceAll("\\", "/"));
  return decoded === undefined ? undefined : removeDotSegments(decoded) + query;
}

/** `//a///b` → `/a/b`, query untouched. */
export function mergeSlashes(target: string): string {
  const question = target.indexOf("?");
  const path = question < 0 ? target : target.slice(0, question);
  return path.replace(/\/{2,}/g, "/") + (question < 0 ? "" : target.slice(question));
}

function decodeUnreserved(path: string): string | undefined {
  if (!path.includes("%")) return path;
  let out = "";
  for (let at = 0; at < path.length; at++) {
    const char = path[at]!;
    if (char !== "%") {
      out += char;
      continue;
    }
    const hex = path.slice(at + 1, at + 3);
    if (!/^[0-9A-Fa-f]{2}$/.test(hex)) return undefined;
    const code = Number.parseInt(hex, 16);
    if (code === 0) return undefined;
    const decoded = String.fromCharCode(code);
    out += UNRESERVED.test(decoded) ? decoded : `%${hex.toUpperCase()}`;
    at += 2;
  }
  return out;
}

function removeDotSegments(path: string): string {
  if (!path.includes("/.")) return path;
  const kept: string[] = [];
  const segments = path.slice(1).split("/");
  for (const [at, segment] of segments.entries()) {
    const last = at === segments.length - 1;
    if (segment === "..") kept.pop();
    else if (segment !== ".") kept.push(segment);
    if (last && (segment === "." || segment === "..")) kept.push("");
  }
  return `/${kept.join("/")}`;
}

/** A Host without the part that configuration wants stripped: its port, a trailing dot. */
export function normalizeHost(
  host: string,
  stripPort: "none" | "matching" | "any",
  listenerPort: string,
  trailingDot: boolean,
): string {
  let name = host;
  let port = "";
  const colon = host.lastIndexOf(":");
  if (colon > host.lastIndexOf("]")) {
    name = host.slice(0, colon);
    port = host.slice(colon);
  }
  if (stripPort === "any" || (stripPort === "matching" && port === `:${listenerPort}`)) port = "";
  if (trailingDot && name.endsWith(".")) name = name.slice(0, -1);
  return name + port;
}
