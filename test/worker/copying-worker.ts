/** Does nothing but copy bodies, and tells which collections of garbage that took. */
import { constants, PerformanceObserver } from "node:perf_hooks";
import { parentPort } from "node:worker_threads";
import { copyOf } from "../../runtime/codec/copies.ts";
import { YOUNG_COPIES_BYTES } from "../../runtime/limits.ts";

const BODY_BYTES = 64 * 1024;
/** Copies that are still of use, as in a worker with as many streams. */
const LIVE = 16;
/** Collections that the copies are good for. */
const WANTED = 40;

export interface Collections {
  readonly kind: "collections";
  readonly wanted: number;
  readonly young: number;
  readonly whole: number;
}

let young = 0;
let whole = 0;
/** What the published type leaves out. */
interface Collected {
  readonly detail: { readonly kind: number };
}
const observer = new PerformanceObserver((list) => {
  for (const { detail } of list.getEntries() as unknown as readonly Collected[]) {
    if (detail.kind === constants.NODE_PERFORMANCE_GC_MINOR) young++;
    if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) whole++;
  }
});
observer.observe({ entryTypes: ["gc"] });

const body = Buffer.alloc(BODY_BYTES, "body");
const live: Buffer[] = [];
for (let n = 0; n < (WANTED * YOUNG_COPIES_BYTES) / BODY_BYTES; n++) {
  live[n % LIVE] = copyOf(body);
  // As events of sockets would.
  if (n % LIVE === 0) await new Promise((resolve) => setImmediate(resolve));
}
// They are told in turns of their own.
for (let turn = 0; turn < LIVE && young < WANTED; turn++) await new Promise((resolve) => setImmediate(resolve));
parentPort!.postMessage({ kind: "collections", wanted: WANTED, young, whole } satisfies Collections);
