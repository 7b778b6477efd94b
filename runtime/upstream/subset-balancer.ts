/**
 * Subsets of a cluster's hosts by their metadata `envoy.lb`. Which subsets a wanted metadata leads to, and which come
 * next when those have no host, is worked out once for each place of the configuration, and anew when hosts change.
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/subsets
 */
import type { SubsetsConfig, SubsetSelector } from "../config/cluster-snapshot.ts";
import { MAX_FALLBACK_METADATA, MAX_HOST_SUBSETS } from "../limits.ts";
import type { Counter, Gauge, Stats } from "../observe/stats.ts";
import type { Host } from "./host.ts";
import { type BalancerOptions, type HostPicker, LoadBalancer } from "./load-balancer.ts";
import { hasMetadata, keysText, type MetadataMatch, pairsText } from "./metadata-match.ts";
import type { PickContext } from "./pick.ts";

/** Key of a metadata match that holds alternatives, with `metadata_fallback_policy: FALLBACK_LIST`. */
const FALLBACK_LIST = "fallback_list";

/** `cluster.<name>.` */
class SubsetStats {
  readonly active: Gauge;
  readonly created: Counter;
  readonly removed: Counter;
  readonly selected: Counter;
  readonly fallback: Counter;
  readonly fallbackPanic: Counter;
  readonly duplicates: Gauge;

  constructor(stats: Stats, statName: string) {
    const counter = (name: string): Counter => stats.counter(`cluster.${statName}.lb_subsets_${name}`);
    // As in Envoy each worker counts the subsets that it has; hosts are facts that all state alike.
    this.active = stats.gauge(`cluster.${statName}.lb_subsets_active`);
    this.created = counter("created");
    this.removed = counter("removed");
    this.selected = counter("selected");
    this.fallback = counter("fallback");
    this.fallbackPanic = counter("fallback_panic");
    this.duplicates = stats.gauge(`cluster.${statName}.lb_subsets_single_host_per_subset_duplicate`, "max");
  }
}

/** The hosts of one subset; the balancer among them is made when the first stream wants it. */
class Subset implements HostPicker {
  readonly hosts: Host[] = [];
  readonly #options: BalancerOptions;
  /** One host serves, whatever its priority and health. */
  readonly single: boolean;
  #balancer: LoadBalancer | null = null;

  constructor(options: BalancerOptions, single: boolean) {
    this.#options = options;
    this.single = single;
  }

  pick(context?: PickContext): Host | null {
    if (this.single) return this.hosts[0] ?? null;
    if (this.#balancer === null) {
      this.#balancer = new LoadBalancer(this.#options);
      this.#balancer.update(this.hosts);
    }
    return this.#balancer.pick(context);
  }
}

/** One of the subsets that are tried in turn. */
interface Step {
  readonly subset: Subset;
  /** Counts that it is tried, and that it had a host. */
  readonly tried: Counter | null;
  readonly found: Counter | null;
}

export class SubsetBalancer implements HostPicker {
  readonly #config: SubsetsConfig;
  readonly #options: BalancerOptions;
  readonly #stats: SubsetStats;
  readonly #log: (message: string) => void;
  /** By keys; of several selectors with the same keys the first. */
  readonly #selectors = new Map<string, SubsetSelector>();
  /** By keys and values. */
  #subsets = new Map<string, Subset>();
  #any: Subset;
  #default: Subset;
  /** For streams that want nothing in particular, or what there is not. */
  #fallback: readonly Step[] = [];
  #known = new WeakMap<MetadataMatch, readonly Step[]>();
  #stopped = false;

