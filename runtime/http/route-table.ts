/**
 * The routes of one connection manager, compiled: which virtual host and route a request takes, and all
 * that follows from it. Every outcome is an object that exists before the first request.
 */
import type { HeaderMap } from "../codec/headers.ts";
import type {
  HeaderMutation,
  PerFilterConfig,
  RouteAction,
  RouteConfig,
  RouteConfigEntry,
  Snapshot,
  VirtualHostConfig,
  WeightedCluster,
} from "../config/snapshot.ts";
import { compileMutations, type CompiledMutation } from "../observe/header-mutation.ts";
import { compileRegexRewrite, type Rewrite } from "../observe/regex-rewrite.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { MetadataMatch } from "../upstream/metadata-match.ts";
import { HashPolicy } from "./hash-policy.ts";
import { RetryRules } from "./retry.ts";
import { RouteDomains } from "./route-domains.ts";
import { compileMatch, type RouteTest } from "./route-match.ts";
import { compilePathRewrite } from "./route-rewrite.ts";

/** What one route (and one of its weighted clusters) means for a request. */
export class ResolvedRoute {
  readonly virtualHost: VirtualHostConfig;
  readonly route: RouteConfigEntry;
  readonly action: RouteAction;
  readonly weighted: WeightedCluster | null;
  /** "" when the action forwards nowhere, or when the header that names the cluster is absent. */
  readonly clusterName: string;
  readonly runtime: Snapshot["runtime"];
  /** Levels in the order in which they are applied; null when nothing is added or removed. */
  readonly requestMutations: readonly CompiledMutation[] | null;
  readonly responseMutations: readonly CompiledMutation[] | null;
  /** The path rewrite of a route action or a redirect. */
  readonly pathRewrite: Rewrite | null;
  /** RouteAction.host_rewrite_path_regex. */
  readonly hostFromPath: Rewrite | null;
  /** What hosts' metadata must say; null: nothing. */
  readonly metadataMatch: MetadataMatch | null;
  readonly hashPolicy: HashPolicy | null;
  /** Null: neither the route nor its virtual host has a retry policy. */
  readonly retryRules: RetryRules | null;
  readonly #perFilter: ReadonlyMap<string, PerFilterConfig[string]> | null;

  constructor(parts: ResolvedParts) {
    this.virtualHost = parts.virtualHost;
    this.route = parts.route;
    this.action = parts.route.action;
    this.weighted = parts.weighted;
    this.clusterName = parts.clusterName;
    this.runtime = parts.runtime;
    this.requestMutations = parts.requestMutations;
    this.responseMutations = parts.responseMutations;
    this.pathRewrite = parts.pathRewrite;
    this.hostFromPath = parts.hostFromPath;
    this.metadataMatch = parts.metadataMatch;
    this.hashPolicy = parts.hashPolicy;
    this.retryRules = parts.retryRules;
    this.#perFilter = parts.perFilter;
  }

  /** The most specific typed_per_filter_config for a filter's configured name. */
  perFilter(filterName: string): PerFilterConfig[string] | undefined {
    return this.#perFilter?.get(filterName);
  }
}

/** What a {@link ResolvedRoute} is made of. */
type ResolvedParts = Omit<ResolvedRoute, "action" | "perFilter"> & {
  readonly perFilter: ReadonlyMap<string, PerFilterConfig[string]> | null;
};

/** What is left to choose once a route has matched. */
interface Outcome {
  readonly pathless: boolean;
  readonly test: RouteTest;
  readonly only: ResolvedRoute | null;
  readonly choose: ((headers: HeaderMap, info: StreamInfo) => ResolvedRoute) | null;
}

export class RouteTable {
  readonly #domains: RouteDomains;
  readonly #virtualHosts: readonly (readonly Outcome[])[];

  /** Throws ProxyError `FORMAT_INVALID` or re2js' error for values that configuration should have refused. */
  constructor(config: RouteConfig, runtime: Snapshot["runtime"]) {
    this.#domains = new RouteDomains(
      config.virtualHosts.map((virtualHost) => virtualHost.domains),
      config.ignorePortInHostMatching,
    );
    this.#virtualHosts = config.virtualHosts.map((virtualHost) =>
      virtualHost.routes.map((route) => compileOutcome({ config, virtualHost, route, runtime })),
    );
  }

  /** The first matching route of the request's virtual host; null when there is none. */
  resolve(headers: HeaderMap, info: StreamInfo): ResolvedRoute | null {
    const outcomes = this.#virtualHosts[this.#domains.find(headers.get(":authority") ?? "")];
    if (outcomes === undefined) return null;
    const path = headers.get(":path") ?? "";
    for (const outcome of outcomes) {
      // Only connect_matcher knows requests without a path: those for tunnels.
      if (path === "" && !outcome.pathless) continue;
      if (outcome.test(path, headers, info)) return outcome.only ?? outcome.choose!(headers, info);
    }
    return null;
  }
}

