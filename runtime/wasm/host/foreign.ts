/** `proxy_call_foreign_function`: the functions that Envoy has beyond the ABI, by name. Unknown ones are NOT_FOUND, which SDKs take calmly. */
import * as Status from "../../../abi/status.ts";
import { FOREIGN_FUEL } from "../../limits.ts";
import type { Instance } from "../instance/instance.ts";
import { compress, uncompress } from "./foreign/compression.ts";
import { exprCreate, exprDelete, exprEvaluate } from "./foreign/expressions.ts";
import type { ForeignFunction } from "./foreign/function.ts";
import { sign, verifySignature } from "./foreign/signatures.ts";
import { clearRouteCache, declareProperty, setEnvoyFilterState } from "./foreign/state.ts";
import { giveBytes } from "./give.ts";
import type { HostFunctions } from "./functions.ts";

/** Every foreign function by name. */
export const FOREIGN_FUNCTIONS: ReadonlyMap<string, ForeignFunction> = new Map([
  ["clear_route_cache", clearRouteCache],
  ["compress", compress],
  ["declare_property", declareProperty],
  ["expr_create", exprCreate],
  ["expr_delete", exprDelete],
  ["expr_evaluate", exprEvaluate],
  ["set_envoy_filter_state", setEnvoyFilterState],
  ["sign", sign],
  ["uncompress", uncompress],
  ["verify_signature", verifySignature],
]);

const NAME = "proxy_call_foreign_function";

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
      if (!memory.has(name >>> 0, nameSize >>> 0)) return instance.outside(NAME, "name");
      if (!memory.has(at >>> 0, size >>> 0)) return instance.outside(NAME, "argument");
      const foreign = FOREIGN_FUNCTIONS.get(memory.latin1(name >>> 0, nameSize >>> 0));
      if (foreign === undefined) return instance.refuse(Status.NOT_FOUND, NAME, "name: no such foreign function");
      instance.spend(FOREIGN_FUEL);
      const result = foreign.call(instance, memory.copy(at >>> 0, size >>> 0));
      if (!(result instanceof Uint8Array)) return instance.refuse(result.status, NAME, result.why);
      return give(result, pp >>> 0, sp >>> 0);
    },
  };

  /** Either address may be 0: "not wanted". */
  function give(result: Uint8Array, pp: number, sp: number): number {
    if (pp !== 0 && sp !== 0) return giveBytes(instance, NAME, result, pp, sp);
    const fits = (pp === 0 || memory.putU32(pp, 0)) && (sp === 0 || memory.putU32(sp, result.length));
    return fits ? Status.OK : instance.outside(NAME, "result pointer or size");
  }
}
