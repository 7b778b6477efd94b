/** How long the streams of a version have taken lately, so that the one that takes its place can be compared with it. */
import { LATENCY_SAMPLE, LATENCY_WINDOW_MS } from "../limits.ts";
import type { StreamInfo } from "../observe/stream-info.ts";

export class LatencyRecord {
  #ended = 0;
  #fromMs = 0;
  #streams = 0;
  #ms = 0;
  /** Of the window before. */
  #streamsBefore = 0;
  #msBefore = 0;

  /** One in LATENCY_SAMPLE stands for all. */
  streamEnded(info: StreamInfo): void {
    if (++this.#ended % LATENCY_SAMPLE !== 0) return;
    const nowMs = performance.now();
    this.#turn(nowMs);
    this.#streams += LATENCY_SAMPLE;
    this.#ms += (nowMs - info.startMs) * LATENCY_SAMPLE;
  }

  /** Over the last one to two windows. */
  sums(): { readonly streams: number; readonly ms: number } {
    this.#turn(performance.now());
    return { streams: this.#streams + this.#streamsBefore, ms: this.#ms + this.#msBefore };
  }

  #turn(nowMs: number): void {
    const sinceMs = nowMs - this.#fromMs;
    if (sinceMs < LATENCY_WINDOW_MS) return;
    const recent = sinceMs < 2 * LATENCY_WINDOW_MS;
    this.#streamsBefore = recent ? this.#streams : 0;
    this.#msBefore = recent ? this.#ms : 0;
    this.#streams = this.#ms = 0;
    this.#fromMs = nowMs;
  }
}
