/** What the admin interface may ask of the process and do to it; the server is it, tests may be it too. */
import type { OciCode, OciModule } from "../artifact/oci-code.ts";
import type { Snapshot } from "../config/snapshot.ts";
import type { BoundAddress } from "../listener/bind.ts";
import type { LogLevel } from "../observe/log.ts";
import type { Stat } from "../observe/stats-registry.ts";
import type { TlsContextStatus } from "../tls/certificate-status.ts";
import type { ClusterStatus } from "../upstream/cluster-status.ts";
import type { WorkerReport } from "../worker/place.ts";
import type { HotLoad } from "./hot-load.ts";

/** Envoy's server states, with the numbers of the gauge `server.state`. */
export const ServerState = { LIVE: 0, DRAINING: 1, PRE_INITIALIZING: 2, INITIALIZING: 3 } as const;
export type ServerState = keyof typeof ServerState;

/** What can be asked about plugins, and done to them. */
export type PluginDoor = Pick<HotLoad, "load" | "promote" | "rollback" | "reload" | "reports">;

/** `/drain_listeners`. */
export interface ListenerDrain {
  /** Responses ask downstream to leave during the drain time, and listeners stop accepting at its end; else at once. */
  readonly graceful: boolean;
  /** Listeners of the traffic direction INBOUND only. */
  readonly inboundOnly: boolean;
  /** After a graceful drain listeners go on accepting. */
  readonly skipExit: boolean;
}

export interface AdminSubject {
  readonly state: ServerState;
  readonly version: string;
  readonly uptimeMs: number;
  /** Since the first process of a row that takes over from each other. */
  readonly uptimeOfRowMs: number;
  readonly startedAt: Date;
  /** When the configuration in force came. */
  readonly configuredAt: Date;
  /** admin.v3.CommandLineOptions in protobuf JSON. */
  readonly commandLine: Readonly<Record<string, unknown>>;
  /** What processes that take over from each other must have in common; `disabled` when this one stands alone. */
  readonly hotRestartVersion: string;
  readonly snapshot: Snapshot;
  readonly bound: readonly BoundAddress[];
  /** Whatever has been answered by now is counted in them. */
  stats(): Promise<readonly Stat[]>;
  resetCounters(): void;
  clusters(): Promise<readonly ClusterStatus[]>;
  certificates(): Promise<readonly TlsContextStatus[]>;
  /** Shows and changes plugins; loaded when it is asked for first. */
  hotLoad(): Promise<PluginDoor>;
  /** A module from a registry, as the configuration says how to reach it. Rejects with ProxyError ARTIFACT_…. */
  pullArtifact(code: OciCode): Promise<OciModule>;
  workers(): readonly WorkerReport[];
  /** False when there is no such serving worker. */
  replaceWorker(index: number): boolean;
  logLevels(): readonly (readonly [component: string, level: LogLevel])[];
  /** Of everything, or of one component. Resolves, as what follows does, when all workers have acted on it. */
  setLogLevel(level: LogLevel, component?: string): Promise<void>;
  reopenLogs(): Promise<void>;
  /** From now on `/ready` says no and responses ask downstream to close; or the contrary. */
  failHealthCheck(failed: boolean): Promise<void>;
  drainListeners(drain: ListenerDrain): Promise<void>;
  /** Ends the process cleanly, soon. */
  quit(): void;
}
