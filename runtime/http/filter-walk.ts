/**
 * The walk of one message (request or response) through the filters of its stream: who has seen what,
 * who paused, what is held for whom. Both directions are the same walk over the same slots, the response
 * from the other end; what differs stands in two small subclasses (`stream-walks.ts`).
 *
 * Position p counts from where the message enters. A message is at most at one paused filter with its
 * headers; body and trailers queue up behind it in that filter's `Hold`.
 */
import { BodyBuffer } from "../codec/body.ts";
import { copyOf } from "../codec/copies.ts";
import type { HeaderMap } from "../codec/headers.ts";
import { DataStatus, HeadersStatus, TrailersStatus } from "./filter.ts";
import type { HttpFilter } from "./filter.ts";

/** What a walk knows of a filter that paused, or holds body, in its direction. */
class Hold {
  /** HeadersStatus that paused the headers here; CONTINUE when they went on. */
  headers: number = HeadersStatus.CONTINUE;
  /** True while a body callback answered "stop". */
  data = false;
  /** True while the trailers callback answered "stop". */
  trailers = false;
  body: BodyBuffer | null = null;
  /** Data was given up here (STOP_NO_BUFFER). */
  dropped = false;
  /** The end of the stream is waiting here, and was not yet seen by this filter's body callback. */
  unseen = false;
  endStream = false;
  /** Trailers arrived and wait for this filter. */
  trailersWaiting = false;
  /** This hold pushed the source back. */
  pushedBack = false;
}

/** What the walk needs of one filter position. */
export interface WalkSlot {
  readonly filter: HttpFilter | null;
  readonly phases: number;
}

export abstract class FilterWalk<Slot extends WalkSlot> {
  protected readonly slots: readonly Slot[];
  protected readonly limitBytes: number;
  /** The map that walks; set with the headers. */
  headers: HeaderMap | null = null;
  trailers: HeaderMap | null = null;
  /** Nothing of this message is delivered any more. */
  closed = false;
  #headersEnd = false;
  /** Positions below this one have passed the headers on. */
  #headersAt = 0;
  #holds: (Hold | null)[] | null = null;
  /** True once the last filter passed the headers to the end of the walk. */
  delivered = false;

  constructor(slots: readonly Slot[], limitBytes: number) {
    this.slots = slots;
    this.limitBytes = limitBytes;
  }

  /** The slot at position `p` of this direction. */
  protected abstract at(p: number): Slot;
  /** Bytes that are pushed are lent: what a filter holds of them is copied. */
  protected abstract readonly lent: boolean;
  protected abstract readonly headersPhase: number;
  protected abstract readonly dataPhase: number;
  protected abstract readonly trailersPhase: number;
  /** Makes sure a filter stands at the slot (requests) or says that none does (responses). */
  protected abstract enter(slot: Slot): HttpFilter | null;
  protected abstract callHeaders(filter: HttpFilter, headers: HeaderMap, endStream: boolean): number;
  protected abstract callData(filter: HttpFilter, body: BodyBuffer, endStream: boolean): number;
  protected abstract callTrailers(filter: HttpFilter, trailers: HeaderMap): number;
  /** The end of the walk: the router, or the downstream session. */
  protected abstract endHeaders(headers: HeaderMap, endStream: boolean): void;
  protected abstract endData(chunk: Buffer, endStream: boolean): void;
  protected abstract endTrailers(trailers: HeaderMap): void;
  /** A filter buffers more than the limit: answers 413/500 or resets. */
  protected abstract overflow(): void;
  /** Stops and starts the source of the message. */
  protected abstract pushBack(): void;
  protected abstract letGo(): void;

  /** Bytes a filter may hold back before the stream is pushed back or given up. */
  get bufferLimit(): number {
    return this.limitBytes;
  }

  /** The message enters the walk. */
  start(headers: HeaderMap, endStream: boolean): void {
    this.headers = headers;
    this.#headersEnd = endStream;
    this.#walkHeaders(0);
  }

  /** A piece of body enters the walk. */
  push(chunk: Buffer, endStream: boolean): void {
    if (this.closed) return;
    this.#walkData(0, chunk, endStream);
  }

  /** The trailers enter the walk and end the message. */
  pushTrailers(trailers: HeaderMap): void {
    if (this.closed) return;
    this.trailers = trailers;
    this.#walkTrailers(0);
  }

  /** What is held for the filter at `p` while it is paused; null when nothing is. */
  heldBody(p: number): BodyBuffer | null {
    return this.#holds?.[p]?.body ?? null;
  }

