/** A plugin that has failed, as a worker reports it. */
import type { PluginStatus } from "../../runtime/wasm/plugin-status.ts";

export function pluginStatus(atMs = 1_700_000_000_000): PluginStatus {
  return {
    index: 0,
    name: "fault",
    rootId: "root",
    vmId: "",
    moduleName: "fault",
    version: "1.0.0",
    sha256: "ab".repeat(32),
    source: "/filters/fault.wasm",
    size: 1000,
    isolation: "worker",
    fuelLimit: 10,
    memoryLimit: 65_536,
    instances: 1,
    memory: 65_536,
    fuelUsed: 5,
    failures: { trap: 1 },
    number: 1,
    versions: [
      { number: 1, role: "live", streams: 2, instances: 1, memory: 65_536, sha256: "ab".repeat(32), version: "1.0.0" },
    ],
    examples: [],
    lastFailure: { atMs, text: `plugin fault: trap ${atMs}\n    at f (a.ts:1:2)` },
  };
}
