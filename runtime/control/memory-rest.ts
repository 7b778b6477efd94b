/**
 * Gives back to the system what changes leave behind in the main thread. A module that is read, checked, hardened and
 * compiled is a megabyte of garbage, which V8 collects when it sees fit; its room for new objects grows with it and stays,
 * and what is freed stays with the C library, in pieces between what is in use. 400 swaps left twice the memory that way.
 *
 * Nothing of it is on the path of a request: workers have heaps of their own, which are not touched here.
 */
import { createRequire } from "node:module";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { COLLECTING_FLAG } from "../codec/copies.ts";
import { MEMORY_REST_MAX_MS, MEMORY_REST_MS } from "../limits.ts";
import type { Log } from "../observe/log.ts";

/** V8's own function of that name: everything that can go goes, and its rooms become as small as they may be. */
type Collect = (options: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void;

/** From the first change on. Life: (later → collected)* → stop. */
export class MemoryRest {
  readonly #log: Log;
  #timer: NodeJS.Timeout | null = null;
  #firstMs = 0;
  #collect: Collect | null = null;
  /** Null: not looked for yet; undefined: this C library has none. */
  #trim: ((keepBytes: number) => number) | undefined | null = null;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Something changed. Memory is given back once nothing did for a while, and now and then while changes go on. */
  later(): void {
    const nowMs = performance.now();
    if (this.#timer === null) this.#firstMs = nowMs;
    else clearTimeout(this.#timer);
    const ms = Math.min(MEMORY_REST_MS, Math.max(0, this.#firstMs + MEMORY_REST_MAX_MS - nowMs));
    this.#timer = setTimeout(() => this.#give(), ms);
    this.#timer.unref();
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #give(): void {
    this.#timer = null;
    const from = performance.now();
    const before = process.memoryUsage.rss();
    this.#collect ??= findCollect();
    this.#collect({ type: "major", execution: "sync", flavor: "last-resort" });
    if (this.#trim === null) this.#trim = findTrim(this.#log);
    this.#trim?.(0);
    const mib = Math.round((before - process.memoryUsage.rss()) / (1024 * 1024));
    this.#log.debug(`${mib} MiB were given back to the system in ${(performance.now() - from).toFixed(0)} ms`);
  }
}

/** V8 shows it to contexts that are made while the flag is set, as it is for workers, which are made at any time. */
function findCollect(): Collect {
  setFlagsFromString(COLLECTING_FLAG);
  return runInNewContext("gc") as Collect;
}

/** malloc_trim(3) of glibc, for all threads' arenas. */
function findTrim(log: Log): ((keepBytes: number) => number) | undefined {
  try {
    const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
    return koffi.load(null).func("int malloc_trim(size_t)") as (keepBytes: number) => number;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    log.debug(`the C library cannot be asked to give memory back: ${why}`);
    return undefined;
  }
}
