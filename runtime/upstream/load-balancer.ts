/**
 * Which host serves the next request: first the priority by its health, then a host by the cluster's
 * policy. Everything is computed when the hosts change; a pick only reads it.
 */
import type { ClusterConfig } from "../config/snapshot.ts";
import { HEALTHY_PANIC_PERCENT, OVERPROVISIONING_PERCENT } from "../limits.ts";
import { EdfScheduler } from "./edf.ts";
import type { Host } from "./host.ts";

type Policy = ClusterConfig["lbPolicy"];

/** The hosts of one priority that take requests. */
interface Level {
  readonly pick: () => Host;
  /** Percent of the requests. */
  readonly load: number;
  readonly panic: boolean;
}

export class LoadBalancer {
  readonly #policy: Policy;
  readonly #onPanic: () => void;
  #levels: readonly Level[] = [];

  /** `onPanic` is called for each pick that ignores health. */
  constructor(policy: Policy, onPanic: () => void) {
    this.#policy = policy;
    this.#onPanic = onPanic;
  }

  /** Replaces all hosts. */
  update(hosts: readonly Host[]): void {
    this.#levels = levelsOf(hosts, this.#policy);
  }

  /** Null when there is no host to use. */
  pick(): Host | null {
    const levels = this.#levels;
    if (levels.length === 0) return null;
    let level = levels[0]!;
    if (levels.length > 1) {
      let at = Math.random() * 100;
      for (level of levels) if ((at -= level.load) < 0) break;
    }
    if (level.panic) this.#onPanic();
    return level.pick();
  }
}

/** The usable levels, with their share of the requests as Envoy computes it (priority levels, panic threshold). */
function levelsOf(hosts: readonly Host[], policy: Policy): Level[] {
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
  const panics = priorities.map(
    (list, at) => total < 100 && (100 * healthy[at]!.length) / list.length < HEALTHY_PANIC_PERCENT,
  );
  const loads = total === 0 ? loadsByHostCount(priorities) : loadsByHealth(health, total);
  const levels: Level[] = [];
  priorities.forEach((list, at) => {
    const usable = panics[at]! ? list : healthy[at]!;
    if (usable.length === 0 || loads[at]! <= 0) return;
    levels.push({ pick: picker(usable, policy), load: loads[at]!, panic: panics[at]! });
  });
  return levels;
}

function loadsByHealth(health: readonly number[], total: number): number[] {
  let left = 100;
  return health.map((share) => {
    const load = Math.min(left, (share * 100) / total);
    left -= load;
    return load;
  });
}

/** No host is healthy: every priority takes part by its size. */
function loadsByHostCount(priorities: readonly (readonly Host[])[]): number[] {
  const count = priorities.reduce((sum, list) => sum + list.length, 0);
  return priorities.map((list) => (100 * list.length) / count);
}

function picker(hosts: readonly Host[], policy: Policy): () => Host {
  const count = hosts.length;
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
