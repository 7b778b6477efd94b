/**
 * Calls of a shadow are made by nobody. One that asks the same cluster the same question as a call that the live version
 * begins while it waits gets a copy of that call's answer; any other gets none, and ends with its timeout. One that is
 * answered before it is whole, a stream, goes on together with the shadow's for as long as both send the same.
 */
import { createHash, hash } from "node:crypto";
import type { HeaderMap } from "../../codec/headers.ts";
import type { ResetReason } from "../../errors.ts";
import { SHADOW_STREAM_MESSAGES } from "../../limits.ts";
import type { SecureFacts } from "../../observe/stream-info.ts";
import type { PickContext } from "../../upstream/pick.ts";
import type { Upstream, UpstreamHandler, UpstreamRequest } from "../../upstream/request.ts";
import { Conversation } from "./conversation.ts";

/** Requests of shadows by a digest, the oldest first. */
class Waiting {
  readonly #requests = new Map<string, Set<SilentRequest>>();

  add(key: string, request: SilentRequest): void {
    const others = this.#requests.get(key);
    if (others === undefined) this.#requests.set(key, new Set([request]));
    else others.add(request);
  }

  delete(key: string, request: SilentRequest): void {
    const requests = this.#requests.get(key);
    if (requests?.delete(request) === true && requests.size === 0) this.#requests.delete(key);
  }

  of(key: string): Iterable<SilentRequest> {
    return this.#requests.get(key) ?? [];
  }
}

export class Answers {
  /** Those that are whole, by all that they ask. */
  readonly #whole = new Waiting();
  /** Those that have begun, whole or not, by how they began. */
  readonly #begun = new Waiting();

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

  begun(request: SilentRequest): void {
    this.#begun.add(request.question.opening, request);
  }

  whole(request: SilentRequest): void {
    this.#whole.add(request.question.whole, request);
  }

  forget(request: SilentRequest): void {
    this.#begun.delete(request.question.opening, request);
    this.#whole.delete(request.question.whole, request);
  }

  /** Who has waited longest for the answer to this, which is whole. */
  take({ whole }: Question): SilentRequest | null {
    const [request = null] = this.#whole.of(whole);
    if (request !== null) this.forget(request);
    return request;
  }

  /** Who began like this and has sent nothing else since, as far as either has come; the nearest, and the oldest of these. */
  join(question: Question): SilentRequest | null {
    let found: SilentRequest | null = null;
    let least = Infinity;
    for (const request of this.#begun.of(question.opening)) {
      const distance = question.distanceTo(request.question);
      if (distance >= least) continue;
      found = request;
      least = distance;
    }
    if (found !== null) this.forget(found);
    return found;
  }
}

/** What stands for the end of what a request sends; digests are longer. */
const END = "end";

/** What a request asks, as far as it has come. */
class Question {
  /** Of cluster and headers. */
  opening = "";
  /** Of all of it, once it is whole; "" before. */
  whole = "";
  /** Digests of its pieces, and END; no more than SHADOW_STREAM_MESSAGES, and then it goes with no other. */
  readonly parts: string[] = [];
  readonly #cluster: string;
  readonly #hash = createHash("sha256");

  constructor(cluster: string) {
    this.#cluster = cluster;
  }

  headers(headers: HeaderMap, endStream: boolean): void {
    this.opening = hash("sha256", `${this.#cluster}\0${JSON.stringify(headers.list)}`);
    this.#hash.update(this.opening);
    if (endStream) this.#end();
  }

  /** Returns the parts that it adds. */
  data(chunk: Uint8Array, endStream: boolean): readonly string[] {
    this.#hash.update(chunk);
    const added = chunk.length === 0 ? [] : [hash("sha256", chunk)];
    if (endStream) added.push(END);
    if (this.parts.length <= SHADOW_STREAM_MESSAGES) this.parts.push(...added);
    if (endStream) this.#end();
    return added;
  }

  trailers(trailers: HeaderMap): readonly string[] {
    const text = JSON.stringify(trailers.list);
    this.#hash.update(text);
    this.#end();
    const added = [hash("sha256", text), END];
    this.parts.push(...added);
    return added;
  }

  /** By how many parts one is ahead of the other; Infinity when they do not go together. */
  distanceTo({ parts }: Question): number {
    const [shorter, longer] = [parts, this.parts].sort((a, b) => a.length - b.length) as [string[], string[]];
    if (longer.length > SHADOW_STREAM_MESSAGES) return Infinity;
    for (let at = 0; at < shorter.length; at++) if (shorter[at] !== longer[at]) return Infinity;
    return longer.length - shorter.length;
  }

  #end(): void {
    this.whole = this.#hash.digest("hex");
  }
}

class SilentRequest implements UpstreamRequest {
  readonly hostname = "";
  readonly address = "";
  readonly unsentBytes = 0;
  readonly question: Question;
  /** Null: it is given up. */
  handler: UpstreamHandler | null;
  conversation: Conversation | null = null;
  readonly #answers: Answers;

