/** A worker's place in the pool: the thread that has it, whether that still beats, and when it is replaced once it is lost. */
import { WORKER_MISSED_BEATS, WORKER_RESTART_MAX_MS, WORKER_RESTART_MIN_MS, WORKER_SETTLED_MS } from "../limits.ts";
import type { ThreadState, WorkerThread } from "./thread.ts";

/** One worker for people and for `/workers`. */
export interface WorkerReport {
  readonly index: number;
  readonly thread: number;
  readonly state: ThreadState;
  readonly restarts: number;
  readonly uptimeMs: number;
}

export class Place {
  readonly index: number;
  #thread: WorkerThread;
  #restarts = 0;
  /** Before the next replacement. */
  #delayMs = WORKER_RESTART_MIN_MS;
  #timer: NodeJS.Timeout | null = null;
  #lastBeat = 0;
  #missedBeats = 0;

  constructor(thread: WorkerThread) {
    this.index = thread.index;
    this.#thread = thread;
  }

  get thread(): WorkerThread {
    return this.#thread;
  }

  /** The thread has stopped beating. */
  get hangs(): boolean {
    return this.#missedBeats >= WORKER_MISSED_BEATS;
  }

  report(): WorkerReport {
    const { index, thread } = this;
    const { id, state, spawnedAt } = thread;
    const uptimeMs = state === "gone" ? 0 : Math.round(performance.now() - spawnedAt);
    return { index, thread: id, state, restarts: this.#restarts, uptimeMs };
  }

  /** Takes note of the thread's beat, and ends one that hangs. Counted in looks, not in time: after a suspended process only one look is missed. */
  look(beat: number): void {
    if (this.#thread.state !== "listening" || beat !== this.#lastBeat) {
      this.#missedBeats = 0;
    } else if (++this.#missedBeats === WORKER_MISSED_BEATS) {
      this.#thread.terminate(`no heartbeat for ${WORKER_MISSED_BEATS} looks`);
    }
    this.#lastBeat = beat;
  }

  /** The thread is lost. Calls `restart` after a while, which is returned in milliseconds: the longer the oftener young threads were lost. */
  restartLater(restart: () => void): number {
    const young = performance.now() - this.#thread.spawnedAt < WORKER_SETTLED_MS;
    if (!young) this.#delayMs = WORKER_RESTART_MIN_MS;
    const delayMs = this.#delayMs;
    this.#timer = setTimeout(restart, delayMs);
    this.#delayMs = Math.min(delayMs * 2, WORKER_RESTART_MAX_MS);
    return delayMs;
  }

  /** Nobody is to take the place any more. */
  cancelRestart(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** Another thread has the place. */
  replace(thread: WorkerThread): void {
    this.#restarts++;
    this.#missedBeats = 0;
    this.#thread = thread;
  }
}
