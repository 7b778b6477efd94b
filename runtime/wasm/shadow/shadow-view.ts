/**
 * A copy of a stream for a filter whose acts have no effect: it has maps, bodies, metadata and filter state of its own.
 * Facts and routes are those of the real stream. Answers and resets are noted; from then on the filter is not called.
 */
import type { BodyBuffer } from "../../codec/body.ts";
import { HeaderMap } from "../../codec/headers.ts";
import type { LocalReply, StreamView } from "../../http/filter.ts";
import type { Acts } from "./acts.ts";
import { Decision } from "./decision.ts";
import { ShadowCourse } from "./shadow-course.ts";
import { ShadowInfo } from "./shadow-info.ts";
import { Skips } from "./skips.ts";

/** What a copy asks the stream that it is a copy of. */
export type Original = Pick<
  StreamView,
  | "info"
  | "responseStarted"
  | "resolveRoute"
  | "perRouteConfigId"
  | "perRouteConfig"
  | "rateLimitDescriptors"
  | "joinResponse"
>;

export class ShadowView implements StreamView {
  readonly decision = new Decision();
  readonly info: ShadowInfo;
  readonly request = new ShadowCourse(this.decision.request);
  readonly response = new ShadowCourse(this.decision.response);
  readonly skips = new Skips();
  readonly #stream: Original;

  constructor(stream: Original) {
    this.#stream = stream;
    this.info = ShadowInfo.of(stream.info);
  }

  /** What has become known of the stream since the last callback; what the filter itself has set stays. */
  refresh(): void {
    this.info.follow(this.#stream.info);
    if (this.request.head !== null) this.info.requestHeaders = this.request.head;
    if (this.response.head !== null) this.info.responseHeaders = this.response.head;
  }

  get requestHeaders(): HeaderMap | null {
    return this.request.head;
  }
  get requestTrailers(): HeaderMap | null {
    return this.request.trailers;
  }
  get responseHeaders(): HeaderMap | null {
    return this.response.head;
  }
  get responseTrailers(): HeaderMap | null {
    return this.response.trailers;
  }
  get bufferedRequestBody(): BodyBuffer | null {
    return this.request.body;
  }
  get bufferedResponseBody(): BodyBuffer | null {
    return this.response.body;
  }
  get acts(): Acts {
    return this.decision.acts;
  }

  /** The filter has answered or given the stream up. */
  get over(): boolean {
    return this.decision.reply !== null || this.decision.reset;
  }

  get responseStarted(): boolean {
    return this.#stream.responseStarted;
  }

  continueRequest(): void {
    this.request.goOn();
  }
  continueResponse(): void {
    this.response.goOn();
  }
  sendLocalReply(reply: LocalReply): boolean {
    if (!this.over) this.decision.reply = reply;
    this.#stop();
    return true;
  }
  resetStream(_details: string): void {
    if (!this.over) this.decision.reset = true;
    this.#stop();
  }
  addRequestTrailers(): HeaderMap | null {
    return (this.request.trailers ??= new HeaderMap());
  }
  addResponseTrailers(): HeaderMap | null {
    return (this.response.trailers ??= new HeaderMap());
  }
  /** The stream's route is the live filter's business. */
  clearRouteCache(): void {}
  resolveRoute(): void {
    this.#stream.resolveRoute();
    this.refresh();
  }
  perRouteConfigId(): number {
    return this.#stream.perRouteConfigId();
  }
  perRouteConfig(id: number): Uint8Array | undefined {
    return this.#stream.perRouteConfig(id);
  }
  rateLimitDescriptors(stage: number, virtualHostMode: number): readonly Uint8Array[] {
    return this.#stream.rateLimitDescriptors(stage, virtualHostMode);
  }
  skipResponse(): void {
    this.skips.skip();
  }
  /** The pair of filters is called then; to the live one that is nothing. */
  joinResponse(): void {
    this.skips.join();
    this.#stream.joinResponse();
  }
  paceResponse(_bytesPerSecond: number): void {}

  #stop(): void {
    this.request.stopped = true;
    this.response.stopped = true;
  }
}
