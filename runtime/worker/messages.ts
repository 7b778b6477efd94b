/**
 * Everything that the main thread and a worker say to each other: one closed union per direction.
 * Plain data, compiled modules and shared buffers only, since it crosses by structured clone.
 */
import type { ClusterConfig, ListenerConfig, Snapshot } from "../config/snapshot.ts";
import type { BoundAddress } from "../listener/bind.ts";
import type { ListenerDrain } from "../listener/departures.ts";
import type { LentSocket } from "../listener/listening-socket.ts";
import type { PeerLink } from "../listener/peers.ts";
import type { LogLevel } from "../observe/log.ts";
import type { StatsAnnouncement } from "../observe/stats.ts";
import type { TlsContextStatus } from "../tls/certificate-status.ts";
import type { ClusterStatus } from "../upstream/cluster-status.ts";
import type { LoadedModule } from "../wasm/module/module.ts";
import type { PluginVersion } from "../wasm/plugin-set.ts";
import type { PluginStatus } from "../wasm/plugin-status.ts";
import type { Routing } from "../wasm/routing.ts";
import type { SharedHandle } from "../wasm/shared.ts";
import type { TrialPlan } from "../wasm/trial.ts";
import type { DrainReason } from "./draining.ts";

/** What a worker is given when its thread starts, before there is a configuration. */
export interface WorkerBirth {
  /** 0 … concurrency - 1; a replacement has the index of the worker it replaces. */
  readonly index: number;
  /** One Int32 per worker: each adds one to its own while it is alive. */
  readonly beats: SharedArrayBuffer;
}

/** Everything a worker builds its data plane from. */
export interface WorkerSetup {
  readonly concurrency: number;
  readonly snapshot: Snapshot;
  /** Compiled code, each once; `moduleOfPlugin[i]` is the one of `snapshot.plugins[i]`. */
  readonly modules: readonly LoadedModule[];
  readonly moduleOfPlugin: readonly number[];
  /** Counts the versions of each plugin in this process; default 1. */
  readonly numberOfPlugin?: readonly number[] | undefined;
  /** The number by which listeners and messages name each plugin; default: its index. */
  readonly placeOfPlugin?: readonly number[] | undefined;
  /** What guests share across workers; a handle of this thread's own. */
  readonly shared: SharedHandle;
  readonly logLevels: LogLevels;
  readonly logFormat: "text" | "json";
}

/** What is known of the sockets of the process: see ListenerEnvironment. */
export interface KnownSockets {
  readonly counts: Readonly<Record<string, SharedArrayBuffer>>;
  readonly boundPorts: Readonly<Record<string, number>>;
  readonly sharedSockets: Readonly<Record<string, number>>;
  /** Those of the process before this one that this worker takes, and closes. */
  readonly inheritedSockets: Readonly<Record<string, readonly number[]>>;
}

/** Levels of the process log, kept so that a replaced worker logs as the others do. */
export interface LogLevels {
  readonly level: LogLevel;
  readonly components: readonly (readonly [name: string, level: LogLevel])[];
}

/** A reload whose parts are prepared, by the numbers of these changes; undefined: there is none. */
export interface ReloadCommit {
  readonly kind: "commit_reload";
  readonly id: number;
  readonly clusters: number | undefined;
  readonly listeners: number | undefined;
  readonly plugins: readonly { readonly id: number; readonly trial: TrialPlan | undefined }[];
  /** Numbers of all plugins, in the order of the configuration. */
  readonly order: readonly number[];
  /** How connections of chains that are gone end, and how long streams on plugins that are gone may take. */
  readonly drain: ListenerDrain;
  readonly drainMs: number;
}

