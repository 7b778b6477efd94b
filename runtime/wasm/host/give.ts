/** Answers of host functions: values handed to the guest, and a word of explanation when they cannot be. */
import * as Status from "../../../abi/status.ts";
import type { Instance } from "../instance/instance.ts";

/** Gives a latin-1 string to the guest for the host function `call`. Addresses are unsigned. Returns a status. */
export function giveText(instance: Instance, call: string, text: string, pp: number, sp: number): number {
  const status = instance.memory.giveText(text, pp, sp);
  return status === Status.OK ? status : notGiven(instance, status, call, pp, sp);
}

export function giveBytes(instance: Instance, call: string, data: Uint8Array, pp: number, sp: number): number {
  const status = instance.memory.giveBytes(data, pp, sp);
  return status === Status.OK ? status : notGiven(instance, status, call, pp, sp);
}

function notGiven(instance: Instance, status: number, call: string, pp: number, sp: number): number {
  const good = instance.memory.has(pp, 4) && instance.memory.has(sp, 4);
  return instance.refuse(
    status,
    call,
    good ? "result: the guest's allocator gave no memory" : "result pointer or size: outside of memory",
  );
}

/** Writes a number to the address that `argument` names. Returns a status. */
export function putU32(instance: Instance, call: string, argument: string, at: number, value: number): number {
  return instance.memory.putU32(at, value) ? Status.OK : instance.outside(call, argument);
}
