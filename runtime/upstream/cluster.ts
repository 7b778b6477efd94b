/** One cluster in one worker: its hosts, kept up to date, and the choice among them for each request. */
import type { HeaderMap } from "../codec/headers.ts";
import type { OriginalDstConfig } from "../config/cluster-snapshot.ts";
import type { Address, ClusterConfig, EndpointConfig } from "../config/snapshot.ts";
import { ResetReason } from "../errors.ts";
import { addressText } from "../observe/address-text.ts";
import type { Stats } from "../observe/stats.ts";
import type { TlsContextStatus } from "../tls/certificate-status.ts";
import { UpstreamTls, type UpstreamTlsEnvironment } from "../tls/upstream.ts";
import type { ConnectionInfo } from "../observe/stream-info.ts";
import { ConnectTunnel } from "./connect-tunnel.ts";
import { ClusterResources } from "./cluster-resources.ts";
import { HashTableStats } from "./cluster-stats.ts";
import { DnsTarget, type Lookup } from "./dns-target.ts";
import { FailedRequest } from "./failed-request.ts";
import { http1 } from "./h1-connection.ts";
import { http2 } from "./h2-connection.ts";
import { Host, type HostFacts, type HostPool, type OpenFrom } from "./host.ts";
import { type BalancerOptions, LoadBalancer } from "./load-balancer.ts";
import { LB_NAMESPACE } from "./metadata-match.ts";
import { OriginalDst } from "./original-dst.ts";
import { OutlierDetector } from "./outlier.ts";
import type { PickContext } from "./pick.ts";
import { Pool } from "./pool.ts";
import { ProxiedPools, ProxyHeaders } from "./proxied-pools.ts";
import type { Upstream, UpstreamHandler, UpstreamRequest } from "./request.ts";
import { RawRequest } from "./raw-request.ts";
import { RequestTunnel } from "./request-tunnel.ts";
import { SubsetBalancer } from "./subset-balancer.ts";
import { type ByteStream, TcpConnection, type TcpHandler } from "./tcp-connection.ts";

/** What clusters are given. */
export interface ClusterTools {
  readonly lookup: Lookup;
  readonly readSecrets: UpstreamTlsEnvironment["readSecrets"];
  readonly log: (level: "info" | "warn", message: string) => void;
  /** Absent: where it cannot be had; Node binds source addresses itself then. */
  readonly openFrom?: OpenFrom | undefined;
}

export class Cluster implements Upstream {
  readonly name: string;
  readonly config: ClusterConfig;
  readonly resources: ClusterResources;
  readonly #stats: Stats;
  readonly #tls: readonly UpstreamTls[];
  readonly #balancer: LoadBalancer | SubsetBalancer;
  /** Null: hosts are not watched. */
  readonly #outliers: OutlierDetector | null;
  /** Instead of the balancer, in clusters of the type ORIGINAL_DST. */
  readonly #originalDst: OriginalDst | null;
  readonly #createPool: (host: Host) => HostPool;
  readonly #targets: DnsTarget[] = [];
  readonly #openFrom: OpenFrom | undefined;
  /** Hosts by endpoint, in configured order. */
  readonly #byEndpoint: Host[][];
  #hosts: readonly Host[] = [];
  readonly #tcp = new Set<TcpConnection>();
  /** Statistics tell of its hosts: it is the one of its name that is in force. */
  #serving = false;
  /** It has no place in the configuration any more: whoever knows it looks for another one of its name. */
  retired = false;