interface Place {
  readonly config: RouteConfig;
  readonly virtualHost: VirtualHostConfig;
  readonly route: RouteConfigEntry;
  readonly runtime: Snapshot["runtime"];
}

function compileOutcome(place: Place): Outcome {
  const { route, runtime } = place;
  const test = compileMatch(route.match, runtime);
  const pathless = route.match.path.kind === "connect";
  const { action } = route;
  if (action.kind !== "route")
    return { pathless, test, only: new ResolvedRoute(partsFor(place, null, "")), choose: null };
  const { cluster } = action;
  switch (cluster.kind) {
    case "cluster":
      return { pathless, test, only: new ResolvedRoute(partsFor(place, null, cluster.name)), choose: null };
    case "cluster_header": {
      const parts = partsFor(place, null, "");
      const choose = (headers: HeaderMap): ResolvedRoute =>
        new ResolvedRoute({ ...parts, clusterName: headers.get(cluster.header) ?? "" });
      return { pathless, test, only: null, choose };
    }
    case "weighted":
      return { pathless, test, only: null, choose: weightedChoice(place, cluster.clusters) };
  }
}

function weightedChoice(
  place: Place,
  clusters: readonly WeightedCluster[],
): (headers: HeaderMap, info: StreamInfo) => ResolvedRoute {
  let total = 0;
  const slices = clusters
    .filter((cluster) => cluster.weight > 0)
    .map((cluster) => {
      total += cluster.weight;
      return { end: total, resolved: new ResolvedRoute(partsFor(place, cluster, cluster.name)) };
    });
  // Without any weight (which configuration refuses) there is no cluster to go to.
  const fallback = slices.at(-1)?.resolved ?? new ResolvedRoute(partsFor(place, null, ""));
  return (_headers, info) => {
    const drawn = info.random() * total;
    for (const { end, resolved } of slices) if (drawn < end) return resolved;
    return fallback;
  };
}

function partsFor(place: Place, weighted: WeightedCluster | null, clusterName: string): ResolvedParts {
  const { config, virtualHost, route, runtime } = place;
  const { action } = route;
  // Most specific first; Envoy lets the least specific level have the last word unless told otherwise.
  const levels = weighted === null ? [route, virtualHost, config] : [weighted, route, virtualHost, config];
  const ordered = config.mostSpecificHeaderMutationsWins ? levels.toReversed() : levels;
  const mutations = (read: (level: (typeof levels)[number]) => HeaderMutation): readonly CompiledMutation[] | null =>
    compileMutations(ordered.map(read));
  const rewrites = action.kind === "route" || action.kind === "redirect";
  // An empty prefix_rewrite of a route action means that there is none; a redirect says so with undefined.
  const prefixRewrite = !rewrites || action.prefixRewrite === "" ? undefined : action.prefixRewrite;
  const retryPolicy = action.kind === "route" ? (action.retryPolicy ?? virtualHost.retryPolicy) : undefined;
  return {
    virtualHost,
    route,
    weighted,
    clusterName,
    runtime,
    requestMutations: mutations((level) => level.requestHeaders),
    responseMutations: mutations((level) => level.responseHeaders),
    pathRewrite: rewrites ? compilePathRewrite(route.match, prefixRewrite, action.regexRewrite) : null,
    hostFromPath:
      action.kind === "route" && action.hostRewrite.kind === "path_regex"
        ? compileRegexRewrite(action.hostRewrite.rewrite)
        : null,
    metadataMatch: action.kind === "route" ? MetadataMatch.of(action.metadataMatch, weighted?.metadataMatch) : null,
    hashPolicy: action.kind === "route" && action.hashPolicy !== undefined ? new HashPolicy(action.hashPolicy) : null,
    retryRules: retryPolicy === undefined ? null : new RetryRules(retryPolicy),
    perFilter: mergePerFilter(levels.map((level) => level.perFilter)),
  };
}

/** Most specific first. */
function mergePerFilter(levels: readonly PerFilterConfig[]): ReadonlyMap<string, PerFilterConfig[string]> | null {
  const merged = new Map<string, PerFilterConfig[string]>();
  for (const level of levels) {
    for (const [name, override] of Object.entries(level)) if (!merged.has(name)) merged.set(name, override);
  }
  return merged.size === 0 ? null : merged;
}
