/**
 * The PROXY protocol of HAProxy (doc/proxy-protocol.txt, versions 1 and 2): who was at the other end of the load
 * balancer in front of us. Bytes may come in any pieces.
 */
import { isIPv4, isIPv6 } from "node:net";
import type { IpPort } from "../observe/address-text.ts";
import { canonicalIp } from "../observe/ip-mask.ts";
import { PROXY_SIGNATURE as SIGNATURE } from "../upstream/proxy-header.ts";

/** Section 2.2: signature, version and command, family and transport, length of what follows. */
const V2_HEADER_BYTES = 16;
/** The largest header of version 2: the length of what follows has two bytes. */
export const MAX_PROXY_HEADER_BYTES: number = V2_HEADER_BYTES + 0xffff;
const V1_START = Buffer.from("PROXY ");
/** Section 2.1: the longest line with its end. */
const V1_MAX_BYTES = 107;

/** A header with everything in it. */
export interface ProxyHeader {
  readonly version: 1 | 2;
  /** Bytes of the header. */
  readonly bytes: number;
  /** Null: a check of the balancer's own, or a kind of address that we have no use for: those of the socket count. */
  readonly source: IpPort | null;
  readonly destination: IpPort | null;
  /** Types and values of version 2, in their order. */
  readonly fields: readonly { readonly type: number; readonly value: Buffer }[];
}

export type ProxyAnswer =
  | { readonly kind: "more" }
  /** No header begins like this. */
  | { readonly kind: "none" }
  | { readonly kind: "bad"; readonly version: 1 | 2; readonly reason: string }
  | { readonly kind: "found"; readonly header: ProxyHeader };

const MORE: ProxyAnswer = { kind: "more" };
const NONE: ProxyAnswer = { kind: "none" };

/** Reads a header off the beginning of a connection. */
export function readProxyHeader(bytes: Buffer): ProxyAnswer {
  if (beginsLike(bytes, SIGNATURE)) return bytes.length < V2_HEADER_BYTES ? moreOf(bytes) : readVersion2(bytes);
  if (beginsLike(bytes, V1_START)) return bytes.length < V1_START.length ? MORE : readVersion1(bytes);
  return NONE;
}

/** True when nothing speaks against `start` so far. */
function beginsLike(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.compare(start, 0, length, 0, length) === 0;
}

function bad(version: 1 | 2, reason: string): ProxyAnswer {
  return { kind: "bad", version, reason };
}

// ---- Version 1 ----------------------------------------------------------------------------------

function readVersion1(bytes: Buffer): ProxyAnswer {
  const end = bytes.indexOf("\r\n");
  if (end < 0 || end + 2 > V1_MAX_BYTES)
    return bytes.length < V1_MAX_BYTES ? MORE : bad(1, `no line end within ${V1_MAX_BYTES} bytes`);
  const [, family, ...rest] = bytes.latin1Slice(0, end).split(" ");
  const common = { version: 1, bytes: end + 2, fields: [] } as const;
  if (family === "UNKNOWN") return { kind: "found", header: { ...common, source: null, destination: null } };
  if (family !== "TCP4" && family !== "TCP6") return bad(1, "the family is none of TCP4, TCP6 and UNKNOWN");
  const isAddress = family === "TCP4" ? isIPv4 : isIPv6;
  const [from = "", to = "", fromPort = "", toPort = "", ...more] = rest;
  if (more.length > 0 || !isAddress(from) || !isAddress(to)) return bad(1, `an address is not one of ${family}`);
  if (!isPort(fromPort) || !isPort(toPort)) return bad(1, "a port is no number from 0 to 65535");
  const source = { ip: canonicalIp(from), port: Number(fromPort) };
  const destination = { ip: canonicalIp(to), port: Number(toPort) };
  return { kind: "found", header: { ...common, source, destination } };
}

function isPort(text: string): boolean {
  return /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535;
}

// ---- Version 2 ----------------------------------------------------------------------------------

const INET = 1;
const INET6 = 2;
const UNIX = 3;
const LOCAL = 0;
const PROXY = 1;
const STREAM = 1;
/** Bytes of the addresses of each family. */
const ADDRESS_BYTES: Readonly<Record<number, number>> = { 0: 0, [INET]: 12, [INET6]: 36, [UNIX]: 216 };

/** The version and command can be refused before the rest is there. */
function moreOf(bytes: Buffer): ProxyAnswer {
  const at = SIGNATURE.length;
  return bytes.length > at && !isCommand(bytes[at]!) ? bad(2, "the version is not 2, or the command unknown") : MORE;
}

function isCommand(byte: number): boolean {
  return byte >> 4 === 2 && (byte & 0xf) <= PROXY;
}

function readVersion2(bytes: Buffer): ProxyAnswer {
  const command = bytes[12]!;
  if (!isCommand(command)) return bad(2, "the version is not 2, or the command unknown");
  const end = V2_HEADER_BYTES + bytes.readUInt16BE(14);
  const family = bytes[13]! >> 4;
  const transport = bytes[13]! & 0xf;
  const local = (command & 0xf) === LOCAL;
  const addressBytes = ADDRESS_BYTES[family];
  // Health checks of the balancer may say what they like.
  if (!local) {
    if (addressBytes === undefined || (family !== 0 && transport !== STREAM))
      return bad(2, "the address family or the transport is none of TCP's");
    if (end - V2_HEADER_BYTES < addressBytes) return bad(2, "the header is too short for its addresses");
  }
  if (bytes.length < end) return MORE;
  const common = { version: 2, bytes: end } as const;
  if (local) return { kind: "found", header: { ...common, source: null, destination: null, fields: [] } };
  const fields = readFields(bytes.subarray(V2_HEADER_BYTES + addressBytes!, end));
  if (fields === null) return bad(2, "a field is longer than the header");
  const place = bytes.subarray(V2_HEADER_BYTES, V2_HEADER_BYTES + addressBytes!);
  const known = family === INET || family === INET6;
  const [source, destination] = known ? endpoints(place) : [null, null];
  return { kind: "found", header: { ...common, source, destination, fields } };
}

/** Two addresses, then two ports. */
function endpoints(place: Buffer): [IpPort, IpPort] {
  const size = (place.length - 4) / 2;
  const at = place.length - 4;
  return [
    { ip: ipText(place.subarray(0, size)), port: place.readUInt16BE(at) },
    { ip: ipText(place.subarray(size, 2 * size)), port: place.readUInt16BE(at + 2) },
  ];
}

function ipText(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups: string[] = [];
  for (let at = 0; at < bytes.length; at += 2) groups.push(bytes.readUInt16BE(at).toString(16));
  return canonicalIp(groups.join(":"));
}

/** Section 2.2: type, length, value. Null: one goes past the end. */
function readFields(bytes: Buffer): { type: number; value: Buffer }[] | null {
  const fields: { type: number; value: Buffer }[] = [];
  for (let at = 0; at < bytes.length;) {
    if (at + 3 > bytes.length) return null;
    const end = at + 3 + bytes.readUInt16BE(at + 1);
    if (end > bytes.length) return null;
    fields.push({ type: bytes[at]!, value: bytes.subarray(at + 3, end) });
    at = end;
  }
  return fields;
}
