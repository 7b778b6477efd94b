/**
 * One downstream connection: the socket, its network filters in order, and the terminal filter at their
 * end. Bytes come in through `#onData`, walk the filters, and leave through `write` in reverse order.
 */
import type { Socket } from "node:net";
import type {
  ConnectionView,
  FilterView,
  NativeStream,
  NetworkFilter,
  NetworkFilterFactory,
  TerminalFilter,
} from "../network/filter.ts";
import type { BodyBuffer } from "../codec/body.ts";
import { copyOf } from "../codec/copies.ts";
import { type ConnectionInfo, StreamInfo } from "../observe/stream-info.ts";
import { Alarm, beginEvent, endEvent } from "../timers.ts";
import { takesDirectWrites, writeDirect } from "../upstream/direct-write.ts";
import { Hold, type Place, ReadWalk, type WalkOwner, WriteWalk } from "./chain-walk.ts";
import { type BytesTaker, bytesTaken, nativeStream, readInto, resetSocket } from "./read-buffer.ts";
import type { ServedChain } from "./served-chains.ts";

/** What a connection tells the listener that accepted it. */
export interface ConnectionOwner {
  onConnectionClosed(connection: DownstreamConnection): void;
}

/** Where a connection belongs. */
export interface Service {
  readonly owner: ConnectionOwner;
  readonly chain: ServedChain;
  /** Monotonic milliseconds: when its socket had passed the listener filters. */
  readonly startMs: number;
}

/** Where a socket keeps its connection: its listeners are the same functions for all, and none is made for each. */
const CONNECTION = Symbol("connection");
interface OwnedSocket extends Socket {
  [CONNECTION]?: DownstreamConnection;
}

export class DownstreamConnection implements ConnectionView, WalkOwner, BytesTaker {
  readonly info: ConnectionInfo;
  /** Another one when a configuration puts one in its place; the filters stay. */
  chain: ServedChain;
  readonly #socket: OwnedSocket;
  readonly #owner: ConnectionOwner;
  readonly #limitBytes: number;
  /** See {@link Service}. */
  readonly startMs: number;
  #terminal: TerminalFilter | null = null;
  /** Every filter but the terminal one; usually none, and then bytes go straight to the terminal filter. */
  #places: readonly FilterPlace[] = NONE;
  #reads: ReadWalk | null = null;
  #writes: WriteWalk | null = null;
  #stream: StreamInfo | null = null;
  #pauses = 0;
  #blocked = false;
  #localClose = false;
  resetByPeer = false;
  #remoteEnded = false;
  /** The last of the two ends that met was ours. */
  #endedHere = false;
  readonly #direct: boolean;
  /** Bytes that the socket did not count since the system took them at once. */
  #directBytes = 0;
  #closeAlarm: Alarm | null = null;

  /** `accepted` was not read from yet (`pauseOnConnect`). */
  constructor(accepted: Socket, info: ConnectionInfo, limitBytes: number, { owner, chain, startMs }: Service) {
    this.info = info;
    this.chain = chain;
    this.startMs = startMs;
    this.#limitBytes = limitBytes;
    this.#socket = readInto(accepted, limitBytes, this);
    this.#owner = owner;
    this.#direct = takesDirectWrites(this.#socket);
  }

