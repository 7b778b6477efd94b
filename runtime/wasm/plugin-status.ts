/** What the admin page `/wasm` shows: plain data of each worker, merged and printed on the main thread. */
import type { Isolation } from "../config/snapshot.ts";
import type { LoadedModule } from "./module/module.ts";

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

export interface PluginStatus extends VmStatus {
  readonly name: string;
  readonly rootId: string;
  readonly vmId: string;
  /** Count by reason (instance/failure.ts). */
  readonly failures: Readonly<Record<string, number>>;
  /** The newest failure as it was logged, with its time in milliseconds since 1970; undefined when there was none. */
  readonly lastFailure: LastFailure | undefined;
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

/** Adds up what workers say of the same plugins: those of one place in the configuration. */
export function mergePluginStatuses(workers: readonly (readonly PluginStatus[])[]): PluginStatus[] {
  const merged: PluginStatus[] = [];
  for (const worker of workers) {
    for (const [n, one] of worker.entries()) {
      const other = merged[n];
      merged[n] = other === undefined ? one : add(other, one);
    }
  }
  return merged;
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
  };
}

/** In the form of `/clusters`: `plugin::key::value`, one per line; a backtrace is in the JSON form only. */
export function pluginsText(plugins: readonly PluginStatus[]): string {
  const lines: string[] = [];
  for (const plugin of plugins) {
    for (const [key, value] of Object.entries(pluginJson(plugin))) {
      if (key === "name") continue;
      if (key === "failures") {
        for (const [reason, count] of Object.entries(plugin.failures))
          lines.push(`${plugin.name}::${key}::${reason}::${count}`);
      } else if (key !== "last_failure") lines.push(`${plugin.name}::${key}::${String(value)}`);
    }
    const { lastFailure } = plugin;
    if (lastFailure === undefined) continue;
    const [head] = lastFailure.text.split("\n");
    lines.push(`${plugin.name}::last_failure::${new Date(lastFailure.atMs).toISOString()}::${head}`);
  }
  return lines.map((line) => `${line}\n`).join("");
}

export function pluginsJson(plugins: readonly PluginStatus[]): object {
  return { plugins: plugins.map(pluginJson) };
}

function pluginJson(plugin: PluginStatus): object {
  const { lastFailure } = plugin;
  return {
    name: plugin.name,
    root_id: plugin.rootId,
    vm_id: plugin.vmId,
    module: plugin.moduleName,
    version: plugin.version,
    sha256: plugin.sha256,
    source: plugin.source,
    size: plugin.size,
    isolation: plugin.isolation,
    fuel_limit: plugin.fuelLimit,
    memory_limit: plugin.memoryLimit,
    instances: plugin.instances,
    memory: plugin.memory,
    fuel_used: plugin.fuelUsed,
    failures: plugin.failures,
    ...(lastFailure === undefined
      ? {}
      : { last_failure: { time: new Date(lastFailure.atMs).toISOString(), text: lastFailure.text } }),
  };
}
