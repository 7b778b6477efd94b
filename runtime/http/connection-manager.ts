/**
 * `http_connection_manager` of one filter chain in one worker: what all its sessions and streams share
 * (routes, filters, clusters, statistics, access logs), and the factory of sessions.
 */
import type { RequestParserOptions } from "../codec/h1-request-parser.ts";
import type {
  ClusterConfig,
  HttpConnectionManagerConfig,
  HttpFilterConfig,
  NodeConfig,
  PerFilterConfig,
  RouteConfig,
  Snapshot,
} from "../config/snapshot.ts";
import type { RateLimitConfig } from "../config/rate-limit-snapshot.ts";
import { sameConfig } from "../config/same.ts";
import { ProxyError } from "../errors.ts";
import type { ConnectionView, NetworkFilterFactory, TerminalFilter, TerminalFilterFactory } from "../network/filter.ts";
import type { StreamLog } from "../observe/access-log.ts";
import type { Stats } from "../observe/stats.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import type { Upstreams } from "../upstream/request.ts";
import type { HttpFilterFactory } from "./filter.ts";
import { CodecChoice } from "./codec-choice.ts";
import { DrainRamp } from "./drain-ramp.ts";
import { H2Session } from "./h2-session.ts";
import { ManagerStats } from "./manager-stats.ts";
import { RequestHeaders } from "./request-headers.ts";
import { describeOwnRateLimits, describeRateLimits } from "./rate-limit-descriptors.ts";
import { RouteTable } from "./route-table.ts";
import type { ResolvedRoute } from "./route-table.ts";
import { RoutedCluster } from "./routed-cluster.ts";
import { Session } from "./session.ts";
import type { Stream } from "./stream.ts";

/** What a connection manager needs from the worker. */
export interface HttpEnvironment {
  readonly stats: Stats;
  readonly upstreams: Upstreams;
  readonly clusterConfig: (name: string) => ClusterConfig | undefined;
  readonly runtime: Snapshot["runtime"];
  readonly node: NodeConfig;
  /** Makes the factory of a configured filter other than the router. */
  readonly filterFactory: (config: Exclude<HttpFilterConfig, { kind: "router" }>) => HttpFilterFactory;
  readonly accessLog: (configs: HttpConnectionManagerConfig["accessLogs"]) => StreamLog | undefined;
  /** Default: never asks downstream to close. */
  readonly drainState?: DrainState;
}

/** Whether a response asks downstream to close the connection: looked at for each, since it may be left to chance. */
export interface DrainState {
  asks(): boolean;
}

const NO_DRAIN: DrainState = { asks: () => false };

type RouterConfig = Extract<HttpFilterConfig, { kind: "router" }>;

export class ConnectionManager implements TerminalFilterFactory {
  readonly name: string;
  readonly terminal = true;
  readonly config: HttpConnectionManagerConfig;
  readonly routes: RouteTable;
  readonly filters: readonly HttpFilterFactory[];
  readonly router: RouterConfig;
  readonly stats: ManagerStats;
  /** False: no filter can be switched off or on by a route, so nobody needs to look. */
  readonly mayDisable: boolean;
  /** False: no route carries any configuration for a filter. */
  readonly mayOverride: boolean;
  readonly bufferLimitBytes: number;
  readonly requestHeaders: RequestHeaders;
  readonly parserOptions: RequestParserOptions;
  readonly #accessLog: StreamLog | undefined;
  readonly #drainState: DrainState;
  /** Drains alone: its chain is not in force any more. */
  #ramp: DrainRamp | null = null;
  /** In force in its place. */
  #successor: ConnectionManager | null = null;
  /** Streams under way. */
  #streams = 0;
  #onIdle = (): void => {};
  readonly #clusters = new Map<string, RoutedCluster>();
  readonly #environment: HttpEnvironment;
  readonly #disabledByDefault: readonly boolean[];

  constructor(
    name: string,
    config: HttpConnectionManagerConfig,
    bufferLimitBytes: number,
    environment: HttpEnvironment,
  ) {
    this.name = name;
    this.config = config;
    this.bufferLimitBytes = bufferLimitBytes;
    this.#environment = environment;
    this.#drainState = environment.drainState ?? NO_DRAIN;
    this.requestHeaders = new RequestHeaders(config, environment.node);
    this.parserOptions = {
      maxHeadBytes: config.maxRequestHeadersBytes,
      maxHeaders: config.maxHeadersCount,
      underscores: config.headersWithUnderscores,
      allowAbsoluteUrl: true,
    };
    this.routes = new RouteTable(config.routeConfig, environment.runtime);
    this.stats = new ManagerStats(environment.stats, config.statPrefix);
    const router = config.httpFilters.at(-1);
    if (router?.kind !== "router")
      throw new ProxyError("NO_ROUTER", "config", `${name}: the last HTTP filter must be the router`);
    this.router = router;
    const filters = config.httpFilters.slice(0, -1) as Exclude<HttpFilterConfig, { kind: "router" }>[];
    this.filters = filters.map((filter) => environment.filterFactory(filter));
    this.#disabledByDefault = filters.map((filter) => filter.disabled);
    const overrides = [...perFilterConfigs(config.routeConfig)];
    this.mayOverride = overrides.some((found) => Object.keys(found).length > 0);
    this.mayDisable =
      this.#disabledByDefault.includes(true) ||
      overrides.some((found) => Object.values(found).some((entry) => entry.disabled));
    this.#accessLog = environment.accessLog(config.accessLogs);
  }