  /** True once the headers went past position `p`. */
  passed(p: number): boolean {
    return this.#headersAt > p;
  }

  /** True while the filter at `p` holds the message up. */
  paused(p: number): boolean {
    const hold = this.#holds?.[p];
    return hold != null && (hold.headers !== HeadersStatus.CONTINUE || hold.data || hold.trailers);
  }

  /** The filter at `p` lets the message go on. Nothing happens when it did not pause. */
  resume(p: number): void {
    const hold = this.#holds?.[p];
    if (this.closed || hold == null || !this.paused(p)) return;
    this.#release(hold);
    const stopped = hold.headers;
    if (!this.#passHeldHeaders(p, hold)) return;
    if (stopped !== HeadersStatus.CONTINUE && stopped !== HeadersStatus.STOP_ITERATION && hold.unseen) {
      this.#deliverUnseen(p, hold);
      return;
    }
    hold.data = false;
    this.#flushHeld(p, hold);
  }

  // ---- headers --------------------------------------------------------------------------------

  #walkHeaders(from: number): void {
    const headers = this.headers!;
    for (let p = from; p < this.slots.length; p++) {
      this.#headersAt = p;
      const slot = this.at(p);
      const filter = this.enter(slot);
      if (filter === null || (slot.phases & this.headersPhase) === 0) continue;
      const status = this.callHeaders(filter, headers, this.#headersEnd);
      if (this.closed) return;
      if (status !== HeadersStatus.CONTINUE) {
        this.#hold(p).headers = status;
        return;
      }
    }
    this.#headersAt = this.slots.length;
    this.delivered = true;
    this.endHeaders(headers, this.#headersEnd);
  }

  /** Headers that wait at position `p` go on. False when nothing more of the message is delivered after that. */
  #passHeldHeaders(p: number, hold: Hold): boolean {
    if (hold.headers === HeadersStatus.CONTINUE) return true;
    hold.headers = HeadersStatus.CONTINUE;
    this.#fixLength(hold);
    this.#walkHeaders(p + 1);
    return !this.closed;
  }

  // ---- body -----------------------------------------------------------------------------------

  #walkData(from: number, chunk: Buffer, endStream: boolean): void {
    let data = chunk;
    for (let p = from; p < this.slots.length; p++) {
      const slot = this.at(p);
      const hold = this.#holds === null ? null : (this.#holds[p] ?? null);
      if (hold !== null && this.#keepsAll(slot, hold)) {
        this.#keep(hold, data, endStream);
        return;
      }
      if (slot.filter === null || (slot.phases & this.dataPhase) === 0) continue;
      const passed = this.#offer(p, slot.filter, data, endStream);
      if (passed === null) return;
      data = passed;
      if (endStream && this.trailers !== null) {
        // This filter added trailers where there were none: they end the message instead of the body.
        this.#walkData(p + 1, data, false);
        if (!this.closed) this.#walkTrailers(p + 1);
        return;
      }
    }
    this.endData(data, endStream);
  }