export type ToWorker =
  /** First message: build everything, answer `ready` or `failed`. */
  | { readonly kind: "setup"; readonly setup: WorkerSetup }
  /** Bind and accept, answer `listening` or `failed`. */
  | { readonly kind: "listen"; readonly sockets: KnownSockets }
  /** Another worker can be given sockets, and gives some. */
  | { readonly kind: "peer"; readonly link: PeerLink }
  /** Stop accepting, finish streams for at most `ms`, answer `drained`. */
  | { readonly kind: "drain"; readonly ms: number }
  /** From now on responses ask downstream to close the connection; or the contrary. Accepting goes on. */
  | {
      readonly kind: "drain_close";
      readonly reason: DrainReason;
      readonly on: boolean;
      /** Until every response asks, and what is over of it. */
      readonly overMs: number;
      readonly elapsedMs: number;
    }
  /** Answer `sockets_lent` with the same id. */
  | { readonly kind: "lend_sockets"; readonly id: number }
  /** Close listening sockets, which another process has; connections live on. Answer `handed_over` with the same id. */
  | { readonly kind: "hand_over"; readonly id: number }
  /** Stop accepting; connections live on. */
  | { readonly kind: "stop_accepting"; readonly inboundOnly: boolean }
  | { readonly kind: "log_levels"; readonly logLevels: LogLevels }
  | { readonly kind: "reopen_logs" }
  /** Build versions of plugins beside those in force, answer `plugins_changed` with the same id. */
  | {
      readonly kind: "prepare_plugins";
      readonly id: number;
      readonly versions: readonly PluginVersion[];
      /** Nothing that they do leaves them: they are to be shadows. */
      readonly silent: boolean;
    }
  /** Let some streams have what `prepare_plugins` with this id built; say `plugins_failing` when there are too many failures. */
  | {
      readonly kind: "try_plugins";
      readonly id: number;
      readonly routing: Routing;
      readonly trial: TrialPlan;
    }
  /** Put it in force, answer `plugins_changed`; with a `trial` failures are watched as above. */
  | {
      readonly kind: "commit_plugins";
      readonly id: number;
      /** How long streams on the old versions may take. */
      readonly drainMs: number;
      readonly trial: TrialPlan | undefined;
    }
  /** Give it up; without an effect when there is no such thing. */
  | { readonly kind: "drop_plugins"; readonly id: number; readonly drainMs: number }
  /** To a worker that has begun with versions that are watched since their commit. */
  | {
      readonly kind: "watch_plugins";
      readonly id: number;
      readonly indices: readonly number[];
      readonly trial: TrialPlan;
    }
  /** The versions in force of these plugins are watched no longer. */
  | { readonly kind: "end_trials"; readonly indices: readonly number[] }
  /** Make a new list of clusters ready, hosts included, answer `clusters_changed` with the same id. */
  | { readonly kind: "prepare_clusters"; readonly id: number; readonly clusters: readonly ClusterConfig[] }
  /** Give it up; without an effect when there is no such thing. */
  | { readonly kind: "drop_clusters"; readonly id: number }
  /** Make a new list of listeners ready, sockets included, answer `listeners_changed` with the same id. */
  | {
      readonly kind: "prepare_listeners";
      readonly id: number;
      readonly listeners: readonly ListenerConfig[];
      readonly sockets: KnownSockets;
    }
  /** Put everything that was prepared for a reload in force at once, answer `plugins_changed`. */
  | ReloadCommit
  /** Give it up; without an effect when there is no such thing. */
  | { readonly kind: "drop_listeners"; readonly id: number }
  /** Answer `clusters` with the same id. */
  | { readonly kind: "describe_clusters"; readonly id: number }
  /** Answer `certificates` with the same id. */
  | { readonly kind: "describe_certificates"; readonly id: number }
  /** Answer `plugins` with the same id. */
  | { readonly kind: "describe_plugins"; readonly id: number }
  /** Answer `heard` with the same id: everything that was said before is done. */
  | { readonly kind: "acknowledge"; readonly id: number }
  /** Flush logs, end the thread. */
  | { readonly kind: "stop" };

export type FromWorker =
  | { readonly kind: "ready" }
  | { readonly kind: "listening"; readonly bound: readonly BoundAddress[] }
  /** It cannot start; the thread ends by itself. */
  | { readonly kind: "failed"; readonly code: string; readonly message: string }
  | { readonly kind: "stats"; readonly announcement: StatsAnnouncement }
  /** With how many connections that had to be cut. */
  | { readonly kind: "drained"; readonly cut: number }
  | { readonly kind: "sockets_lent"; readonly id: number; readonly sockets: readonly LentSocket[] }
  | { readonly kind: "handed_over"; readonly id: number }
  | { readonly kind: "heard"; readonly id: number }
  | { readonly kind: "clusters"; readonly id: number; readonly clusters: readonly ClusterStatus[] }
  | { readonly kind: "certificates"; readonly id: number; readonly contexts: readonly TlsContextStatus[] }
  /** `error`: the step failed and left nothing behind. `ms`: how long the worker was at it. */
  | {
      readonly kind: "plugins_changed";
      readonly id: number;
      readonly error: { readonly code: string; readonly message: string } | undefined;
      readonly ms: number;
    }
  /** `error` as above. */
  | {
      readonly kind: "clusters_changed";
      readonly id: number;
      readonly error: { readonly code: string; readonly message: string } | undefined;
    }
  | {
      readonly kind: "listeners_changed";
      readonly id: number;
      readonly error: { readonly code: string; readonly message: string } | undefined;
      /** Sockets of listeners that are new, or have changed. */
      readonly bound: readonly BoundAddress[];
    }
  | { readonly kind: "plugins_failing"; readonly id: number }
  | { readonly kind: "plugins"; readonly id: number; readonly plugins: readonly PluginStatus[] };
