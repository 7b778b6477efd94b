/**
 * What the connection manager does to response headers after the filters (Envoy: `mutateResponseHeaders`
 * and `encodeHeaders`; reference section 3.6).
 */
import type { HeaderMap } from "../codec/headers.ts";
import type { HttpConnectionManagerConfig } from "../config/snapshot.ts";
import type { StreamInfo } from "../observe/stream-info.ts";

let dateText = "";
let dateSecond = -1;

/** The `date` field, made once a second (RFC 9110 5.6.7). */
export function httpDate(nowMs: number): string {
  const second = Math.floor(nowMs / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(second * 1000).toUTCString();
  }
  return dateText;
}

/** Changes `headers` in place: server, date, via, x-request-id. */
export function mutateResponseHeaders(headers: HeaderMap, config: HttpConnectionManagerConfig, info: StreamInfo): void {
  if (!headers.has("date")) headers.add("date", httpDate(Date.now()));
  const server = config.serverHeaderTransformation;
  if (server === "OVERWRITE") headers.set("server", config.serverName);
  else if (server === "APPEND_IF_ABSENT" && !headers.has("server")) headers.add("server", config.serverName);
  if (config.via !== "") {
    const via = headers.joined("via");
    headers.set("via", via === undefined ? config.via : `${via}, ${config.via}`);
  }
  if (config.alwaysSetRequestIdInResponse) {
    const id = info.requestHeaders?.get("x-request-id");
    if (id !== undefined) headers.set("x-request-id", id);
  }
}