  constructor(cluster: string, handler: UpstreamHandler, answers: Answers) {
    this.handler = handler;
    this.#answers = answers;
    this.question = new Question(cluster);
  }

  sendHeaders(headers: HeaderMap, endStream: boolean): void {
    this.question.headers(headers, endStream);
    if (endStream) this.#answers.whole(this);
    else this.#answers.begun(this);
  }
  sendData(chunk: Buffer, endStream: boolean): boolean {
    this.#said(this.question.data(chunk, endStream), endStream);
    return true;
  }
  sendTrailers(trailers: HeaderMap): void {
    this.#said(this.question.trailers(trailers), true);
  }
  flush(): void {}
  pauseReading(): void {}
  resumeReading(): void {}
  reset(): void {
    this.#answers.forget(this);
    this.handler = null;
  }

  #said(parts: readonly string[], endStream: boolean): void {
    if (this.conversation !== null) for (const part of parts) this.conversation.shadowSaid(part);
    else if (endStream && this.handler !== null) this.#answers.whole(this);
  }
}

class TappedRequest implements UpstreamRequest, UpstreamHandler {
  readonly #handler: UpstreamHandler;
  readonly #answers: Answers;
  readonly #question: Question;
  readonly #request: UpstreamRequest;
  #shadow: SilentRequest | null = null;
  #conversation: Conversation | null = null;
  #answered = false;

  constructor(upstream: Upstream, handler: UpstreamHandler, context: PickContext | undefined, answers: Answers) {
    this.#handler = handler;
    this.#answers = answers;
    this.#question = new Question(upstream.name);
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
    this.#question.headers(headers, endStream);
    if (endStream) this.#asked();
    this.#request.sendHeaders(headers, endStream);
  }
  sendData(chunk: Buffer, endStream: boolean): boolean {
    this.#said(this.#question.data(chunk, endStream), endStream);
    return this.#request.sendData(chunk, endStream);
  }
  sendTrailers(trailers: HeaderMap): void {
    this.#said(this.#question.trailers(trailers), true);
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
  /** The shadow's call goes on without an answer; its stream, which has no timeout, ends. */
  reset(timedOut?: boolean): void {
    this.#shadow = null;
    this.#conversation?.end();
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
    if (this.#listened) {
      const copy = headers.clone();
      this.#tell(sizeOf(copy), (shadow) => shadow.onUpstreamHeaders(status, copy, endStream));
    }
    this.#handler.onUpstreamHeaders(status, headers, endStream);
  }
  onUpstreamData(chunk: Buffer, endStream: boolean): void {
    if (this.#listened) {
      const copy = Buffer.from(chunk);
      this.#tell(copy.length, (shadow) => shadow.onUpstreamData(copy, endStream));
    }
    this.#handler.onUpstreamData(chunk, endStream);
  }
  onUpstreamTrailers(trailers: HeaderMap): void {
    if (this.#listened) {
      const copy = trailers.clone();
      this.#tell(sizeOf(copy), (shadow) => shadow.onUpstreamTrailers(copy));
    }
    this.#handler.onUpstreamTrailers(trailers);
  }
  onUpstreamReset(reason: ResetReason, transportFailure: string, requestUnsent: boolean): void {
    if (this.#listened) this.#tell(0, (shadow) => shadow.onUpstreamReset(reason, transportFailure, requestUnsent));
    this.#handler.onUpstreamReset(reason, transportFailure, requestUnsent);
  }
  onUpstreamDrain(): void {
    this.#handler.onUpstreamDrain();
  }
  onUpstreamReadComplete(): void {
    this.#handler.onUpstreamReadComplete();
  }

  /** Some shadow hears what comes back. The first time, one is looked for that goes with what was sent so far. */
  get #listened(): boolean {
    if (!this.#answered) {
      this.#answered = true;
      const joined = this.#question.whole === "" ? this.#answers.join(this.#question) : null;
      if (joined !== null) {
        this.#conversation = new Conversation(joined, this.#question.parts, joined.question.parts);
        joined.conversation = this.#conversation;
      }
    }
    return this.#conversation !== null || this.#shadow !== null;
  }

  #tell(bytes: number, tell: (shadow: UpstreamHandler) => void): void {
    if (this.#conversation !== null) this.#conversation.answer(bytes, tell);
    else if (this.#shadow?.handler != null) tell(this.#shadow.handler);
  }

  #said(parts: readonly string[], endStream: boolean): void {
    if (this.#conversation !== null) for (const part of parts) this.#conversation.liveSaid(part);
    else if (endStream) this.#asked();
  }

  #asked(): void {
    this.#shadow = this.#answers.take(this.#question);
  }
}

function sizeOf(map: HeaderMap): number {
  let size = 0;
  for (const text of map.list) size += text.length;
  return size;
}
