/** One unary gRPC call to a cluster, for guests and for filters of the host. */
import * as GrpcStatus from "../../abi/grpc-status.ts";
import { copyOf } from "../codec/copies.ts";
import { HeaderMap } from "../codec/headers.ts";
import type { ResetReason } from "../errors.ts";
import { GRPC_MESSAGE_BYTES } from "../limits.ts";
import { Deadline } from "../timers.ts";
import { failureReply, TIMEOUT_REPLY, wasLost } from "./failure-reply.ts";
import {
  decodeMessage,
  frame,
  MessageReader,
  parseStatus,
  statusOfHttp,
  statusOfReset,
  timeoutText,
} from "./grpc-frame.ts";
import type { Call, GrpcHandler, Upstream, UpstreamHandler, UpstreamRequest } from "./request.ts";

export interface GrpcUnary {
  /** `package.Service`. */
  readonly service: string;
  readonly method: string;
  readonly metadata: HeaderMap | null;
  /** The serialized message; it is copied before the call returns. */
  readonly message: Uint8Array;
  /** 0 = none. */
  readonly timeoutMs: number;
}

/** Fields that the protocol sets, not the caller. */
const RESERVED = new Set(["te", "content-type", "content-length", "grpc-timeout", "connection", "host"]);

/** Starts the call. The handler hears exactly once, from a later task, unless the call is cancelled first. */
export function grpcUnary(upstream: Upstream, unary: GrpcUnary, handler: GrpcHandler): Call {
  return new GrpcCall(upstream, unary, handler);
}

class GrpcCall extends Deadline implements Call, UpstreamHandler {
  readonly #upstream: Upstream;
  readonly #headers: HeaderMap;
  readonly #body: Buffer;
  #handler: GrpcHandler | null;
  #request: UpstreamRequest;
  #reader = new MessageReader(GRPC_MESSAGE_BYTES);
  #triedAgain = false;

  constructor(upstream: Upstream, unary: GrpcUnary, handler: GrpcHandler) {
    super();
    this.#upstream = upstream;
    this.#handler = handler;
    this.#headers = grpcHeaders({ authority: upstream.name, ...unary });
    this.#body = frame(unary.message);
    if (unary.timeoutMs > 0) this.arm(unary.timeoutMs);
    this.#request = this.#send();
  }

  cancel(): void {
    if (this.#handler === null) return;
    this.#handler = null;
    this.disarm();
    this.#request.reset();
  }

  onDeadline(): void {
    this.#request.reset(true);
    this.#fail(GrpcStatus.DEADLINE_EXCEEDED, TIMEOUT_REPLY.body);
  }

  onUpstreamReady(): void {}
  onUpstreamInformational(): void {}
  onUpstreamDrain(): void {}
  onUpstreamReadComplete(): void {}

  onUpstreamHeaders(status: number, headers: HeaderMap, endStream: boolean): void {
    if (endStream && headers.has("grpc-status")) this.#finish(headers);
    else if (status !== 200) this.#giveUp(statusOfHttp(status), `HTTP status ${status}`, endStream);
    else if (endStream) this.#fail(GrpcStatus.UNKNOWN, "response without grpc-status");
  }

  onUpstreamData(chunk: Buffer, endStream: boolean): void {
    const fault = this.#reader.push(copyOf(chunk));
    if (fault !== null) this.#giveUp(fault.status, fault.text, endStream);
    else if (endStream) this.#fail(GrpcStatus.UNKNOWN, "response without grpc-status");
  }

  onUpstreamTrailers(trailers: HeaderMap): void {
    this.#finish(trailers);
  }

  onUpstreamReset(reason: ResetReason, transportFailure: string, requestUnsent: boolean): void {
    if (wasLost(reason, requestUnsent) && !this.#triedAgain) {
      // gRPC's transparent retry.
      this.#triedAgain = true;
      this.#reader = new MessageReader(GRPC_MESSAGE_BYTES);
      this.#request = this.#send();
      return;
    }
    this.#fail(statusOfReset(reason), failureReply(reason, transportFailure).body);
  }

  #send(): UpstreamRequest {
    const request = this.#upstream.request(this);
    request.sendHeaders(this.#headers, false);
    request.sendData(this.#body, true);
    return request;
  }

  #finish(trailers: HeaderMap): void {
    const status = parseStatus(trailers.get("grpc-status"));
    if (status !== GrpcStatus.OK) this.#fail(status, decodeMessage(trailers.get("grpc-message") ?? ""));
    else if (this.#reader.message === null || !this.#reader.clean) {
      this.#fail(GrpcStatus.INTERNAL, "response without a whole message");
    } else {
      const handler = this.#over();
      handler?.onGrpcMessage(this.#reader.message);
    }
  }

  /** Fails while the response may still be coming. */
  #giveUp(status: number, text: string, ended: boolean): void {
    if (!ended) this.#request.reset();
    this.#fail(status, text);
  }

  #fail(status: number, text: string): void {
    this.#over()?.onGrpcFailure(status, text);
  }

  #over(): GrpcHandler | null {
    const handler = this.#handler;
    this.#handler = null;
    this.disarm();
    return handler;
  }
}

/** What the headers of a call are made of. `timeoutMs`: 0 = none. */
export interface GrpcHead {
  readonly authority: string;
  readonly service: string;
  readonly method: string;
  readonly metadata: HeaderMap | null;
  readonly timeoutMs: number;
}

/** Request headers of a call or stream; metadata cannot replace what the protocol sets. */
export function grpcHeaders(head: GrpcHead): HeaderMap {
  const list = [":method", "POST", ":path", `/${head.service}/${head.method}`, ":authority", head.authority];
  list.push(":scheme", "http", "te", "trailers", "content-type", "application/grpc");
  if (head.timeoutMs > 0) list.push("grpc-timeout", timeoutText(head.timeoutMs));
  const more = head.metadata?.list ?? [];
  for (let at = 0; at < more.length; at += 2) {
    const name = more[at]!;
    if (!name.startsWith(":") && !RESERVED.has(name)) list.push(name, more[at + 1]!);
  }
  return new HeaderMap(list);
}
