/**
 * `http_connection_manager` of one filter chain in one worker: what all its sessions and streams share
 * (routes, filters, clusters, statistics, access logs), and the factory of sessions.
 */
import type { HeaderMap } from "../codec/headers.ts";
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
import { ResponseCodeStats } from "../observe/response-code-stats.ts";
import type { Counter, Gauge, Histogram, Stats } from "../observe/stats.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import type { Upstream, Upstreams } from "../upstream/request.ts";
import { Phase } from "./filter.ts";
import type { HttpFilterFactory } from "./filter.ts";
import { CodecChoice } from "./codec-choice.ts";
import { DrainRamp } from "./drain-ramp.ts";
import { H2Session } from "./h2-session.ts";
import { RequestHeaders } from "./request-headers.ts";
import { describeOwnRateLimits, describeRateLimits } from "./rate-limit-descriptors.ts";
import { tlsRedirectLocation } from "./route-apply.ts";
import { RouteTable } from "./route-table.ts";
import type { ResolvedRoute } from "./route-table.ts";
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

/** Retries that may run or wait at once, per cluster: see `CircuitBreakers.maxRetries`. */
export class RoutedCluster {
  readonly config: ClusterConfig;
  readonly upstream: Upstream;
  readonly codes: ResponseCodeStats;
  readonly retryCodes: ResponseCodeStats;
  readonly time: Histogram;
  readonly timeout: Counter;
  readonly perTryTimeout: Counter;
  readonly retryLimitExceeded: Counter;
  readonly retrySuccess: Counter;
  readonly retryOrShadowAbandoned: Counter;
  readonly #retry: Counter;
  readonly #retryBackoff: Counter;
  readonly #retryOverflow: Counter;
  readonly #retryOpen: Gauge;
  readonly #active: Gauge;
  readonly #pending: Gauge;
  #retries = 0;

  constructor(config: ClusterConfig, upstream: Upstream, stats: Stats) {
    const prefix = `cluster.${config.statName}.`;
    this.config = config;
    this.upstream = upstream;
    this.codes = new ResponseCodeStats(stats, `${prefix}upstream_rq_`, true);
    this.retryCodes = new ResponseCodeStats(stats, `${prefix}retry.upstream_rq_`, true);
    this.time = stats.histogram(`${prefix}upstream_rq_time`);
    this.timeout = stats.counter(`${prefix}upstream_rq_timeout`);
    this.perTryTimeout = stats.counter(`${prefix}upstream_rq_per_try_timeout`);
    this.retrySuccess = stats.counter(`${prefix}upstream_rq_retry_success`);
    this.retryLimitExceeded = stats.counter(`${prefix}upstream_rq_retry_limit_exceeded`);
    this.retryOrShadowAbandoned = stats.counter(`${prefix}retry_or_shadow_abandoned`);
    this.#retryBackoff = stats.counter(`${prefix}upstream_rq_retry_backoff_exponential`);
    this.#retry = stats.counter(`${prefix}upstream_rq_retry`);
    this.#retryOpen = stats.gauge(`${prefix}circuit_breakers.default.rq_retry_open`, "max");
    this.#active = stats.gauge(`${prefix}upstream_rq_active`);
    this.#pending = stats.gauge(`${prefix}upstream_rq_pending_active`);
    this.#retryOverflow = stats.counter(`${prefix}upstream_rq_retry_overflow`);
  }

  /** Takes a place for a retry; false when the circuit breaker is open. */
  beginRetry(): boolean {
    if (this.#retries >= this.#maxRetries) {
      this.#retryOverflow.inc();
      return false;
    }
    this.#retries++;
    this.#tellRetries();
    this.#retry.inc();
    this.#retryBackoff.inc();
    return true;
  }

  endRetry(): void {
    this.#retries--;
    this.#tellRetries();
  }

  /** A budget is a share of the requests that there are now, in this worker as all bounds. */
  get #maxRetries(): number {
    const { maxRetries, retryBudget } = this.config.circuitBreakers;
    if (retryBudget === undefined) return maxRetries;
    const requests = this.#active.value + this.#pending.value;
    return Math.max(retryBudget.minConcurrency, Math.floor((requests * retryBudget.percent) / 100));
  }

  #tellRetries(): void {
    this.#retryOpen.set(this.#retries >= this.#maxRetries ? 1 : 0);
  }
}

