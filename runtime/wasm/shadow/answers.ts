/**
 * Calls of a shadow are made by nobody. One that asks the same cluster the same question as a call that the live version
 * begins while it waits gets a copy of that call's answer; any other gets none, and ends with its timeout.
 */
import { createHash } from "node:crypto";
import type { HeaderMap } from "../../codec/headers.ts";
import type { ResetReason } from "../../errors.ts";
import type { SecureFacts } from "../../observe/stream-info.ts";
import type { PickContext } from "../../upstream/pick.ts";
import type { Upstream, UpstreamHandler, UpstreamRequest } from "../../upstream/request.ts";

export class Answers {
  /** Requests of shadows by question, the oldest first. */
  readonly #waiting = new Map<string, Set<SilentRequest>>();

  /** A cluster of that name for shadows. */
  silent(name: string): Upstream {
    const request = (handler: UpstreamHandler): UpstreamRequest => new SilentRequest(name, handler, this);
    return { name, hostCount: 1, request, raw: request };
  }

  /** The cluster for a live version: what comes back goes to the shadow that waits for it, too. */
  tapped(upstream: Upstream): Upstream {
    return {
      name: upstream.name,
      hostCount: upstream.hostCount,
      request: (handler, context) => new TappedRequest(upstream, handler, context, this),
      raw: (handler, context) => upstream.raw(handler, context),
    };
  }

  wait(question: string, request: SilentRequest): void {
    const others = this.#waiting.get(question);
    if (others === undefined) this.#waiting.set(question, new Set([request]));
    else others.add(request);
  }

  forget(question: string, request: SilentRequest): void {
    const requests = this.#waiting.get(question);
    if (requests?.delete(request) === true && requests.size === 0) this.#waiting.delete(question);
  }

  /** Who has waited longest for the answer to this. */
  take(question: string): SilentRequest | null {
    const [request = null] = this.#waiting.get(question) ?? [];
    if (request !== null) this.forget(question, request);
    return request;
  }
}

/** What a request asks, once it is whole. */
class QuestionDigest {
  readonly #hash = createHash("sha256");

  constructor(cluster: string) {
    this.#hash.update(cluster).update("\0");
  }
  fields(headers: HeaderMap): void {
    this.#hash.update(JSON.stringify(headers.list));
  }
  bytes(chunk: Uint8Array): void {
    this.#hash.update(chunk);
  }
  end(): string {
    return this.#hash.digest("hex");
  }
}

class SilentRequest implements UpstreamRequest {
  readonly hostname = "";
  readonly address = "";
  readonly unsentBytes = 0;
  /** Null: it is given up. */
  handler: UpstreamHandler | null;
  readonly #answers: Answers;
  readonly #digest: QuestionDigest;
  #question = "";

  constructor(cluster: string, handler: UpstreamHandler, answers: Answers) {
    this.handler = handler;
    this.#answers = answers;
    this.#digest = new QuestionDigest(cluster);
  }

  sendHeaders(headers: HeaderMap, endStream: boolean): void {
    this.#digest.fields(headers);
    if (endStream) this.#wait();
  }
  sendData(chunk: Buffer, endStream: boolean): boolean {
    this.#digest.bytes(chunk);
    if (endStream) this.#wait();
    return true;
  }
  sendTrailers(trailers: HeaderMap): void {
    this.#digest.fields(trailers);
    this.#wait();
  }
  flush(): void {}
  pauseReading(): void {}
  resumeReading(): void {}
  reset(): void {
    this.#answers.forget(this.#question, this);
    this.handler = null;
  }

  #wait(): void {
    this.#question = this.#digest.end();
    this.#answers.wait(this.#question, this);
  }
}

class TappedRequest implements UpstreamRequest, UpstreamHandler {
  readonly #handler: UpstreamHandler;
  readonly #answers: Answers;
  readonly #digest: QuestionDigest;
  readonly #request: UpstreamRequest;
  #shadow: SilentRequest | null = null;

  constructor(upstream: Upstream, handler: UpstreamHandler, context: PickContext | undefined, answers: Answers) {
    this.#handler = handler;
    this.#answers = answers;
    this.#digest = new QuestionDigest(upstream.name);
    this.#request = upstream.request(this, context);
  }

  get hostname(): string {
    return this.#request.hostname;
  }
  get address(): string {
    return this.#request.address;
  }
  get unsentBytes(): number {
    return this.#request.unsentBytes;
  }
  sendHeaders(headers: HeaderMap, endStream: boolean): void {
    this.#digest.fields(headers);
    if (endStream) this.#asked();
    this.#request.sendHeaders(headers, endStream);
  }
  sendData(chunk: Buffer, endStream: boolean): boolean {
    this.#digest.bytes(chunk);
    if (endStream) this.#asked();
    return this.#request.sendData(chunk, endStream);
  }
  sendTrailers(trailers: HeaderMap): void {
    this.#digest.fields(trailers);
    this.#asked();
    this.#request.sendTrailers(trailers);
  }
  flush(): void {
    this.#request.flush();
  }
  pauseReading(): void {
    this.#request.pauseReading();
  }
  resumeReading(): void {
    this.#request.resumeReading();
  }
  /** The shadow's call goes on without an answer. */
  reset(timedOut?: boolean): void {
    this.#shadow = null;
    this.#request.reset(timedOut);
  }

  // ---- the answer, first to the shadow: what it asks next waits then when the live version asks it --------------------

  onUpstreamReady(address: string, localAddress: string, secure: SecureFacts | null): void {
    this.#handler.onUpstreamReady(address, localAddress, secure);
  }
  onUpstreamInformational(status: number, headers: HeaderMap): void {
    this.#handler.onUpstreamInformational(status, headers);
  }
  onUpstreamHeaders(status: number, headers: HeaderMap, endStream: boolean): void {
    this.#listener?.onUpstreamHeaders(status, headers.clone(), endStream);
    this.#handler.onUpstreamHeaders(status, headers, endStream);
  }
  onUpstreamData(chunk: Buffer, endStream: boolean): void {
    this.#listener?.onUpstreamData(chunk, endStream);
    this.#handler.onUpstreamData(chunk, endStream);
  }
  onUpstreamTrailers(trailers: HeaderMap): void {
    this.#listener?.onUpstreamTrailers(trailers.clone());
    this.#handler.onUpstreamTrailers(trailers);
  }
  onUpstreamReset(reason: ResetReason, transportFailure: string, requestUnsent: boolean): void {
    this.#listener?.onUpstreamReset(reason, transportFailure, requestUnsent);
    this.#handler.onUpstreamReset(reason, transportFailure, requestUnsent);
  }
  onUpstreamDrain(): void {
    this.#handler.onUpstreamDrain();
  }
  onUpstreamReadComplete(): void {
    this.#listener?.onUpstreamReadComplete();
    this.#handler.onUpstreamReadComplete();
  }

  get #listener(): UpstreamHandler | null {
    return this.#shadow?.handler ?? null;
  }

  #asked(): void {
    this.#shadow = this.#answers.take(this.#digest.end());
  }
}
