/** The tables of all host functions, put together. */
import { HOST_FUNCTIONS } from "../../../abi/functions.ts";
import * as Status from "../../../abi/status.ts";
import type { Arg, FunctionCases } from "./arguments.ts";
import { PROXY_CASES } from "./env-functions.ts";
import { SLUICE_CASES } from "./sluice-functions.ts";
import { WASI_CASES } from "./wasi-functions.ts";

/** What only other hosts have: one answer, whatever the arguments. */
const VENDORS = new Map(
  HOST_FUNCTIONS.filter((one) => one.answersOnly !== undefined).map(({ name, type }): [string, FunctionCases] => {
    const args = Array.from(type.split(">")[0]!, (): Arg => ({ kind: "value", value: -1 }));
    const status = Status.UNIMPLEMENTED;
    return [name, { args, status, root: status, log: status, limit: "there is nothing behind it" }];
  }),
);
/** By name. */
export const CASES: ReadonlyMap<string, FunctionCases> = new Map([
  ...PROXY_CASES,
  ...VENDORS,
  ...Object.entries(SLUICE_CASES),
  ...Object.entries(WASI_CASES),
]);
