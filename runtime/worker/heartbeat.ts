/** The sign of life of a worker: a number that the main thread can read even when the worker cannot answer. */
import { WORKER_BEAT_MS } from "../limits.ts";

/** Starts beating; the timer keeps no thread alive. */
export function startHeartbeat(beats: SharedArrayBuffer, index: number): void {
  const cells = new Int32Array(beats);
  Atomics.add(cells, index, 1);
  setInterval(() => Atomics.add(cells, index, 1), WORKER_BEAT_MS).unref();
}
