/**
 * The checks of the connection manager before filters (Envoy: `ActiveStream::decodeHeaders`, in its order), the
 * same for every version of HTTP.
 */
import type { HeaderMap } from "../codec/headers.ts";
import type { ConnectionManager } from "./connection-manager.ts";
import type { LocalReply } from "./filter.ts";
import { REPLIES } from "./local-reply.ts";
import { mergeSlashes, normalizeHost, normalizePath } from "./path.ts";

/** The answer to a request that goes no further; null: it may, its host and path in their normal form. */
export function checkRequest(headers: HeaderMap, manager: ConnectionManager, localAddress: string): LocalReply | null {
  const host = headers.get(":authority") ?? "";
  if (host === "") return REPLIES.missingHost;
  const path = headers.get(":path") ?? "";
  if (path.charCodeAt(0) !== 0x2f && !(path === "*" && headers.get(":method") === "OPTIONS")) {
    manager.stats.rqNonRelativePath.inc();
    return path === "" ? REPLIES.missingPath : REPLIES.absolutePath;
  }
  return normalize(headers, manager, { host, path, localAddress });
}

function normalize(
  headers: HeaderMap,
  manager: ConnectionManager,
  { host, path, localAddress }: { readonly host: string; readonly path: string; readonly localAddress: string },
): LocalReply | null {
  const { config } = manager;
  if (config.normalizePath) {
    const normal = normalizePath(path);
    if (normal === undefined) {
      manager.stats.rqFailedPathNormalization.inc();
      return REPLIES.pathNormalizationFailed;
    }
    if (normal !== path) headers.set(":path", normal);
  }
  if (config.mergeSlashes) headers.set(":path", mergeSlashes(headers.get(":path")!));
  if (config.stripPort !== "none" || config.stripTrailingHostDot) {
    const port = localAddress.slice(localAddress.lastIndexOf(":") + 1);
    headers.set(":authority", normalizeHost(host, config.stripPort, port, config.stripTrailingHostDot));
  }
  return null;
}
