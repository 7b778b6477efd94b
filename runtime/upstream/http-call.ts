/** One HTTP call to a cluster with request and response in memory, for guests. */
import { BodyBuffer } from "../codec/body.ts";
import { copyOf } from "../codec/copies.ts";
import { HeaderMap } from "../codec/headers.ts";
import { ResetReason } from "../errors.ts";
import { HTTP_CALL_RESPONSE_BYTES } from "../limits.ts";
import { Deadline } from "../timers.ts";
import { type FailureReply, failureReply, TIMEOUT_REPLY, wasLost } from "./failure-reply.ts";
import type { Call, HttpCallHandler, Upstream, UpstreamHandler, UpstreamRequest } from "./request.ts";

export interface HttpCallRequest {
  /** With `:method`, `:path` and `:authority`; `:scheme` is `http` when absent. */
  readonly headers: HeaderMap;
  readonly body: Uint8Array;
  readonly trailers: HeaderMap;
  /** 0 = none. */
  readonly timeoutMs: number;
}

/** Fields of one connection, which are the host's to set. */
const CONNECTION_FIELDS = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"];

/**
 * Starts the call. The handler hears exactly once, from a later task, unless the call is cancelled first.
 * As in Envoy, a call that no host answered gets a response of the proxy's own (503, or 504 when it took
 * too long); only a response that breaks off is a failure.
 */
export function httpCall(upstream: Upstream, request: HttpCallRequest, handler: HttpCallHandler): Call {
  return new HttpCall(upstream, request, handler);
}

class HttpCall extends Deadline implements Call, UpstreamHandler {
  readonly #upstream: Upstream;
  readonly #headers: HeaderMap;
  readonly #body: Buffer;
  readonly #trailers: HeaderMap;
  readonly #response = new BodyBuffer();
  #responseHeaders: HeaderMap | null = null;
  #handler: HttpCallHandler | null;
  #request: UpstreamRequest;
  #triedAgain = false;

  constructor(upstream: Upstream, request: HttpCallRequest, handler: HttpCallHandler) {
    super();
    this.#upstream = upstream;
    this.#handler = handler;
    this.#headers = headersOf(request);
    // Guests' memory moves on: the body is kept for as long as it may have to be sent again.
    this.#body = Buffer.from(request.body);
    this.#trailers = request.trailers.clone();
    if (request.timeoutMs > 0) this.arm(request.timeoutMs);
    this.#request = this.#send();
  }

  cancel(): void {
    if (this.#handler === null) return;
    this.#over();
    this.#request.reset();
  }

  onDeadline(): void {
    this.#request.reset(true);
    if (this.#responseHeaders === null) this.#reply(TIMEOUT_REPLY);
    else this.#over()?.onHttpCallFailure(ResetReason.LOCAL_RESET);
  }

  onUpstreamReady(): void {}
  onUpstreamInformational(): void {}
  onUpstreamDrain(): void {}
  onUpstreamReadComplete(): void {}

  onUpstreamHeaders(_status: number, headers: HeaderMap, endStream: boolean): void {
    this.#responseHeaders = headers;
    if (endStream) this.#answer(new HeaderMap());
  }

  onUpstreamData(chunk: Buffer, endStream: boolean): void {
    if (this.#response.length + chunk.length > HTTP_CALL_RESPONSE_BYTES) {
      if (!endStream) this.#request.reset();
      this.#over()?.onHttpCallFailure(ResetReason.LOCAL_RESET);
      return;
    }
    this.#response.append(copyOf(chunk));
    if (endStream) this.#answer(new HeaderMap());
  }

  onUpstreamTrailers(trailers: HeaderMap): void {
    this.#answer(trailers);
  }

  onUpstreamReset(reason: ResetReason, transportFailure: string, requestUnsent: boolean): void {
    if (this.#responseHeaders !== null) this.#over()?.onHttpCallFailure(reason);
    else if (wasLost(reason, requestUnsent) && !this.#triedAgain) {
      this.#triedAgain = true;
      this.#request = this.#send();
    } else this.#reply(failureReply(reason, transportFailure), reason === ResetReason.OVERFLOW);
  }

  #send(): UpstreamRequest {
    const request = this.#upstream.request(this);
    const hasTrailers = this.#trailers.size > 0;
    const hasBody = this.#body.length > 0;
    request.sendHeaders(this.#headers, !hasBody && !hasTrailers);
    if (hasBody) request.sendData(this.#body, !hasTrailers);
    if (hasTrailers) request.sendTrailers(this.#trailers);
    return request;
  }

  #reply({ status, body }: FailureReply, overloaded = false): void {
    const headers = new HeaderMap([
      ":status",
      String(status),
      "content-length",
      String(body.length),
      "content-type",
      "text/plain",
    ]);
    if (overloaded) headers.add("x-envoy-overloaded", "true");
    this.#over()?.onHttpCallResponse(headers, Buffer.from(body, "latin1"), new HeaderMap());
  }

  #answer(trailers: HeaderMap): void {
    const headers = this.#responseHeaders ?? new HeaderMap();
    this.#over()?.onHttpCallResponse(headers, this.#response.take(), trailers);
  }

  #over(): HttpCallHandler | null {
    const handler = this.#handler;
    this.#handler = null;
    this.disarm();
    return handler;
  }
}

function headersOf(request: HttpCallRequest): HeaderMap {
  const headers = request.headers.clone();
  for (const name of CONNECTION_FIELDS) headers.remove(name);
  headers.remove("content-length");
  if (!headers.has(":scheme")) headers.list.unshift(":scheme", "http");
  if (request.body.length > 0) headers.add("content-length", String(request.body.length));
  return headers;
}
