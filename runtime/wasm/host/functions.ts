/** The shape every family of host functions has. */

/** Host functions by import name. i32 arrive signed (`>>> 0` for addresses, sizes, ids), i64 as BigInt. */
// oxlint-disable-next-line typescript/no-explicit-any -- parameters differ per function; abi/functions.ts holds the types
export type HostFunctions = Record<string, (...args: any[]) => number | void>;
