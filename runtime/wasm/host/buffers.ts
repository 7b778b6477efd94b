/** Bodies, configurations and call answers: `proxy_get_buffer_bytes`, `…_status`, `proxy_set_buffer_bytes`. */
import { AbiVersion } from "../../../abi/functions.ts";
import * as BufferType from "../../../abi/buffer.ts";
import * as Status from "../../../abi/status.ts";
import { COPY_FUEL_PER_BYTE, MAX_GUEST_BODY_BYTES } from "../../limits.ts";
import type { Instance } from "../instance/instance.ts";
import { giveBytes, putU32 } from "./give.ts";
import type { HostFunctions } from "./functions.ts";

const LAST_BUFFER = BufferType.CALL_DATA;
const UNKNOWN = "buffer: unknown type";
const ABSENT = "buffer: there is none of this type in this phase";
const CONFIGURATION = "proxy_get_configuration";

/** The bytes of a buffer now, or null when there is none. */
function bufferBytes(instance: Instance, type: number): Uint8Array | null {
  const context = instance.effective;
  switch (type) {
    case BufferType.HTTP_REQUEST_BODY:
    case BufferType.HTTP_RESPONSE_BODY:
    case BufferType.DOWNSTREAM_DATA:
    case BufferType.UPSTREAM_DATA: {
      const body = context.body(type);
      if (body === null) return null;
      if (!body.joined) instance.spend(body.length * COPY_FUEL_PER_BYTE);
      return body.bytes();
    }
    case BufferType.VM_CONFIGURATION:
      return instance.facts.vmConfiguration;
    case BufferType.PLUGIN_CONFIGURATION:
      return context.root?.plugin.config.configuration ?? null;
    case BufferType.HTTP_CALL_RESPONSE_BODY:
    case BufferType.GRPC_RECEIVE_BUFFER:
      return context.root?.calls.buffer(type) ?? null;
    default:
      return null;
  }
}

export function bufferFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    proxy_get_buffer_bytes(type: number, start: number, max: number, pp: number, sp: number): number {
      const call = "proxy_get_buffer_bytes";
      if (type >>> 0 > LAST_BUFFER) return instance.refuse(Status.BAD_ARGUMENT, call, UNKNOWN);
      const bytes = bufferBytes(instance, type);
      if (bytes === null) return instance.refuse(Status.NOT_FOUND, call, ABSENT);
      // Sums of two unsigned 32-bit numbers are exact here, so "all of it" (0xffffffff) needs no care.
      const end = Math.min((start >>> 0) + (max >>> 0), bytes.length);
      return giveBytes(instance, call, bytes.subarray(Math.min(start >>> 0, end), end), pp >>> 0, sp >>> 0);
    },

    proxy_get_buffer_status(type: number, lengthAt: number, flagsAt: number): number {
      const call = "proxy_get_buffer_status";
      if (type >>> 0 > LAST_BUFFER) return instance.refuse(Status.BAD_ARGUMENT, call, UNKNOWN);
      const bytes = bufferBytes(instance, type);
      if (bytes === null) return instance.refuse(Status.NOT_FOUND, call, ABSENT);
      if (!memory.putU32(lengthAt >>> 0, bytes.length)) return instance.outside(call, "length_p");
      return putU32(instance, call, "flags_p", flagsAt >>> 0, 0);
    },

    proxy_set_buffer_bytes(type: number, start: number, length: number, at: number, size: number): number {
      const call = "proxy_set_buffer_bytes";
      if (type >>> 0 > LAST_BUFFER) return instance.refuse(Status.BAD_ARGUMENT, call, UNKNOWN);
      if (!memory.has(at >>> 0, size >>> 0)) return instance.outside(call, "data");
      if (type > BufferType.UPSTREAM_DATA) {
        return bufferBytes(instance, type) === null
          ? instance.refuse(Status.NOT_FOUND, call, ABSENT)
          : instance.refuse(Status.BAD_ARGUMENT, call, "buffer: can only be read");
      }
      const body = instance.effective.body(type);
      if (body === null) return instance.refuse(Status.NOT_FOUND, call, ABSENT);
      if (body.length + (size >>> 0) > MAX_GUEST_BODY_BYTES)
        return instance.refuse(Status.BAD_ARGUMENT, call, "data: the body would become too long");
      // Behind the end nothing is moved.
      if (start >>> 0 < body.length) instance.spend(body.length * COPY_FUEL_PER_BYTE);
      body.splice(start >>> 0, length >>> 0, memory.copy(at >>> 0, size >>> 0));
      return Status.OK;
    },

    proxy_get_configuration(pp: number, sp: number): number {
      const root = instance.effective.root;
      if (root === null) return instance.refuse(Status.NOT_FOUND, CONFIGURATION, "no plugin exists yet");
      const starting = root.starting && instance.facts.module.abiVersion === AbiVersion.V0_1_0;
      const bytes = starting ? instance.facts.vmConfiguration : root.plugin.config.configuration;
      return giveBytes(instance, CONFIGURATION, bytes, pp >>> 0, sp >>> 0);
    },
  };
}