/** `http.<stat_prefix>.` (reference: Envoy's HTTP connection manager statistics). */
export class ManagerStats {
  readonly cxTotal: Counter;
  readonly cxActive: Gauge;
  readonly cxHttp1Total: Counter;
  readonly cxHttp1Active: Gauge;
  readonly cxHttp2Total: Counter;
  readonly cxHttp2Active: Gauge;
  readonly cxDestroy: Counter;
  readonly cxDestroyActiveRq: Counter;
  readonly cxProtocolError: Counter;
  readonly cxIdleTimeout: Counter;
  readonly cxMaxDuration: Counter;
  readonly cxMaxRequests: Counter;
  readonly cxDrainClose: Counter;
  readonly cxRxBytes: Counter;
  readonly cxTxBytes: Counter;
  readonly downstreamRqTotal: Counter;
  readonly downstreamRqHttp1Total: Counter;
  readonly downstreamRqHttp2Total: Counter;
  readonly downstreamRqActive: Gauge;
  readonly downstreamRqTime: Histogram;
  readonly rqIdleTimeout: Counter;
  readonly rqTimeout: Counter;
  readonly rqHeaderTimeout: Counter;
  readonly rqRxReset: Counter;
  readonly rqNonRelativePath: Counter;
  readonly rqFailedPathNormalization: Counter;
  readonly rqResponseBeforeRqComplete: Counter;
  readonly rqWsOnNonWsRoute: Counter;
  readonly cxUpgradesTotal: Counter;
  readonly cxUpgradesActive: Gauge;
  readonly pausedReading: Counter;
  readonly resumedReading: Counter;
  readonly codes: ResponseCodeStats;
  readonly rqTotal: Counter;
  readonly noRoute: Counter;
  readonly noCluster: Counter;
  readonly rqDirectResponse: Counter;
  readonly rqRedirect: Counter;

  constructor(stats: Stats, statPrefix: string) {
    const prefix = `http.${statPrefix}.`;
    const counter = (name: string): Counter => stats.counter(prefix + name);
    this.cxTotal = counter("downstream_cx_total");
    this.cxActive = stats.gauge(`${prefix}downstream_cx_active`);
    this.cxHttp1Total = counter("downstream_cx_http1_total");
    this.cxHttp1Active = stats.gauge(`${prefix}downstream_cx_http1_active`);
    this.cxHttp2Total = counter("downstream_cx_http2_total");
    this.cxHttp2Active = stats.gauge(`${prefix}downstream_cx_http2_active`);
    this.cxDestroy = counter("downstream_cx_destroy");
    this.cxDestroyActiveRq = counter("downstream_cx_destroy_active_rq");
    this.cxProtocolError = counter("downstream_cx_protocol_error");
    this.cxIdleTimeout = counter("downstream_cx_idle_timeout");
    this.cxMaxDuration = counter("downstream_cx_max_duration_reached");
    this.cxMaxRequests = counter("downstream_cx_max_requests_reached");
    this.cxDrainClose = counter("downstream_cx_drain_close");
    this.cxRxBytes = counter("downstream_cx_rx_bytes_total");
    this.cxTxBytes = counter("downstream_cx_tx_bytes_total");
    this.downstreamRqTotal = counter("downstream_rq_total");
    this.downstreamRqHttp1Total = counter("downstream_rq_http1_total");
    this.downstreamRqHttp2Total = counter("downstream_rq_http2_total");
    this.downstreamRqActive = stats.gauge(`${prefix}downstream_rq_active`);
    this.downstreamRqTime = stats.histogram(`${prefix}downstream_rq_time`);
    this.rqIdleTimeout = counter("downstream_rq_idle_timeout");
    this.rqTimeout = counter("downstream_rq_timeout");
    this.rqHeaderTimeout = counter("downstream_rq_header_timeout");
    this.rqRxReset = counter("downstream_rq_rx_reset");
    this.rqNonRelativePath = counter("downstream_rq_non_relative_path");
    this.rqFailedPathNormalization = counter("downstream_rq_failed_path_normalization");
    this.rqResponseBeforeRqComplete = counter("downstream_rq_response_before_rq_complete");
    this.rqWsOnNonWsRoute = counter("downstream_rq_ws_on_non_ws_route");
    this.cxUpgradesTotal = counter("downstream_cx_upgrades_total");
    this.cxUpgradesActive = stats.gauge(`${prefix}downstream_cx_upgrades_active`);
    this.pausedReading = counter("downstream_flow_control_paused_reading_total");
    this.resumedReading = counter("downstream_flow_control_resumed_reading_total");
    this.codes = new ResponseCodeStats(stats, `${prefix}downstream_rq_`, false);
    this.rqTotal = counter("rq_total");
    this.noRoute = counter("no_route");
    this.noCluster = counter("no_cluster");
    this.rqDirectResponse = counter("rq_direct_response");
    this.rqRedirect = counter("rq_redirect");
  }
}

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

  /** Some filter sees response bodies, or holds responses, and may keep bytes of them. Filters may change while streams run. */
  get holdsResponses(): boolean {
    for (const { phases } of this.filters) {
      if ((phases & (Phase.RESPONSE_HEADERS | Phase.RESPONSE_DATA | Phase.RESPONSE_TRAILERS)) !== 0) return true;
    }
    return false;
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

  /** `location` for a virtual host that requires TLS, or null when the request may go on. */
  tlsRedirect(route: ResolvedRoute, headers: HeaderMap, info: StreamInfo): string | null {
    return route.virtualHost.requireTls === "NONE" ? null : tlsRedirectLocation(route, headers, info);
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
