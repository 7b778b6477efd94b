/** Key-value data shared by all VMs of one vm_id, on all workers. */
import { AbiVersion } from "../../../abi/functions.ts";
import * as Status from "../../../abi/status.ts";
import { MAX_SHARED_KEY_BYTES, MAX_SHARED_VALUE_BYTES, SHARED_WRITE_FUEL_PER_BYTE } from "../../limits.ts";
import type { Instance } from "../instance/instance.ts";
import { giveBytes, putU32 } from "./give.ts";
import type { HostFunctions } from "./functions.ts";

export function sharedDataFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  const { vmId, environment, module } = instance.facts;
  const data = environment.shared.data;
  // To Rust's SDK, of 0.2.1, no value removes the key. Go's, of 0.2.0, has no other way to store an empty one.
  const nullDeletes = module.abiVersion === AbiVersion.V0_2_1;
  return {
    proxy_get_shared_data(keyAt: number, keySize: number, pp: number, sp: number, casAt: number): number {
      const call = "proxy_get_shared_data";
      if (!memory.has(keyAt >>> 0, keySize >>> 0)) return instance.outside(call, "key");
      if (!memory.has(casAt >>> 0, 4)) return instance.outside(call, "cas_p");
      if (keySize >>> 0 > MAX_SHARED_KEY_BYTES)
        return instance.refuse(Status.NOT_FOUND, call, "key: too long to exist");
      const found = data.get(vmId, memory.copy(keyAt >>> 0, keySize >>> 0));
      if (found === undefined) return instance.refuse(Status.NOT_FOUND, call, "key: nothing is stored under it");
      const status = giveBytes(instance, call, found.value, pp >>> 0, sp >>> 0);
      return status === Status.OK ? putU32(instance, call, "cas_p", casAt >>> 0, found.cas) : status;
    },

    proxy_set_shared_data(keyAt: number, keySize: number, at: number, size: number, cas: number): number {
      const call = "proxy_set_shared_data";
      if (!memory.has(keyAt >>> 0, keySize >>> 0)) return instance.outside(call, "key");
      if (!memory.has(at >>> 0, size >>> 0)) return instance.outside(call, "value");
      if (keySize >>> 0 > MAX_SHARED_KEY_BYTES) return instance.refuse(Status.BAD_ARGUMENT, call, "key: too long");
      if (size >>> 0 > MAX_SHARED_VALUE_BYTES) return instance.refuse(Status.BAD_ARGUMENT, call, "value: too long");
      const key = memory.copy(keyAt >>> 0, keySize >>> 0);
      if (at === 0 && size === 0 && nullDeletes) return stored(data.delete(vmId, key, cas >>> 0));
      instance.spend((size >>> 0) * SHARED_WRITE_FUEL_PER_BYTE);
      return stored(data.set(vmId, key, memory.copy(at >>> 0, size >>> 0), cas >>> 0));
    },
  };

  function stored(status: number): number {
    // That there was nothing to remove is nothing to end a guest for: Rust's SDK takes it for a fault.
    if (status === Status.OK || status === Status.NOT_FOUND) return Status.OK;
    return instance.refuse(status, "proxy_set_shared_data", WHY_NOT[status] ?? "");
  }
}

const WHY_NOT: Readonly<Record<number, string>> = {
  [Status.CAS_MISMATCH]: "cas: the value has changed since",
  [Status.INTERNAL_FAILURE]: "value: the shared memory is full",
};