  create(connection: ConnectionView): TerminalFilter {
    const { codecType } = this.config;
    const agreed = connection.info.secure?.alpn ?? "";
    if (codecType === "HTTP2" || (codecType === "AUTO" && agreed === "h2")) return new H2Session(this, connection);
    // What ALPN has agreed on, or nobody but HTTP/1 is wanted.
    if (codecType === "HTTP1" || agreed !== "") return new Session(this, connection);
    return new CodecChoice(this, connection);
  }

  /** Streams differ, connections do not. */
  succeed(next: NetworkFilterFactory, onIdle: () => void): boolean {
    if (!(next instanceof ConnectionManager)) return false;
    const { routeConfig, httpFilters, accessLogs } = this.config;
    if (next.bufferLimitBytes !== this.bufferLimitBytes) return false;
    if (!sameConfig({ ...next.config, routeConfig, httpFilters, accessLogs }, this.config)) return false;
    this.#successor = next;
    this.#onIdle = onIdle;
    this.#keepClusters();
    return true;
  }

  /** What new streams of a connection begin with: this one, or what has taken its place. */
  get newest(): ConnectionManager {
    if (this.#successor === null) return this;
    let newest = this.#successor;
    while (newest.#successor !== null) newest = newest.#successor;
    return newest;
  }

  retire(overMs: number, onIdle: () => void): void {
    this.#onIdle = onIdle;
    this.#ramp = new DrainRamp(overMs);
    this.#keepClusters();
  }

  get #inForce(): boolean {
    return this.#successor === null && this.#ramp === null;
  }

  /** Clusters may go together with the routes to them, and streams that have these are to end well. */
  #keepClusters(): void {
    for (const { routes } of this.config.routeConfig.virtualHosts) {
      for (const { action } of routes) {
        if (action.kind !== "route") continue;
        const { cluster } = action;
        if (cluster.kind === "cluster") this.cluster(cluster.name);
        else if (cluster.kind === "weighted") for (const { name } of cluster.clusters) this.cluster(name);
      }
    }
  }

  /** Whether an answer asks downstream to leave: looked at once for each. */
  asksToLeave(): boolean {
    return this.#drainState.asks() || (this.#ramp !== null && this.#ramp.asks());
  }

  clusterConfig(name: string): ClusterConfig | null {
    return this.#environment.clusterConfig(name) ?? this.#clusters.get(name)?.config ?? null;
  }

  /** The cluster with its request statistics; undefined when there is none of that name. */
  cluster(name: string): RoutedCluster | undefined {
    const known = this.#clusters.get(name);
    if (known !== undefined && known.upstream.retired !== true) return known;
    const config = this.#environment.clusterConfig(name);
    const upstream = this.#environment.upstreams.get(name);
    if (config === undefined || upstream === undefined) return this.#inForce ? undefined : known;
    if (upstream === known?.upstream) return known;
    const cluster = new RoutedCluster(config, upstream, this.#environment.stats);
    this.#clusters.set(name, cluster);
    return cluster;
  }

  disabledByDefault(filter: number): boolean {
    return this.#disabledByDefault[filter] === true;
  }

  describeRateLimits(
    route: ResolvedRoute,
    stage: number,
    virtualHostMode: number,
    info: StreamInfo,
  ): readonly Uint8Array[] {
    return describeRateLimits(route, stage, virtualHostMode, info.requestHeaders!, info, this.#environment.node);
  }

  describeOwnRateLimits(
    route: ResolvedRoute,
    limits: readonly RateLimitConfig[],
    info: StreamInfo,
  ): readonly Uint8Array[] {
    return describeOwnRateLimits(limits, route, info.requestHeaders!, info, this.#environment.node);
  }

  get busy(): boolean {
    return this.#streams > 0;
  }

  onStreamBegun(): void {
    this.#streams++;
  }

  /** The stream is final: statistics and access log. */
  onStreamComplete(stream: Stream): void {
    const info = stream.info;
    const stats = this.stats;
    stats.downstreamRqActive.dec();
    if (stream.wantsSwitch) stats.cxUpgradesActive.dec();
    stats.downstreamRqTime.record(info.completeMs - info.startMs);
    if (info.responseCode > 0) stats.codes.charge(info.responseCode);
    if (this.#accessLog !== undefined) this.#accessLog.log(info);
    if (--this.#streams === 0) this.#onIdle();
  }
}

function* perFilterConfigs(routes: RouteConfig): Generator<PerFilterConfig> {
  yield routes.perFilter;
  for (const host of routes.virtualHosts) {
    yield host.perFilter;
    for (const route of host.routes) {
      yield route.perFilter;
      const action = route.action;
      if (action.kind === "route" && action.cluster.kind === "weighted") {
        for (const cluster of action.cluster.clusters) yield cluster.perFilter;
      }
    }
  }
}
