/**
 * The way of bytes through the filters before the terminal one: `ReadWalk` in order, `WriteWalk` in reverse.
 * A chain without such filters has no walk at all, and its bytes cost nothing here.
 */
import { BodyBuffer } from "../codec/body.ts";
import { copyOf } from "../codec/copies.ts";
import type { NetworkFilter, TerminalFilter } from "../network/filter.ts";
import { NetworkStatus } from "../network/filter.ts";

/** A filter at its place in the chain. */
export interface Place {
  readonly filter: NetworkFilter;
  readonly reads: boolean;
  readonly writes: boolean;
  readonly incoming: Hold;
  readonly outgoing: Hold;
}

/** What waits at one place in one direction. */
export class Hold {
  readonly bytes = new BodyBuffer();
  /** The end of the stream has come this far. */
  ended = false;
  /** The filter did not let go on, neither bytes nor, before any came, the news of the connection. */
  stopped = false;
  /** Bytes came that the filter has not looked at. */
  unseen = false;
  /** The filter is being called. */
  busy = false;
  /** It asked to go on from inside its own callback. */
  resumed = false;
  /** Bytes of it that count against the limit. */
  counted = 0;
}

/** What a walk asks of its connection. */
export interface WalkOwner {
  readonly closed: boolean;
  /** More than the connection's limit waits on the way in, or no longer does. */
  onReadHeld(over: boolean): void;
  /** The same on the way out. */
  onWriteHeld(over: boolean): void;
}

abstract class Walk {
  protected readonly places: readonly Place[];
  protected readonly owner: WalkOwner;
  readonly #limitBytes: number;
  #held = 0;
  #over = false;
  /** Deliveries that came while their receiver was being called; in order. */
  #later: (() => void)[] = [];

  constructor(places: readonly Place[], limitBytes: number, owner: WalkOwner) {
    this.places = places;
    this.#limitBytes = limitBytes;
    this.owner = owner;
  }

  /** More waits here than the connection may hold. */
  get over(): boolean {
    return this.#over;
  }

  /** Sends bytes on from a place, which is -1 or the number of places at the outer end. The bytes may be borrowed. */
  send(from: number, data: Buffer, endStream: boolean): void {
    const at = from + this.step;
    if (this.#later.length > 0) this.#postpone(at, data, endStream);
    else this.#pass(at, data, endStream);
  }

  /** The filter at this place lets go on. */
  resume(at: number): void {
    const hold = this.hold(at);
    if (hold.busy) {
      hold.resumed = true;
      return;
    }
    if (!hold.stopped || this.owner.closed) return;
    hold.stopped = false;
    if (hold.unseen) this.#pass(at, EMPTY, false);
    else this.#release(at, hold);
  }

  protected abstract readonly step: 1 | -1;
  protected abstract hold(at: number): Hold;
  /** The receiver at this place, or at the outer end, must not be called now. */
  protected abstract busy(at: number): boolean;
  /** False: bytes pass this place by. */
  protected abstract looks(at: number): boolean;
  /** Before bytes come to a place or the end: false when they have to wait there. */
  protected abstract enter(at: number): boolean;
  protected abstract call(filter: NetworkFilter, bytes: BodyBuffer, endStream: boolean): number;
  /** Behind the last place. */
  protected abstract leave(data: Buffer, endStream: boolean): void;
  protected abstract tellHeld(over: boolean): void;

  #release(at: number, hold: Hold): void {
    const data = hold.bytes.take();
    this.#recount(hold);
    this.send(at, data, hold.ended);
  }

  #pass(start: number, first: Buffer, end: boolean): void {
    const { places, owner, step } = this;
    let data = first;
    let ended = end;
    let at = start;
    for (; at >= 0 && at < places.length; at += step) {
      if (this.busy(at)) {
        this.#postpone(at, data, ended);
        return;
      }
      const hold = this.hold(at);
      if (ended) hold.ended = true;
      if (!this.enter(at)) {
        this.#keep(hold, data);
        hold.unseen = hold.bytes.length > 0 || hold.ended;
        return;
      }
      if (owner.closed) return;
      hold.unseen = false;
      if (this.looks(at) && (data.length > 0 || hold.bytes.length > 0 || hold.ended)) {
        if (!this.#show(at, hold, data)) return;
        data = hold.bytes.take();
      } else if (hold.stopped || hold.bytes.length > 0) {
        this.#keep(hold, data);
        if (hold.stopped) return;
        data = hold.bytes.take();
      }
      this.#recount(hold);
      ended = hold.ended;
    }
    if (this.busy(at)) this.#postpone(at, data, ended);
    else if (this.enter(at) && !owner.closed && (data.length > 0 || ended)) this.leave(data, ended);
  }

