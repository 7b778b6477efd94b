/** The two directions of a stream's walk over its filters (`filter-walk.ts`): where each comes from and ends. */
import type { BodyBuffer } from "../codec/body.ts";
import type { HeaderMap } from "../codec/headers.ts";
import { Phase } from "./filter.ts";
import type { HttpFilter } from "./filter.ts";
import type { FilterSlot } from "./filter-slot.ts";
import { FilterWalk } from "./filter-walk.ts";
import { REPLIES } from "./local-reply.ts";
import type { Stream } from "./stream.ts";

/** From the session over the filters to the router. */
export class RequestWalk extends FilterWalk<FilterSlot> {
  readonly #stream: Stream;
  // The session has copied them, for what upstream has not taken yet waits, too.
  protected readonly lent = false;
  protected readonly headersPhase = Phase.REQUEST_HEADERS;
  protected readonly dataPhase = Phase.REQUEST_DATA;
  protected readonly trailersPhase = Phase.REQUEST_TRAILERS;

  constructor(stream: Stream, slots: readonly FilterSlot[], limitBytes: number) {
    super(slots, limitBytes);
    this.#stream = stream;
  }
  protected at(p: number): FilterSlot {
    return this.slots[p]!;
  }
  protected enter(slot: FilterSlot): HttpFilter | null {
    return slot.enter();
  }
  protected callHeaders(filter: HttpFilter, headers: HeaderMap, endStream: boolean): number {
    return filter.onRequestHeaders(headers, endStream);
  }
  protected callData(filter: HttpFilter, body: BodyBuffer, endStream: boolean): number {
    return filter.onRequestData(body, endStream);
  }
  protected callTrailers(filter: HttpFilter, trailers: HeaderMap): number {
    return filter.onRequestTrailers(trailers);
  }
  protected endHeaders(headers: HeaderMap, endStream: boolean): void {
    this.#stream.router.onRequestHeaders(headers, endStream);
  }
  protected endData(chunk: Buffer, endStream: boolean): void {
    this.#stream.router.onRequestData(chunk, endStream);
  }
  protected endTrailers(trailers: HeaderMap): void {
    this.#stream.router.onRequestTrailers(trailers);
  }
  protected overflow(): void {
    this.#stream.sendLocalReply(REPLIES.requestTooLarge);
  }
  protected pushBack(): void {
    this.#stream.pauseRequest();
  }
  protected letGo(): void {
    this.#stream.resumeRequest();
  }
}

/** From the router over the filters, in reverse, to the session. */
export class ResponseWalk extends FilterWalk<FilterSlot> {
  readonly #stream: Stream;
  protected readonly lent = true;
  protected readonly headersPhase = Phase.RESPONSE_HEADERS;
  protected readonly dataPhase = Phase.RESPONSE_DATA;
  protected readonly trailersPhase = Phase.RESPONSE_TRAILERS;

  constructor(stream: Stream, slots: readonly FilterSlot[], limitBytes: number) {
    super(slots, limitBytes);
    this.#stream = stream;
  }
  protected at(p: number): FilterSlot {
    return this.slots[this.slots.length - 1 - p]!;
  }
  protected enter(slot: FilterSlot): HttpFilter | null {
    return slot.filter;
  }
  protected callHeaders(filter: HttpFilter, headers: HeaderMap, endStream: boolean): number {
    return filter.onResponseHeaders(headers, endStream);
  }
  protected callData(filter: HttpFilter, body: BodyBuffer, endStream: boolean): number {
    return filter.onResponseData(body, endStream);
  }
  protected callTrailers(filter: HttpFilter, trailers: HeaderMap): number {
    return filter.onResponseTrailers(trailers);
  }
  protected endHeaders(headers: HeaderMap, endStream: boolean): void {
    this.#stream.deliverHeaders(headers, endStream);
  }
  protected endData(chunk: Buffer, endStream: boolean): void {
    this.#stream.deliverData(chunk, endStream);
  }
  protected endTrailers(trailers: HeaderMap): void {
    this.#stream.deliverTrailers(trailers);
  }
  protected overflow(): void {
    this.#stream.sendLocalReply(REPLIES.responseTooLarge);
  }
  protected pushBack(): void {
    this.#stream.pauseResponse();
  }
  protected letGo(): void {
    this.#stream.resumeResponse();
  }
}
