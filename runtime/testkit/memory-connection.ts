/** A connection with one network filter, without a socket: bytes take the real way through the chain, and are recorded. */
import type { BodyBuffer } from "../codec/body.ts";
import { Hold, ReadWalk, WriteWalk } from "../listener/chain-walk.ts";
import type { Place, WalkOwner } from "../listener/chain-walk.ts";
import type { FilterView, NetworkFilter, PassingFilterFactory } from "../network/filter.ts";
import { StreamInfo } from "../observe/stream-info.ts";
import type { ConnectionInfo } from "../observe/stream-info.ts";

export class MemoryConnection implements FilterView, Place, WalkOwner {
  readonly info: ConnectionInfo;
  readonly stream: StreamInfo;
  readonly filter: NetworkFilter;
  readonly reads: boolean;
  readonly writes: boolean;
  readonly incoming = new Hold();
  readonly outgoing = new Hold();
  readonly unsentBytes = 0;
  readonly resetByPeer = false;
  closed = false;
  /** What the terminal filter and the peer got, one character per byte. */
  upstream = "";
  downstream = "";
  /** The terminal filter knows of the connection. */
  known = false;
  readonly events: string[] = [];
  readonly #readWalk: ReadWalk;
  readonly #writeWalk: WriteWalk;

  constructor(factory: PassingFilterFactory, info: ConnectionInfo) {
    this.info = info;
    this.stream = new StreamInfo(this.info, this.info.startTimeMs, performance.now());
    this.stream.protocol = "";
    this.stream.filterState = this.info.filterState ??= new Map();
    this.reads = factory.reads;
    this.writes = factory.writes;
    this.filter = factory.create(this);
    const shared = { places: [this], limitBytes: 1024 * 1024, owner: this };
    this.#writeWalk = new WriteWalk({ ...shared, out: (data, endStream) => this.#out(data, endStream) });
    this.#readWalk = new ReadWalk({
      ...shared,
      terminal: {
        onNewConnection: () => void (this.known = true),
        onData: (data, endStream) => {
          this.upstream += data.toString("latin1");
          if (endStream) this.events.push("end upstream");
        },
        onWritable: () => {},
        onDraining: () => {},
        onClose: () => {},
      },
    });
  }

  // ---- what peers do --------------------------------------------------------------------------

  open(): this {
    this.#readWalk.send(-1, EMPTY, false);
    return this;
  }
  /** Bytes from downstream; a text has one character per byte. */
  data(data: string | Uint8Array, endStream = false): this {
    if (!this.closed) this.#readWalk.send(-1, bytesOf(data), endStream);
    return this;
  }
  /** Bytes from upstream. */
  answer(data: string | Uint8Array, endStream = false): this {
    if (!this.closed) this.#writeWalk.send(1, bytesOf(data), endStream);
    return this;
  }
  /** The socket is gone. */
  finish(local = this.closed): void {
    this.closed = true;
    this.filter.onClose(local);
    for (const close of this.info.closers ?? []) close();
  }

  // ---- what filters see -----------------------------------------------------------------------

  get heldData(): BodyBuffer {
    return this.incoming.bytes;
  }
  get heldWrite(): BodyBuffer {
    return this.outgoing.bytes;
  }
  writeLent(data: Buffer): boolean {
    return this.write(data);
  }
  write(data: Buffer | string): boolean {
    this.#out(typeof data === "string" ? Buffer.from(data, "latin1") : data, false);
    return true;
  }
  endWrite(): void {
    this.#out(EMPTY, true);
  }
  pauseReading(): void {
    this.events.push("pause");
  }
  resumeReading(): void {
    this.events.push("resume");
  }
  close(delayedMs: number, reason = ""): void {
    if (!this.closed) this.events.push(`close ${delayedMs} ${reason}`);
    this.closed = true;
  }
  closeNow(reason = ""): void {
    if (!this.closed) this.events.push(`close now ${reason}`);
    this.closed = true;
  }
  reset(reason = ""): void {
    if (!this.closed) this.events.push(`reset ${reason}`);
    this.closed = true;
  }
  continueReading(): void {
    this.#readWalk.resume(0);
  }
  continueWriting(): void {
    this.#writeWalk.resume(0);
  }
  injectReadData(data: Buffer, endStream: boolean): void {
    this.#readWalk.send(0, data, endStream);
  }
  injectWriteData(data: Buffer, endStream: boolean): boolean {
    this.#writeWalk.send(0, data, endStream);
    return true;
  }

  onReadHeld(over: boolean): void {
    this.events.push(over ? "held back" : "let go");
  }
  onWriteHeld(over: boolean): void {
    this.events.push(over ? "held back out" : "let go out");
  }

  #out(data: Buffer, endStream: boolean): void {
    this.downstream += data.toString("latin1");
    if (endStream) this.events.push("end downstream");
  }
}

function bytesOf(data: string | Uint8Array): Buffer {
  return typeof data === "string" ? Buffer.from(data, "latin1") : Buffer.from(data);
}

const EMPTY = Buffer.alloc(0);
