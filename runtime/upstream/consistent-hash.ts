/**
 * Tables that give a hash the same host again and again, and keep most hashes where they are when hosts come and go:
 * the ring of ketama and Maglev's table, entry for entry Envoy's.
 */
import type { HashingConfig } from "../config/cluster-snapshot.ts";
import { type Hash64, murmurHash64Text, remainder, xxHash64Text } from "./hash64.ts";
import type { Host } from "./host.ts";

/** The host that a hash belongs to. `attempt`: how many hosts before it were not wanted. */
export type HashTable = (hash: Readonly<Hash64>, attempt: number) => Host;

/** How a table came out, for statistics. */
export interface TableSizes {
  readonly size: number;
  readonly min: number;
  readonly max: number;
}

const NO_SEED: Readonly<Hash64> = { hi: 0, lo: 0 };
const SECOND_SEED: Readonly<Hash64> = { hi: 0, lo: 1 };

/** Each host gets places on a ring, by its weight; a hash belongs to the first place at or behind it. */
export function ringHash(
  hosts: readonly Host[],
  config: HashingConfig,
  onBuilt: (sizes: TableSizes) => void,
): HashTable {
  const weights = normalizedWeights(hosts);
  const least = Math.min(...weights);
  // The host of the least weight gets a whole number of places; all are scaled down where that would be too many.
  const scale = Math.min(Math.ceil(least * config.minimumRingSize) / least, config.maximumRingSize);
  const size = Math.ceil(scale);
  const his = new Uint32Array(size);
  const los = new Uint32Array(size);
  const owners = new Uint32Array(size);
  const hash = { hi: 0, lo: 0 };
  let placed = 0;
  let wanted = 0;
  let min = size;
  let max = 0;
  hosts.forEach((host, at) => {
    wanted += scale * weights[at]!;
    const key = `${hashKey(host, config)}_`;
    let own = 0;
    for (; placed < wanted && placed < size; own++) {
      if (config.function === "MURMUR_HASH_2") murmurHash64Text(key + String(own), hash);
      else xxHash64Text(key + String(own), NO_SEED, hash);
      his[placed] = hash.hi;
      los[placed] = hash.lo;
      owners[placed++] = at;
    }
    min = Math.min(min, own);
    max = Math.max(max, own);
  });
  onBuilt({ size: placed, min, max });
  const order = new Uint32Array(placed).map((_, at) => at);
  order.sort((a, b) => his[a]! - his[b]! || los[a]! - los[b]!);
  const sorted = (values: Uint32Array): Uint32Array => order.map((at) => values[at]!);
  return ringPick({ hosts, his: sorted(his), los: sorted(los), owners: sorted(owners) });
}

interface Ring {
  readonly hosts: readonly Host[];
  /** Hashes in order, and the host at each. */
  readonly his: Uint32Array;
  readonly los: Uint32Array;
  readonly owners: Uint32Array;
}

function ringPick({ hosts, his, los, owners }: Ring): HashTable {
  const count = owners.length;
  return ({ hi, lo }, attempt) => {
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const there = his[middle]!;
      if (there < hi || (there === hi && los[middle]! < lo)) low = middle + 1;
      else high = middle;
    }
    const at = low === count ? 0 : low;
    return hosts[owners[attempt === 0 ? at : (at + attempt) % count]!]!;
  };
}

interface Claimant {
  readonly offset: number;
  readonly skip: number;
  readonly weight: number;
  wanted: number;
  next: number;
  count: number;
}

/**
 * Hosts take the places of a table in turn, each in an order of its own, until it is full.
 * https://research.google/pubs/maglev-a-fast-and-reliable-software-network-load-balancer/ section 3.4
 */
