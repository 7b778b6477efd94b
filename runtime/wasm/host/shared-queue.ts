/** First-in first-out queues shared by all VMs of the process. */
import * as Status from "../../../abi/status.ts";
import { MAX_SHARED_KEY_BYTES, MAX_SHARED_VALUE_BYTES, SHARED_WRITE_FUEL_PER_BYTE } from "../../limits.ts";
import type { Instance } from "../instance/instance.ts";
import type { HostFunctions } from "./functions.ts";

export function sharedQueueFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  const { vmId, environment } = instance.facts;
  const queues = environment.shared.queues;
  return {
    proxy_register_shared_queue(nameAt: number, nameSize: number, tokenAt: number): number {
      if (!memory.has(nameAt >>> 0, nameSize >>> 0)) return Status.INVALID_MEMORY_ACCESS;
      const root = instance.effective.root;
      if (nameSize >>> 0 > MAX_SHARED_KEY_BYTES || root === null) return Status.BAD_ARGUMENT;
      // Whichever root context the plugin has then; the one that registers may be a stream's, and soon gone.
      const { plugin } = root;
      const token = queues.register(vmId, memory.copy(nameAt >>> 0, nameSize >>> 0), (ready) =>
        plugin.root?.onQueueReady(ready),
      );
      if (token === 0) return Status.INTERNAL_FAILURE;
      return memory.putU32(tokenAt >>> 0, token) ? Status.OK : Status.INVALID_MEMORY_ACCESS;
    },

    proxy_resolve_shared_queue(
      vmAt: number,
      vmSize: number,
      nameAt: number,
      nameSize: number,
      tokenAt: number,
    ): number {
      if (!memory.has(vmAt >>> 0, vmSize >>> 0) || !memory.has(nameAt >>> 0, nameSize >>> 0))
        return Status.INVALID_MEMORY_ACCESS;
      if (nameSize >>> 0 > MAX_SHARED_KEY_BYTES || vmSize >>> 0 > MAX_SHARED_KEY_BYTES) return Status.NOT_FOUND;
      const owner = vmSize === 0 ? vmId : memory.utf8(vmAt >>> 0, vmSize >>> 0);
      const token = queues.resolve(owner, memory.copy(nameAt >>> 0, nameSize >>> 0));
      if (token === 0) return Status.NOT_FOUND;
      return memory.putU32(tokenAt >>> 0, token) ? Status.OK : Status.INVALID_MEMORY_ACCESS;
    },

    proxy_enqueue_shared_queue(token: number, at: number, size: number): number {
      if (!memory.has(at >>> 0, size >>> 0)) return Status.INVALID_MEMORY_ACCESS;
      if (size >>> 0 > MAX_SHARED_VALUE_BYTES) return Status.BAD_ARGUMENT;
      instance.spend((size >>> 0) * SHARED_WRITE_FUEL_PER_BYTE);
      return queues.enqueue(token >>> 0, memory.copy(at >>> 0, size >>> 0));
    },

    proxy_dequeue_shared_queue(token: number, pp: number, sp: number): number {
      const item = queues.dequeue(token >>> 0);
      return typeof item === "number" ? item : memory.giveBytes(item, pp >>> 0, sp >>> 0);
    },
  };
}
