/** Why a guest cannot go on: one closed set, which logs, statistics and response details share. */
import { GUEST_STACK_BYTES } from "../../limits.ts";
import { GuestFlag, HostExport, Restriction } from "../module/hardened.ts";

/** Reason to what it means. A stream that fails for one has the details `wasm_fail_stream{reason}`. */
export const FAILURE_REASONS = {
  trap: "the guest trapped: unreachable code, a division by zero, a wrong indirect call",
  bad_pointer: "the guest read or wrote outside of its memory",
  out_of_fuel: "a callback ran longer than the plugin's fuel",
  out_of_memory: "the guest could not get more memory, and trapped",
  stack_overflow: "the guest's recursion was too deep",
  abort: "the guest called abort",
  exit: "the guest called proc_exit",
  restricted: "the guest called a host function from a start function or from its allocator",
  no_instance: "no instance was free: the plugin's bound or the process's is reached, or a restart has to wait",
  replaced: "a newer version of the plugin took over, and the stream outlived the drain time",
  not_loaded: "the plugin's code has not been fetched yet",
} as const;
export type FailureReason = keyof typeof FAILURE_REASONS;

/** Thrown through the guest by host functions that end it: nothing may run behind them. */
export class GuestExit extends Error {
  readonly reason: FailureReason;
  /** Of proc_exit; 0 is a command's normal end. */
  readonly exitCode: number;
  constructor(message: string, reason: FailureReason, exitCode = 1) {
    super(message);
    this.name = "GuestExit";
    this.reason = reason;
    this.exitCode = exitCode;
  }
}

/** The reason of what a guest call threw. `exports` are those of the instance, which keeps its globals as they were. */
export function failureReason(error: unknown, exports: WebAssembly.Exports): FailureReason {
  if (error instanceof GuestExit) return error.reason;
  if (read(exports, HostExport.FUEL) < 0) return "out_of_fuel";
  if (read(exports, HostExport.STACK) > GUEST_STACK_BYTES || error instanceof RangeError) return "stack_overflow";
  if (read(exports, HostExport.RESTRICTED) === Restriction.BROKEN) return "restricted";
  if (error instanceof WebAssembly.RuntimeError && /out of bounds/.test(error.message)) {
    // A table's bounds are no pointer's.
    if (!error.message.includes("table")) return "bad_pointer";
  }
  return (read(exports, HostExport.FLAGS) & GuestFlag.MEMORY_DENIED) === 0 ? "trap" : "out_of_memory";
}

function read(exports: WebAssembly.Exports, name: string): number {
  const global = exports[name];
  return global instanceof WebAssembly.Global ? (global.value as number) : 0;
}

/** One line for people: the reason, and what was thrown. */
export function describeFailure(error: unknown, reason: FailureReason): string {
  const text = error instanceof Error ? error.message : String(error);
  return reason === "trap" ? `trap: ${text}` : `${reason.replaceAll("_", " ")}: ${text}`;
}
