/** First-in first-out queues shared by all VMs of the process. */
import * as Status from "../../../abi/status.ts";
import { MAX_SHARED_KEY_BYTES, MAX_SHARED_VALUE_BYTES, SHARED_WRITE_FUEL_PER_BYTE } from "../../limits.ts";
import type { Instance } from "../instance/instance.ts";
import { giveBytes, putU32 } from "./give.ts";
import type { HostFunctions } from "./functions.ts";

const NO_QUEUE = "token: no such queue";

export function sharedQueueFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  const { vmId, environment } = instance.facts;
  const queues = environment.shared.queues;
  return {
    proxy_register_shared_queue(nameAt: number, nameSize: number, tokenAt: number): number {
      const call = "proxy_register_shared_queue";
      if (!memory.has(nameAt >>> 0, nameSize >>> 0)) return instance.outside(call, "name");
      const root = instance.effective.root;
      if (nameSize >>> 0 > MAX_SHARED_KEY_BYTES) return instance.refuse(Status.BAD_ARGUMENT, call, "name: too long");
      if (root === null) return instance.refuse(Status.BAD_ARGUMENT, call, "no plugin exists yet");
      // Whichever root context the plugin has then; the one that registers may be a stream's, and soon gone.
      const { plugin } = root;
      const token = queues.register(vmId, memory.copy(nameAt >>> 0, nameSize >>> 0), (ready) =>
        plugin.listener?.onQueueReady(ready),
      );
      if (token === 0) return instance.refuse(Status.INTERNAL_FAILURE, call, "name: the shared memory is full");
      return putU32(instance, call, "token_p", tokenAt >>> 0, token);
    },

    proxy_resolve_shared_queue(
      vmAt: number,
      vmSize: number,
      nameAt: number,
      nameSize: number,
      tokenAt: number,
    ): number {
      const call = "proxy_resolve_shared_queue";
      if (!memory.has(vmAt >>> 0, vmSize >>> 0)) return instance.outside(call, "vm_id");
      if (!memory.has(nameAt >>> 0, nameSize >>> 0)) return instance.outside(call, "name");
      if (nameSize >>> 0 > MAX_SHARED_KEY_BYTES || vmSize >>> 0 > MAX_SHARED_KEY_BYTES)
        return instance.refuse(Status.NOT_FOUND, call, "vm_id or name: too long to exist");
      const owner = vmSize === 0 ? vmId : memory.utf8(vmAt >>> 0, vmSize >>> 0);
      const token = queues.resolve(owner, memory.copy(nameAt >>> 0, nameSize >>> 0));
      if (token === 0)
        return instance.refuse(Status.NOT_FOUND, call, "name: nobody has registered it under this vm_id");
      return putU32(instance, call, "token_p", tokenAt >>> 0, token);
    },

    proxy_enqueue_shared_queue(token: number, at: number, size: number): number {
      const call = "proxy_enqueue_shared_queue";
      if (!memory.has(at >>> 0, size >>> 0)) return instance.outside(call, "data");
      if (size >>> 0 > MAX_SHARED_VALUE_BYTES) return instance.refuse(Status.BAD_ARGUMENT, call, "data: too long");
      instance.spend((size >>> 0) * SHARED_WRITE_FUEL_PER_BYTE);
      const status = queues.enqueue(token >>> 0, memory.copy(at >>> 0, size >>> 0));
      if (status === Status.OK) return status;
      return instance.refuse(status, call, status === Status.NOT_FOUND ? NO_QUEUE : "data: the queue is full");
    },

    proxy_dequeue_shared_queue(token: number, pp: number, sp: number): number {
      const call = "proxy_dequeue_shared_queue";
      const item = queues.dequeue(token >>> 0);
      if (typeof item !== "number") return giveBytes(instance, call, item, pp >>> 0, sp >>> 0);
      return instance.refuse(item, call, item === Status.EMPTY ? "the queue is empty" : NO_QUEUE);
    },
  };
}
