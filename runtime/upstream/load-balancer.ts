/**
 * Which host serves the next request: first the priority by its health, then a host by the cluster's
 * policy. Everything is computed when the hosts change; a pick only reads it.
 */
import type { HashingConfig, LeastRequestConfig } from "../config/cluster-snapshot.ts";
import type { ClusterConfig } from "../config/snapshot.ts";
import { HEALTHY_PANIC_PERCENT, LEAST_REQUEST_CHOICES, OVERPROVISIONING_PERCENT } from "../limits.ts";
import { type HashTable, maglev, ringHash, type TableSizes, withBoundedLoads } from "./consistent-hash.ts";
import { EdfScheduler } from "./edf.ts";
import { type Hash64, remainder } from "./hash64.ts";
import type { Host } from "./host.ts";
import type { PickContext } from "./pick.ts";

/** What a balancer is made with. */
export interface BalancerOptions {
  readonly policy: ClusterConfig["lbPolicy"];
  /** Of the policies RING_HASH and MAGLEV. */
  readonly hashing?: HashingConfig | undefined;
  /** Percent of usable hosts below which all are used; 0: never. Default: Envoy's. */
  readonly panicPercent?: number | undefined;
  /** Percent by which the share of usable hosts counts. Default: Envoy's. */
  readonly overprovisioningPercent?: number | undefined;
  readonly leastRequest?: LeastRequestConfig | undefined;
  /** Requests of all hosts under way, for bounds of the load of one. */
  readonly activeRequests?: () => number;
  /** Called for each pick that ignores health. */
  readonly onPanic: () => void;
  /** Called when a table of hashes was made anew. */
  readonly onTable?: (sizes: TableSizes) => void;
}

/** Chooses among hosts. */
export interface HostPicker {
  /** Null when there is no host to use. */
  pick(context?: PickContext): Host | null;
}

/** The hosts of one priority that take requests. */
interface Level {
  readonly pick: (hash: Readonly<Hash64>, attempt: number) => Host;
  /** Percent of the requests, a whole number. */
  readonly load: number;
  readonly panic: boolean;
}

/** The hash of the pick under way. */
const HASH: Hash64 = { hi: 0, lo: 0 };

export class LoadBalancer implements HostPicker {
  readonly #options: BalancerOptions;
  readonly #hashes: boolean;
  #levels: readonly Level[] = [];

  constructor(options: BalancerOptions) {
    this.#options = options;
    this.#hashes = choosesByHash(options.policy);
  }

  /** Replaces all hosts. */
  update(hosts: readonly Host[]): void {
    this.#levels = levelsOf(hosts, this.#options);
  }

