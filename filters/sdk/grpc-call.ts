/**
 * gRPC calls and streams. As with HTTP calls, answers come to methods of an object. What belongs to a stream
 * context that ends is cancelled with it.
 */
import * as Status from "../../abi/status.ts";
import { currentContext, enterStream } from "./current.ts";
import * as env from "./env.ts";
import { IdTable } from "./id-table.ts";
import { beginCall, bytesSize, resultP, resultSizeP, scalarP, takeUtf8, utf8Of } from "./memory.ts";
import { Pairs } from "./pairs.ts";

/** Gets the answer of a gRPC call. */
export interface GrpcCallback {
  /** A message; read it through `grpcMessage`. A successful unary call ends with it: no close follows. */
  onGrpcMessage(token: u32, size: u32): void;
  /** The call is over with this status (abi/grpc-status.ts); `grpcStatusMessage()` tells why. */
  onGrpcClose(token: u32, status: i32): void;
}

class PendingCall {
  readonly contextId: u32;
  readonly callback: GrpcCallback;
  readonly unary: bool;
  constructor(contextId: u32, callback: GrpcCallback, unary: bool) {
    this.contextId = contextId;
    this.callback = callback;
    this.unary = unary;
  }
}

const pendingCalls = new IdTable<PendingCall>();

/**
 * A unary gRPC call. `upstream` is a cluster's name, or a serialized `envoy.config.core.v3.GrpcService`. Returns
 * its token, 0 when it could not be started.
 */
export function grpcCall<U>(
  upstream: U,
  service: string,
  method: string,
  message: ArrayBuffer,
  timeoutMs: u32,
  callback: GrpcCallback,
  metadata: Pairs | null = null,
): u32 {
  const metadataBytes = metadata === null ? new ArrayBuffer(0) : metadata.encode();
  beginCall();
  const upstreamAt = utf8Of<U>(upstream);
  const upstreamSize = bytesSize;
  const serviceAt = utf8Of<string>(service);
  const serviceSize = bytesSize;
  const methodAt = utf8Of<string>(method);
  const status = env.proxy_grpc_call(
    upstreamAt,
    upstreamSize,
    serviceAt,
    serviceSize,
    methodAt,
    bytesSize,
    changetype<usize>(metadataBytes),
    metadataBytes.byteLength,
    changetype<usize>(message),
    message.byteLength,
    timeoutMs,
    scalarP,
  );
  if (status != Status.OK) return 0;
  const token = load<u32>(scalarP);
  pendingCalls.set(token, new PendingCall(currentContext(), callback, true));
  return token;
}

/** Opens a gRPC stream in the same way; 0 when it could not be started. */
export function grpcStream<U>(
  upstream: U,
  service: string,
  method: string,
  callback: GrpcCallback,
  metadata: Pairs | null = null,
): u32 {
  const metadataBytes = metadata === null ? new ArrayBuffer(0) : metadata.encode();
  beginCall();
  const upstreamAt = utf8Of<U>(upstream);
  const upstreamSize = bytesSize;
  const serviceAt = utf8Of<string>(service);
  const serviceSize = bytesSize;
  const methodAt = utf8Of<string>(method);
  const status = env.proxy_grpc_stream(
    upstreamAt,
    upstreamSize,
    serviceAt,
    serviceSize,
    methodAt,
    bytesSize,
    changetype<usize>(metadataBytes),
    metadataBytes.byteLength,
    scalarP,
  );
  if (status != Status.OK) return 0;
  const token = load<u32>(scalarP);
  pendingCalls.set(token, new PendingCall(currentContext(), callback, false));
  return token;
}

/** Sends a message on a gRPC stream; `endOfStream` closes our side. */
export function sendGrpcMessage(token: u32, message: ArrayBuffer, endOfStream: bool): bool {
  return env.proxy_grpc_send(token, changetype<usize>(message), message.byteLength, <i32>endOfStream) == Status.OK;
}

/** Closes our side of a gRPC stream. */
export function closeGrpcStream(token: u32): void {
  env.proxy_grpc_close(token);
}

/** Gives a call or stream up; its callback is not called any more. */
export function cancelGrpcCall(token: u32): void {
  pendingCalls.delete(token);
  env.proxy_grpc_cancel(token);
}

/** In `onGrpcClose`: the message that came with the status. */
export function grpcStatusMessage(): string {
  store<usize>(resultP, 0);
  store<usize>(resultSizeP, 0);
  return env.proxy_get_status(scalarP, resultP, resultSizeP) == Status.OK ? takeUtf8() : "";
}

/** From exports.ts: hands an event to its callback. */
export function dispatchGrpcMessage(token: u32, size: u32): void {
  const pending = pendingCalls.get(token);
  if (pending === null) return;
  if (pending.unary) pendingCalls.delete(token);
  if (!enterStream(pending.contextId)) return;
  pending.callback.onGrpcMessage(token, size);
}

/** From exports.ts: hands an event to its callback. */
export function dispatchGrpcClose(token: u32, status: i32): void {
  const pending = pendingCalls.get(token);
  if (pending === null) return;
  pendingCalls.delete(token);
  if (!enterStream(pending.contextId)) return;
  pending.callback.onGrpcClose(token, status);
}
