/** The filter chains of a listener with what they make, and the choice among them. */
import { FilterChainTree } from "../config/filter-chain-tree.ts";
import type { ChainFacts } from "../config/filter-chain-tree.ts";
import { pluginsOf } from "../config/plugin-uses.ts";
import { sameConfig } from "../config/same.ts";
import type { FilterChainConfig, ListenerConfig } from "../config/snapshot.ts";
import type { NetworkFilterFactory } from "../network/filter.ts";
import type { DownstreamTls } from "../tls/downstream.ts";

/** A filter chain in service. */
export interface ServedChain {
  readonly config: FilterChainConfig;
  readonly factories: readonly NetworkFilterFactory[];
  /** Null: plain bytes. */
  readonly tls: DownstreamTls | null;
  /** Sockets and connections that have it. */
  users: number;
  /** In force in its place: what its connections go on with. */
  heir: ServedChain | null;
}

type ChainMaker = (chain: FilterChainConfig, tls: DownstreamTls | null) => ServedChain;

export class ServedChains {
  /** Every chain, the default one last. */
  readonly all: readonly ServedChain[];
  readonly #tree = new FilterChainTree<ServedChain>();
  readonly #fallback: ServedChain | null;

  /**
   * Chains of `before` whose configuration is the same are taken over. `make` makes the others, with the TLS of the one
   * that such a chain is to replace, and may throw.
   */
  constructor(config: ListenerConfig, make: ChainMaker, before?: ServedChains) {
    const known = new Map<string, ServedChain[]>();
    for (const chain of before?.all ?? []) {
      const key = keyOf(chain.config);
      known.set(key, [...(known.get(key) ?? []), chain]);
    }
    const made: ServedChain[] = [];
    const serve = (chain: FilterChainConfig): ServedChain => {
      const same = known.get(keyOf(chain))?.find((one) => sameConfig(one.config, chain));
      if (same !== undefined) return same;
      const fresh = make(chain, before?.precursor(chain)?.tls ?? null);
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
      for (const { tls } of made) if (before?.has(tls) !== true) tls?.close();
      throw error;
    }
  }

  /** What connections under `chain` had before it, as far as listeners can tell: the terminal filter may differ. */
  precursor(chain: FilterChainConfig): ServedChain | undefined {
    const but = ({ filters, ...rest }: FilterChainConfig): unknown => [
      rest,
      filters.slice(0, -1),
      filters.at(-1)?.name,
    ];
    return this.all.find(({ config }) => sameConfig(but(config), but(chain)));
  }

  /** Connections under chains of `before` go on with those of this list, as far as their terminal filters can; `onIdle`: see there. */
  succeed(before: ServedChains, onIdle: () => void): void {
    for (const chain of this.all) {
      const old = before.all.includes(chain) ? undefined : before.precursor(chain.config);
      const [last, next] = [old?.factories.at(-1), chain.factories.at(-1)];
      if (old !== undefined && next !== undefined && last?.terminal === true && last.succeed?.(next, onIdle) === true)
        old.heir = chain;
    }
  }

  has(tls: DownstreamTls | null): boolean {
    return this.all.some((chain) => chain.tls === tls);
  }

  /** Null: no chain matches, and there is no default one. */
  find(facts: ChainFacts): ServedChain | null {
    return this.#tree.find(facts) ?? this.#fallback;
  }
}

/** A connection goes on with what has taken the place of its chain. */
export function inherit(served: { chain: ServedChain }): void {
  while (served.chain.heir !== null) {
    served.chain.users--;
    served.chain = served.chain.heir;
    served.chain.users++;
  }
}

/** Numbers of the plugins that chains of a listener have, and its own. */
export function pluginsIn(chains: readonly ServedChain[], listener: ListenerConfig): ReadonlySet<number> {
  return pluginsOf(
    chains.map(({ config }) => config),
    listener,
  );
}

/** Nobody has it, and nothing is under way that was begun under it. */
export function isUnused({ users, factories }: ServedChain): boolean {
  const last = factories.at(-1);
  return users === 0 && (last?.terminal !== true || last.busy !== true);
}

/** Connections of these chains are asked to leave, the more often the more of `overMs` is over; `onIdle`: see there. */
export function askToLeave(chains: readonly ServedChain[], overMs: number, onIdle: () => void): void {
  for (const { factories } of chains)
    for (const factory of factories) if (factory.terminal) factory.retire?.(overMs, onIdle);
}

/** Tells most chains apart at little cost. */
function keyOf({ name, match }: FilterChainConfig): string {
  return `${name} ${JSON.stringify(match)}`;
}
