/**
 * One upstream request: sent down by method calls, answered up through one interface. The router, HTTP
 * calls of guests and anything else that talks to a host use this and know neither pool nor protocol.
 */
import type { HeaderMap } from "../codec/headers.ts";
import type { ResetReason } from "../errors.ts";
import type { SecureFacts } from "../observe/stream-info.ts";
import type { PickContext } from "./pick.ts";

/** Events of one upstream request. After `onUpstreamReset`, or after the call that ended the response, none comes. */
export interface UpstreamHandler {
  /**
   * A connection was assigned; `address` is `ip:port`. Called before any other event of the attempt but a reset,
   * and within `sendHeaders` when a connection was at hand. `secure`: its TLS; null: it has none.
   */
  onUpstreamReady(address: string, localAddress: string, secure: SecureFacts | null): void;
  onUpstreamInformational(status: number, headers: HeaderMap): void;
  /** The map holds `:status` first. Hop-by-hop fields are already gone. */
  onUpstreamHeaders(status: number, headers: HeaderMap, endStream: boolean): void;
  /** The bytes are the handler's only until it returns: what it keeps it copies. */
  onUpstreamData(chunk: Buffer, endStream: boolean): void;
  onUpstreamTrailers(trailers: HeaderMap): void;
  /**
   * `requestUnsent`: not one byte of the request reached the host, or the connection was a reused one that
   * was already dead: trying again is safe whatever the method.
   */
  onUpstreamReset(reason: ResetReason, transportFailure: string, requestUnsent: boolean): void;
  /** The request direction can take more again after `sendData` returned false. */
  onUpstreamDrain(): void;
  /** The bytes read from the upstream socket in one go have all been delivered: flush what is held. */
  onUpstreamReadComplete(): void;
}

/** One attempt at one host of one cluster. */
export interface UpstreamRequest {
  /** Name of the host that was picked (endpoint.hostname, or the DNS name it came from); "" when it has none. */
  readonly hostname: string;
  /** Where the picked host is, as in `onUpstreamReady`; "" when none was picked. */
  readonly address: string;
  /** Bytes that were handed over and that the system has not taken yet. */
  readonly unsentBytes: number;
  /**
   * `headers` holds `:method`, `:path`, `:authority`, `:scheme`. `upgrade`: they ask for the protocol in their field
   * `upgrade`; data follows only once the response has status 101.
   */
  sendHeaders(headers: HeaderMap, endStream: boolean, upgrade?: boolean): void;
  /** False: more is taken, but the caller should stop until `onUpstreamDrain`. */
  sendData(chunk: Buffer, endStream: boolean): boolean;
  sendTrailers(trailers: HeaderMap): void;
  /** Writes what is held back to be sent in one go. */
  flush(): void;
  pauseReading(): void;
  resumeReading(): void;
  /**
   * Abandons the request; no event follows. The connection is closed unless it can be kept.
   * `timedOut`: it took too long, which is held against the host (`rq_timeout`).
   */
  reset(timedOut?: boolean): void;
}

/** A cluster as its users see it; one per worker and configured cluster. */
export interface Upstream {
  readonly name: string;
  /**
   * Picks a host and a connection (or queues); events may come at once only from a later task. `context` is what
   * a cluster may pick the host by; calls that belong to no stream have none.
   */
  request(handler: UpstreamHandler, context?: PickContext): UpstreamRequest;
  /**
   * The same over a connection of its own that carries the body as it is, and brings the response's body: its head is
   * made here, of status 200, once there is a connection.
   */
  raw(handler: UpstreamHandler, context?: PickContext): UpstreamRequest;
  /** Number of hosts known now. */
  readonly hostCount: number;
  /** It is not in force any more: whoever keeps it looks for another one of its name. Absent: it always is. */
  readonly retired?: boolean;
}

/** All clusters of a worker. */
export interface Upstreams {
  get(name: string): Upstream | undefined;
}

/** Answer of one unary gRPC call: exactly one of the two is called, from a later task. */
export interface GrpcHandler {
  onGrpcMessage(message: Buffer): void;
  /** `status` is a gRPC status other than 0 (DEADLINE_EXCEEDED, UNAVAILABLE, … or the peer's own). */
  onGrpcFailure(status: number, message: string): void;
}

/** Answer of one buffered HTTP call: exactly one of the two is called, from a later task. */
export interface HttpCallHandler {
  onHttpCallResponse(headers: HeaderMap, body: Buffer, trailers: HeaderMap): void;
  onHttpCallFailure(reason: ResetReason): void;
}

/** A call that can be given up: no event follows. */
export interface Call {
  cancel(): void;
}