  constructor(
    config: SubsetsConfig,
    options: BalancerOptions,
    { stats, statName, log }: { stats: Stats; statName: string; log: (message: string) => void },
  ) {
    this.#config = config;
    this.#options = options;
    this.#stats = new SubsetStats(stats, statName);
    this.#log = log;
    for (const selector of config.selectors) {
      const keys = keysText(selector.keys);
      if (!this.#selectors.has(keys)) this.#selectors.set(keys, selector);
    }
    this.#any = new Subset(options, false);
    this.#default = new Subset(options, false);
  }

  pick(context?: PickContext): Host | null {
    const steps = this.#stepsFor(context?.metadataMatch() ?? null);
    for (let at = 0; at < steps.length; at++) {
      const { subset, tried, found } = steps[at]!;
      tried?.inc();
      const host = subset.pick(context);
      if (host === null) continue;
      found?.inc();
      return host;
    }
    return null;
  }

  /** Replaces all hosts. */
  update(hosts: readonly Host[]): void {
    const before = this.#subsets;
    this.#known = new WeakMap();
    this.#any = new Subset(this.#options, false);
    this.#any.hosts.push(...hosts);
    const { defaultSubset, listAsAny } = this.#config;
    this.#default = new Subset(this.#options, false);
    this.#default.hosts.push(...hosts.filter((host) => hasMetadata(host, defaultSubset, listAsAny)));
    this.#subsets = this.#divide(hosts);
    this.#fallback = this.#fallbackSteps();
    if (this.#stopped) return;
    const stats = this.#stats;
    for (const key of this.#subsets.keys()) if (!before.has(key)) stats.created.inc();
    for (const key of before.keys()) if (!this.#subsets.has(key)) stats.removed.inc();
    stats.active.add(this.#subsets.size - before.size);
  }

  /** The cluster goes: its subsets are counted no more. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#stats.active.add(-this.#subsets.size);
    this.#stats.removed.add(this.#subsets.size);
  }

  // ---- hosts ------------------------------------------------------------------------------------------

  #divide(hosts: readonly Host[]): Map<string, Subset> {
    const subsets = new Map<string, Subset>();
    let duplicates = 0;
    for (const host of hosts) {
      for (const { keys, singleHost } of this.#config.selectors) {
        for (const key of this.#places(host, keys)) {
          let subset = subsets.get(key);
          if (subset === undefined) subsets.set(key, (subset = new Subset(this.#options, singleHost)));
          // Selectors with the same keys are the same subsets.
          if (subset.hosts.at(-1) === host) continue;
          if (subset.single && subset.hosts.length > 0) duplicates++;
          else subset.hosts.push(host);
        }
      }
    }
    this.#stats.duplicates.set(duplicates);
    return subsets;
  }

  /** The subsets of a selector that a host belongs to: none unless it has a value under each key. */
  #places(host: Host, keys: readonly string[]): string[] {
    const fields = host.lbMetadata;
    if (fields === undefined || keys.length === 0) return [];
    let found: (readonly [string, unknown])[][] = [[]];
    for (const key of keys) {
      if (!Object.hasOwn(fields, key)) return [];
      const value = fields[key];
      const values: readonly unknown[] = this.#config.listAsAny && Array.isArray(value) ? value : [value];
      if (found.length * values.length > MAX_HOST_SUBSETS) {
        this.#log(
          `the lists in the metadata of ${host.address} make more than ${MAX_HOST_SUBSETS} subsets: it is in none`,
        );
        return [];
      }
      found = found.flatMap((pairs) => values.map((one) => [...pairs, [key, one] as const]));
    }
    return found.map(pairsText);
  }

  // ---- what is tried, in order ------------------------------------------------------------------------

  #stepsFor(match: MetadataMatch | null): readonly Step[] {
    if (match === null) return this.#fallback;
    let steps = this.#known.get(match);
    if (steps === undefined) this.#known.set(match, (steps = this.#resolve(match)));
    return steps;
  }

  #resolve(match: MetadataMatch): readonly Step[] {
    if (!this.#config.fallbackList || !Object.hasOwn(match.fields, FALLBACK_LIST)) return this.#resolveOne(match);
    const rest = match.only((key) => key !== FALLBACK_LIST);
    const list = match.fields[FALLBACK_LIST];
    if (!Array.isArray(list) || list.length === 0) return this.#resolveOne(rest);
    // A filter may have written it.
    const tried = list.slice(0, MAX_FALLBACK_METADATA);
    return tried.flatMap((fields: unknown) => this.#resolveOne(isStruct(fields) ? rest.with(fields) : rest));
  }

  #resolveOne(match: MetadataMatch): readonly Step[] {
    const pairs = Object.entries(match.fields).sort(([a], [b]) => (a < b ? -1 : 1));
    const subset = this.#subsets.get(pairsText(pairs));
    // A subset that is there is the only answer, even if none of its hosts can be used.
    if (subset !== undefined) return [{ subset, tried: this.#stats.selected, found: null }];
    const selector = this.#selectors.get(keysText(pairs.map(([key]) => key)));
    switch (selector?.fallback) {
      case undefined:
      case "NOT_DEFINED":
        return this.#fallback;
      case "NO_FALLBACK":
        return [];
      case "ANY_ENDPOINT":
        return [{ subset: this.#any, tried: null, found: null }];
      case "DEFAULT_SUBSET":
        return [{ subset: this.#default, tried: null, found: null }];
      case "KEYS_SUBSET": {
        // Fewer keys each time, which the configuration has checked.
        const { fallbackKeys } = selector;
        return this.#resolveOne(match.only((key) => fallbackKeys.includes(key)));
      }
    }
  }

  #fallbackSteps(): readonly Step[] {
    const { fallback, panicModeAny } = this.#config;
    if (fallback === "NO_FALLBACK") return [];
    const subset = fallback === "ANY_ENDPOINT" ? this.#any : this.#default;
    const steps: Step[] = [{ subset, tried: null, found: this.#stats.fallback }];
    if (panicModeAny) steps.push({ subset: this.#any, tried: null, found: this.#stats.fallbackPanic });
    return steps;
  }
}

function isStruct(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
