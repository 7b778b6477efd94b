/** Addresses in the forms that logs, statistics and `net` want. */
import type { Address } from "../config/snapshot.ts";

/** `ip:port` or `[v6]:port`, as Envoy prints addresses. */
export function formatIpPort(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** An address of the configuration as Envoy prints it. */
export function formatAddress(address: Address): string {
  return address.kind === "pipe" ? address.path : formatIpPort(address.host, address.port);
}

/** Node reports IPv4 peers of a dual-stack socket as `::ffff:1.2.3.4`; Envoy prints plain IPv4. */
export function plainIp(ip: string): string {
  return ip.startsWith("::ffff:") && ip.includes(".") ? ip.slice(7) : ip;
}
