/**
 * Which host serves the next request: first the priority by its health, then a host by the cluster's
 * policy. Everything is computed when the hosts change; a pick only reads it.
 */
import type { HashingConfig } from "../config/cluster-snapshot.ts";
import type { ClusterConfig } from "../config/snapshot.ts";
import { HEALTHY_PANIC_PERCENT, OVERPROVISIONING_PERCENT } from "../limits.ts";
import { maglev, ringHash, type TableSizes } from "./consistent-hash.ts";
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
  readonly pick: (hash: Readonly<Hash64>) => Host;
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
    const levels = this.#levels;
    if (levels.length === 0) return null;
    if (this.#hashes && context?.hash(HASH) !== true) drawHash(HASH);
    let level = levels[0]!;
    if (levels.length > 1) {
      // The same hash means the same priority as well.
      let at = this.#hashes ? remainder(HASH, 100) : Math.random() * 100;
      for (level of levels) if ((at -= level.load) < 0) break;
    }
    if (level.panic) this.#options.onPanic();
    return level.pick(HASH);
  }
}

/** Whether a policy gives streams of the same hash the same host. */
export function choosesByHash(policy: ClusterConfig["lbPolicy"]): boolean {
  return policy === "RING_HASH" || policy === "MAGLEV";
}

/** For streams without a hash: they are spread by chance. */
function drawHash(into: Hash64): void {
  into.hi = Math.floor(Math.random() * 4_294_967_296);
  into.lo = Math.floor(Math.random() * 4_294_967_296);
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
  const healthy = priorities.map((list) => list.filter((host) => host.healthy));
  const health = priorities.map((list, at) =>
    Math.min(100, Math.floor((OVERPROVISIONING_PERCENT * healthy[at]!.length) / list.length)),
  );
  const total = Math.min(
    100,
    health.reduce((sum, share) => sum + share, 0),
  );
  const panics = priorities.map((list, at) => total < 100 && (100 * healthy[at]!.length) / list.length < panicPercent);
  const loads = total === 0 ? loadsByHostCount(priorities) : loadsByHealth(health, total);
  const levels: Level[] = [];
  priorities.forEach((list, at) => {
    const usable = panics[at]! ? list : healthy[at]!;
    if (usable.length === 0 || loads[at]! <= 0) return;
    levels.push({ pick: picker(usable, options), load: loads[at]!, panic: panics[at]! });
  });
  return levels;
}

/** Whole numbers that add up to 100; what rounding leaves goes to the first priority that has health. */
function loadsByHealth(health: readonly number[], total: number): number[] {
  let left = 100;
  const loads = health.map((share) => {
    const load = Math.min(left, Math.floor((share * 100) / total));
    left -= load;
    return load;
  });
  const first = health.findIndex((share) => share > 0);
  loads[first]! += left;
  return loads;
}

/** No host is healthy: every priority takes part by its size. */
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

function picker(hosts: readonly Host[], { policy, hashing, onTable }: BalancerOptions): Level["pick"] {
  const count = hosts.length;
  if (hashing !== undefined && policy === "RING_HASH") return ringHash(hosts, hashing, onTable ?? ignoreSizes);
  if (hashing !== undefined && policy === "MAGLEV") return maglev(hosts, hashing, onTable ?? ignoreSizes);
  if (count === 1) {
    const only = hosts[0]!;
    return () => only;
  }
  // RANDOM ignores weights, as in Envoy.
  if (policy === "RANDOM") return () => hosts[randomBelow(count)]!;
  const weighted = hosts.some((host) => host.weight !== hosts[0]!.weight);
  if (policy === "LEAST_REQUEST") {
    if (!weighted) return () => lessBusy(hosts[randomBelow(count)]!, hosts[randomBelow(count)]!);
    return startedAnywhere(new EdfScheduler(hosts, (host) => host.weight / (host.rqActive + 1)), count);
  }
  if (weighted) return startedAnywhere(new EdfScheduler(hosts, (host) => host.weight), count);
  // A random start keeps workers that were started together from walking in step.
  let next = randomBelow(count);
  return () => {
    const host = hosts[next]!;
    next = next + 1 === count ? 0 : next + 1;
    return host;
  };
}

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
