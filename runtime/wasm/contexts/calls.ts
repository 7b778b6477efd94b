/**
 * HTTP calls, gRPC calls and gRPC streams that a plugin has open, each under a token. Their answers go to the root
 * context; maps and bodies are readable while the callback runs that hands them over.
 */
import * as BufferType from "../../../abi/buffer.ts";
import * as MapType from "../../../abi/map.ts";
import * as Status from "../../../abi/status.ts";
import type { HeaderMap } from "../../codec/headers.ts";
import { MAX_OPEN_CALL_BYTES, MAX_OPEN_CALLS } from "../../limits.ts";
import { grpcUnary } from "../../upstream/grpc-call.ts";
import type { GrpcUnary } from "../../upstream/grpc-call.ts";
import { GrpcStream } from "../../upstream/grpc-stream.ts";
import type { GrpcStreamHandler, GrpcStreamTarget } from "../../upstream/grpc-stream.ts";
import { httpCall } from "../../upstream/http-call.ts";
import type { HttpCallRequest } from "../../upstream/http-call.ts";
import type { Call, GrpcHandler, HttpCallHandler, Upstream } from "../../upstream/request.ts";
import type { Question } from "../values/stream-properties.ts";
import type { RootContext } from "./root-context.ts";

/** The low bits of a token tell its kind, as in Envoy: HTTP calls 4, 8, 12 …, gRPC calls 5, 9 …, gRPC streams 6, 10 … */
const TOKEN_STEP = 4;
const Kind = { HTTP: 0, GRPC_CALL: 1, GRPC_STREAM: 2 } as const;

export class RootCalls {
  readonly #root: RootContext;
  readonly #open = new Map<number, Call>();
  readonly #streams = new Map<number, GrpcStream>();
  /** Bytes that each open call keeps, and all of them. */
  readonly #sizes = new Map<number, number>();
  #kept = 0;
  #lastToken = 0;
  #headers: HeaderMap | null = null;
  #trailers: HeaderMap | null = null;
  #body: Buffer | null = null;
  #initialMetadata: HeaderMap | null = null;
  #trailingMetadata: HeaderMap | null = null;
  #message: Buffer | null = null;

  constructor(root: RootContext) {
    this.#root = root;
  }

  /** Starts an HTTP call; 0 when the cluster is unknown or too many calls are open. */
  http(cluster: string, request: HttpCallRequest): number {
    const { headers, body, trailers } = request;
    const size = body.length + sizeOf(headers) + sizeOf(trailers);
    const upstream = this.#upstream(cluster, size);
    if (upstream === undefined) return 0;
    this.#note(cluster, [headers, body, trailers]);
    const token = this.#newToken(Kind.HTTP, size);
    this.#open.set(token, httpCall(upstream, request, this.#httpHandler(token)));
    return token;
  }

  /** Starts a unary gRPC call; 0 as above. */
  grpc(cluster: string, request: GrpcUnary): number {
    const size = request.message.length + sizeOf(request.metadata);
    const upstream = this.#upstream(cluster, size);
    if (upstream === undefined) return 0;
    this.#note(cluster, [request.service, request.method, request.metadata, request.message]);
    const token = this.#newToken(Kind.GRPC_CALL, size);
    this.#open.set(token, grpcUnary(upstream, request, this.#grpcHandler(token)));
    return token;
  }

