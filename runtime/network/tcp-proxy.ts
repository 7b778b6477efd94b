/** `envoy.filters.network.tcp_proxy` of one chain in one worker: what its connections share. */
import type { HeaderMap } from "../codec/headers.ts";
import type { TcpProxyConfig } from "../config/network-snapshot.ts";
import type { StreamLog } from "../observe/access-log.ts";
import type { Counter, Gauge, Stats } from "../observe/stats.ts";
import type { RecordType, StreamInfo } from "../observe/stream-info.ts";
import { MetadataMatch } from "../upstream/metadata-match.ts";
import type { NetworkEnvironment, TcpUpstream } from "./environment.ts";
import type { ConnectionView, TerminalFilter, TerminalFilterFactory } from "./filter.ts";
import { CLUSTER_STATE, DISABLE_TUNNELING_STATE, IDLE_TIMEOUT_STATE, stateText } from "./filter-state.ts";
import { TcpSession } from "./tcp-session.ts";
import { Tunneling } from "./tunneling.ts";

/** `tcp.<stat_prefix>.` */
class TcpProxyStats {
  readonly cxTotal: Counter;
  readonly cxNoRoute: Counter;
  readonly cxRxBytes: Counter;
  readonly cxTxBytes: Counter;
  readonly cxRxBytesBuffered: Gauge;
  readonly cxTxBytesBuffered: Gauge;
  readonly flowPausedReading: Counter;
  readonly flowResumedReading: Counter;
  readonly earlyDataReceived: Counter;
  readonly idleTimeout: Counter;
  readonly maxConnectionDuration: Counter;
  readonly upstreamFlushTotal: Counter;
  readonly upstreamFlushActive: Gauge;

  constructor(stats: Stats, statPrefix: string) {
    const counter = (name: string): Counter => stats.counter(`tcp.${statPrefix}.${name}`);
    const gauge = (name: string): Gauge => stats.gauge(`tcp.${statPrefix}.${name}`);
    this.cxTotal = counter("downstream_cx_total");
    this.cxNoRoute = counter("downstream_cx_no_route");
    this.cxRxBytes = counter("downstream_cx_rx_bytes_total");
    this.cxTxBytes = counter("downstream_cx_tx_bytes_total");
    this.cxRxBytesBuffered = gauge("downstream_cx_rx_bytes_buffered");
    this.cxTxBytesBuffered = gauge("downstream_cx_tx_bytes_buffered");
    this.flowPausedReading = counter("downstream_flow_control_paused_reading_total");
    this.flowResumedReading = counter("downstream_flow_control_resumed_reading_total");
    this.earlyDataReceived = counter("early_data_received_count_total");
    this.idleTimeout = counter("idle_timeout");
    this.maxConnectionDuration = counter("max_downstream_connection_duration");
    this.upstreamFlushTotal = counter("upstream_flush_total");
    this.upstreamFlushActive = gauge("upstream_flush_active");
  }
}

interface WeightedEntry {
  readonly name: string;
  readonly weight: number;
  readonly metadataMatch: MetadataMatch | null;
}

/** Where a connection is to go. */
export interface TcpTarget {
  readonly upstream: TcpUpstream | undefined;
  /** What the host's metadata must say; null: nothing. */
  readonly metadataMatch: MetadataMatch | null;
}

export class TcpProxy implements TerminalFilterFactory {
  readonly name: string;
  readonly terminal = true;
  readonly config: TcpProxyConfig;
  readonly stats: TcpProxyStats;
  readonly #environment: NetworkEnvironment;
  readonly #accessLog: StreamLog | undefined;
  readonly #entries: readonly WeightedEntry[];
  readonly #totalWeight: number;
  readonly #metadataMatch: MetadataMatch | null;
  readonly #tunneling: Tunneling | null;
  /** Clusters as they were when this was in force last: they may go together with it. */
  #last: ReadonlyMap<string, TcpUpstream> | null = null;

  constructor(name: string, config: TcpProxyConfig, environment: NetworkEnvironment) {
    this.name = name;
    this.config = config;
    this.stats = new TcpProxyStats(environment.stats, config.statPrefix);
    this.#environment = environment;
    this.#accessLog = environment.accessLog(config.accessLogs);
    this.#entries = config.clusters.map(({ name: cluster, weight, metadataMatch }) => ({
      name: cluster,
      weight,
      metadataMatch: MetadataMatch.of(config.metadataMatch, metadataMatch),
    }));
    this.#metadataMatch = MetadataMatch.of(config.metadataMatch);
    this.#tunneling = config.tunneling === undefined ? null : new Tunneling(config.tunneling);
    this.#totalWeight = config.clusters.reduce((sum, { weight }) => sum + weight, 0);
  }

  create(connection: ConnectionView): TerminalFilter {
    return new TcpSession(this, connection);
  }

  /** Where the next attempt goes; its cluster is undefined when there is none of that name. */
  pickTarget(stream: StreamInfo): TcpTarget {
    const named = stateText(stream, CLUSTER_STATE);
    if (named !== undefined) return { upstream: this.#upstream(named), metadataMatch: this.#metadataMatch };
    const { name, metadataMatch } = this.#pickEntry();
    return { upstream: this.#upstream(name), metadataMatch };
  }

  #upstream(name: string): TcpUpstream | undefined {
    return this.#environment.upstreams.get(name) ?? this.#last?.get(name);
  }

  /** Nothing asks a connection of bytes to leave; those that have not reached a cluster yet are to. */
  retire(): void {
    const { upstreams } = this.#environment;
    this.#last = new Map(
      this.config.clusters.flatMap(({ name }) => {
        const upstream = upstreams.get(name);
        return upstream === undefined ? [] : [[name, upstream] as const];
      }),
    );
  }

  /** The head of the request that makes a tunnel for the connection; null: the connection goes without. */
  tunnelHead(stream: StreamInfo): HeaderMap | null {
    if (this.#tunneling === null || stateText(stream, DISABLE_TUNNELING_STATE) === "true") return null;
    return this.#tunneling.head(stream);
  }

  /** Milliseconds; 0: never. */
  idleTimeoutMs(stream: StreamInfo): number {
    const own = Number(stateText(stream, IDLE_TIMEOUT_STATE) ?? Number.NaN);
    return Number.isSafeInteger(own) && own >= 0 ? own : this.config.idleTimeoutMs;
  }

  log(stream: StreamInfo, type: RecordType): void {
    if (this.#accessLog === undefined) return;
    stream.recordType = type;
    this.#accessLog.log(stream);
    stream.recordType = "NotSet";
  }

  #pickEntry(): WeightedEntry {
    const entries = this.#entries;
    if (entries.length === 1) return entries[0]!;
    let at = Math.random() * this.#totalWeight;
    for (const entry of entries) if ((at -= entry.weight) < 0) return entry;
    return entries.at(-1)!;
  }
}
