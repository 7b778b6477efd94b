/**
 * What our parsers should say of a message that llhttp heard: a second, slow and plain implementation of
 * what happens between the wire and the header map, against which the fast one is held.
 */
import type { Heard } from "./llhttp.ts";

const HOP = new Set(["host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "http2-settings"]);
const TRAILERS_DROPPED = new Set(["content-length", "transfer-encoding", "host", "connection"]);

export interface Expected {
  fields: string[];
  trailers: string[] | null;
}

function tokens(raw: readonly string[], name: string): string[] {
  const found: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    if (raw[at]!.toLowerCase() === name) found.push(...raw[at + 1]!.toLowerCase().split(","));
  }
  return found.map((token) => token.trim()).filter((token) => token !== "");
}

function plain(raw: readonly string[], upgrade: boolean): string[] {
  const nominated = new Set(tokens(raw, "connection"));
  for (const token of ["close", "keep-alive", "upgrade", "te", "connection"]) nominated.delete(token);
  const list: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]!.toLowerCase();
    let value = raw[at + 1]!.replace(/^[\t ]+|[\t ]+$/g, "");
    if (HOP.has(name) || nominated.has(name)) continue;
    if (name === "expect" && value.toLowerCase() === "100-continue") continue;
    if (name === "upgrade" && (!upgrade || value === "" || value.toLowerCase() === "h2c")) continue;
    if (name === "te") {
      if (!/(^|,)[\t ]*trailers[\t ]*(;|,|$)/i.test(value)) continue;
      value = "trailers";
    }
    if (name === "content-length") value = String(Number(value));
    list.push(name, value);
  }
  return list;
}

function trailersOf(heard: Heard): string[] | null {
  const list: string[] = [];
  for (let at = 0; at < heard.trailers.length; at += 2) {
    const name = heard.trailers[at]!.toLowerCase();
    if (!TRAILERS_DROPPED.has(name)) list.push(name, heard.trailers[at + 1]!.replace(/^[\t ]+|[\t ]+$/g, ""));
  }
  return list.length === 0 ? null : list;
}

/** Whether a request is for another protocol on this connection, by our rules: no body, HTTP/1.1, not h2c. */
export function upgrades(heard: Heard): boolean {
  if (heard.method === "CONNECT") return true;
  const lower = heard.raw.map((text, at) => (at % 2 === 0 ? text.toLowerCase() : text));
  const framed = lower.some(
    (name, at) =>
      at % 2 === 0 && (name === "transfer-encoding" || (name === "content-length" && Number(lower[at + 1]) > 0)),
  );
  const named = lower.some(
    (name, at) => at % 2 === 0 && name === "upgrade" && !/^[\t ]*(h2c)?[\t ]*$/i.test(lower[at + 1]!),
  );
  return heard.minor === 11 && !framed && named && tokens(heard.raw, "connection").includes("upgrade");
}

/** The map of a request. */
export function expectedRequest(heard: Heard): Expected {
  const { method, target } = heard;
  let path = target;
  let scheme = "http";
  let authority = heard.raw.find((_, at) => at % 2 === 1 && heard.raw[at - 1]!.toLowerCase() === "host") ?? "";
  if (method === "CONNECT") {
    authority = target;
    path = "";
  } else if (!target.startsWith("/") && target !== "*") {
    const [before, after] = [target.slice(0, target.indexOf("://")), target.slice(target.indexOf("://") + 3)];
    const slash = after.search(/[/?]/);
    scheme = before.toLowerCase();
    authority = slash < 0 ? after : after.slice(0, slash);
    path = slash < 0 ? "/" : after.slice(slash).replace(/^\?/, "/?");
  }
  const upgrade = upgrades(heard);
  const fields = [":authority", authority.trim(), ":path", path, ":method", method, ":scheme", scheme];
  fields.push(...plain(heard.raw, upgrade && method !== "CONNECT"));
  if (upgrade && method !== "CONNECT") fields.push("connection", "upgrade");
  return { fields, trailers: trailersOf(heard) };
}

/** The map of a response. */
export function expectedResponse(heard: Heard): Expected {
  const raw: string[] = [];
  for (let at = 0; at < heard.raw.length; at += 2) {
    const bodiless = heard.status < 200 || heard.status === 204;
    if (!(bodiless && heard.raw[at]!.toLowerCase() === "content-length")) raw.push(heard.raw[at]!, heard.raw[at + 1]!);
  }
  const fields = [":status", String(heard.status), ...plain(raw, heard.status === 101)];
  if (heard.status === 101) fields.push("connection", "upgrade");
  return { fields, trailers: trailersOf(heard) };
}
