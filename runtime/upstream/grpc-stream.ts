/** One gRPC stream to a cluster: any number of messages in both directions. */
import * as GrpcStatus from "../../abi/grpc-status.ts";
import { copyOf } from "../codec/copies.ts";
import { HeaderMap } from "../codec/headers.ts";
import type { ResetReason } from "../errors.ts";
import { GRPC_MESSAGE_BYTES, GRPC_STREAM_QUEUED_BYTES } from "../limits.ts";
import { failureReply } from "./failure-reply.ts";
import { grpcHeaders } from "./grpc-call.ts";
import { decodeMessage, frame, MessageSplitter, parseStatus, statusOfHttp, statusOfReset } from "./grpc-frame.ts";
import type { Upstream, UpstreamHandler, UpstreamRequest } from "./request.ts";

export interface GrpcStreamTarget {
  /** `package.Service`. */
  readonly service: string;
  readonly method: string;
  readonly metadata: HeaderMap | null;
}

/** What comes back, in this order; nothing after the close. Each from a later task. */
export interface GrpcStreamHandler {
  onGrpcInitialMetadata(metadata: HeaderMap): void;
  onGrpcStreamMessage(message: Buffer): void;
  onGrpcTrailingMetadata(metadata: HeaderMap): void;
  onGrpcStreamClose(status: number, message: string): void;
}

export class GrpcStream implements UpstreamHandler {
  #handler: GrpcStreamHandler | null;
  readonly #request: UpstreamRequest;
  readonly #splitter = new MessageSplitter(GRPC_MESSAGE_BYTES);
  /** The sending side is closed. */
  #ended = false;
  /** Bytes handed over since the connection said that it has enough. */
  #queued = 0;
  #blocked = false;

  constructor(upstream: Upstream, target: GrpcStreamTarget, handler: GrpcStreamHandler) {
    this.#handler = handler;
    this.#request = upstream.request(this);
    this.#request.sendHeaders(grpcHeaders({ authority: upstream.name, timeoutMs: 0, ...target }), false);
  }

  /** Sends one message, which is copied. False when the sending side is closed or too much waits to be sent. */
  send(message: Uint8Array, endStream: boolean): boolean {
    if (this.#ended || this.#handler === null) return false;
    if (this.#blocked && this.#queued + message.length > GRPC_STREAM_QUEUED_BYTES) return false;
    this.#ended = endStream;
    const framed = frame(message);
    if (this.#blocked) this.#queued += framed.length;
    if (!this.#request.sendData(framed, endStream)) this.#blocked = true;
    this.#request.flush();
    return true;
  }

  /** Closes the sending side; the peer may go on. */
  close(): void {
    if (this.#ended || this.#handler === null) return;
    this.#ended = true;
    this.#request.sendData(NOTHING, true);
    this.#request.flush();
  }

  /** Gives the stream up: nothing more is heard of it. */
  cancel(): void {
    if (this.#handler === null) return;
    this.#handler = null;
    this.#request.reset();
  }

  onUpstreamReady(): void {}
  onUpstreamInformational(): void {}
  onUpstreamReadComplete(): void {}

  onUpstreamDrain(): void {
    this.#blocked = false;
    this.#queued = 0;
  }

  onUpstreamHeaders(status: number, headers: HeaderMap, endStream: boolean): void {
    // A response of trailers only has no initial metadata.
    this.#handler?.onGrpcInitialMetadata(endStream ? new HeaderMap() : headers);
    if (endStream && headers.has("grpc-status")) this.#finish(headers);
    else if (status !== 200) this.#giveUp(statusOfHttp(status), `HTTP status ${status}`, endStream);
    else if (endStream) this.#close(GrpcStatus.UNKNOWN, "response without grpc-status");
  }

  onUpstreamData(chunk: Buffer, endStream: boolean): void {
    this.#splitter.add(copyOf(chunk));
    for (;;) {
      const next = this.#splitter.next();
      if (next === null || this.#handler === null) break;
      if (!Buffer.isBuffer(next)) {
        this.#giveUp(next.status, next.text, endStream);
        return;
      }
      this.#handler.onGrpcStreamMessage(next);
    }
    if (endStream) this.#close(GrpcStatus.UNKNOWN, "response without grpc-status");
  }

  onUpstreamTrailers(trailers: HeaderMap): void {
    if (this.#splitter.clean) this.#finish(trailers);
    else this.#close(GrpcStatus.INTERNAL, "response ends in the middle of a message");
  }

  onUpstreamReset(reason: ResetReason, transportFailure: string): void {
    this.#close(statusOfReset(reason), failureReply(reason, transportFailure).body);
  }

  #finish(trailers: HeaderMap): void {
    this.#handler?.onGrpcTrailingMetadata(trailers);
    this.#close(parseStatus(trailers.get("grpc-status")), decodeMessage(trailers.get("grpc-message") ?? ""));
  }

  /** Fails while the response may still be coming. */
  #giveUp(status: number, text: string, ended: boolean): void {
    if (!ended) this.#request.reset();
    this.#close(status, text);
  }

  #close(status: number, text: string): void {
    const handler = this.#handler;
    this.#handler = null;
    handler?.onGrpcStreamClose(status, text);
    // The peer may be done before we are.
    if (!this.#ended) {
      this.#ended = true;
      this.#request.reset();
    }
  }
}

const NOTHING = Buffer.alloc(0);
