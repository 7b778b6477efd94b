/** RouteMatch compiled to one function. */
import type { HeaderMap } from "../codec/headers.ts";
import type { RouteMatch, Snapshot } from "../config/snapshot.ts";
import { isGrpcContentType } from "../observe/grpc-status-text.ts";
import { compileFraction, compileHeaders, compileQuery, compileRegex, lowerAscii } from "../observe/match.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { wireText } from "../observe/wire-text.ts";

/** `path` is `:path` as it came, with its query. */
export type RouteTest = (path: string, headers: HeaderMap, info: StreamInfo) => boolean;
type PathTest = (path: string) => boolean;

/** Compiles a match: all of its conditions have to hold. */
export function compileMatch(match: RouteMatch, runtime: Snapshot["runtime"]): RouteTest {
  if (match.path.kind === "connect") return withConditions(match, runtime, isConnect);
  const test = pathTest(match.path.kind, match.path.value, match.caseSensitive);
  return withConditions(match, runtime, test);
}

/** Length of `path` up to its query or fragment. */
export function pathLength(path: string): number {
  const query = path.indexOf("?");
  const fragment = path.indexOf("#");
  if (query === -1) return fragment === -1 ? path.length : fragment;
  return fragment === -1 || fragment > query ? query : fragment;
}

const isConnect: RouteTest = (_path, headers) => headers.get(":method") === "CONNECT";

function pathTest(
  kind: Exclude<RouteMatch["path"]["kind"], "connect">,
  value: string,
  caseSensitive: boolean,
): PathTest {
  if (kind === "safe_regex") {
    const test = compileRegex(value);
    return (path) => test(path.slice(0, pathLength(path)));
  }
  // The query takes no part: a wanted text that holds one can never be found.
  if (/[?#]/.test(value)) return () => false;
  const wanted = caseSensitive ? wireText(value) : lowerAscii(wireText(value));
  const test = plainPathTest(kind, wanted);
  return caseSensitive ? test : (path) => test(lowerAscii(path));
}

function plainPathTest(kind: "prefix" | "path" | "path_separated_prefix", wanted: string): PathTest {
  const length = wanted.length;
  switch (kind) {
    case "prefix":
      if (wanted === "/") return (path) => path.startsWith("/");
      return (path) => path.startsWith(wanted);
    case "path":
      return (path) => path.startsWith(wanted) && endsAt(path, length);
    case "path_separated_prefix":
      return (path) => path.startsWith(wanted) && (path[length] === "/" || endsAt(path, length));
  }
}

function endsAt(path: string, length: number): boolean {
  return path.length === length || path[length] === "?" || path[length] === "#";
}

function withConditions(match: RouteMatch, runtime: Snapshot["runtime"], first: PathTest | RouteTest): RouteTest {
  const headersTest = compileHeaders(match.headers);
  const queryTest = compileQuery(match.queryParameters);
  const fraction = match.runtimeFraction === undefined ? undefined : compileFraction(match.runtimeFraction, runtime);
  const { tls } = match;
  const free = headersTest === undefined && queryTest === undefined && fraction === undefined && tls === undefined;
  if (free && !match.grpc) return first;
  return (path, headers, info) => {
    if (!first(path, headers, info)) return false;
    if (match.grpc && !isGrpcContentType(headers.get("content-type"))) return false;
    if (headersTest !== undefined && !headersTest(headers)) return false;
    if (queryTest !== undefined && !queryTest(path)) return false;
    if (tls !== undefined && !matchesTls(tls, info)) return false;
    return fraction === undefined || fraction(info.random());
  };
}

/** What the route asks of downstream's certificate; a plain connection shows none. */
function matchesTls({ presented, validated }: NonNullable<RouteMatch["tls"]>, { connection }: StreamInfo): boolean {
  const { secure } = connection;
  if (presented !== undefined && presented !== (secure !== undefined && secure.peer !== null)) return false;
  return validated === undefined || validated === (secure?.peerValidated === true);
}
