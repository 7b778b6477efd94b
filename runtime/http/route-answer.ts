/** What a route answers itself, without upstream: a direct response, or where a redirect leads. */
import type { HeaderMap } from "../codec/headers.ts";
import { wireText } from "../observe/wire-text.ts";
import type { LocalReply } from "./filter.ts";
import { reply } from "./local-reply.ts";
import type { ResolvedRoute } from "./route-table.ts";

/** The answer of a route whose action is not to forward. */
export function routeAnswer(route: ResolvedRoute, headers: HeaderMap): LocalReply {
  const { action } = route;
  switch (action.kind) {
    case "direct_response":
      return reply(action.status, action.body, "direct_response");
    case "redirect":
      return redirectReply(action.status, redirectLocation(route, headers));
    default:
      return reply(500, "", "non_forwarding_action");
  }
}

/** A redirect is a direct response to Envoy, too: its details say so. */
export function redirectReply(status: number, location: string): LocalReply {
  return { ...reply(status, "", "direct_response"), headers: ["location", location] };
}

/** The location of a redirect action. */
export function redirectLocation(resolved: ResolvedRoute, headers: HeaderMap): string {
  const { action } = resolved;
  if (action.kind !== "redirect") return "";
  const scheme = action.https ? "https" : wireText(action.scheme) || (headers.get(":scheme") ?? "http");
  const port = action.port === 0 ? "" : `:${action.port}`;
  const host = action.host === "" ? redirectHost(headers, scheme, port !== "") : wireText(action.host);
  return `${scheme}://${host}${port}${redirectPath(resolved, headers)}`;
}

function redirectPath(resolved: ResolvedRoute, headers: HeaderMap): string {
  const { action } = resolved;
  if (action.kind !== "redirect") return "";
  const asked = headers.get(":path") ?? "";
  if (action.path !== "") {
    const path = wireText(action.path);
    const query = asked.indexOf("?");
    // A query of the redirect's own takes the place of the request's.
    if (path.includes("?") || query === -1 || action.stripQuery) return path;
    return path + asked.slice(query);
  }
  const path = resolved.pathRewrite === null ? asked : resolved.pathRewrite(asked);
  const query = path.indexOf("?");
  return action.stripQuery && query !== -1 ? path.slice(0, query) : path;
}

/** The request's host; its port goes when a new one is given, or when it is the default of a scheme that changes. */
function redirectHost(headers: HeaderMap, scheme: string, newPort: boolean): string {
  const host = headers.get(":authority") ?? "";
  const colon = host.startsWith("[") ? host.lastIndexOf("]:") + 1 : host.lastIndexOf(":");
  if (colon <= 0) return host;
  const port = host.slice(colon);
  const before = headers.get("x-forwarded-proto") ?? "";
  const isDefault = (before === "https" && port === ":443") || (before === "http" && port === ":80");
  return newPort || (scheme !== before && isDefault) ? host.slice(0, colon) : host;
}

/** Where the virtual host's require_tls sends a request that came without TLS; null when it may pass. */
export function tlsRedirectLocation(resolved: ResolvedRoute, headers: HeaderMap): string | null {
  const { requireTls } = resolved.virtualHost;
  if (requireTls === "NONE") return null;
  const scheme = headers.get("x-forwarded-proto");
  if (scheme === undefined || scheme === "https") return null;
  if (requireTls === "EXTERNAL_ONLY" && headers.get("x-envoy-internal") === "true") return null;
  return `https://${headers.get(":authority") ?? ""}${headers.get(":path") ?? ""}`;
}
