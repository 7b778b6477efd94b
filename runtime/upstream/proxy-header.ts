/**
 * The PROXY header (HAProxy's doc/proxy-protocol.txt, versions 1 and 2) that tells a host who downstream is.
 * https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.proto
 */
import { isIPv4 } from "node:net";
import { type IpPort, parseIpPort } from "../observe/address-text.ts";
import type { UpstreamProxyProtocol } from "../config/cluster-snapshot.ts";
import { ipv6Groups } from "../observe/ip-mask.ts";
import type { ConnectionInfo, ProxyField } from "../observe/stream-info.ts";

/** Section 2.2: the twelve bytes that no other protocol begins with. */
export const PROXY_SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const LOCAL = 0x20;
const PROXY = 0x21;
const TCP4 = 0x11;
const TCP6 = 0x21;
/** The length of all that follows it has two bytes. */
const MAX_LENGTH = 0xffff;

/** A connection of ours, where nobody is behind it. */
export interface OwnEnds {
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

export interface WrittenHeader {
  readonly bytes: Buffer;
  /** Its fields were too long together, and are left out. */
  readonly exceeded: boolean;
}

/** The header for a connection to a host; `downstream` null: no downstream is behind it (calls of filters). */
export function proxyHeader(
  config: UpstreamProxyProtocol,
  downstream: ConnectionInfo | null,
  own: OwnEnds,
): WrittenHeader {
  const from = downstream === null ? undefined : parseIpPort(downstream.remoteAddress);
  const to = downstream === null ? undefined : parseIpPort(downstream.localAddress);
  if (config.version === 1) {
    const text = downstream === null ? version1(...ownEnds(own)) : version1(from, to);
    return { bytes: Buffer.from(text, "latin1"), exceeded: false };
  }
  // A unix socket has no addresses to tell; "local" is what the connection is then.
  if (from === undefined || to === undefined) return { bytes: version2(LOCAL, 0, NOTHING), exceeded: false };
  const v4 = isIPv4(from.ip) && isIPv4(to.ip);
  const addresses = Buffer.concat([ipBytes(from.ip, v4), ipBytes(to.ip, v4), twoBytes(from.port), twoBytes(to.port)]);
  const fields = fieldBytes(config, downstream?.proxyFields ?? []);
  const exceeded = addresses.length + fields.length > MAX_LENGTH;
  const all = exceeded ? addresses : Buffer.concat([addresses, fields]);
  return { bytes: version2(PROXY, v4 ? TCP4 : TCP6, all), exceeded };
}

function version1(from?: IpPort, to?: IpPort): string {
  if (from === undefined || to === undefined) return "PROXY UNKNOWN\r\n";
  const v4 = isIPv4(from.ip) && isIPv4(to.ip);
  const text = ({ ip }: IpPort): string => (v4 ? ip : mapped(ip));
  return `PROXY ${v4 ? "TCP4" : "TCP6"} ${text(from)} ${text(to)} ${from.port} ${to.port}\r\n`;
}

function version2(command: number, family: number, content: Buffer): Buffer {
  return Buffer.concat([PROXY_SIGNATURE, Buffer.of(command, family), twoBytes(content.length), content]);
}

/** Fields of ours first; one of downstream's of the same type has no place beside it. */
function fieldBytes({ passed, added }: UpstreamProxyProtocol, given: readonly ProxyField[]): Buffer {
  const wanted = given.filter(({ type }) => passed === "all" || passed.includes(type));
  const all = [...added, ...wanted.filter(({ type }) => !added.some((one) => one.type === type))];
  return Buffer.concat(all.flatMap(({ type, value }) => [Buffer.of(type), twoBytes(value.length), value]));
}

/** Two bytes, big-endian. */
function twoBytes(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff);
}

/** An IPv4 address among IPv6 ones. */
function mapped(ip: string): string {
  return isIPv4(ip) ? `::ffff:${ip}` : ip;
}

function ipBytes(ip: string, v4: boolean): Buffer {
  return v4 ? Buffer.from(ip.split(".").map(Number)) : Buffer.concat(ipv6Groups(mapped(ip)).map(twoBytes));
}

function ownEnds({ localAddress, localPort, remoteAddress, remotePort }: OwnEnds): [IpPort?, IpPort?] {
  if (localAddress === undefined || remoteAddress === undefined) return [];
  return [
    { ip: localAddress, port: localPort ?? 0 },
    { ip: remoteAddress, port: remotePort ?? 0 },
  ];
}

const NOTHING = Buffer.alloc(0);