  get stream(): StreamInfo {
    if (this.#stream === null) {
      this.#stream = new StreamInfo(this.info, this.info.startTimeMs, this.startMs);
      this.info.stream = this.#stream;
      this.#stream.filterState = this.info.filterState ??= new Map();
      this.#stream.protocol = "";
      this.#stream.recordType = "NotSet";
      if (this.info.metadata !== null) this.#stream.dynamicMetadata = new Map(this.info.metadata);
      if (this.#socket.destroyed) this.#complete(this.#stream);
    }
    this.#count(this.#stream);
    return this.#stream;
  }

  get closed(): boolean {
    return this.#localClose || this.#socket.destroyed;
  }

  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  /** Builds the filters and starts reading. Without a terminal filter the connection ends at once. */
  start(): void {
    const socket = this.#socket;
    const places: FilterPlace[] = [];
    for (const factory of this.chain.factories) {
      if (factory.terminal) this.#terminal = factory.create(this);
      else places.push(new FilterPlace(this, places.length, factory));
    }
    socket[CONNECTION] = this;
    socket.on("end", DownstreamConnection.#ended);
    socket.on("drain", DownstreamConnection.#drained);
    socket.on("error", DownstreamConnection.#broken);
    socket.on("close", DownstreamConnection.#closed);
    const terminal = this.#terminal;
    if (terminal === null) this.closeNow();
    else if (places.length === 0) terminal.onNewConnection();
    else {
      this.#places = places;
      const shared = { places, limitBytes: this.#limitBytes, owner: this };
      this.#writes = new WriteWalk({ ...shared, out: (data, endStream) => this.#send(data, endStream) });
      this.#reads = new ReadWalk({ ...shared, terminal });
      this.#reads.send(-1, EMPTY, false);
    }
  }

  write(data: Buffer | string): boolean {
    if (this.#localClose) return false;
    if (this.#writes !== null) return this.sendFrom(this.#places.length, data, false);
    const socket = this.#socket;
    return this.#noteRoom(typeof data === "string" ? socket.write(data, "latin1") : socket.write(data));
  }

  writeLent(data: Buffer): boolean {
    if (this.#localClose) return false;
    if (this.#writes !== null) return this.sendFrom(this.#places.length, data, false);
    return this.#noteRoom(this.#writeNow(data));
  }

  takeStream(): NativeStream | null {
    return this.#reads === null ? nativeStream(this.#socket) : null;
  }

  endWrite(): void {
    if (this.#writes !== null) this.sendFrom(this.#places.length, EMPTY, true);
    else this.#send(EMPTY, true);
  }

  pauseReading(): void {
    if (this.#pauses++ === 0) this.#socket.pause();
  }

  resumeReading(): void {
    if (this.#pauses > 0 && --this.#pauses === 0) this.#socket.resume();
  }

  close(delayedMs: number, reason = ""): void {
    if (!this.#beginClose(reason)) return;
    const socket = this.#socket;
    socket.end();
    // What still comes in is read and dropped, so that the peer sees our answer and not a reset (RFC 9112 9.6).
    this.#pauses = 0;
    socket.resume();
    if (delayedMs > 0) this.#awaitPeer(delayedMs);
    else socket.destroySoon();
  }

  /** The peer has this long to close its side, and as long again while it takes what was written. */
  #awaitPeer(ms: number): void {
    const socket = this.#socket;
    const taken = bytesTaken(socket);
    const look = (): void => {
      if (bytesTaken(socket) > taken) this.#awaitPeer(ms);
      else socket.destroy();
    };
    // After the sockets have had their turn: it may be this thread that did nothing all the time.
    this.#closeAlarm = new Alarm(() => setImmediate(look));
    this.#closeAlarm.arm(ms);
  }

  closeNow(reason = ""): void {
    this.#beginClose(reason);
    this.#socket.destroy();
  }

  reset(reason = ""): void {
    this.#beginClose(reason);
    resetSocket(this.#socket);
  }

  /** Tells the terminal filter to finish and close. */
  drain(): void {
    this.#terminal?.onDraining();
  }

  /** Ends at once, whatever is under way. */
  destroy(): void {
    this.closeNow();
  }

  // ---- for the filters before the terminal one --------------------------------------------------

  /** Sends bytes outwards from a place of the chain. False: stop until `onWritable`. */
  sendFrom(at: number, data: Buffer | string, endStream: boolean): boolean {
    if (this.closed) return false;
    const writes = this.#writes!;
    writes.send(at, typeof data === "string" ? Buffer.from(data, "latin1") : data, endStream);
    return this.#noteRoom(!this.#blocked && !writes.over);
  }

  injectFrom(at: number, data: Buffer, endStream: boolean): void {
    if (!this.closed) this.#reads!.send(at, data, endStream);
  }

  resumeReadsAt(at: number): void {
    this.#reads!.resume(at);
  }

  resumeWritesAt(at: number): void {
    this.#writes!.resume(at);
  }

  onReadHeld(over: boolean): void {
    if (over) this.pauseReading();
    else this.resumeReading();
  }

  onWriteHeld(over: boolean): void {
    if (!over && this.#blocked && !this.#socket.writableNeedDrain) this.#unblock();
  }

  // ---- the socket -------------------------------------------------------------------------------

  static #ended(this: OwnedSocket): void {
    const connection = this[CONNECTION]!;
    connection.#remoteEnded = true;
    connection.#onData(EMPTY, true);
  }

  static #drained(this: OwnedSocket): void {
    const connection = this[CONNECTION]!;
    if (connection.#blocked && connection.#writes?.over !== true) connection.#unblock();
  }

  /** An error is always followed by close, which is where the connection ends for everyone. */
  static #broken(this: OwnedSocket, error: NodeJS.ErrnoException): void {
    this[CONNECTION]!.resetByPeer ||= error.code === "ECONNRESET" || error.code === "EPIPE";
  }

  static #closed(this: OwnedSocket): void {
    this[CONNECTION]!.#onClose();
  }

  onBytes(data: Buffer): void {
    this.#onData(data, false);
  }

  #onData(data: Buffer, endStream: boolean): void {
    if (this.#localClose) return;
    beginEvent();
    if (this.#reads === null) this.#terminal?.onData(data, endStream);
    else this.#reads.send(-1, data, endStream);
    endEvent();
  }

  #unblock(): void {
    this.#blocked = false;
    for (const [at, { filter }] of this.#places.entries()) if (this.#knows(at)) filter.onWritable?.();
    if (this.#knows(this.#places.length)) this.#terminal?.onWritable();
  }

  #onClose(): void {
    this.#closeAlarm?.disarm();
    if (this.#stream !== null) this.#complete(this.#stream);
    const local = this.#localClose || this.#endedHere;
    for (const [at, { filter }] of this.#places.entries()) if (this.#knows(at)) filter.onClose(local);
    if (this.#knows(this.#places.length)) this.#terminal?.onClose(local);
    if (this.info.closers !== undefined) for (const close of this.info.closers) close();
    this.#owner.onConnectionClosed(this);
  }

  /** Without other filters the terminal one hears of the connection at once. */
  #knows(at: number): boolean {
    return this.#reads === null || this.#reads.knows(at);
  }

  #complete(stream: StreamInfo): void {
    stream.completeMs = performance.now();
    this.#count(stream);
  }

  #count(stream: StreamInfo): void {
    const socket = this.#socket;
    stream.bytesReceived = socket.bytesRead;
    stream.bytesSent = this.#directBytes + socket.bytesWritten - socket.writableLength;
  }

  /** The first reason counts. False: the connection was closing already. */
  #beginClose(reason: string): boolean {
    if (this.#localClose) return false;
    this.#localClose = true;
    if (reason !== "") this.stream.localCloseReason = reason;
    return true;
  }

  #send(data: Buffer, endStream: boolean): void {
    // A filter may inject something behind the end, which has no place any more.
    if (this.#socket.writableEnded) return;
    if (data.length > 0 && !this.#writeNow(data)) this.#blocked = true;
    if (!endStream) return;
    this.#endedHere = this.#remoteEnded;
    this.#socket.end();
  }

  /** What the system does not take at once is copied: the bytes may lie in the thread's read buffer. */
  #writeNow(data: Buffer): boolean {
    const socket = this.#socket;
    const taken = this.#direct ? writeDirect(socket, data) : 0;
    this.#directBytes += taken;
    return taken === data.length || socket.write(copyOf(taken === 0 ? data : data.subarray(taken)));
  }

  /** The socket's own word on its buffer: `drain` follows exactly when it said no. */
  #noteRoom(room: boolean): boolean {
    if (!room) this.#blocked = true;
    return room;
  }
}

/** A filter before the terminal one at its place: what it holds, and the connection as it sees it. */
class FilterPlace implements Place, FilterView {
  readonly filter: NetworkFilter;
  readonly reads: boolean;
  readonly writes: boolean;
  readonly incoming = new Hold();
  readonly outgoing = new Hold();
  readonly #connection: DownstreamConnection;
  readonly #at: number;

  constructor(
    connection: DownstreamConnection,
    at: number,
    factory: Extract<NetworkFilterFactory, { terminal: false }>,
  ) {
    this.#connection = connection;
    this.#at = at;
    this.reads = factory.reads;
    this.writes = factory.writes;
    this.filter = factory.create(this);
  }

  get info(): ConnectionInfo {
    return this.#connection.info;
  }
  get stream(): StreamInfo {
    return this.#connection.stream;
  }
  get closed(): boolean {
    return this.#connection.closed;
  }
  get unsentBytes(): number {
    return this.#connection.unsentBytes;
  }
  get heldData(): BodyBuffer {
    return this.incoming.bytes;
  }
  get heldWrite(): BodyBuffer {
    return this.outgoing.bytes;
  }

  get resetByPeer(): boolean {
    return this.#connection.resetByPeer;
  }

  write(data: Buffer | string): boolean {
    return this.#connection.sendFrom(this.#at, data, false);
  }
  writeLent(data: Buffer): boolean {
    return this.#connection.sendFrom(this.#at, data, false);
  }
  endWrite(): void {
    this.#connection.sendFrom(this.#at, EMPTY, true);
  }
  pauseReading(): void {
    this.#connection.pauseReading();
  }
  resumeReading(): void {
    this.#connection.resumeReading();
  }
  close(delayedMs: number, reason?: string): void {
    this.#connection.close(delayedMs, reason);
  }
  closeNow(reason?: string): void {
    this.#connection.closeNow(reason);
  }
  reset(reason?: string): void {
    this.#connection.reset(reason);
  }
  continueReading(): void {
    this.#connection.resumeReadsAt(this.#at);
  }
  continueWriting(): void {
    this.#connection.resumeWritesAt(this.#at);
  }
  injectReadData(data: Buffer, endStream: boolean): void {
    this.#connection.injectFrom(this.#at, data, endStream);
  }
  injectWriteData(data: Buffer, endStream: boolean): boolean {
    return this.#connection.sendFrom(this.#at, data, endStream);
  }
}

const EMPTY = Buffer.alloc(0);
const NONE: readonly FilterPlace[] = [];