  pick(context?: PickContext): Host | null {
    if (this.#levels.length === 0) return null;
    if (this.#hashes && context?.hash(HASH) !== true) drawHash(HASH);
    let host = this.#choose(0);
    if (context === undefined) return host;
    const { moreHosts } = context;
    for (let more = 1; more <= moreHosts && context.refuses(host); more++) host = this.#choose(more);
    return host;
  }

  /** `attempt`: how many hosts before this one were not wanted. */
  #choose(attempt: number): Host {
    const levels = this.#levels;
    let level = levels[0]!;
    if (levels.length > 1) {
      // The same hash means the same priority as well.
      let at = this.#hashes ? remainder(HASH, 100) : Math.random() * 100;
      for (level of levels) if ((at -= level.load) < 0) break;
    }
    if (level.panic) this.#options.onPanic();
    return level.pick(HASH, attempt);
  }
}

/** Whether a policy gives streams of the same hash the same host. */
export function choosesByHash(policy: ClusterConfig["lbPolicy"]): boolean {
  return policy === "RING_HASH" || policy === "MAGLEV";
}

/** For streams without a hash: they are spread by chance. */
function drawHash(into: Hash64): void {
  into.hi = Math.floor(Math.random() * 2 ** 32);
  into.lo = Math.floor(Math.random() * 2 ** 32);
}

/** The usable levels, with their share of the requests as Envoy computes it (priority levels, panic threshold). */
function levelsOf(hosts: readonly Host[], options: BalancerOptions): Level[] {
  const { panicPercent = HEALTHY_PANIC_PERCENT } = options;
  const byPriority = new Map<number, Host[]>();
  for (const host of hosts) {
    const list = byPriority.get(host.priority);
    if (list === undefined) byPriority.set(host.priority, [host]);
    else list.push(host);
  }
  const priorities = [...byPriority.keys()].sort((a, b) => a - b).map((key) => byPriority.get(key)!);
  const healthy = priorities.map((list) => list.filter((host) => host.healthy && !host.degraded));
  const degraded = priorities.map((list) => list.filter((host) => host.healthy && host.degraded));
  const shares = [healthy, degraded].map((kind) => kind.map((some, at) => shareOf(some, priorities[at]!, options)));
  const total = Math.min(
    100,
    shares.flat().reduce((sum, share) => sum + share, 0),
  );
  const panics = priorities.map(
    (list, at) => total < 100 && (100 * (healthy[at]!.length + degraded[at]!.length)) / list.length < panicPercent,
  );
  const everywhere = panics.length > 0 && panics.every(Boolean);
  const [loads, degradedLoads] = everywhere ? [loadsByHostCount(priorities), []] : loadsByHealth(shares, total);
  const levels: Level[] = [];
  const add = (usable: readonly Host[], load: number, panic: boolean): void => {
    if (usable.length > 0 && load > 0) levels.push({ pick: picker(usable, options), load, panic });
  };
  // Hosts that are degraded get what the healthy ones of all priorities cannot take.
  priorities.forEach((list, at) => add(panics[at]! ? list : healthy[at]!, loads[at]!, panics[at]!));
  priorities.forEach((list, at) => add(panics[at]! ? list : degraded[at]!, degradedLoads[at] ?? 0, panics[at]!));
  return levels;
}

/** How much of its requests a priority can take, in percent. */
function shareOf(some: readonly Host[], all: readonly Host[], options: BalancerOptions): number {
  const { overprovisioningPercent = OVERPROVISIONING_PERCENT } = options;
  return Math.min(100, Math.floor((overprovisioningPercent * some.length) / all.length));
}

/** Whole numbers that add up to 100; what rounding leaves goes to the first that can take anything. */
function loadsByHealth(shares: readonly (readonly number[])[], total: number): [number[], number[]] {
  let left = 100;
  const loads = shares.map((kind) =>
    kind.map((share) => {
      const load = total === 0 ? 0 : Math.min(left, Math.floor((share * 100) / total));
      left -= load;
      return load;
    }),
  );
  for (const [kind, list] of loads.entries()) {
    const first = shares[kind]!.findIndex((share) => share > 0);
    if (first === -1) continue;
    list[first]! += left;
    break;
  }
  return [loads[0]!, loads[1]!];
}

/** Too few hosts are healthy everywhere: every priority takes part by its size. */
function loadsByHostCount(priorities: readonly (readonly Host[])[]): number[] {
  const count = priorities.reduce((sum, list) => sum + list.length, 0);
  let left = 100;
  const loads = priorities.map((list) => {
    const load = Math.floor((100 * list.length) / count);
    left -= load;
    return load;
  });
  loads[0]! += left;
  return loads;
}

function picker(hosts: readonly Host[], options: BalancerOptions): Level["pick"] {
  const { policy, hashing } = options;
  const count = hosts.length;
  if (hashing !== undefined && policy === "RING_HASH") return bounded(ringHash, hosts, hashing, options);
  if (hashing !== undefined && policy === "MAGLEV") return bounded(maglev, hosts, hashing, options);
  if (count === 1) {
    const only = hosts[0]!;
    return () => only;
  }
  // RANDOM ignores weights, as in Envoy.
  if (policy === "RANDOM") return () => hosts[randomBelow(count)]!;
  const weighted = hosts.some((host) => host.weight !== hosts[0]!.weight);
  if (policy === "LEAST_REQUEST") return leastRequest(hosts, weighted, options.leastRequest);
  if (weighted) return startedAnywhere(new EdfScheduler(hosts, (host) => host.weight), count);
  // A random start keeps workers that were started together from walking in step.
  let next = randomBelow(count);
  return () => {
    const host = hosts[next]!;
    next = next + 1 === count ? 0 : next + 1;
    return host;
  };
}

function bounded(
  make: typeof ringHash,
  hosts: readonly Host[],
  hashing: HashingConfig,
  { onTable, activeRequests }: BalancerOptions,
): HashTable {
  const table = make(hosts, hashing, onTable ?? ignoreSizes);
  return hashing.balanceFactor === undefined || activeRequests === undefined
    ? table
    : withBoundedLoads(table, hosts, hashing.balanceFactor, activeRequests);
}

/** Hosts of equal weight: the least busy of some that are drawn; else by weight over load. */
function leastRequest(
  hosts: readonly Host[],
  weighted: boolean,
  { choices, bias }: LeastRequestConfig = LEAST_REQUEST,
): () => Host {
  const count = hosts.length;
  if (weighted) {
    const weightOf = (host: Host): number =>
      host.weight / (bias === 1 ? host.rqActive + 1 : (host.rqActive + 1) ** bias);
    return startedAnywhere(new EdfScheduler(hosts, weightOf), count);
  }
  if (choices === 2) return () => lessBusy(hosts[randomBelow(count)]!, hosts[randomBelow(count)]!);
  return () => {
    let best = hosts[randomBelow(count)]!;
    for (let drawn = 1; drawn < choices; drawn++) best = lessBusy(best, hosts[randomBelow(count)]!);
    return best;
  };
}

/** Where nothing is configured. Envoy: `active_request_bias`, 1. */
const LEAST_REQUEST: LeastRequestConfig = { choices: LEAST_REQUEST_CHOICES, bias: 1 };
const ignoreSizes = (): void => {};

function startedAnywhere(scheduler: EdfScheduler<Host>, count: number): () => Host {
  for (let skip = randomBelow(count); skip > 0; skip--) scheduler.pick();
  return () => scheduler.pick();
}

function lessBusy(a: Host, b: Host): Host {
  return b.rqActive < a.rqActive ? b : a;
}

function randomBelow(count: number): number {
  return Math.floor(Math.random() * count);
}