export function maglev(hosts: readonly Host[], config: HashingConfig, onBuilt: (sizes: TableSizes) => void): HashTable {
  const size = config.tableSize;
  const weights = normalizedWeights(hosts);
  const most = Math.max(...weights);
  const claimants = hosts.map((host, at) => claimantOf(hashKey(host, config), weights[at]!, size));
  const table = new Int32Array(size).fill(-1);
  let taken = 0;
  for (let round = 1; taken < size; round++) {
    for (let at = 0; at < claimants.length && taken < size; at++) {
      const claimant = claimants[at]!;
      // The heaviest host takes a place in each round, one of a third of its weight in each third.
      if (round * claimant.weight < claimant.wanted) continue;
      claimant.wanted += most;
      let place = nextPlace(claimant, size);
      while (table[place] !== -1) place = nextPlace(claimant, size);
      table[place] = at;
      claimant.count++;
      taken++;
    }
  }
  const counts = claimants.map(({ count }) => count);
  onBuilt({ size, min: Math.min(...counts), max: Math.max(...counts) });
  const other = { hi: 0, lo: 0 };
  return (hash, attempt) => {
    if (attempt === 0) return hosts[table[remainder(hash, size)]!]!;
    // Another hash, made of this one and minus the attempt as a number of 64 bits.
    other.hi = (hash.hi ^ 0xffff_ffff) >>> 0;
    other.lo = (hash.lo ^ -attempt) >>> 0;
    return hosts[table[remainder(other, size)]!]!;
  };
}

function claimantOf(key: string, weight: number, size: number): Claimant {
  const hash = { hi: 0, lo: 0 };
  xxHash64Text(key, NO_SEED, hash);
  const offset = remainder(hash, size);
  xxHash64Text(key, SECOND_SEED, hash);
  return { offset, skip: remainder(hash, size - 1) + 1, weight, wanted: 0, next: 0, count: 0 };
}

/** Places are `offset + skip × n`; the product stays exact, since both are below 2^23 and there are as many steps at most. */
function nextPlace(claimant: Claimant, size: number): number {
  return (claimant.offset + claimant.skip * claimant.next++) % size;
}

/**
 * No host gets more requests than `factor` percent of what is its share by weight: those above go to others, in an order
 * that their hash decides. https://arxiv.org/abs/1608.01350, with the random jumps of https://arxiv.org/abs/1908.08762
 */
export function withBoundedLoads(
  table: HashTable,
  hosts: readonly Host[],
  factor: number,
  activeRequests: () => number,
): HashTable {
  const weights = normalizedWeights(hosts);
  const weightOf = new Map(hosts.map((host, at) => [host, weights[at]!]));
  const order = new Uint32Array(hosts.length);
  /** Above 1: full. */
  const load = (host: Host): number => {
    const all = Math.floor(((activeRequests() + 1) * factor + 99) / 100);
    return host.rqActive / Math.max(1, Math.ceil(all * weightOf.get(host)!));
  };
  return (hash, attempt) => {
    const first = table(hash, attempt);
    let least = load(first);
    if (least <= 1) return first;
    let best = first;
    let seed = hash.lo ^ hash.hi ^ attempt;
    for (let at = 0; at < order.length; at++) order[at] = at;
    for (let at = 0; at < order.length; at++) {
      // A linear congruential generator (Knuth's and Lewis's numbers): the same hash draws the same order each time.
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      const drawn = at + Math.floor((seed / 2 ** 32) * (order.length - at));
      const chosen = order[drawn]!;
      order[drawn] = order[at]!;
      order[at] = chosen;
      const host = hosts[chosen]!;
      const own = load(host);
      if (own <= 1) return host;
      if (own < least) {
        least = own;
        best = host;
      }
    }
    return best;
  };
}

/** Weights that add up to 1. */
function normalizedWeights(hosts: readonly Host[]): number[] {
  const total = hosts.reduce((sum, { weight }) => sum + weight, 0);
  return hosts.map(({ weight }) => weight / total);
}

/** What stands for a host: `hash_key` of its metadata `envoy.lb`, else its name when names are to be hashed, else its address. */
function hashKey(host: Host, config: HashingConfig): string {
  const own = host.lbMetadata?.["hash_key"];
  const key = typeof own === "string" && own !== "" ? own : config.useHostname ? host.hostname : host.address;
  return Buffer.from(key, "utf8").toString("latin1");
}
