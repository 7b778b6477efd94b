/** Which context calls act on, and the end of a root context. */
import * as Status from "../../../abi/status.ts";
import type { Instance } from "../instance/instance.ts";
import { giveBytes } from "./give.ts";
import type { HostFunctions } from "./functions.ts";

export function contextFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    proxy_set_effective_context(id: number): number {
      const context = instance.contexts.get(id);
      if (context === undefined)
        return instance.refuse(Status.BAD_ARGUMENT, "proxy_set_effective_context", "id: no such context");
      instance.effective = context;
      return Status.OK;
    },

    proxy_done(): number {
      return instance.effective.root?.finishDone() === true
        ? Status.OK
        : instance.refuse(Status.NOT_FOUND, "proxy_done", "nobody waits: on_done did not answer 0");
    },

    proxy_get_status(codeAt: number, pp: number, sp: number): number {
      const call = "proxy_get_status";
      const root = instance.effective.root;
      if (!memory.putU32(codeAt >>> 0, (root?.statusCode ?? 0) >>> 0)) return instance.outside(call, "code_p");
      return giveBytes(instance, call, Buffer.from(root?.statusMessage ?? ""), pp >>> 0, sp >>> 0);
    },
  };
}
