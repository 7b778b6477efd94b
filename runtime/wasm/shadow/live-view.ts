/** The stream as the live one of two filters sees it: everything is passed on, and what it decides is noted. */
import type { BodyBuffer } from "../../codec/body.ts";
import type { HeaderMap } from "../../codec/headers.ts";
import { Phase } from "../../http/filter.ts";
import type { LocalReply, StreamView } from "../../http/filter.ts";
import type { StreamInfo } from "../../observe/stream-info.ts";
import type { Acts } from "./acts.ts";
import { Decision } from "./decision.ts";
import { LiveCourse } from "./live-course.ts";
import type { Parts } from "./live-course.ts";
import { Skips } from "./skips.ts";

export class LiveView implements StreamView {
  readonly decision = new Decision();
  readonly skips = new Skips();
  #request: LiveCourse | null = null;
  #response: LiveCourse | null = null;
  readonly #stream: StreamView;

  constructor(stream: StreamView) {
    this.#stream = stream;
  }

  /** `phases`: of the filter. */
  begin(phases: number): void {
    const { request, response } = this.decision;
    const has = (phase: number): boolean => (phases & phase) !== 0;
    this.#request = new LiveCourse(request, has(Phase.REQUEST_DATA), has(Phase.REQUEST_TRAILERS));
    this.#response = new LiveCourse(response, has(Phase.RESPONSE_DATA), has(Phase.RESPONSE_TRAILERS));
  }

  get request(): LiveCourse {
    return this.#request!;
  }
  get response(): LiveCourse {
    return this.#response!;
  }
  get acts(): Acts {
    return this.decision.acts;
  }

  requestParts(): Parts {
    const { requestHeaders, bufferedRequestBody, requestTrailers } = this.#stream;
    return { head: requestHeaders, body: bufferedRequestBody, trailers: requestTrailers };
  }
  responseParts(): Parts {
    const { responseHeaders, bufferedResponseBody, responseTrailers } = this.#stream;
    return { head: responseHeaders, body: bufferedResponseBody, trailers: responseTrailers };
  }

  continueRequest(): void {
    this.request.goesOn(this.requestParts());
    this.#stream.continueRequest();
  }
  continueResponse(): void {
    this.response.goesOn(this.responseParts());
    this.#stream.continueResponse();
  }
  sendLocalReply(reply: LocalReply): boolean {
    this.decision.reply = reply;
    return this.#stream.sendLocalReply(reply);
  }
  resetStream(details: string): void {
    this.decision.reset = true;
    this.#stream.resetStream(details);
  }

  get info(): StreamInfo {
    return this.#stream.info;
  }
  get requestHeaders(): HeaderMap | null {
    return this.#stream.requestHeaders;
  }
  get requestTrailers(): HeaderMap | null {
    return this.#stream.requestTrailers;
  }
  get responseHeaders(): HeaderMap | null {
    return this.#stream.responseHeaders;
  }
  get responseTrailers(): HeaderMap | null {
    return this.#stream.responseTrailers;
  }
  get bufferedRequestBody(): BodyBuffer | null {
    return this.#stream.bufferedRequestBody;
  }
  get bufferedResponseBody(): BodyBuffer | null {
    return this.#stream.bufferedResponseBody;
  }
  get responseStarted(): boolean {
    return this.#stream.responseStarted;
  }
  addRequestTrailers(): HeaderMap | null {
    return this.#stream.addRequestTrailers();
  }
  addResponseTrailers(): HeaderMap | null {
    return this.#stream.addResponseTrailers();
  }
  clearRouteCache(): void {
    this.#stream.clearRouteCache();
  }
  resolveRoute(): void {
    this.#stream.resolveRoute();
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
  /** The shadow may want them: the pair leaves this one out. */
  skipResponse(): void {
    this.skips.skip();
  }
  joinResponse(): void {
    this.skips.join();
    this.#stream.joinResponse();
  }
  paceResponse(bytesPerSecond: number): void {
    this.#stream.paceResponse(bytesPerSecond);
  }
}
