/** What the admin page `/wasm` shows: plain data of each worker, merged and printed on the main thread. */
import type { Isolation } from "../config/snapshot.ts";
import type { LoadedModule } from "./module/module.ts";
import { newestExamples } from "./shadow/examples.ts";
import type { ShadowExample } from "./shadow/examples.ts";

/** The code of a plugin and its instances. Plugins of one VM share both. */
export interface VmStatus {
  /** Of the module's manifest; "" when it has none. */
  readonly moduleName: string;
  readonly version: string;
  readonly sha256: string;
  /** File or other origin of the code. */
  readonly source: string;
  /** Bytes of the code. */
  readonly size: number;
  readonly isolation: Isolation;
  /** Units for one callback. */
  readonly fuelLimit: number;
  readonly memoryLimit: number;
  readonly instances: number;
  /** Bytes of memory of all instances. */
  readonly memory: number;
  readonly fuelUsed: number;
}

/** Of a plugin's version in force. */
export interface PluginFacts extends VmStatus {
  readonly name: string;
  readonly rootId: string;
  readonly vmId: string;
  /** Count by reason (instance/failure.ts). */
  readonly failures: Readonly<Record<string, number>>;
  /** The newest failure as it was logged, with its time in milliseconds since 1970; undefined when there was none. */
  readonly lastFailure: LastFailure | undefined;
}

export interface PluginStatus extends PluginFacts {
  /** Its own for as long as configurations have it. */
  readonly index: number;
  /** Counts the plugin's versions in this process, from 1. */
  readonly number: number;
  /** Every version that has instances, the one in force first. */
  readonly versions: readonly VersionStatus[];
  /** How a shadow differed last, oldest first. */
  readonly examples: readonly ShadowExample[];
}

/** What a version is at the moment: in force, tried beside that, built and waiting, or finishing its last streams. */
export type VersionRole = "live" | "candidate" | "prepared" | "draining";

export interface VersionStatus {
  readonly number: number;
  readonly role: VersionRole;
  readonly streams: number;
  readonly instances: number;
  readonly memory: number;
  readonly sha256: string;
  /** Of the module's manifest. */
  readonly version: string;
}

export interface LastFailure {
  readonly atMs: number;
  readonly text: string;
}

/** What is the same in all instances of a module. */
export function moduleStatus(
  module: LoadedModule,
): Pick<VmStatus, "moduleName" | "version" | "sha256" | "source" | "size"> {
  const { manifest, sha256, name, size } = module;
  return { moduleName: manifest?.name ?? "", version: manifest?.version ?? "", sha256, source: name, size };
}

/** Adds up what workers say of the same plugins, in the order of the first worker that knows them. */
export function mergePluginStatuses(workers: readonly (readonly PluginStatus[])[]): PluginStatus[] {
  const merged = new Map<number, PluginStatus>();
  for (const one of workers.flat()) {
    const other = merged.get(one.index);
    merged.set(one.index, other === undefined ? one : add(other, one));
  }
  return [...merged.values()];
}

function add(a: PluginStatus, b: PluginStatus): PluginStatus {
  const failures = { ...a.failures };
  for (const [reason, count] of Object.entries(b.failures)) failures[reason] = (failures[reason] ?? 0) + count;
  const newer = (b.lastFailure?.atMs ?? 0) > (a.lastFailure?.atMs ?? 0) ? b.lastFailure : a.lastFailure;
  return {
    ...a,
    instances: a.instances + b.instances,
    memory: a.memory + b.memory,
    fuelUsed: a.fuelUsed + b.fuelUsed,
    failures,
    lastFailure: newer,
    versions: addVersions(a.versions, b.versions),
    examples: newestExamples(a.examples, b.examples),
  };
}

/** One entry for each version; the first that is found says what it is. */
export function addVersions(a: readonly VersionStatus[], b: readonly VersionStatus[]): readonly VersionStatus[] {
  const all = new Map(a.map((one) => [one.number, one]));
  for (const one of b) {
    const other = all.get(one.number);
    all.set(
      one.number,
      other === undefined
        ? one
        : {
            ...other,
            streams: other.streams + one.streams,
            instances: other.instances + one.instances,
            memory: other.memory + one.memory,
          },
    );
  }
  return [...all.values()];
}
