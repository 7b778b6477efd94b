/** Addresses in the form that logs, headers and statistics have them in, which is Envoy's, and back. */
import type { Address } from "../config/snapshot.ts";
import { ipFamily } from "./ip-family.ts";

/** `ip:port`, with brackets around an IPv6 address. */
export function ipPort(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** An address of the configuration: {@link ipPort}, or the path of a pipe. */
export function addressText(address: Address): string {
  return address.kind === "pipe" ? address.path : ipPort(address.host, address.port);
}

export interface IpPort {
  readonly ip: string;
  readonly port: number;
}

/** `1.2.3.4:80` or `[2001:db8::1]:80`; undefined for what is neither. */
export function parseIpPort(text: string): IpPort | undefined {
  const found = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text);
  const ip = found?.[1] ?? found?.[2];
  const port = Number(found?.[3]);
  if (ip === undefined || ipFamily(ip) !== (found?.[1] === undefined ? 4 : 6) || port > 65_535) return undefined;
  return { ip, port };
}

/** Whether an IP address is of this machine alone: 127.0.0.0/8 or ::1. */
export function isLoopback(ip: string): boolean {
  return ip === "::1" || ip.startsWith("127.");
}

/** Node reports IPv4 peers of a dual-stack socket as `::ffff:1.2.3.4`; Envoy prints plain IPv4. */
export function plainIp(ip: string): string {
  return ip.startsWith("::ffff:") && ip.includes(".") ? ip.slice(7) : ip;
}
