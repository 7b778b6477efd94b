/**
 * What hardening adds to a module and tells about it: the contract between the rewriter, which runs once per module on
 * the main thread, and the instances in the workers. Every name the host adds begins with `sluice_`.
 */

/** Exports that every hardened module has. */
export const HostExport = {
  /** `() -> ()`: the module's start section, when it had one. */
  START: "sluice_start",
  /** Global `mut i32`: fuel left in the callback that runs; below 0 once it ran out. */
  FUEL: "sluice_fuel",
  /** Global `mut i32`: what each callback starts with. The exported callbacks are wrappers that refill from it. */
  BUDGET: "sluice_budget",
  /** Global `mut i64`: fuel used by all callbacks that returned. */
  USED: "sluice_used",
  /** Global `mut i32`: estimated bytes of guest stack in use by functions that can recurse. */
  STACK: "sluice_stack",
  /** Global `mut i32`: bits of {@link GuestFlag}. */
  FLAGS: "sluice_flags",
  /** Global `mut i32`, see {@link Restriction}. */
  RESTRICTED: "sluice_restricted",
  /** `() -> ()`: remembers all mutable globals of the guest inside the instance. */
  SAVE: "sluice_save",
  /** `() -> i32`: brings them back; answers the flags. */
  RESTORE: "sluice_restore",
  /** A second memory: 32-bit counters, little-endian, one for each of {@link Hardened.pieces}. Only with `coverage`. */
  COVERAGE: "sluice_coverage",
  /** Prefix of the guest's own mutable globals, in order: `sluice_global_0` … */
  GLOBAL: "sluice_global_",
  /** Prefix of exports that keep functions declared whose own export leads to a wrapper now. */
  REFERENCE: "sluice_reference_",
} as const;

/** Values of `sluice_restricted`: while it is not NONE, only {@link isHarmless} host functions may be called. */
export const Restriction = {
  NONE: 0,
  /** Start functions run (nothing of the plugin exists yet), or the guest's allocator (a host function is under way). */
  ACTIVE: 1,
  /** A forbidden call was made; the guest trapped there. */
  BROKEN: 2,
} as const;

const HARMLESS: ReadonlySet<string> = new Set([
  "proxy_log",
  "proxy_get_log_level",
  "proxy_get_current_time_nanoseconds",
]);

/** True for imports that touch nothing but the log, the clock and the instance itself. */
export function isHarmless(module: string, name: string): boolean {
  return module.startsWith("wasi_") || (module === "env" && (!name.startsWith("proxy_") || HARMLESS.has(name)));
}

/** Bits of `sluice_flags`. */
export const GuestFlag = {
  /** memory.grow was refused in the callback that runs, or ran last. */
  MEMORY_DENIED: 1,
  /** Something happened that copying memory and globals does not undo: a table was written, a segment dropped. */
  UNRESTORABLE: 2,
} as const;

/** Facts about a hardened module. Plain data: survives structured clone. */
export interface Hardened {
  /** Types of the guest's mutable globals in the order of their exports: letters of abi/functions.ts, `v` and `r` for v128 and references. */
  readonly globals: string;
  /** False when the state of an instance can never be copied: mutable reference globals. */
  readonly restorable: boolean;
  /** Pages of memory that the binary's maximum says now. */
  readonly memoryPages: number;
  /** Pairs of offsets into the file, ascending: from `[2n]` of the rewritten module on, code comes from `[2n+1]` on of the original. On shared memory. */
  readonly offsets: Uint32Array;
  /** With `coverage`: where straight pieces of code begin, offsets into the original file, ascending. On shared memory. */
  readonly pieces?: Uint32Array;
}

/** What the loader is told beside the bytes. */
export interface HardenOptions {
  /** Pages of 64 KiB that the memory may have at most. A module that begins with more is refused. */
  readonly memoryPages: number;
  /**
   * For tests and benchmarks. `exact`: each straight piece of code has a charge of its own, so that the fuel taken is that
   * of what ran. `off`: neither fuel nor recursion is counted.
   */
  readonly fuel?: "exact" | "off";
  /** For tests: counts how often each straight piece of code runs. Takes fuel as ever, and more time. */
  readonly coverage?: boolean;
}
