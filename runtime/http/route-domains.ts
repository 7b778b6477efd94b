/** Which virtual host answers for a host name: exact names, `*.suffix`, `prefix.*`, then `*`. */
import { lowerAscii } from "../observe/match.ts";
import { wireText } from "../observe/wire-text.ts";

/** Names of one length, for the wildcards of one direction. */
type Wildcards = readonly (readonly [length: number, names: ReadonlyMap<string, number>])[];

export class RouteDomains {
  readonly #exact = new Map<string, number>();
  readonly #suffixes: Wildcards;
  readonly #prefixes: Wildcards;
  readonly #ignorePort: boolean;
  #any = -1;

  /** `domains[n]` are the domains of virtual host n. */
  constructor(domains: readonly (readonly string[])[], ignorePort: boolean) {
    this.#ignorePort = ignorePort;
    const suffixes = new Map<number, Map<string, number>>();
    const prefixes = new Map<number, Map<string, number>>();
    for (const [index, names] of domains.entries()) {
      for (const configured of names) {
        const name = lowerAscii(wireText(configured));
        if (name === "*") this.#any = index;
        else if (name.startsWith("*")) enter(suffixes, name.slice(1), index);
        else if (name.endsWith("*")) enter(prefixes, name.slice(0, -1), index);
        else this.#exact.set(name, index);
      }
    }
    this.#suffixes = longestFirst(suffixes);
    this.#prefixes = longestFirst(prefixes);
  }

  /** The number of the virtual host for `:authority`, or -1. */
  find(authority: string): number {
    if (this.#exact.size === 0 && this.#suffixes.length === 0 && this.#prefixes.length === 0) return this.#any;
    const host = lowerAscii(this.#ignorePort ? withoutPort(authority) : authority);
    const exact = this.#exact.get(host);
    if (exact !== undefined) return exact;
    // The star stands for at least one character.
    for (const [length, names] of this.#suffixes) {
      const found = length < host.length ? names.get(host.slice(host.length - length)) : undefined;
      if (found !== undefined) return found;
    }
    for (const [length, names] of this.#prefixes) {
      const found = length < host.length ? names.get(host.slice(0, length)) : undefined;
      if (found !== undefined) return found;
    }
    return this.#any;
  }
}

function enter(byLength: Map<number, Map<string, number>>, name: string, index: number): void {
  let names = byLength.get(name.length);
  if (names === undefined) byLength.set(name.length, (names = new Map()));
  names.set(name, index);
}

function longestFirst(byLength: Map<number, Map<string, number>>): Wildcards {
  return [...byLength].sort(([a], [b]) => b - a);
}

/** `host` of `host:port` and `[v6]:port`. */
export function withoutPort(authority: string): string {
  const colon = authority.lastIndexOf(":");
  if (colon === -1 || !/^[0-9]+$/.test(authority.slice(colon + 1))) return authority;
  // A bare IPv6 address is full of colons and has no port.
  if (authority.indexOf(":") !== colon && authority[colon - 1] !== "]") return authority;
  return authority.slice(0, colon);
}
