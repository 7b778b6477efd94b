/** What a route does to the headers of a request and of its response. */
import type { HeaderMap } from "../codec/headers.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { wireText } from "../observe/wire-text.ts";
import { wholeNumber } from "./retry.ts";
import { pathLength } from "./route-match.ts";
import type { ResolvedRoute } from "./route-table.ts";

/** The route's timeout in milliseconds, or the one that a trusted caller asks for. */
export function chooseTimeout(routeTimeoutMs: number, headers: HeaderMap): number {
  const asked = headers.get("x-envoy-upstream-rq-timeout-ms");
  if (asked === undefined) return routeTimeoutMs;
  headers.remove("x-envoy-upstream-rq-timeout-ms");
  return wholeNumber(asked) ?? routeTimeoutMs;
}

/**
 * Header mutations, then host rewrite, then path rewrite, as in Envoy. `keepOriginals` false (the router's
 * suppress_envoy_headers) leaves x-envoy-original-path and x-envoy-original-host out. The host of an `auto`
 * rewrite is known later: the caller then calls {@link rewriteHost}.
 */
export function finalizeRequestHeaders(
  resolved: ResolvedRoute,
  headers: HeaderMap,
  info: StreamInfo,
  keepOriginals = true,
): void {
  if (resolved.requestMutations !== null) {
    for (const mutation of resolved.requestMutations) mutation.apply(headers, info);
  }
  const { action } = resolved;
  if (action.kind !== "route") return;
  if (action.hostRewrite.kind !== "none") {
    const host = hostFor(resolved, headers);
    if (host !== undefined) rewriteHost(headers, host, action.appendXForwardedHost, keepOriginals);
  }
  if (resolved.pathRewrite !== null) {
    const path = headers.get(":path") ?? "";
    if (keepOriginals) headers.set("x-envoy-original-path", path);
    headers.set(":path", resolved.pathRewrite(path));
  }
}

function hostFor(resolved: ResolvedRoute, headers: HeaderMap): string | undefined {
  if (resolved.action.kind !== "route") return undefined;
  const { hostRewrite } = resolved.action;
  switch (hostRewrite.kind) {
    case "none":
    case "auto":
      return undefined;
    case "literal":
      return wireText(hostRewrite.value);
    case "header":
      // An absent or empty header leaves the host alone.
      return headers.get(hostRewrite.name) || undefined;
    case "path_regex": {
      const path = headers.get(":path") ?? "";
      return resolved.hostFromPath?.(path.slice(0, pathLength(path)));
    }
  }
}

/** Replaces `:authority`, keeping the old one in x-envoy-original-host and, when asked for, in x-forwarded-host. */
export function rewriteHost(headers: HeaderMap, host: string, appendForwarded: boolean, keepOriginal = true): void {
  const old = headers.get(":authority") ?? "";
  if (appendForwarded && old !== "") {
    const forwarded = headers.joined("x-forwarded-host");
    if (forwarded === undefined || forwarded === "") headers.set("x-forwarded-host", old);
    else if (forwarded.slice(forwarded.lastIndexOf(",") + 1).trim() !== old) {
      headers.set("x-forwarded-host", `${forwarded},${old}`);
    }
  }
  if (keepOriginal && !headers.has("x-envoy-original-host")) headers.add("x-envoy-original-host", old);
  headers.set(":authority", host);
}

/** Header mutations of the response. */
export function finalizeResponseHeaders(resolved: ResolvedRoute, headers: HeaderMap, info: StreamInfo): void {
  if (resolved.responseMutations === null) return;
  for (const mutation of resolved.responseMutations) mutation.apply(headers, info);
}
