/** Route configurations for tests: everything has Envoy's default unless it is given. */
import type {
  ForwardAction,
  HeaderMutation,
  HeaderValueOption,
  RouteAction,
  RouteConfig,
  RouteConfigEntry,
  RouteMatch,
  Snapshot,
  VirtualHostConfig,
  WeightedCluster,
} from "../../runtime/config/snapshot.ts";
import { RouteTable } from "../../runtime/http/route-table.ts";
import type { ResolvedRoute } from "../../runtime/http/route-table.ts";
import type { StreamInfo } from "../../runtime/observe/stream-info.ts";
import { freshStream, headersOf } from "../observe/stream-sample.ts";

const NO_MUTATION: HeaderMutation = { add: [], remove: [] };

/** `name: value` pairs to add (as APPEND_IF_EXISTS_OR_ADD unless told otherwise), then names to remove. */
export function mutation(
  add: Record<string, string>,
  remove: string[] = [],
  action: HeaderValueOption["action"] = "APPEND_IF_EXISTS_OR_ADD",
  keepEmptyValue = false,
): HeaderMutation {
  return { add: Object.entries(add).map(([name, value]) => ({ name, value, action, keepEmptyValue })), remove };
}

export function forward(parts: Partial<ForwardAction> & { to?: string } = {}): ForwardAction {
  const { to = "c", ...rest } = parts;
  return {
    kind: "route",
    cluster: { kind: "cluster", name: to },
    clusterNotFoundStatus: 503,
    timeoutMs: 15_000,
    idleTimeoutMs: undefined,
    prefixRewrite: "",
    regexRewrite: undefined,
    hostRewrite: { kind: "none" },
    appendXForwardedHost: false,
    retryPolicy: undefined,
    rateLimits: [],
    includeVhRateLimits: false,
    upgrades: [],
    ...rest,
  };
}

type Redirect = Extract<RouteAction, { kind: "redirect" }>;
export function redirect(parts: Partial<Redirect>): Redirect {
  return {
    kind: "redirect",
    https: false,
    scheme: "",
    host: "",
    port: 0,
    path: "",
    prefixRewrite: undefined,
    regexRewrite: undefined,
    status: 301,
    stripQuery: false,
    ...parts,
  };
}

export function weighted(name: string, weight: number, parts: Partial<WeightedCluster> = {}): WeightedCluster {
  return { name, weight, requestHeaders: NO_MUTATION, responseHeaders: NO_MUTATION, perFilter: {}, ...parts };
}

export function match(parts: Partial<RouteMatch> & { prefix?: string } = {}): RouteMatch {
  const { prefix = "/", ...rest } = parts;
  return {
    path: { kind: "prefix", value: prefix },
    caseSensitive: true,
    headers: [],
    queryParameters: [],
    runtimeFraction: undefined,
    grpc: false,
    ...rest,
  };
}

export function route(parts: Partial<RouteConfigEntry> & { to?: string } = {}): RouteConfigEntry {
  const { to = "c", ...rest } = parts;
  return {
    name: "",
    match: match(),
    action: forward({ to }),
    requestHeaders: NO_MUTATION,
    responseHeaders: NO_MUTATION,
    perFilter: {},
    metadata: {},
    ...rest,
  };
}

export function virtualHost(parts: Partial<VirtualHostConfig> = {}): VirtualHostConfig {
  return {
    name: "v",
    domains: ["*"],
    routes: [route()],
    requireTls: "NONE",
    requestHeaders: NO_MUTATION,
    responseHeaders: NO_MUTATION,
    rateLimits: [],
    retryPolicy: undefined,
    includeRequestAttemptCount: false,
    includeAttemptCountInResponse: false,
    perFilter: {},
    ...parts,
  };
}

export function routeConfig(parts: Partial<RouteConfig> = {}): RouteConfig {
  return {
    name: "r",
    virtualHosts: [virtualHost()],
    requestHeaders: NO_MUTATION,
    responseHeaders: NO_MUTATION,
    internalOnlyHeaders: [],
    mostSpecificHeaderMutationsWins: false,
    ignorePortInHostMatching: false,
    perFilter: {},
    ...parts,
  };
}

export function table(parts: Partial<RouteConfig>, runtime: Snapshot["runtime"] = {}): RouteTable {
  return new RouteTable(routeConfig(parts), runtime);
}

/** Headers of a request; `path` and `host` become pseudo-headers. */
export function request(
  fields: Record<string, string | readonly string[]> & { path?: string; host?: string } = {},
): ReturnType<typeof headersOf> {
  const { path = "/", host = "www.example.com", ...rest } = fields;
  return headersOf({ ":method": "GET", ":path": path, ":authority": host, ":scheme": "http", ...rest });
}

/** The only route of a table, resolved for a request that it matches. */
export function resolveOnly(
  entry: RouteConfigEntry,
  headers: ReturnType<typeof headersOf>,
  info: StreamInfo = freshStream(),
  host: Partial<VirtualHostConfig> = {},
): ResolvedRoute {
  const resolved = table({ virtualHosts: [virtualHost({ ...host, routes: [entry] })] }).resolve(headers, info);
  if (resolved === null) throw new Error("the route does not match");
  return resolved;
}
