/**
 * Reads of all downstream connections of a thread land in one buffer. Without it Node allocates 64 KiB for
 * every read and cuts it to size afterwards, which costs a tenth of a proxied request.
 *
 * `onread` is public for sockets that connect, but `net.Server` does not pass it on to those it accepts. So an
 * accepted socket hands its handle to a new socket that has it: the one place that touches `_handle`. Where
 * there is no handle to take, or TLS holds it, the accepted socket is used as it is.
 */
import { Socket } from "node:net";
import type { SocketConstructorOpts } from "node:net";
import { noteCopied } from "../codec/copies.ts";
import { DOWNSTREAM_READ_BYTES } from "../limits.ts";
import type { NativeStream } from "../network/filter.ts";

const readBuffer = Buffer.allocUnsafeSlow(DOWNSTREAM_READ_BYTES);

interface Handle extends NativeStream {
  reading?: boolean;
  readStart?(): number;
  readStop?(): number;
  /** Given to the system or waiting for it, and of these the waiting ones. */
  readonly writeQueueSize?: number;
  /** What lies below TLS. */
  readonly _parent?: Handle;
}

interface Handed {
  _handle: Handle | null;
}

/** Starts reading; also after {@link stopReading}, of which the stream itself knows nothing. */
export function startReading(socket: Socket): void {
  socket.resume();
  const { _handle: handle } = socket as unknown as Handed;
  if (handle === null || handle.reading !== false) return;
  handle.reading = true;
  handle.readStart?.();
}

/** Stops reading at once: a paused socket would go on until its buffer is full. */
export function stopReading(socket: Socket): void {
  socket.pause();
  const { _handle: handle } = socket as unknown as Handed;
  if (handle === null || handle.reading !== true) return;
  handle.reading = false;
  handle.readStop?.();
}

/** Whoever gets what a socket reads: an object and not a function, which each connection would have to make. */
export interface BytesTaker {
  /** The bytes are its own only until it returns. */
  onBytes(data: Buffer): void;
}

/**
 * The socket to use instead of an accepted one, which is not reading (`pauseOnConnect`, {@link stopReading}).
 * `taker` gets what comes in, from the next turn on; first what others read and gave back by `unshift`.
 * `limitBytes` is what `write` may buffer before it says stop.
 */
export function readInto(accepted: Socket, limitBytes: number, taker: BytesTaker): Socket {
  const handed = accepted as unknown as Handed;
  const handle = handed._handle;
  if (handle === null || typeof handle !== "object" || "encrypted" in accepted) {
    accepted.on("data", (data: Buffer) => {
      noteCopied(data.length);
      taker.onBytes(data);
    });
    accepted.resume();
    return accepted;
  }
  const early = accepted.readableLength === 0 ? null : (accepted.read() as Buffer);
  handed._handle = null;
  const options = {
    handle,
    allowHalfOpen: true,
    writableHighWaterMark: limitBytes,
    onread: {
      buffer: readBuffer,
      callback: (length: number): boolean => {
        taker.onBytes(readBuffer.subarray(0, length));
        return true;
      },
    },
  };
  // The published type knows only bound sockets as `handle`.
  const socket = new Socket(options as unknown as SocketConstructorOpts);
  if (early !== null) process.nextTick(deliver, socket, early, taker);
  return socket;
}

/**
 * What Node's own protocols read from and write to; null when the socket is gone. Null under TLS: where a write fails
 * that is TLS's own, a session ticket say, Node lets every later one wait for ever, and its HTTP/2 reads nothing while
 * it waits, so that nobody would learn that downstream has left.
 */
export function nativeStream(socket: Socket): NativeStream | null {
  return "encrypted" in socket ? null : (socket as unknown as Handed)._handle;
}

/** Bytes that the system has taken of what was written, under TLS those of its records: more of them, and the peer reads. */
export function bytesTaken(socket: Socket): number {
  const { _handle: handle } = socket as unknown as Handed;
  const { bytesWritten = 0, writeQueueSize = 0 } = handle?._parent ?? handle ?? {};
  return bytesWritten - writeQueueSize;
}

/** Ends a connection with RST. Under TLS it is the accepted socket that can, which Node keeps in a field of the other. */
export function resetSocket(socket: Socket): void {
  const { _parent: accepted } = socket as Socket & { readonly _parent?: Socket | null };
  const plain = "encrypted" in socket ? accepted : socket;
  if (plain?.destroyed === false) plain.resetAndDestroy();
  else socket.destroy();
}

/** Before anything that is still to be read, but not to one who paused. */
function deliver(socket: Socket, early: Buffer, taker: BytesTaker): void {
  if (socket.destroyed) return;
  if (socket.isPaused()) socket.once("resume", () => deliver(socket, early, taker));
  else taker.onBytes(early);
}
