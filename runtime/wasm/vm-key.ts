/** Which plugins share a VM. The main thread asks too: those that share one are replaced together. */
import type { PluginConfig } from "../config/snapshot.ts";
import type { LoadedModule } from "./module/module.ts";

/**
 * Plugins share a VM, as in Envoy, when code, VM configuration and vm_id are the same; but only if a vm_id is given,
 * since a trap in a shared VM hits all of them. `index` tells plugins apart that share with nobody.
 */
export function vmKey(config: PluginConfig, module: Pick<LoadedModule, "sha256" | "manifest">, index: number): string {
  if (config.vmId === "") return String(index);
  const environment = JSON.stringify(Object.entries(config.environment));
  const capabilities = config.allowedCapabilities?.join() ?? "*";
  return [
    module.sha256,
    config.vmId,
    Buffer.from(config.vmConfiguration).toString("base64"),
    environment,
    capabilities,
    config.isolation ?? module.manifest?.isolation ?? "worker",
    config.fuel,
    config.memoryBytes,
    config.failurePolicy,
    config.service === "process",
  ].join("|");
}
