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

const FORBIDDEN = new BlockList();
FORBIDDEN.addSubnet("169.254.0.0", 16, "ipv4");
FORBIDDEN.addSubnet("fe80::", 10, "ipv6");
FORBIDDEN.addAddress("fd00:ec2::254", "ipv6");
FORBIDDEN.addAddress("100.100.100.200", "ipv4");
FORBIDDEN.addAddress("192.0.0.192", "ipv4");

/** Why nothing is fetched from an address. */
export class ForbiddenAddress extends Error {
  readonly code = "FORBIDDEN_ADDRESS";
}

/** Throws {@link ForbiddenAddress} for an address that must not be connected to; names pass, `lookup` checks what they stand for. */
export function checkHost(host: string): void {
  const bare = host.replace(/^\[|\]$/g, "");
  const family = isIP(bare);
  if (family === 0) return;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1];
  if (FORBIDDEN.check(mapped ?? bare, family === 6 && mapped === undefined ? "ipv6" : "ipv4")) {
    throw new ForbiddenAddress(`${host} is a link-local address, which is never fetched from`);
  }
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
