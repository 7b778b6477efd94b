/** One direction of a stream as the live one of two filters handles it: notes what leaves it, and when. */
import type { BodyBuffer } from "../../codec/body.ts";
import type { HeaderMap } from "../../codec/headers.ts";
import { DataStatus, HeadersStatus, TrailersStatus } from "../../http/filter.ts";
import type { Passage } from "./passage.ts";

/** The direction's parts as they stand at the filter. */
export interface Parts {
  readonly head: HeaderMap | null;
  /** What is held for the filter. */
  readonly body: BodyBuffer | null;
  readonly trailers: HeaderMap | null;
}

export class LiveCourse {
  readonly #passage: Passage;
  /** The live filter has a body callback, a trailers callback. */
  readonly #seesBody: boolean;
  readonly #seesTrailers: boolean;
  #headStop: number = HeadersStatus.CONTINUE;
  #holdsData = false;
  #endSeen = false;
  /** Bytes of body that are held for the filter since it was called last: they come again with the next ones. */
  heldBytes = 0;

  constructor(passage: Passage, seesBody: boolean, seesTrailers: boolean) {
    this.#passage = passage;
    this.#seesBody = seesBody;
    this.#seesTrailers = seesTrailers;
  }

  /** The filter answered the head with `status`. */
  headAnswered(status: number, parts: Parts, endStream: boolean): number {
    this.#passage.begun = true;
    this.#endSeen = endStream;
    this.#headStop = status;
    if (status === HeadersStatus.CONTINUE) this.goesOn(parts);
    return status;
  }

  /**
   * The body callback's turn. A filter without one that holds its head must not be taken for one that lets the body, and
   * so the head, go on: alone it would not have been asked.
   */
  data(call: () => number, body: BodyBuffer, endStream: boolean, parts: () => Parts): number {
    const status =
      !this.#seesBody && this.#headStop !== HeadersStatus.CONTINUE ? DataStatus.STOP_AND_WATERMARK : call();
    this.#endSeen ||= endStream;
    this.#holdsData = status !== DataStatus.CONTINUE;
    this.heldBytes =
      status === DataStatus.STOP_AND_BUFFER || status === DataStatus.STOP_AND_WATERMARK ? body.length : 0;
    if (status !== DataStatus.CONTINUE) return status;
    this.#passage.passBody(body.bytes());
    this.goesOn({ ...parts(), body: null });
    return status;
  }

  /** The same for trailers, which a filter that holds body and has no callback for them does not let go on either. */
  trailers(call: () => number, parts: () => Parts): number {
    const waits = !this.#seesBody && this.#headStop !== HeadersStatus.CONTINUE;
    const status = waits || (!this.#seesTrailers && this.#holdsData) ? TrailersStatus.STOP : call();
    this.#endSeen = true;
    if (status === TrailersStatus.CONTINUE) this.goesOn(parts());
    return status;
  }

  /** What it has seen goes on. */
  goesOn({ head, body, trailers }: Parts): void {
    if (!this.#passage.begun) return;
    this.#passage.passHead(head);
    if (this.#holdsData && body !== null) this.#passage.passBody(body.bytes());
    this.#headStop = HeadersStatus.CONTINUE;
    this.#holdsData = false;
    this.heldBytes = 0;
    if (this.#endSeen) this.#passage.passEnd(trailers);
  }
}
