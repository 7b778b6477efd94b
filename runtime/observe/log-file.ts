/**
 * Files that access logs append to: buffered in memory, written in whole lines, one descriptor per path and
 * thread. Several threads append to the same file; O_APPEND and one write per batch keep lines whole.
 */
import { closeSync, openSync, write, writeSync } from "node:fs";
import { resolve } from "node:path";
import {
  ACCESS_LOG_BUFFER_BYTES,
  ACCESS_LOG_FLUSH_BYTES,
  ACCESS_LOG_FLUSH_INTERVAL_MS,
  ACCESS_LOG_RETRY_MS,
  ACCESS_LOG_STREAM_FLUSH_INTERVAL_MS,
} from "../limits.ts";
import type { Counter, Stats } from "./stats.ts";

/** One counter set for all files of a thread (Envoy: `filesystem.*`), and drops, which Envoy does not have. */
interface FileStats {
  readonly writeBuffered: Counter;
  readonly writeCompleted: Counter;
  readonly writeFailed: Counter;
  readonly reopenFailed: Counter;
  readonly dropped: Counter;
}

export type LogTarget = string | 1 | 2;

const open = new Map<LogTarget, LogFile>();

/** Opens a path (or stdout 1, stderr 2), or shares what this thread has open. Throws the error of `open(2)`. */
export function acquireLogFile(target: LogTarget, stats: Stats): LogFile {
  const key = typeof target === "string" ? resolve(target) : target;
  let file = open.get(key);
  if (file === undefined) open.set(key, (file = new LogFile(key, stats)));
  file.users++;
  return file;
}

/** Writes out what the files of this thread hold, synchronously: for an end that cannot wait. */
export function flushLogFiles(): void {
  for (const file of open.values()) file.flushNow();
}

/** Writes out what the files of this thread hold; resolves when nothing is under way any more. */
export async function drainLogFiles(): Promise<void> {
  await Promise.all([...open.values()].map((file) => new Promise<void>((done) => file.drain(done))));
}

/** Opens every file of this thread anew, after a rotation; a file that cannot be opened stays on the old one. */
export function reopenLogFiles(): void {
  for (const file of open.values()) file.reopen();
}

export class LogFile {
  users = 0;
  readonly #target: LogTarget;
  readonly #stats: FileStats;
  readonly #intervalMs: number;
  #fd: number;
  /** Lines that wait, and the batch that is being written. */
  #waiting = "";
  #batch: Buffer | null = null;
  #batchDone = 0;
  #writing = false;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  #reopenWanted = false;
  #drained: (() => void)[] = [];

  /** Use {@link acquireLogFile}. */
  constructor(target: LogTarget, stats: Stats) {
    this.#target = target;
    this.#fd = typeof target === "string" ? openSync(target, "a", 0o644) : target;
    this.#intervalMs = typeof target === "string" ? ACCESS_LOG_FLUSH_INTERVAL_MS : ACCESS_LOG_STREAM_FLUSH_INTERVAL_MS;
    this.#stats = {
      writeBuffered: stats.counter("filesystem.write_buffered"),
      writeCompleted: stats.counter("filesystem.write_completed"),
      writeFailed: stats.counter("filesystem.write_failed"),
      reopenFailed: stats.counter("filesystem.reopen_failed"),
      dropped: stats.counter("access_logs.dropped"),
    };
  }

  /** Takes one record (a byte string with its line break); drops and counts it when too much is waiting. */
  append(record: string): void {
    if (this.#waiting.length + record.length > ACCESS_LOG_BUFFER_BYTES) {
      this.#stats.dropped.inc();
      return;
    }
    this.#waiting += record;
    this.#stats.writeBuffered.inc();
    if (this.#writing) return;
    if (this.#waiting.length >= ACCESS_LOG_FLUSH_BYTES) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), this.#intervalMs).unref();
  }

  /** Starts writing what waits. */
  flush(): void {
    this.#stopTimer();
    if (this.#writing || this.#waiting === "") return;
    this.#batch = Buffer.from(this.#waiting, "latin1");
    this.#batchDone = 0;
    this.#waiting = "";
    this.#writing = true;
    this.#writeOn();
  }

  /** Starts writing what waits; calls back when all of it is written (or given up). */
  drain(done: () => void): void {
    this.flush();
    if (this.#writing) this.#drained.push(done);
    else done();
  }

  /** Writes everything before it returns; what a full pipe does not take is dropped and counted. */
  flushNow(): void {
    this.#stopTimer();
    // A write that is under way has to end by itself: writing its bytes again would double them.
    const rest = Buffer.from(this.#waiting, "latin1");
    this.#waiting = "";
    this.#writeSync(rest);
  }

  reopen(): void {
    if (typeof this.#target !== "string" || this.#closed) return;
    if (this.#writing) {
      this.#reopenWanted = true;
      return;
    }
    this.#reopenWanted = false;
    this.flushNow();
    try {
      const fd = openSync(this.#target, "a", 0o644);
      closeSync(this.#fd);
      this.#fd = fd;
    } catch {
      // The old descriptor stays in use: losing lines because of a rotation would be worse.
      this.#stats.reopenFailed.inc();
    }
  }

  /** Gives up one user; the last one flushes and closes the file. */
  release(): void {
    if (--this.users > 0) return;
    open.delete(this.#target);
    this.#closed = true;
    if (!this.#writing) this.#finish();
  }

  #finish(): void {
    this.flushNow();
    if (typeof this.#target === "string") closeSync(this.#fd);
  }

  #writeOn(): void {
    const batch = this.#batch!;
    write(this.#fd, batch, this.#batchDone, batch.length - this.#batchDone, null, (error, written) => {
      if (error !== null && error.code === "EAGAIN") {
        setTimeout(() => this.#writeOn(), ACCESS_LOG_RETRY_MS).unref();
        return;
      }
      if (error !== null) this.#stats.writeFailed.inc();
      else {
        this.#batchDone += written;
        if (this.#batchDone < batch.length) {
          this.#writeOn();
          return;
        }
        this.#stats.writeCompleted.inc();
      }
      this.#batch = null;
      this.#writing = false;
      this.#afterWrite();
    });
  }

  #afterWrite(): void {
    if (this.#closed) this.#finish();
    else if (this.#reopenWanted) this.reopen();
    else if (this.#waiting.length >= ACCESS_LOG_FLUSH_BYTES || (this.#drained.length > 0 && this.#waiting !== ""))
      this.flush();
    else if (this.#waiting !== "") this.#timer ??= setTimeout(() => this.flush(), this.#intervalMs).unref();
    if (this.#writing) return;
    const drained = this.#drained;
    this.#drained = [];
    for (const done of drained) done();
  }

  #writeSync(bytes: Buffer): void {
    for (let done = 0; done < bytes.length;) {
      try {
        done += writeSync(this.#fd, bytes, done);
      } catch {
        // A disk that is full, say: the counter tells, there is no other place to say it.
        this.#stats.writeFailed.inc();
        return;
      }
    }
  }

  #stopTimer(): void {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
  }
}