  /** Whether data must wait at this position without being shown to its filter. */
  #keepsAll(slot: Slot, hold: Hold): boolean {
    if (hold.headers === HeadersStatus.CONTINUE) return false;
    return hold.headers !== HeadersStatus.STOP_ITERATION || (slot.phases & this.dataPhase) === 0;
  }

  /** Shows data to a filter; returns what goes on, or null when it stopped here. */
  #offer(p: number, filter: HttpFilter, data: Buffer, endStream: boolean): Buffer | null {
    const hold = this.#holds === null ? null : (this.#holds[p] ?? null);
    const body = hold?.body ?? new BodyBuffer();
    if (this.lent) body.lend(data);
    else body.append(data);
    if (hold !== null) hold.body = body;
    const status = this.callData(filter, body, endStream);
    if (status !== DataStatus.CONTINUE || this.closed) body.own();
    if (this.closed) return null;
    if (status === DataStatus.CONTINUE) return this.#goOn(p, this.#holds?.[p] ?? null, body);
    const kept = this.#hold(p);
    kept.data = true;
    kept.endStream = endStream;
    if (status === DataStatus.STOP_NO_BUFFER) {
      kept.dropped = true;
      body.take();
      kept.body = null;
      return null;
    }
    kept.body = body;
    this.#bound(kept, status === DataStatus.STOP_AND_WATERMARK);
    return null;
  }

  /** The filter let its data go on: headers that waited for it go first. */
  #goOn(p: number, hold: Hold | null, body: BodyBuffer): Buffer | null {
    if (hold === null) return body.take();
    hold.data = false;
    this.#release(hold);
    if (!this.#passHeldHeaders(p, hold)) return null;
    hold.body = null;
    return body.take();
  }

  #keep(hold: Hold, data: Buffer, endStream: boolean): void {
    hold.body ??= new BodyBuffer();
    hold.body.append(this.lent ? copyOf(data) : data);
    hold.unseen = true;
    hold.endStream = endStream;
    this.#bound(hold, hold.headers !== HeadersStatus.STOP_ALL_AND_BUFFER);
  }

  /** Keeps a hold inside the limit: pushes the source back, or gives the stream up. */
  #bound(hold: Hold, watermark: boolean): void {
    if (hold.body === null || hold.body.length <= this.limitBytes) return;
    if (!watermark) {
      this.overflow();
    } else if (!hold.pushedBack) {
      hold.pushedBack = true;
      this.pushBack();
    }
  }

  #release(hold: Hold): void {
    if (!hold.pushedBack) return;
    hold.pushedBack = false;
    this.letGo();
  }

  // ---- trailers -------------------------------------------------------------------------------

  #walkTrailers(from: number): void {
    const trailers = this.trailers!;
    for (let p = from; p < this.slots.length; p++) {
      const slot = this.at(p);
      const hold = this.#holds === null ? null : (this.#holds[p] ?? null);
      if (hold !== null && this.#keepsAll(slot, hold)) {
        hold.trailersWaiting = true;
        return;
      }
      if (slot.filter !== null && (slot.phases & this.trailersPhase) !== 0) {
        const status = this.callTrailers(slot.filter, trailers);
        if (this.closed) return;
        if (status !== TrailersStatus.CONTINUE) {
          this.#hold(p).trailers = true;
          return;
        }
      } else if (hold !== null && hold.data) {
        // It holds body back and has no trailers callback that could let it go: only resume() can.
        hold.trailersWaiting = true;
        return;
      }
      if (hold !== null && !this.#releaseBefore(p, hold)) return;
    }
    this.endTrailers(trailers);
  }

  /** Trailers pass position `p`: headers and body that still wait there go ahead of them. */
  #releaseBefore(p: number, hold: Hold): boolean {
    this.#release(hold);
    if (!this.#passHeldHeaders(p, hold)) return false;
    hold.data = false;
    if (hold.body !== null) {
      const data = hold.body.take();
      hold.body = null;
      if (data.length > 0) this.#walkData(p + 1, data, false);
    }
    return !this.closed;
  }

  // ---- going on after a pause -----------------------------------------------------------------

  /** After a stop-all pause this filter sees what came meanwhile, as one piece, then the trailers. */
  #deliverUnseen(p: number, hold: Hold): void {
    hold.unseen = false;
    const data = hold.body?.take() ?? EMPTY;
    hold.body = null;
    const endStream = hold.endStream;
    hold.endStream = false;
    const waiting = hold.trailersWaiting;
    hold.trailersWaiting = false;
    this.#walkData(p, data, endStream);
    if (waiting && !this.closed) this.#walkTrailers(p);
  }

  /** Sends on what this filter held; it has seen all of it. */
  #flushHeld(p: number, hold: Hold): void {
    const data = hold.body?.take() ?? EMPTY;
    hold.body = null;
    const endStream = hold.endStream;
    hold.endStream = false;
    const seenTrailers = hold.trailers;
    hold.trailers = false;
    const waiting = hold.trailersWaiting;
    hold.trailersWaiting = false;
    // The end goes on even where its data was given up.
    if (data.length > 0 || endStream) this.#walkData(p + 1, data, endStream && this.trailers === null);
    if (this.closed) return;
    if (seenTrailers) this.#walkTrailers(p + 1);
    else if (waiting) this.#walkTrailers(p);
    else if (endStream && this.trailers !== null) this.#walkTrailers(p + 1);
  }

  /** A filter that held headers back may have changed the body: what it holds is then the whole truth. */
  #fixLength(hold: Hold): void {
    if (this.headers === null || !(hold.dropped || hold.body?.edited === true)) return;
    if (hold.endStream) this.headers.set("content-length", String(hold.body?.length ?? 0));
    else this.headers.remove("content-length");
  }

  #hold(p: number): Hold {
    this.#holds ??= [];
    return (this.#holds[p] ??= new Hold());
  }
}

const EMPTY = Buffer.alloc(0);
