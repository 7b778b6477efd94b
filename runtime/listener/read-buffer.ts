/**
 * Reads of all downstream connections of a thread land in one buffer. Without it Node allocates 64 KiB for
 * every read and cuts it to size afterwards, which costs a tenth of a proxied request.
 *
 * `onread` is public for sockets that connect, but `net.Server` does not pass it on to those it accepts. So an
 * accepted socket hands its handle to a new socket that has it: the one place that touches `_handle`. Where
 * there is no handle to take, the accepted socket is used as it is.
 */
import { Socket } from "node:net";
import type { SocketConstructorOpts } from "node:net";
import { DOWNSTREAM_READ_BYTES } from "../limits.ts";

const readBuffer = Buffer.allocUnsafeSlow(DOWNSTREAM_READ_BYTES);

interface Handed {
  _handle: object | null;
}

/**
 * The socket to use instead of an accepted one that was not read yet (`pauseOnConnect`). `onBytes` gets what
 * comes in; the bytes are its own only until it returns. `limitBytes` is what `write` may buffer before it says stop.
 */
export function readInto(accepted: Socket, limitBytes: number, onBytes: (data: Buffer) => void): Socket {
  const handed = accepted as unknown as Handed;
  const handle = handed._handle;
  if (handle === null || typeof handle !== "object") {
    accepted.on("data", onBytes);
    accepted.resume();
    return accepted;
  }
  handed._handle = null;
  const options = {
    handle,
    allowHalfOpen: true,
    writableHighWaterMark: limitBytes,
    onread: {
      buffer: readBuffer,
      callback: (length: number): boolean => {
        onBytes(readBuffer.subarray(0, length));
        return true;
      },
    },
  };
  // The published type knows only bound sockets as `handle`.
  return new Socket(options as unknown as SocketConstructorOpts);
}
