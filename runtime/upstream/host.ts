/** One host of a cluster in one worker: where it is, how it does, and the pool of connections to it. */
import type { SourceAddresses } from "../config/cluster-snapshot.ts";
import type { Address } from "../config/snapshot.ts";
import { addressText } from "../observe/address-text.ts";
import { ipFamily } from "../observe/ip-family.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import type { UpstreamTls } from "../tls/upstream.ts";
import type { ProxyHeaders } from "./proxied-pools.ts";
import type { UpstreamHandler, UpstreamRequest } from "./request.ts";

/** The connections to one host. */
export interface HostPool {
  /** `stream`: whose request it is, for hosts that are told who downstream is. */
  request(handler: UpstreamHandler, stream?: StreamInfo): UpstreamRequest;
  /** Closes idle connections now and the others as their requests end. */
  drain(): void;
  /** Closes all connections; requests under way are reset. */
  close(): void;
}

/** Who judges a host by what comes back from it. */
export interface HostMonitor {
  /** The head of a response came. */
  answered(status: number): void;
  /** No response came, or none that was whole: the connection could not be made or broke, or it took too long. */
  failed(timedOut: boolean): void;
  /** A connection is there for a request. `whole`: that is all that was wanted of the host. */
  connected(whole: boolean): void;
}

/** Opens a socket that comes from an address: its descriptor. Throws an error whose `cause` has the system's `code`. */
export type OpenFrom = (source: string) => number;

/** What a {@link Host} is made of. */
export interface HostFacts {
  readonly target: Address;
  readonly hostname: string;
  readonly weight: number;
  readonly priority: number;
  readonly healthy: boolean;
  /** Usable, but only where healthy hosts are too few. */
  readonly degraded?: boolean | undefined;
  /** Absent: plain bytes. */
  readonly tls?: UpstreamTls | null;
  /** What balancers read of the endpoint's metadata: the namespace `envoy.lb`; absent: nothing. */
  readonly lbMetadata?: Readonly<Record<string, unknown>> | undefined;
  /** Absent: the host is not told who downstream is. */
  readonly proxyProtocol?: ProxyHeaders | null;
  /** Absent: the system chooses where connections come from. */
  readonly sources?: SourceAddresses | undefined;
  /** Absent: Node binds the source address itself. */
  readonly openFrom?: OpenFrom | undefined;
}

export class Host {
  /** Where new connections go. A LOGICAL_DNS host moves; its existing connections stay. */
  target: Address;
  /** `ip:port`, `[v6]:port` or the pipe's path. */
  address: string;
  readonly hostname: string;
  readonly weight: number;
  readonly priority: number;
  readonly #healthy: boolean;
  readonly degraded: boolean;
  /** It has done worse than is allowed, and gets nothing for a while. */
  ejected = false;
  monitor: HostMonitor | null = null;
  readonly tls: UpstreamTls | null;
  readonly lbMetadata: Readonly<Record<string, unknown>> | undefined;
  readonly proxyProtocol: ProxyHeaders | null;
  readonly #sources: SourceAddresses | undefined;
  /** Where new connections come from; undefined: the system chooses. */
  source: string | undefined;
  readonly openFrom: OpenFrom | null;
  readonly pool: HostPool;

  cxActive = 0;
  cxTotal = 0;
  cxConnectFail = 0;
  rqActive = 0;
  rqTotal = 0;
  rqSuccess = 0;
  rqError = 0;
  rqTimeout = 0;

  constructor(facts: HostFacts, createPool: (host: Host) => HostPool) {
    this.target = facts.target;
    this.address = addressText(facts.target);
    this.hostname = facts.hostname;
    this.weight = facts.weight;
    this.priority = facts.priority;
    this.#healthy = facts.healthy;
    this.degraded = facts.degraded === true;
    this.tls = facts.tls ?? null;
    this.lbMetadata = facts.lbMetadata;
    this.proxyProtocol = facts.proxyProtocol ?? null;
    this.#sources = facts.sources;
    this.source = sourceFor(facts.target, facts.sources);
    this.openFrom = facts.openFrom ?? null;
    this.pool = createPool(this);
  }

  /** It may get requests. */
  get healthy(): boolean {
    return this.#healthy && !this.ejected;
  }
  /** The configuration says so, whatever was seen of it. */
  get configuredHealthy(): boolean {
    return this.#healthy;
  }

  /** The head of a response came. */
  answered(status: number): void {
    if (status >= 500) this.rqError++;
    else this.rqSuccess++;
    this.monitor?.answered(status);
  }

  /** A request, or a connection that was wanted for itself, came to nothing. */
  failed(timedOut = false): void {
    this.rqError++;
    this.monitor?.failed(timedOut);
  }

  /** A response took too long: its request was given up. */
  timedOut(): void {
    this.rqTimeout++;
    this.monitor?.failed(true);
  }

  moveTo(target: Address): void {
    this.target = target;
    this.address = addressText(target);
    this.source = sourceFor(target, this.#sources);
  }
}

/** As in Envoy: the first address of the host's family, else the first one, with which the connection fails. */
function sourceFor(target: Address, sources: SourceAddresses | undefined): string | undefined {
  if (sources === undefined || target.kind === "pipe") return undefined;
  const family = ipFamily(target.host);
  return sources.find((source) => ipFamily(source) === family) ?? sources[0];
}
