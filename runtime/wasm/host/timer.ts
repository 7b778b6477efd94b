/** Time and ticks. */
import * as Status from "../../../abi/status.ts";
import type { Instance } from "../instance/instance.ts";
import { wallClockNanoseconds } from "../values/wall-clock.ts";
import type { HostFunctions } from "./functions.ts";

export function timerFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    proxy_get_current_time_nanoseconds(at: number): number {
      return memory.putU64(at >>> 0, wallClockNanoseconds())
        ? Status.OK
        : instance.outside("proxy_get_current_time_nanoseconds", "u64_p");
    },

    proxy_set_tick_period_milliseconds(periodMs: number): number {
      const root = instance.effective.root;
      if (root === null)
        return instance.refuse(Status.BAD_ARGUMENT, "proxy_set_tick_period_milliseconds", "no plugin exists yet");
      root.setTickPeriod(periodMs >>> 0);
      return Status.OK;
    },
  };
}
