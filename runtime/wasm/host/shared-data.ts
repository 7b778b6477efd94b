/** Key-value data shared by all VMs of one vm_id, on all workers. */
import * as Status from "../../../abi/status.ts";
import { MAX_SHARED_KEY_BYTES, MAX_SHARED_VALUE_BYTES, SHARED_WRITE_FUEL_PER_BYTE } from "../../limits.ts";
import type { Instance } from "../instance/instance.ts";
import type { HostFunctions } from "./functions.ts";

export function sharedDataFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  const { vmId, environment } = instance.facts;
  const data = environment.shared.data;
  return {
    proxy_get_shared_data(keyAt: number, keySize: number, pp: number, sp: number, casAt: number): number {
      if (!memory.has(keyAt >>> 0, keySize >>> 0) || !memory.has(casAt >>> 0, 4)) return Status.INVALID_MEMORY_ACCESS;
      if (keySize >>> 0 > MAX_SHARED_KEY_BYTES) return Status.NOT_FOUND;
      const found = data.get(vmId, memory.copy(keyAt >>> 0, keySize >>> 0));
      if (found === undefined) return Status.NOT_FOUND;
      const status = memory.giveBytes(found.value, pp >>> 0, sp >>> 0);
      if (status !== Status.OK) return status;
      return memory.putU32(casAt >>> 0, found.cas) ? Status.OK : Status.INVALID_MEMORY_ACCESS;
    },

    proxy_set_shared_data(keyAt: number, keySize: number, at: number, size: number, cas: number): number {
      if (!memory.has(keyAt >>> 0, keySize >>> 0) || !memory.has(at >>> 0, size >>> 0))
        return Status.INVALID_MEMORY_ACCESS;
      if (keySize >>> 0 > MAX_SHARED_KEY_BYTES || size >>> 0 > MAX_SHARED_VALUE_BYTES) return Status.BAD_ARGUMENT;
      const key = memory.copy(keyAt >>> 0, keySize >>> 0);
      // A null value deletes, an empty one stays: what SDKs with a remove function rely on.
      if (at === 0 && size === 0) return data.delete(vmId, key, cas >>> 0);
      instance.spend((size >>> 0) * SHARED_WRITE_FUEL_PER_BYTE);
      return data.set(vmId, key, memory.copy(at >>> 0, size >>> 0), cas >>> 0);
    },
  };
}