  /** Opens a gRPC stream; 0 as above. */
  grpcStream(cluster: string, target: GrpcStreamTarget): number {
    const size = sizeOf(target.metadata);
    const upstream = this.#upstream(cluster, size);
    if (upstream === undefined) return 0;
    this.#note(cluster, [target.service, target.method, target.metadata]);
    const token = this.#newToken(Kind.GRPC_STREAM, size);
    const stream = new GrpcStream(upstream, target, this.#streamHandler(token));
    this.#open.set(token, stream);
    this.#streams.set(token, stream);
    return token;
  }

  /** Sends a message on a stream. Returns a status. */
  send(token: number, message: Uint8Array, endStream: boolean): number {
    if (token % TOKEN_STEP !== Kind.GRPC_STREAM) return Status.BAD_ARGUMENT;
    const stream = this.#streams.get(token);
    if (stream === undefined) return Status.NOT_FOUND;
    return stream.send(message, endStream) ? Status.OK : Status.BAD_ARGUMENT;
  }

  /** Gives a gRPC call or stream up: no callback follows. Returns a status. */
  cancel(token: number): number {
    const kind = token % TOKEN_STEP;
    if (kind !== Kind.GRPC_CALL && kind !== Kind.GRPC_STREAM) return Status.BAD_ARGUMENT;
    const call = this.#open.get(token);
    if (call === undefined) return Status.NOT_FOUND;
    this.#forget(token);
    call.cancel();
    return Status.OK;
  }

  /** Closes our side of a stream; what the peer still sends is delivered. A unary call is given up. Returns a status. */
  close(token: number): number {
    const stream = this.#streams.get(token);
    if (stream === undefined) return this.cancel(token);
    stream.close();
    return Status.OK;
  }

  cancelAll(): void {
    for (const call of this.#open.values()) call.cancel();
    this.#open.clear();
    this.#streams.clear();
    this.#sizes.clear();
    this.#kept = 0;
  }

  /** Maps 4 to 7. */
  map(type: number): HeaderMap | null {
    switch (type) {
      case MapType.GRPC_RECEIVE_INITIAL_METADATA:
        return this.#initialMetadata;
      case MapType.GRPC_RECEIVE_TRAILING_METADATA:
        return this.#trailingMetadata;
      case MapType.HTTP_CALL_RESPONSE_HEADERS:
        return this.#headers;
      default:
        return this.#trailers;
    }
  }

  /** Buffers 4 and 5. */
  buffer(type: number): Buffer | null {
    return type === BufferType.HTTP_CALL_RESPONSE_BODY ? this.#body : this.#message;
  }

  #upstream(cluster: string, size: number): Upstream | undefined {
    if (this.#open.size >= MAX_OPEN_CALLS || this.#root.deleted) return undefined;
    if (this.#kept + size > MAX_OPEN_CALL_BYTES) return undefined;
    const upstream = this.#root.instance.facts.environment.upstreams.get(cluster);
    const { answers } = this.#root.plugin;
    return upstream === undefined || answers === null ? upstream : answers.tapped(upstream);
  }

  /** It is the stream's act whose callback runs, whichever context the guest has chosen to call from. */
  #note(cluster: string, question: Question): void {
    this.#root.instance.current.facts?.acts?.called(cluster, question);
  }

  #newToken(kind: number, size: number): number {
    do {
      this.#lastToken = (this.#lastToken + TOKEN_STEP) & 0x7fff_fffc;
    } while (this.#lastToken === 0 || this.#open.has(this.#lastToken + kind));
    this.#sizes.set(this.#lastToken + kind, size);
    this.#kept += size;
    return this.#lastToken + kind;
  }

  #forget(token: number): boolean {
    this.#kept -= this.#sizes.get(token) ?? 0;
    this.#sizes.delete(token);
    this.#streams.delete(token);
    return this.#open.delete(token);
  }

  #failed(code: number, message: string): void {
    this.#root.statusCode = code;
    this.#root.statusMessage = message;
  }

  #httpHandler(token: number): HttpCallHandler {
    return {
      onHttpCallResponse: (headers, body, trailers) => {
        if (!this.#forget(token)) return;
        this.#headers = headers;
        this.#body = body;
        this.#trailers = trailers;
        this.#root.answer("proxy_on_http_call_response", [token, headers.size, body.length, trailers.size]);
        this.#headers = this.#trailers = this.#body = null;
      },
      onHttpCallFailure: (reason) => {
        if (!this.#forget(token)) return;
        this.#failed(Status.BROKEN_CONNECTION, reason);
        this.#root.answer("proxy_on_http_call_response", [token, 0, 0, 0]);
      },
    };
  }

  #grpcHandler(token: number): GrpcHandler {
    return {
      onGrpcMessage: (message) => {
        if (this.#forget(token)) this.#receive(token, message);
      },
      onGrpcFailure: (status, message) => {
        if (!this.#forget(token)) return;
        this.#failed(status, message);
        this.#root.answer("proxy_on_grpc_close", [token, status]);
      },
    };
  }

  #streamHandler(token: number): GrpcStreamHandler {
    return {
      onGrpcInitialMetadata: (metadata) => {
        this.#initialMetadata = metadata;
        this.#root.answer("proxy_on_grpc_receive_initial_metadata", [token, metadata.size]);
        this.#initialMetadata = null;
      },
      onGrpcStreamMessage: (message) => this.#receive(token, message),
      onGrpcTrailingMetadata: (metadata) => {
        this.#trailingMetadata = metadata;
        this.#root.answer("proxy_on_grpc_receive_trailing_metadata", [token, metadata.size]);
        this.#trailingMetadata = null;
      },
      onGrpcStreamClose: (status, message) => {
        if (!this.#forget(token)) return;
        this.#failed(status, message);
        this.#root.answer("proxy_on_grpc_close", [token, status]);
      },
    };
  }

  #receive(token: number, message: Buffer): void {
    this.#message = message;
    this.#root.answer("proxy_on_grpc_receive", [token, message.length]);
    this.#message = null;
  }
}

function sizeOf(map: HeaderMap | null): number {
  let size = 0;
  for (const text of map?.list ?? []) size += text.length;
  return size;
}