  /** Calls the filter with all that is there for it. False: it stays there. */
  #show(at: number, hold: Hold, data: Buffer): boolean {
    const lent = hold.bytes.length === 0;
    // Bytes lent for this call alone are enough for a filter that lets everything through.
    hold.bytes.append(lent ? data : copyOf(data));
    hold.busy = true;
    hold.resumed = false;
    const status = this.call(this.places[at]!.filter, hold.bytes, hold.ended);
    hold.busy = false;
    if (this.owner.closed) return false;
    hold.stopped = status === NetworkStatus.STOP && !hold.resumed;
    if (!hold.stopped) return true;
    if (lent) hold.bytes.append(copyOf(hold.bytes.take()));
    this.#recount(hold);
    return false;
  }

  #keep(hold: Hold, data: Buffer): void {
    if (data.length > 0) hold.bytes.append(copyOf(data));
    this.#recount(hold);
  }

  #recount(hold: Hold): void {
    const change = hold.bytes.length - hold.counted;
    if (change === 0) return;
    hold.counted += change;
    this.#held += change;
    const over = this.#held >= this.#limitBytes;
    if (over === this.#over) return;
    this.#over = over;
    this.tellHeld(over);
  }

  /** Microtasks run before the next event of any socket, so nothing can overtake what waits for one. */
  #postpone(at: number, data: Buffer, endStream: boolean): void {
    const copy = copyOf(data);
    this.#later.push(() => this.#pass(at, copy, endStream));
    if (this.#later.length === 1) queueMicrotask(() => this.#runLater());
  }

  #runLater(): void {
    for (let run = this.#later[0]; run !== undefined; run = this.#later[0]) {
      if (!this.owner.closed) run();
      this.#later.shift();
    }
  }
}

/** From downstream to the terminal filter; also brings the news of the connection, in the same order. */
export class ReadWalk extends Walk {
  protected readonly step = 1;
  readonly #terminal: TerminalFilter;
  /** Places that know of the connection; the terminal filter is one more. */
  #entered = 0;
  #delivering = false;

  constructor(given: { places: readonly Place[]; limitBytes: number; owner: WalkOwner; terminal: TerminalFilter }) {
    super(given.places, given.limitBytes, given.owner);
    this.#terminal = given.terminal;
  }

  /** The filter at this place knows of the connection; the terminal one stands behind the last place. */
  knows(at: number): boolean {
    return at < this.#entered;
  }

  protected hold(at: number): Hold {
    return this.places[at]!.incoming;
  }

  protected busy(at: number): boolean {
    return at === this.places.length ? this.#delivering : this.hold(at).busy;
  }

  protected looks(at: number): boolean {
    return this.places[at]!.reads;
  }

  protected enter(at: number): boolean {
    if (at < this.#entered) return true;
    this.#entered = at + 1;
    if (at === this.places.length) {
      this.#delivering = true;
      this.#terminal.onNewConnection();
      this.#delivering = false;
      return true;
    }
    const hold = this.hold(at);
    hold.busy = true;
    hold.resumed = false;
    const status = this.places[at]!.filter.onNewConnection();
    hold.busy = false;
    hold.stopped = status === NetworkStatus.STOP && !hold.resumed;
    return !hold.stopped && !this.owner.closed;
  }

  protected call(filter: NetworkFilter, bytes: BodyBuffer, endStream: boolean): number {
    return filter.onData(bytes, endStream);
  }

  protected leave(data: Buffer, endStream: boolean): void {
    this.#delivering = true;
    this.#terminal.onData(data, endStream);
    this.#delivering = false;
  }

  protected tellHeld(over: boolean): void {
    this.owner.onReadHeld(over);
  }
}

/** From the terminal filter to downstream. */
export class WriteWalk extends Walk {
  protected readonly step = -1;
  readonly #out: (data: Buffer, endStream: boolean) => void;

  constructor(given: {
    places: readonly Place[];
    limitBytes: number;
    owner: WalkOwner;
    out: (data: Buffer, endStream: boolean) => void;
  }) {
    super(given.places, given.limitBytes, given.owner);
    this.#out = given.out;
  }

  protected hold(at: number): Hold {
    return this.places[at]!.outgoing;
  }

  protected busy(at: number): boolean {
    return at >= 0 && this.hold(at).busy;
  }

  protected looks(at: number): boolean {
    return this.places[at]!.writes;
  }

  protected enter(): boolean {
    return true;
  }

  protected call(filter: NetworkFilter, bytes: BodyBuffer, endStream: boolean): number {
    return filter.onWrite(bytes, endStream);
  }

  protected leave(data: Buffer, endStream: boolean): void {
    this.#out(data, endStream);
  }

  protected tellHeld(over: boolean): void {
    this.owner.onWriteHeld(over);
  }
}

const EMPTY = Buffer.alloc(0);
