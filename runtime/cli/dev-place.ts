/** Where in a configuration a module stands that `sluice dev` compiles. */
import { resolve } from "node:path";
import type { FilterChainConfig, Snapshot } from "../config/snapshot.ts";

export interface DevPlace {
  /** Names of the plugins with that module. */
  readonly plugins: readonly string[];
  /** The listener that leads to the first of them. */
  readonly listener: string;
  readonly kind: "http" | "network";
  /** Connections are encrypted: what filters see is not what is sent. */
  readonly tls: boolean;
}

/** undefined: no listener leads to the module `path`. */
export function findPlace({ plugins, listeners }: Snapshot, path: string): DevPlace | undefined {
  const own = new Set<number>();
  for (const [index, { code }] of plugins.entries())
    if (code.kind === "file" && resolve(code.path) === path) own.add(index);
  for (const { name, filterChains, defaultFilterChain } of listeners) {
    for (const chain of [...filterChains, ...(defaultFilterChain === undefined ? [] : [defaultFilterChain])]) {
      const kind = kindIn(chain, own);
      if (kind === undefined) continue;
      const names = new Set([...own].map((index) => plugins[index]!.name));
      return { plugins: [...names], listener: name, kind, tls: chain.tls !== undefined };
    }
  }
  return undefined;
}

function kindIn({ filters }: FilterChainConfig, own: ReadonlySet<number>): DevPlace["kind"] | undefined {
  for (const filter of filters) {
    if (filter.kind === "wasm" && own.has(filter.plugin)) return "network";
    if (filter.kind !== "http_connection_manager") continue;
    if (filter.hcm.httpFilters.some((one) => one.kind === "wasm" && own.has(one.plugin))) return "http";
  }
  return undefined;
}
