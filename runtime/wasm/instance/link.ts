/** Puts all families of host functions together for one instance. */
import { HOST_FUNCTIONS } from "../../../abi/functions.ts";
import * as LogLevel from "../../../abi/log-level.ts";
import * as Status from "../../../abi/status.ts";
import type { Instance } from "./instance.ts";
import { assemblyScriptFunctions } from "../host/assemblyscript.ts";
import { bufferFunctions } from "../host/buffers.ts";
import { contextFunctions } from "../host/context.ts";
import { extensionFunctions } from "../host/extensions.ts";
import { foreignFunctions } from "../host/foreign.ts";
import type { HostFunctions } from "../host/functions.ts";
import { grpcCallFunctions } from "../host/grpc-call.ts";
import { headerFunctions } from "../host/headers.ts";
import { httpCallFunctions } from "../host/http-call.ts";
import { logFunctions } from "../host/log.ts";
import { metricFunctions } from "../host/metrics.ts";
import { propertyFunctions } from "../host/properties.ts";
import { sharedDataFunctions } from "../host/shared-data.ts";
import { sharedQueueFunctions } from "../host/shared-queue.ts";
import { streamFunctions } from "../host/stream.ts";
import { timerFunctions } from "../host/timer.ts";
import { wasiFunctions } from "../host/wasi.ts";

/** errno of WASI for what the capability list forbids. */
const NOT_CAPABLE = 76;

/** The import object of `instance`; throws when a function of the table has no implementation. */
export function hostImports(instance: Instance): WebAssembly.Imports {
  const proxy: HostFunctions = {
    ...headerFunctions(instance),
    ...bufferFunctions(instance),
    ...streamFunctions(instance),
    ...logFunctions(instance),
    ...timerFunctions(instance),
    ...contextFunctions(instance),
    ...propertyFunctions(instance),
    ...metricFunctions(instance),
    ...sharedDataFunctions(instance),
    ...sharedQueueFunctions(instance),
    ...httpCallFunctions(instance),
    ...grpcCallFunctions(instance),
    ...foreignFunctions(instance),
    ...assemblyScriptFunctions(instance),
  };
  const wasi = wasiFunctions(instance);
  const spaces: Record<string, HostFunctions> = {
    env: proxy,
    sluice: extensionFunctions(instance),
    wasi_snapshot_preview1: wasi,
    wasi_unstable: wasi,
  };
  const imports: Record<string, HostFunctions> = {};
  for (const { module, name, type, answersOnly } of HOST_FUNCTIONS) {
    const space = (imports[module] ??= {});
    if (answersOnly !== undefined) {
      space[name] = (): number => instance.refuse(Status.UNIMPLEMENTED, name, "only other hosts have this");
      continue;
    }
    const implementation = spaces[module]?.[name];
    if (implementation === undefined)
      throw new TypeError(`${module}.${name} is in the table, but nothing implements it`);
    space[name] = allowed(instance, module, name) ? implementation : refusal(instance, module, name, type);
  }
  return imports;
}

/** Capability lists name Proxy-Wasm and WASI functions; what languages need for themselves is always there. */
function allowed(instance: Instance, module: string, name: string): boolean {
  const { allowedCapabilities } = instance.facts;
  if (allowedCapabilities === undefined) return true;
  if (module === "env" && !name.startsWith("proxy_")) return true;
  return allowedCapabilities.has(name);
}

function refusal(instance: Instance, module: string, name: string, type: string): HostFunctions[string] {
  const answer = module.startsWith("wasi_") ? NOT_CAPABLE : Status.INTERNAL_FAILURE;
  return () => {
    instance.log(LogLevel.ERROR, `${name} was called, but allowed_capabilities does not list it`);
    return type.endsWith(">") ? undefined : answer;
  };
}
