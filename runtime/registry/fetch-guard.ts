/**
 * Where the control plane may connect to when a configuration or a registry names the address: never to link-local
 * addresses, where clouds keep credentials of the machine (server-side request forgery). Checked at the moment of
 * connecting, after names were resolved, and so on every hop of a redirect.
 */
import { lookup as resolveName } from "node:dns";
import type { LookupOptions } from "node:dns";
import { BlockList, isIP } from "node:net";
import { Agent } from "undici";
import { ARTIFACT_CONNECT_MS, ARTIFACT_IDLE_MS } from "../limits.ts";

/** Link-local networks, and where clouds keep metadata outside of them: Azure, Alibaba, Oracle; AWS and Google over IPv6. */
const FORBIDDEN = new BlockList();
FORBIDDEN.addSubnet("169.254.0.0", 16, "ipv4");
FORBIDDEN.addAddress("168.63.129.16", "ipv4");
FORBIDDEN.addAddress("100.100.100.200", "ipv4");
FORBIDDEN.addAddress("192.0.0.192", "ipv4");
FORBIDDEN.addSubnet("fe80::", 10, "ipv6");
FORBIDDEN.addAddress("fd00:ec2::254", "ipv6");
FORBIDDEN.addAddress("fd20:ce::254", "ipv6");

/** Where IPv4 addresses hide in IPv6 ones: the prefix, and the 16-bit group at which they begin. */
const EMBEDDED: readonly (readonly [prefix: RegExp, group: number])[] = [
  // Mapped (RFC 4291, 2.5.5.2) and "IPv4-compatible" ones.
  [/^(?:0:){5}(?:ffff|0):/, 6],
  // NAT64 (RFC 6052, RFC 8215) and 6to4 (RFC 3056).
  [/^64:ff9b:(?:0:0:0:0|1:\w+:\w+:\w+):/, 6],
  [/^2002:/, 1],
];

/** Why nothing is fetched from an address. */
export class ForbiddenAddress extends Error {
  readonly code = "FORBIDDEN_ADDRESS";
}

/** Throws {@link ForbiddenAddress} for an address that must not be connected to; names pass, `lookup` checks what they stand for. */
export function checkHost(host: string): void {
  // A zone says over which interface, not to whom.
  const bare = host.replace(/^\[|\]$/g, "").replace(/%.*$/, "");
  const family = isIP(bare);
  if (family === 0) return;
  const forbidden =
    family === 4
      ? FORBIDDEN.check(bare, "ipv4")
      : FORBIDDEN.check(bare, "ipv6") || embedded(bare).some((address) => FORBIDDEN.check(address, "ipv4"));
  if (forbidden) throw new ForbiddenAddress(`${host} is a link-local or metadata address, which is never fetched from`);
}

/** IPv4 addresses that packets to this IPv6 address may end at. */
function embedded(address: string): string[] {
  const groups = groupsOf(address);
  const text = `${groups.map((group) => group.toString(16)).join(":")}:`;
  return EMBEDDED.flatMap(([prefix, at]) => {
    if (!prefix.test(text)) return [];
    const bytes = groups.slice(at, at + 2).flatMap((group) => [group >> 8, group & 0xff]);
    return [bytes.join(".")];
  });
}

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const hex = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, ...parts: string[]) => {
    const [a, b, c, d] = parts.slice(0, 4).map(Number);
    return `${((a! << 8) | b!).toString(16)}:${((c! << 8) | d!).toString(16)}`;
  });
  const [head = "", tail] = hex.split("::");
  const groups = (text: string): number[] =>
    text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
  const [before, after] = [groups(head), groups(tail ?? "")];
  return tail === undefined
    ? before
    : [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
}

type Found = string | { readonly address: string; readonly family: number }[];

/** Connections for fetching: bounded in time, and only to addresses that are allowed. `ca`: further certificate authorities (PEM). */
export function fetchAgent(ca?: string): Agent {
  return new Agent({
    headersTimeout: ARTIFACT_IDLE_MS,
    bodyTimeout: ARTIFACT_IDLE_MS,
    connect: {
      timeout: ARTIFACT_CONNECT_MS,
      ...(ca === undefined ? {} : { ca }),
      lookup: (
        name: string,
        options: LookupOptions,
        done: (error: Error | null, found: Found, family?: number) => void,
      ) => {
        resolveName(name, options, (error: Error | null, found: Found, family?: number) => {
          if (error !== null) {
            done(error, found, family);
            return;
          }
          try {
            for (const one of typeof found === "string" ? [found] : found.map(({ address }) => address)) checkHost(one);
          } catch (forbidden) {
            done(forbidden as Error, found, family);
            return;
          }
          done(null, found, family);
        });
      },
    },
  });
}
