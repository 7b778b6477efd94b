/** Which context calls act on, and the end of a root context. */
import * as Status from "../../../abi/status.ts";
import type { Instance } from "../instance/instance.ts";
import type { HostFunctions } from "./functions.ts";

export function contextFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    proxy_set_effective_context(id: number): number {
      const context = instance.contexts.get(id);
      if (context === undefined) return Status.BAD_ARGUMENT;
      instance.effective = context;
      return Status.OK;
    },

    proxy_done(): number {
      return instance.effective.root?.finishDone() === true ? Status.OK : Status.NOT_FOUND;
    },

    proxy_get_status(codeAt: number, pp: number, sp: number): number {
      const root = instance.effective.root;
      if (!memory.putU32(codeAt >>> 0, (root?.statusCode ?? 0) >>> 0)) return Status.INVALID_MEMORY_ACCESS;
      return memory.giveBytes(Buffer.from(root?.statusMessage ?? ""), pp >>> 0, sp >>> 0);
    },
  };
}
