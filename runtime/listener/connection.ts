/**
 * One downstream connection: the socket, its network filters in order, and the terminal filter at their
 * end. Bytes come in through `#onData`, walk the filters, and leave through `write` in reverse order.
 */
import type { Socket } from "node:net";
import type { ConnectionView, NetworkFilter, NetworkFilterFactory } from "../network/filter.ts";
import { NetworkStatus } from "../network/filter.ts";
import type { ConnectionInfo } from "../observe/stream-info.ts";
import { readInto } from "./read-buffer.ts";
import { beginEvent, endEvent } from "../timers.ts";

/** What a connection tells the listener that accepted it. */
export interface ConnectionOwner {
  onConnectionClosed(connection: DownstreamConnection): void;
}

export class DownstreamConnection implements ConnectionView {
  readonly info: ConnectionInfo;
  readonly #socket: Socket;
  readonly #owner: ConnectionOwner;
  /** Every filter but the terminal one; usually none, and then bytes go straight to the terminal filter. */
  readonly #filters: NetworkFilter[] = [];
  #terminal: NetworkFilter | null = null;
  #pauses = 0;
  #blocked = false;
  #localClose = false;
  #closeTimer: NodeJS.Timeout | null = null;

  /** `accepted` was not read from yet (`pauseOnConnect`). */
  constructor(accepted: Socket, info: ConnectionInfo, limitBytes: number, owner: ConnectionOwner) {
    this.info = info;
    this.#socket = readInto(accepted, limitBytes, (data) => this.#onData(data, false));
    this.#owner = owner;
  }

  /** Builds the filters and starts reading. */
  start(chain: readonly NetworkFilterFactory[]): void {
    const socket = this.#socket;
    for (const factory of chain) {
      const filter = factory.create(this);
      if (factory.terminal) this.#terminal = filter;
      else this.#filters.push(filter);
    }
    socket.on("end", () => this.#onEnd());
    socket.on("drain", () => this.#onDrain());
    // An error is always followed by close, which is where the connection ends for everyone.
    socket.on("error", noop);
    socket.on("close", () => this.#onClose());
    for (const filter of this.#filters) {
      if (filter.onNewConnection() === NetworkStatus.STOP) return;
    }
    this.#terminal?.onNewConnection();
  }

  write(data: Buffer | string): boolean {
    const socket = this.#socket;
    if (this.#filters.length !== 0) return this.#writeThroughFilters(data);
    return this.#noteRoom(typeof data === "string" ? socket.write(data, "latin1") : socket.write(data));
  }

  pauseReading(): void {
    if (this.#pauses++ === 0) this.#socket.pause();
  }

  resumeReading(): void {
    if (this.#pauses > 0 && --this.#pauses === 0) this.#socket.resume();
  }

  close(delayedMs: number): void {
    if (this.#localClose) return;
    this.#localClose = true;
    const socket = this.#socket;
    socket.end();
    // What still comes in is read and dropped, so that the peer sees our answer and not a reset (RFC 9112 9.6).
    this.#pauses = 0;
    socket.resume();
    if (delayedMs > 0) {
      this.#closeTimer = setTimeout(() => socket.destroy(), delayedMs);
      this.#closeTimer.unref();
    } else {
      socket.destroySoon();
    }
  }

  reset(): void {
    this.#localClose = true;
    this.#socket.resetAndDestroy();
  }

  /** Tells the terminal filter to finish and close. */
  drain(): void {
    this.#terminal?.onDraining();
  }

  /** Ends at once, whatever is under way. */
  destroy(): void {
    this.#localClose = true;
    this.#socket.destroy();
  }

  #onData(data: Buffer, endStream: boolean): void {
    if (this.#localClose) return;
    beginEvent();
    this.#passData(data, endStream);
    endEvent();
  }

  #passData(data: Buffer, endStream: boolean): void {
    for (const filter of this.#filters) {
      if (filter.onData(data, endStream) === NetworkStatus.STOP) return;
    }
    this.#terminal?.onData(data, endStream);
  }

  #onEnd(): void {
    this.#onData(EMPTY, true);
  }

  #onDrain(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#terminal?.onWritable();
  }

  #onClose(): void {
    if (this.#closeTimer !== null) clearTimeout(this.#closeTimer);
    for (const filter of this.#filters) filter.onClose(this.#localClose);
    this.#terminal?.onClose(this.#localClose);
    if (this.info.closers !== undefined) for (const close of this.info.closers) close();
    this.#owner.onConnectionClosed(this);
  }

  #writeThroughFilters(data: Buffer | string): boolean {
    const bytes = typeof data === "string" ? Buffer.from(data, "latin1") : data;
    for (let at = this.#filters.length - 1; at >= 0; at--) {
      if (this.#filters[at]!.onWrite(bytes, false) === NetworkStatus.STOP) return !this.#blocked;
    }
    return this.#noteRoom(this.#socket.write(bytes));
  }

  /** The socket's own word on its buffer: `drain` follows exactly when it said no. */
  #noteRoom(room: boolean): boolean {
    if (!room) this.#blocked = true;
    return room;
  }
}

const EMPTY = Buffer.alloc(0);
function noop(): void {}
