import type { FilterChainConfig, ListenerConfig, Snapshot } from "../config/snapshot.ts";
import type { NetworkFilterFactory } from "../network/filter.ts";
import type { StreamLog } from "../observe/access-log.ts";
import type { Stats } from "../observe/stats.ts";
import type { DownstreamTlsEnvironment } from "../tls/downstream.ts";
import type { Peers } from "./peers.ts";

/** What listeners need from the worker. */
export interface ListenerEnvironment extends Pick<DownstreamTlsEnvironment, "readSecrets"> {
  readonly stats: Stats;
  /** Turns a configured chain into factories, terminal one last; called once per chain. */
  readonly chainFactories: (chain: FilterChainConfig, listener: ListenerConfig) => readonly NetworkFilterFactory[];
  /** The access logs of a listener; undefined when it has none. */
  readonly accessLog: (configs: ListenerConfig["accessLogs"]) => StreamLog | undefined;
  /** Ports that another worker got for a configured port 0, by listener name and address index; `name/0`. */
  readonly boundPorts: Readonly<Record<string, number>>;
  /**
   * A unix socket, or one without SO_REUSEPORT, can be bound once per process: worker 0 does it, and all others
   * share it. Their descriptors, by the same names.
   */
  readonly sharedSockets: Readonly<Record<string, number>>;
  /** Listening sockets of the process before this one, by the same names; whoever binds one takes it out. */
  readonly inheritedSockets: Record<string, readonly number[]>;
  readonly workerIndex: number;
  /** Where sockets are counted across workers: by name of listener, and for `ALL_LISTENERS`. */
  readonly counts: Readonly<Record<string, SharedArrayBuffer>>;
  /** Where other workers are reached. */
  readonly peers: Peers;
  /** Downstream connections of the process at most; Infinity: any number. */
  readonly maxConnections: number;
  readonly runtime: Snapshot["runtime"];
  readonly log: (level: "debug" | "info" | "warn" | "error", message: string) => void;
}
