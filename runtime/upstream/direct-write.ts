/**
 * Bytes from one socket's read straight into another's write. `socket.write` may keep what it is given until
 * the system takes it, so bytes in a thread's read buffer would have to be copied for it each time: half of
 * the work of moving them. Here the system takes what it can at once, and only what is left is copied.
 */
import { writeSync } from "node:fs";
import type { Socket } from "node:net";

/** Handles whose descriptor takes the bytes as they are; those of TLS have the descriptor of what lies below. */
const PLAIN_HANDLES = new Set(["TCP", "Pipe"]);

interface Handled {
  readonly _handle: { readonly fd?: number } | null;
}

/** True for a socket without TLS or anything else between it and the system. */
export function takesDirectWrites(socket: Socket): boolean {
  const { _handle: handle } = socket as unknown as Handled;
  return handle !== null && PLAIN_HANDLES.has(handle.constructor.name) && handle.fd !== undefined;
}

/**
 * The bytes that the system took at once, out of all of `data`; 0 when others wait before them or the socket
 * is closing. An error is not told: the write of the rest, which the caller leaves to the socket, meets it again.
 */
export function writeDirect(socket: Socket, data: Buffer): number {
  if (socket.writableLength > 0 || socket.connecting || socket.writableEnded) return 0;
  // The handle is gone as soon as the descriptor is closed, so it never names another socket.
  const fd = (socket as unknown as Handled)._handle?.fd ?? -1;
  if (fd < 0) return 0;
  try {
    return writeSync(fd, data);
  } catch {
    // EAGAIN above all: the system takes nothing now.
    return 0;
  }
}
