/** The filter chains of a listener with what they make, and the choice among them. */
import { isDeepStrictEqual } from "node:util";
import { FilterChainTree } from "../config/filter-chain-tree.ts";
import type { ChainFacts } from "../config/filter-chain-tree.ts";
import type { FilterChainConfig, ListenerConfig } from "../config/snapshot.ts";
import type { NetworkFilterFactory } from "../network/filter.ts";
import type { DownstreamTls } from "../tls/downstream.ts";

/** A filter chain in service. */
export interface ServedChain {
  readonly config: FilterChainConfig;
  readonly factories: readonly NetworkFilterFactory[];
  /** Null: plain bytes. */
  readonly tls: DownstreamTls | null;
  /** A configuration without it is in force: its connections end. */
  retired: boolean;
}

export class ServedChains {
  /** Every chain, the default one last. */
  readonly all: readonly ServedChain[];
  readonly #tree = new FilterChainTree<ServedChain>();
  readonly #fallback: ServedChain | null;

  /** Chains of `before` whose configuration is the same are taken over; `make` makes the others and may throw. */
  constructor(config: ListenerConfig, make: (chain: FilterChainConfig) => ServedChain, before?: ServedChains) {
    const known = new Map<string, ServedChain[]>();
    for (const chain of before?.all ?? []) {
      const key = keyOf(chain.config);
      known.set(key, [...(known.get(key) ?? []), chain]);
    }
    const made: ServedChain[] = [];
    const serve = (chain: FilterChainConfig): ServedChain => {
      const same = known.get(keyOf(chain))?.find((one) => isDeepStrictEqual(one.config, chain));
      if (same !== undefined) return same;
      const fresh = make(chain);
      made.push(fresh);
      return fresh;
    };
    const { filterChains, defaultFilterChain } = config;
    try {
      const all = filterChains.map(serve);
      for (const chain of all) this.#tree.add(chain.config.match, chain);
      this.#fallback = defaultFilterChain === undefined ? null : serve(defaultFilterChain);
      this.all = this.#fallback === null ? all : [...all, this.#fallback];
    } catch (error) {
      // One chain that cannot be made ends them all; files of certificates are watched no more.
      for (const { tls } of made) tls?.close();
      throw error;
    }
  }

  /** Null: no chain matches, and there is no default one. */
  find(facts: ChainFacts): ServedChain | null {
    return this.#tree.find(facts) ?? this.#fallback;
  }
}

/** Tells most chains apart at little cost. */
function keyOf({ name, match }: FilterChainConfig): string {
  return `${name} ${JSON.stringify(match)}`;
}
