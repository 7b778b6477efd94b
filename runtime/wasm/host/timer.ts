/** Time and ticks. */
import * as Status from "../../../abi/status.ts";
import type { Instance } from "../instance/instance.ts";
import { wallClockNanoseconds } from "../values/wall-clock.ts";
import type { HostFunctions } from "./functions.ts";

export function timerFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    proxy_get_current_time_nanoseconds(at: number): number {
      return memory.putU64(at >>> 0, wallClockNanoseconds()) ? Status.OK : Status.INVALID_MEMORY_ACCESS;
    },

    proxy_set_tick_period_milliseconds(periodMs: number): number {
      const root = instance.effective.root;
      if (root === null) return Status.BAD_ARGUMENT;
      root.setTickPeriod(periodMs >>> 0);
      return Status.OK;
    },
  };
}
