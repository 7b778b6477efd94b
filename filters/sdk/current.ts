/** Which context the guest works for, and the moment when garbage is collected: when no guest code is on the stack. */
import * as Status from "../../abi/status.ts";
import { proxy_set_effective_context } from "./env.ts";

/** Callbacks between two collections, at least. Each makes little garbage; the heap stays within one page. */
const CALLBACKS_PER_COLLECTION: u32 = 256;

let current: u32 = 0;
let callbacks: u32 = 0;
let due: u32 = CALLBACKS_PER_COLLECTION;
let memoryPages: i32 = 0;

/** The context of the callback that runs. */
export function currentContext(): u32 {
  return current;
}

/** Begins a callback; `leave` takes what it returns. Callbacks may nest (a local reply inside a request). */
export function enter(id: u32): u32 {
  const previous = current;
  current = id;
  return previous;
}

/**
 * Ends a callback. Only the outermost may collect: the collector looks at globals, not at the stack. It runs
 * every so many callbacks, less often the more contexts live (`live`), and at once when memory had to grow.
 */
export function leave(previous: u32, live: u32): void {
  current = previous;
  if (previous != 0) return;
  if (++callbacks < due && memory.size() == memoryPages) return;
  __collect();
  callbacks = 0;
  memoryPages = memory.size();
  due = max<u32>(CALLBACKS_PER_COLLECTION, live << 1);
}

/** What has to end with a context; set by whoever keeps something for it (a hook, so that others do not link it). */
let atEnd: ((id: u32) => void) | null = null;

export function onContextEnd(callback: (id: u32) => void): void {
  atEnd = callback;
}

/** A context is about to be forgotten. */
export function endContext(id: u32): void {
  const callback = atEnd;
  if (callback !== null) callback(id);
}

/** In a call's callback: goes from the root to the context that made the call. False when that is gone. */
export function enterStream(id: u32): bool {
  if (proxy_set_effective_context(id) != Status.OK) return false;
  current = id;
  return true;
}
