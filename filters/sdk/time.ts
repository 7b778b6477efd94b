/** Clock and ticks. */
import { proxy_get_current_time_nanoseconds, proxy_set_tick_period_milliseconds } from "./env.ts";
import { scalarP } from "./memory.ts";

/** Wall clock, nanoseconds since the epoch. */
export function nowNanoseconds(): i64 {
  proxy_get_current_time_nanoseconds(scalarP);
  return load<i64>(scalarP);
}

/** Calls `RootContext.onTick` every so many milliseconds; 0 stops it. */
export function setTickPeriod(milliseconds: i32): void {
  proxy_set_tick_period_milliseconds(milliseconds);
}
