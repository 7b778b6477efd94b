/** `proxy_call_foreign_function`: functions by name. One is known so far; every other is NOT_FOUND, which SDKs take calmly. */
import * as Status from "../../../abi/status.ts";
import type { Instance } from "../instance/instance.ts";
import type { HostFunctions } from "./functions.ts";

export function foreignFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    proxy_call_foreign_function(
      name: number,
      nameSize: number,
      at: number,
      size: number,
      pp: number,
      sp: number,
    ): number {
      if (!memory.has(name >>> 0, nameSize >>> 0) || !memory.has(at >>> 0, size >>> 0))
        return Status.INVALID_MEMORY_ACCESS;
      if (memory.latin1(name >>> 0, nameSize >>> 0) !== "clear_route_cache") return Status.NOT_FOUND;
      instance.effective.stream?.clearRouteCache();
      // Either address may be 0: "not wanted".
      if (pp !== 0 && !memory.putU32(pp >>> 0, 0)) return Status.INVALID_MEMORY_ACCESS;
      if (sp !== 0 && !memory.putU32(sp >>> 0, 0)) return Status.INVALID_MEMORY_ACCESS;
      return Status.OK;
    },
  };
}
