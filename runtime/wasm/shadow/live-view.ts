/** The stream as the live one of two filters sees it: everything is passed on, and what it decides is noted. */
import type { BodyBuffer } from "../../codec/body.ts";
import type { HeaderMap } from "../../codec/headers.ts";
import type { LocalReply, StreamView } from "../../http/filter.ts";
import type { StreamInfo } from "../../observe/stream-info.ts";
import { Decision } from "./decision.ts";

export class LiveView implements StreamView {
  readonly decision = new Decision();
  readonly #stream: StreamView;

  constructor(stream: StreamView) {
    this.#stream = stream;
  }

  /** The head has left the filter, as it is now. */
  passRequest(): void {
    this.decision.request ??= this.#stream.requestHeaders?.clone() ?? null;
  }
  passResponse(): void {
    this.decision.response ??= this.#stream.responseHeaders?.clone() ?? null;
  }

  continueRequest(): void {
    this.passRequest();
    this.#stream.continueRequest();
  }
  continueResponse(): void {
    this.passResponse();
    this.#stream.continueResponse();
  }
  sendLocalReply(reply: LocalReply): boolean {
    this.decision.localReply = reply.status;
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
  skipResponse(): void {
    this.#stream.skipResponse();
  }
  joinResponse(): void {
    this.#stream.joinResponse();
  }
  paceResponse(bytesPerSecond: number): void {
    this.#stream.paceResponse(bytesPerSecond);
  }
}
