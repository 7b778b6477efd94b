/** What the network filters of the host need from the worker. */
import type { HeaderMap } from "../codec/headers.ts";
import type { AccessLogConfig, ClusterConfig, Snapshot } from "../config/snapshot.ts";
import type { StreamLog } from "../observe/access-log.ts";
import type { Stats } from "../observe/stats.ts";
import type { ResetReason } from "../errors.ts";
import type { PickContext } from "../upstream/pick.ts";
import type { ByteStream, TcpHandler } from "../upstream/tcp-connection.ts";

/** A cluster, for those who want connections instead of requests. */
export interface TcpUpstream {
  readonly config: ClusterConfig;
  /** Opens a connection of its own to a host. A reason instead: OVERFLOW or NO_HEALTHY_UPSTREAM, counted. The host may depend on `context`. */
  connect(handler: TcpHandler, context?: PickContext): ByteStream | ResetReason;
  /** The same through a tunnel that a host makes for a request with these headers: CONNECT, or POST. */
  tunnel(handler: TcpHandler, headers: HeaderMap, context?: PickContext): ByteStream | ResetReason;
  /** Counts that somebody stopped asking for a connection, having asked as often as he may. */
  giveUpConnecting(): void;
}

export interface NetworkEnvironment {
  readonly stats: Stats;
  readonly upstreams: { get(name: string): TcpUpstream | undefined };
  readonly runtime: Snapshot["runtime"];
  /** Counts that all workers share, by key; they come with the command to listen. */
  readonly counts: Readonly<Record<string, SharedArrayBuffer>>;
  readonly workerIndex: number;
  /** Undefined for no configuration. */
  readonly accessLog: (configs: readonly AccessLogConfig[]) => StreamLog | undefined;
}