  /** Throws ProxyError `TLS_CONTEXT`. */
  constructor(config: ClusterConfig, stats: Stats, { lookup, log, readSecrets, openFrom }: ClusterTools) {
    this.name = config.name;
    this.config = config;
    this.#stats = stats;
    this.resources = new ClusterResources(config, stats);
    this.#openFrom = openFrom;
    this.#tls = (config.tls ?? []).map(
      (tls) => new UpstreamTls(tls, { stats, statPrefix: `cluster.${config.statName}.`, readSecrets, log }),
    );
    this.#balancer = this.#createBalancer(stats, log);
    this.#outliers = this.#createDetector(stats);
    this.#createPool = poolMaker(config, this.resources);
    this.#originalDst = config.originalDst === undefined ? null : this.#destinations(config.originalDst, stats);
    this.#byEndpoint = config.endpoints.map(() => []);
    config.endpoints.forEach((endpoint, at) => {
      const { address } = endpoint;
      if (config.type === "STATIC" || address.kind === "pipe") {
        this.#byEndpoint[at] = [this.#createHost(endpoint, address)];
      } else this.#targets.push(this.#createTarget(endpoint, at, address.host, lookup));
    });
    this.#rebuild();
  }

  get hosts(): readonly Host[] {
    return this.#hosts;
  }
  get certificates(): readonly TlsContextStatus[] {
    return this.#tls.map(({ status }) => status);
  }
  get hostCount(): number {
    return this.#hosts.length;
  }

  /** The first answer of every name; never rejects. */
  async start(): Promise<void> {
    this.#originalDst?.start();
    this.#outliers?.start();
    await Promise.all(this.#targets.map((target) => target.refresh()));
  }

  /** It is in force from now on. */
  serve(): void {
    this.#serving = true;
    if (this.#hosts.length > 0) this.resources.stats.membershipChange.inc();
    this.#tellHosts();
  }

  /** Nothing is under way. */
  get idle(): boolean {
    return this.resources.connections === 0 && this.resources.pendingRequests === 0;
  }

  request(handler: UpstreamHandler, context?: PickContext): UpstreamRequest {
    const host = this.#pick(context);
    if (host !== null) return host.pool.request(handler, context?.info);
    this.resources.stats.cxNoneHealthy.inc();
    return new FailedRequest(handler, ResetReason.NO_HEALTHY_UPSTREAM);
  }

  raw(handler: UpstreamHandler, context?: PickContext): UpstreamRequest {
    const request = new RawRequest(handler, this.config.perConnectionBufferLimitBytes);
    const connection = this.connect(request, context);
    if (typeof connection === "string") return new FailedRequest(handler, connection);
    request.use(connection);
    return request;
  }

  /** Opens a connection of its own to a host. A reason instead: OVERFLOW or NO_HEALTHY_UPSTREAM, counted. */
  connect(handler: TcpHandler, context?: PickContext): TcpConnection | ResetReason {
    const { resources } = this;
    if (!resources.canConnect) {
      resources.stats.cxOverflow.inc();
      return ResetReason.OVERFLOW;
    }
    const host = this.#pick(context);
    if (host === null) {
      resources.stats.cxNoneHealthy.inc();
      return ResetReason.NO_HEALTHY_UPSTREAM;
    }
    if (!resources.canQueue) {
      resources.stats.rqPendingOverflow.inc();
      return ResetReason.OVERFLOW;
    }
    const connection = new TcpConnection({
      host,
      resources,
      handler,
      downstream: context?.info.connection,
      onGone: (gone) => this.#tcp.delete(gone),
    });
    this.#tcp.add(connection);
    return connection;
  }

  /**
   * The same through a tunnel that a host makes: CONNECT, or POST. A reason instead is counted; one that only turns out
   * later comes with `onTcpClosed`.
   */
  tunnel(handler: TcpHandler, headers: HeaderMap, context?: PickContext): ByteStream | ResetReason {
    const { protocol, connectTimeoutMs: timeoutMs } = this.config;
    const connect = headers.get(":method") === "CONNECT";
    if (!connect || protocol === "HTTP2") {
      const any2xx = protocol === "HTTP1";
      return new RequestTunnel(this, handler, { headers, timeoutMs, any2xx, halfOpen: connect }, context);
    }
    const tunnel = new ConnectTunnel(handler, headers, timeoutMs);
    const connection = this.connect(tunnel, context);
    if (typeof connection === "string") return connection;
    this.resources.stats.cxHttp1Total.inc();
    tunnel.use(connection);
    return tunnel;
  }

  giveUpConnecting(): void {
    this.resources.stats.cxConnectAttemptsExceeded.inc();
  }

  /** Stops resolving; what is under way ends by itself, and connections with it. */
  drain(): void {
    this.retired = true;
    this.#serving = false;
    for (const tls of this.#tls) tls.close();
    this.#originalDst?.stop();
    this.#outliers?.stop();
    if (this.#balancer instanceof SubsetBalancer) this.#balancer.stop();
    for (const target of this.#targets) target.stop();
    for (const host of this.#hosts) host.pool.drain();
  }

  /** There is no cluster of its name any more. */
  withdraw(): void {
    this.resources.stats.membershipTotal.set(0);
    this.resources.stats.membershipHealthy.set(0);
    this.resources.stats.membershipDegraded.set(0);
  }

  /** Ends everything at once. */
  close(): void {
    for (const tls of this.#tls) tls.close();
    this.#originalDst?.stop();
    this.#outliers?.stop();
    for (const target of this.#targets) target.stop();
    const hosts = this.#hosts;
    this.#hosts = [];
    this.#balancer.update([]);
    for (const host of hosts) host.pool.close();
    for (const connection of this.#tcp) connection.abandon();
  }

  #pick(context: PickContext | undefined): Host | null {
    return this.#originalDst === null ? this.#balancer.pick(context) : this.#originalDst.pick(context?.info);
  }

  #createDetector(stats: Stats): OutlierDetector | null {
    const { outlier: config, statName } = this.config;
    if (config === undefined) return null;
    const onChange = (): void => {
      if (this.#originalDst === null) this.#balancer.update(this.#hosts);
      this.#tellHosts();
    };
    return new OutlierDetector({ config, stats, statName, onChange });
  }

  #createBalancer(stats: Stats, log: ClusterTools["log"]): LoadBalancer | SubsetBalancer {
    const { lbPolicy, hashing, subsets, statName, name } = this.config;
    const tableStats = hashing === undefined ? undefined : new HashTableStats(stats, statName, lbPolicy);
    const options: BalancerOptions = {
      policy: lbPolicy,
      hashing,
      panicPercent: this.config.healthyPanicPercent,
      overprovisioningPercent: this.config.overprovisioningPercent,
      leastRequest: this.config.leastRequest,
      activeRequests: () => this.resources.requests,
      onPanic: () => this.resources.stats.lbHealthyPanic.inc(),
      onTable: (sizes) => tableStats?.set(sizes),
    };
    if (subsets === undefined) return new LoadBalancer(options);
    return new SubsetBalancer(subsets, options, {
      stats,
      statName,
      log: (message) => log("warn", `cluster ${name}: ${message}`),
    });
  }

  #destinations(config: OriginalDstConfig, stats: Stats): OriginalDst {
    return new OriginalDst({
      config,
      createHost: (host, port) => {
        const address = { kind: "ip", host, port, ipv4Compat: false } as const;
        return this.#createHost(
          {
            address,
            hostname: "",
            weight: 1,
            priority: 0,
            healthy: true,
            tls: this.config.defaultTls,
            proxyProtocol: this.config.defaultProxyProtocol,
          },
          address,
        );
      },
      onHosts: (hosts) => {
        this.#hosts = hosts;
        this.#outliers?.watch(hosts);
        this.resources.stats.membershipChange.inc();
        this.#tellHosts();
      },
      invalid: stats.counter(`cluster.${this.config.statName}.original_dst_host_invalid`),
    });
  }

  #createHost(endpoint: EndpointConfig, target: Address): Host {
    const { weight, priority, healthy, degraded, address } = endpoint;
    const named = this.config.type === "STRICT_DNS" || this.config.type === "LOGICAL_DNS";
    const resolved = named && address.kind === "ip" ? address.host : "";
    const hostname = endpoint.hostname || resolved;
    const tls = endpoint.tls === undefined ? null : (this.#tls[endpoint.tls] ?? null);
    const lbMetadata = endpoint.metadata?.[LB_NAMESPACE] as HostFacts["lbMetadata"];
    const headers = endpoint.proxyProtocol;
    const prefix = `cluster.${this.config.statName}.`;
    const proxyProtocol = headers === undefined ? null : new ProxyHeaders(headers, this.#stats, prefix);
    const { sources } = this.config;
    const facts: HostFacts = {
      target,
      hostname,
      weight,
      priority,
      healthy,
      degraded,
      tls,
      lbMetadata,
      proxyProtocol,
      sources,
      openFrom: this.#openFrom,
    };
    return new Host(facts, this.#createPool);
  }

  #createTarget(endpoint: EndpointConfig, at: number, hostname: string, lookup: Lookup): DnsTarget {
    const onAddresses = (addresses: readonly string[]): void => {
      if (this.config.type === "LOGICAL_DNS") this.#moveLogicalHost(endpoint, at, addresses[0]!);
      else this.#setAddresses(endpoint, at, addresses);
    };
    return new DnsTarget({ hostname, config: this.config, stats: this.resources.stats, lookup, onAddresses });
  }

  /** LOGICAL_DNS: one host whatever the answer; new connections go to its first address. */
  #moveLogicalHost(endpoint: EndpointConfig, at: number, ip: string): void {
    const target = withHost(endpoint.address, ip);
    const host = this.#byEndpoint[at]![0];
    if (host === undefined) {
      this.#byEndpoint[at] = [this.#createHost(endpoint, target)];
      this.#rebuild();
    } else if (host.address === addressText(target)) this.resources.stats.updateNoRebuild.inc();
    else host.moveTo(target);
  }

  /** STRICT_DNS: every address is a host; those that stay keep their connections. */
  #setAddresses(endpoint: EndpointConfig, at: number, addresses: readonly string[]): void {
    const before = this.#byEndpoint[at]!;
    const known = new Map(before.map((host) => [host.address, host]));
    const after = addresses.map((ip) => {
      const target = withHost(endpoint.address, ip);
      return known.get(addressText(target)) ?? this.#createHost(endpoint, target);
    });
    if (after.length === before.length && after.every((host) => known.has(host.address))) {
      this.resources.stats.updateNoRebuild.inc();
      return;
    }
    this.#byEndpoint[at] = after;
    this.#rebuild();
    for (const host of before) if (!after.includes(host)) host.pool.drain();
  }

  #rebuild(): void {
    // The same address twice in one priority is one host.
    const unique = new Map<string, Host>();
    for (const host of this.#byEndpoint.flat()) {
      const key = `${host.priority} ${host.address}`;
      if (!unique.has(key)) unique.set(key, host);
    }
    const hadHosts = this.#hosts.length > 0;
    this.#hosts = [...unique.values()];
    this.#outliers?.watch(this.#hosts);
    this.#balancer.update(this.#hosts);
    if (this.#serving && (hadHosts || this.#hosts.length > 0)) this.resources.stats.membershipChange.inc();
    this.#tellHosts();
  }

  #tellHosts(): void {
    if (!this.#serving) return;
    const { membershipTotal, membershipHealthy } = this.resources.stats;
    membershipTotal.set(this.#hosts.length);
    membershipHealthy.set(this.#hosts.filter((host) => host.healthy && !host.degraded).length);
    this.resources.stats.membershipDegraded.set(this.#hosts.filter((host) => host.healthy && host.degraded).length);
  }
}

function withHost(address: Address, host: string): Address {
  return address.kind === "pipe" ? address : { ...address, host };
}

function poolMaker(config: ClusterConfig, resources: ClusterResources): (host: Host) => HostPool {
  const shared = config.protocol === "HTTP2" ? http2() : null;
  const make = (host: Host, downstream: ConnectionInfo | null): HostPool =>
    shared === null ? new Pool(host, resources, http1(), downstream) : new Pool(host, resources, shared, downstream);
  return (host) =>
    host.proxyProtocol === null ? make(host, null) : new ProxiedPools((downstream) => make(host, downstream));
}
