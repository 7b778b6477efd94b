/**
 * Which listener owns an address: the one of exactly this IP address and port, else the one of the wildcard
 * address of the family with this port (Envoy: `getBalancedHandlerByAddress`).
 */
import type { Address } from "../config/snapshot.ts";
import { canonicalIp } from "../observe/ip-mask.ts";
import { ipPort } from "../observe/address-text.ts";

interface Entry<T> {
  readonly owner: T;
  /** An IPv6 wildcard that takes IPv4 as well: it gives way to an IPv4 wildcard. */
  readonly borrowed: boolean;
}

export class AddressBook<T> {
  readonly #entries = new Map<string, Entry<T>[]>();

  /** Enters an owner; `port` instead of a configured port 0. The first owner of an address keeps it. */
  add(address: Address, port: number, owner: T): void {
    if (address.kind === "pipe") return;
    const ip = canonicalIp(address.host);
    this.#enter(ipPort(ip, port), { owner, borrowed: false });
    if (ip === "::" && address.ipv4Compat) this.#enter(ipPort("0.0.0.0", port), { owner, borrowed: true });
  }

  /** Takes all addresses of an owner away. */
  remove(owner: T): void {
    for (const [key, entries] of this.#entries) {
      const kept = entries.filter((entry) => entry.owner !== owner);
      if (kept.length === 0) this.#entries.delete(key);
      else this.#entries.set(key, kept);
    }
  }

  /** The owner of a destination, `ip` as `net` spells it; undefined when nobody has it. */
  find(ip: string, port: number): T | undefined {
    return this.#first(ipPort(ip, port)) ?? this.#first(ipPort(ip.includes(":") ? "::" : "0.0.0.0", port));
  }

  #first(key: string): T | undefined {
    return this.#entries.get(key)?.[0]?.owner;
  }

  #enter(key: string, entry: Entry<T>): void {
    const entries = this.#entries.get(key) ?? [];
    const at = entry.borrowed ? -1 : entries.findIndex(({ borrowed }) => borrowed);
    if (at === -1) entries.push(entry);
    else entries.splice(at, 0, entry);
    this.#entries.set(key, entries);
  }
}
