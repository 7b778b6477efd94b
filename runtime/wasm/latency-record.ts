/** How long the streams of a version have taken lately, so that the one that takes its place can be compared with it. */
import { LATENCY_SAMPLE, LATENCY_WINDOW_MS } from "../limits.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { LATENCY_BUCKETS, latencyBucket } from "./latency-buckets.ts";

/** One of two windows. */
class Window {
  streams = 0;
  ms = 0;
  readonly counts = new Uint32Array(LATENCY_BUCKETS);

  clear(): void {
    this.streams = this.ms = 0;
    this.counts.fill(0);
  }
}

export class LatencyRecord {
  #ended = 0;
  #fromMs = 0;
  #now = new Window();
  #before = new Window();

  /** One in LATENCY_SAMPLE stands for all. */
  streamEnded(info: StreamInfo): void {
    if (++this.#ended % LATENCY_SAMPLE !== 0) return;
    const nowMs = performance.now();
    this.#turn(nowMs);
    const ms = nowMs - info.startMs;
    this.#now.streams += LATENCY_SAMPLE;
    this.#now.ms += ms * LATENCY_SAMPLE;
    this.#now.counts[latencyBucket(ms)]!++;
  }

  /** Over the last one to two windows. */
  sums(): { readonly streams: number; readonly ms: number } {
    this.#turn(performance.now());
    return { streams: this.#now.streams + this.#before.streams, ms: this.#now.ms + this.#before.ms };
  }

  /** Adds what was timed in the same windows to the buckets from `at` on. */
  addTo(cells: Float64Array, at: number): void {
    this.#turn(performance.now());
    for (let bucket = 0; bucket < LATENCY_BUCKETS; bucket++)
      cells[at + bucket]! += this.#now.counts[bucket]! + this.#before.counts[bucket]!;
  }

  #turn(nowMs: number): void {
    const sinceMs = nowMs - this.#fromMs;
    if (sinceMs < LATENCY_WINDOW_MS) return;
    [this.#now, this.#before] = [this.#before, this.#now];
    this.#now.clear();
    if (sinceMs >= 2 * LATENCY_WINDOW_MS) this.#before.clear();
    this.#fromMs = nowMs;
  }
}
