/** The wall clock as guests see it: finer than Date.now, and following the system's clock when that is set. */

/** Milliseconds by which the fine clock may differ from the system's before it is set anew. */
const TOLERANCE_MS = 5;
let offsetMs = Date.now() - performance.now();

/** Nanoseconds since the epoch, with microsecond resolution. */
export function wallClockNanoseconds(): bigint {
  const systemMs = Date.now();
  const monotonicMs = performance.now();
  if (Math.abs(offsetMs + monotonicMs - systemMs) > TOLERANCE_MS) offsetMs = systemMs - monotonicMs;
  return BigInt(Math.round((offsetMs + monotonicMs) * 1000)) * 1000n;
}
