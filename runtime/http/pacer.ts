/**
 * Paces a response body (Envoy: `StreamRateLimiter`): each slice of PACE_SLICE_MS lets a fixed number of
 * bytes through; headers pass at once, the rest waits. One per paced stream; created only when asked for.
 */
import { BodyBuffer } from "../codec/body.ts";
import { copyOf } from "../codec/copies.ts";
import type { HeaderMap } from "../codec/headers.ts";
import { PACE_SLICE_MS } from "../limits.ts";
import { Deadline } from "../timers.ts";

/** Where paced bytes go. */
export interface PacedSink {
  sendPaced(chunk: Buffer, endStream: boolean): void;
  sendPacedTrailers(trailers: HeaderMap): void;
  /** Called when what waits crosses the buffer limit, and when it is below again. */
  pacerFull(full: boolean): void;
}

export class Pacer extends Deadline {
  readonly #sink: PacedSink;
  readonly #sliceBytes: number;
  readonly #limitBytes: number;
  readonly #waiting = new BodyBuffer();
  #trailers: HeaderMap | null = null;
  #ended = false;
  #full = false;
  /** Bytes that may still leave in the current slice. */
  #allowance: number;

  constructor(bytesPerSecond: number, limitBytes: number, sink: PacedSink) {
    super();
    this.#sink = sink;
    this.#limitBytes = limitBytes;
    this.#sliceBytes = Math.max(1, Math.floor((bytesPerSecond * PACE_SLICE_MS) / 1000));
    this.#allowance = this.#sliceBytes;
  }

  /** The bytes are lent. */
  push(chunk: Buffer, endStream: boolean): void {
    this.#waiting.append(copyOf(chunk));
    this.#ended = this.#ended || endStream;
    this.#flow();
  }

  pushTrailers(trailers: HeaderMap): void {
    this.#trailers = trailers;
    this.#flow();
  }

  onDeadline(): void {
    this.#allowance = this.#sliceBytes;
    this.#flow();
  }

  #flow(): void {
    const ready = Math.min(this.#allowance, this.#waiting.length);
    const last = ready === this.#waiting.length;
    if (ready > 0) {
      this.#allowance -= ready;
      const chunk = this.#waiting.bytes().subarray(0, ready);
      const endStream = last && this.#ended && this.#trailers === null;
      this.#waiting.splice(0, ready, EMPTY);
      this.#sink.sendPaced(chunk, endStream);
      if (endStream) return;
    } else if (last && this.#ended && this.#trailers === null) {
      this.#sink.sendPaced(EMPTY, true);
      return;
    }
    if (last && this.#trailers !== null) {
      this.#sink.sendPacedTrailers(this.#trailers);
      return;
    }
    const full = this.#waiting.length > this.#limitBytes;
    if (full !== this.#full) this.#sink.pacerFull((this.#full = full));
    if (!this.armed && (this.#waiting.length > 0 || this.#allowance < this.#sliceBytes)) this.arm(PACE_SLICE_MS);
  }
}

const EMPTY = Buffer.alloc(0);
