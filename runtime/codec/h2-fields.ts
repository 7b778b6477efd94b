/** Header fields between the host's map and HTTP/2, which names some things otherwise and forbids others. */
import { HeaderMap } from "./headers.ts";

/** RFC 9113 section 8.2.2: fields of one HTTP/1 connection, which HTTP/2 refuses; Host is `:authority`. */
const CONNECTION_FIELDS = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  "host",
]);

/** The map as name, value, name, value, … without what HTTP/2 forbids. */
export function wireFields(headers: HeaderMap): string[] {
  const { list } = headers;
  const fields: string[] = [];
  for (let at = 0; at < list.length; at += 2) {
    const name = list[at]!;
    if (CONNECTION_FIELDS.has(name) || (name === "te" && list[at + 1] !== "trailers")) continue;
    fields.push(name, list[at + 1]!);
  }
  return fields;
}

/** A request for another protocol as extended CONNECT (RFC 8441 section 4). */
export function extendedConnect(headers: HeaderMap): HeaderMap {
  const { list } = headers;
  const fields = [":method", "CONNECT", ":protocol", headers.get("upgrade") ?? ""];
  for (let at = 0; at < list.length; at += 2) {
    if (list[at] !== ":method") fields.push(list[at]!, list[at + 1]!);
  }
  return new HeaderMap(fields);
}

/** A request for a tunnel (RFC 9113 section 8.5): it has neither scheme nor path. */
export function plainConnect(headers: HeaderMap): HeaderMap {
  const { list } = headers;
  const fields: string[] = [];
  for (let at = 0; at < list.length; at += 2) {
    if (list[at] !== ":scheme" && list[at] !== ":path") fields.push(list[at]!, list[at + 1]!);
  }
  return new HeaderMap(fields);
}

/** The answer that agrees to extended CONNECT, as HTTP/1 has it: 101 with the protocol of `request`. */
export function switched(response: HeaderMap, request: HeaderMap): HeaderMap {
  response.set(":status", "101");
  response.set("connection", "upgrade");
  response.set("upgrade", request.get(":protocol") ?? "");
  return response;
}

/** Extended CONNECT as HTTP/1 asks for another protocol; false, changing nothing, when `headers` are none. */
export function fromExtendedConnect(headers: HeaderMap): boolean {
  const protocol = headers.get(":protocol");
  if (protocol === undefined || headers.get(":method") !== "CONNECT") return false;
  headers.remove(":protocol");
  headers.set(":method", "GET");
  headers.set("connection", "upgrade");
  headers.set("upgrade", protocol);
  return true;
}

/** Trailers by name, without pseudo-fields, as `node:http2` takes them. */
export function trailerFields(trailers: HeaderMap | null): Record<string, string[]> {
  const fields: Record<string, string[]> = {};
  const list = trailers?.list ?? [];
  for (let at = 0; at < list.length; at += 2) {
    if (!list[at]!.startsWith(":")) (fields[list[at]!] ??= []).push(list[at + 1]!);
  }
  return fields;
}

/**
 * A request's head from its fields as they came: pseudo-fields first in the host's order, Host in the place of a
 * missing `:authority`, and crumbs of cookies as one field (RFC 9113 section 8.2.3).
 */
export function requestHead(raw: readonly string[]): HeaderMap {
  let [method, path, authority, scheme, host, cookies] = ["", "", "", "", "", ""];
  const rest: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    const [name, value] = [raw[at]!, raw[at + 1]!];
    if (name === ":method") method = value;
    else if (name === ":path") path = value;
    else if (name === ":authority") authority = value;
    else if (name === ":scheme") scheme = value;
    else if (name === "host") host ||= value;
    else if (name === "cookie") cookies = cookies === "" ? value : `${cookies}; ${value}`;
    else rest.push(name, value);
  }
  const head = [":method", method, ":path", path, ":authority", authority || host, ":scheme", scheme];
  if (cookies !== "") rest.push("cookie", cookies);
  return new HeaderMap(head.concat(rest));
}
