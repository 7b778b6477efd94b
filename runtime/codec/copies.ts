/**
 * Copies of bytes that outlive the memory they were read into. Their memory lies outside of V8's heap, and V8 counts it
 * against the room that its heap has left to grow: in a small heap, as a worker's is, that is 16 MiB, and then it marks the
 * whole heap, ten times a second while bodies flow. Nearly all copies are garbage by the time their bytes have been
 * sent, which collecting the young objects alone finds out for a hundredth of that; V8 does so by itself only at 32 MiB.
 */
import { YOUNG_COPIES_BYTES } from "../limits.ts";

/** V8's flag that gives the threads of this process a way to ask for that; set before they are made. */
export const COLLECTING_FLAG = "--expose-gc";

let bytesSince = 0;

/** A copy that is its holder's own. */
export function copyOf(bytes: Uint8Array): Buffer {
  noteCopied(bytes.length);
  return Buffer.from(bytes);
}

/** The same for copies that others make. */
export function noteCopied(bytes: number): void {
  bytesSince += bytes;
  if (bytesSince < YOUNG_COPIES_BYTES) return;
  bytesSince = 0;
  // Absent where nobody has set the flag: V8 does it its own way there.
  globalThis.gc?.({ type: "minor" });
}
