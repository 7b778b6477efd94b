/**
 * One direction of a stream as a shadow is shown it: the walk of http/filter-walk.ts past one filter, without anybody
 * behind it. What the filter holds, and what waits for it, is bounded; with more than that it is shown nothing any more.
 */
import { BodyBuffer } from "../../codec/body.ts";
import type { HeaderMap } from "../../codec/headers.ts";
import { DataStatus, HeadersStatus, TrailersStatus } from "../../http/filter.ts";
import { SHADOW_BODY_BYTES } from "../../limits.ts";
import type { Passage } from "./passage.ts";

/** The filter's callbacks of one direction. */
export interface Callbacks {
  /** It has a body callback, but is not shown bodies. */
  readonly blind: boolean;
  readonly seesBody: boolean;
  readonly seesTrailers: boolean;
  onHeaders(headers: HeaderMap, endStream: boolean): number;
  onData(body: BodyBuffer, endStream: boolean): number;
  onTrailers(trailers: HeaderMap): number;
}

export class ShadowCourse {
  head: HeaderMap | null = null;
  trailers: HeaderMap | null = null;
  /** Nothing is shown any more: it has decided, or seen too much. */
  stopped = false;
  readonly #passage: Passage;
  #callbacks: Callbacks | null = null;
  #headStop: number = HeadersStatus.CONTINUE;
  /** Body that the filter has seen and not let go. */
  #held: BodyBuffer | null = null;
  #holdsData = false;
  /** Body that it is to be shown when its head goes on. */
  #unseen: BodyBuffer | null = null;
  /** The end came with the head or the body. */
  #ended = false;
  #holdsTrailers = false;
  #trailersWait = false;

  constructor(passage: Passage) {
    this.#passage = passage;
  }

  /** Body that is there for the filter to read and change while it waits. */
  get body(): BodyBuffer | null {
    return this.#held ?? this.#unseen;
  }

  begin(callbacks: Callbacks): void {
    this.#callbacks = callbacks;
  }

  /** Shows `head`. */
  showHead(endStream: boolean): void {
    if (this.stopped || this.head === null) return;
    this.#passage.begun = true;
    this.#ended = endStream;
    const status = this.#callbacks!.onHeaders(this.head, endStream);
    if (this.stopped) return;
    if (status === HeadersStatus.CONTINUE) this.#passHead();
    else this.#headStop = status;
    const { blind, seesBody } = this.#callbacks!;
    if (blind && seesBody && !endStream) this.stopped = true;
  }

  /** `data` is lent. */
  showData(data: Uint8Array, endStream: boolean): void {
    if (this.stopped) return;
    this.#ended ||= endStream;
    if (!this.#waitsForHead) {
      this.#offer(Buffer.from(data));
      return;
    }
    this.#unseen ??= new BodyBuffer();
    this.#unseen.append(Buffer.from(data));
    this.#bound(this.#unseen);
  }

  showTrailers(trailers: HeaderMap): void {
    if (this.stopped) return;
    this.trailers = trailers.clone();
    if (this.#waitsForHead) this.#trailersWait = true;
    else this.#offerTrailers();
  }

  /** The filter lets go on what it held. Nothing happens when it did not. */
  goOn(): void {
    if (this.stopped || (this.#headStop === HeadersStatus.CONTINUE && !this.#holdsData && !this.#holdsTrailers)) return;
    const unseen = this.#unseen;
    const wholeStop = this.#headStop !== HeadersStatus.CONTINUE && this.#headStop !== HeadersStatus.STOP_ITERATION;
    this.#headStop = HeadersStatus.CONTINUE;
    this.#unseen = null;
    this.#holdsData = false;
    const held = this.#held;
    this.#held = null;
    this.#passage.passHead(this.head);
    if (unseen !== null && wholeStop) this.#offer(unseen.take());
    else {
      for (const body of [held, unseen]) if (body !== null) this.#passage.passBody(body.bytes());
      if (this.#ended) this.#passage.passEnd(this.trailers);
    }
    if (this.stopped) return;
    if (this.#holdsTrailers) this.#passage.passEnd(this.trailers);
    else if (this.#trailersWait) {
      this.#trailersWait = false;
      this.#offerTrailers();
    }
  }

  /** The filter sees nothing of this direction; it goes past it. */
  pass(headers: HeaderMap, endStream: boolean): void {
    this.#passage.passHead(headers);
    if (endStream) this.#passage.passEnd(null);
  }
  passData(data: Uint8Array, endStream: boolean): void {
    this.#passage.passBody(data);
    if (endStream) this.#passage.passEnd(null);
  }
  passTrailers(trailers: HeaderMap): void {
    this.#passage.passEnd(trailers);
  }

  get #waitsForHead(): boolean {
    if (this.#headStop === HeadersStatus.CONTINUE) return false;
    return this.#headStop !== HeadersStatus.STOP_ITERATION || !this.#callbacks!.seesBody;
  }

  #passHead(): void {
    this.#headStop = HeadersStatus.CONTINUE;
    this.#passage.passHead(this.head);
    if (this.#ended) this.#passage.passEnd(null);
  }

  #offer(data: Buffer): void {
    const body = (this.#held ??= new BodyBuffer());
    body.append(data);
    const status = this.#callbacks!.onData(body, this.#ended);
    if (this.stopped) return;
    if (status === DataStatus.CONTINUE) {
      this.#holdsData = false;
      this.#held = null;
      this.#headStop = HeadersStatus.CONTINUE;
      this.#passage.passHead(this.head);
      this.#passage.passBody(body.bytes());
      if (this.#ended) this.#passage.passEnd(this.trailers);
      return;
    }
    this.#holdsData = true;
    if (status === DataStatus.STOP_NO_BUFFER) this.#held = null;
    else this.#bound(body);
  }

  #offerTrailers(): void {
    const { seesTrailers } = this.#callbacks!;
    if (!seesTrailers && this.#holdsData) {
      this.#trailersWait = true;
      return;
    }
    if (seesTrailers && this.#callbacks!.onTrailers(this.trailers!) !== TrailersStatus.CONTINUE) {
      this.#holdsTrailers = true;
      return;
    }
    if (this.stopped) return;
    this.#passage.passHead(this.head);
    if (this.#held !== null) this.#passage.passBody(this.#held.bytes());
    this.#held = null;
    this.#passage.passEnd(this.trailers);
  }

  #bound(body: BodyBuffer): void {
    if (body.length <= SHADOW_BODY_BYTES) return;
    this.stopped = true;
    this.#held = null;
    this.#unseen = null;
  }
}
