/**
 * gRPC calls and streams. As with HTTP calls, answers come to methods of an object. What belongs to a stream
 * context that ends is cancelled with it.
 */
import * as Status from "../../abi/status.ts";
import { currentContext, enterStream, onContextEnd } from "./current.ts";
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
  readonly token: u32;
  /** Another call of the same context. */
  next: PendingCall | null = null;
  readonly contextId: u32;
  readonly callback: GrpcCallback;
  readonly unary: bool;
  constructor(token: u32, contextId: u32, callback: GrpcCallback, unary: bool) {
    this.token = token;
    this.contextId = contextId;
    this.callback = callback;
    this.unary = unary;
  }
}

/** By token. */
const pendingCalls = new IdTable<PendingCall>();
/** By context: the newest call. */
const callsOf = new IdTable<PendingCall>();

function remember(token: u32, callback: GrpcCallback, unary: bool): void {
  const call = new PendingCall(token, currentContext(), callback, unary);
  call.next = callsOf.get(call.contextId);
  callsOf.set(call.contextId, call);
  pendingCalls.set(token, call);
  onContextEnd(cancelCallsOf);
}

function forget(call: PendingCall): void {
  pendingCalls.delete(call.token);
  let before: PendingCall | null = null;
  let at = callsOf.get(call.contextId);
  while (at !== null && at !== call) {
    before = at;
    at = at.next;
  }
  if (at === null) return;
  if (before !== null) before.next = call.next;
  else if (call.next !== null) callsOf.set(call.contextId, call.next!);
  else callsOf.delete(call.contextId);
}

function cancelCallsOf(contextId: u32): void {
  let call = callsOf.get(contextId);
  callsOf.delete(contextId);
  while (call !== null) {
    pendingCalls.delete(call.token);
    env.proxy_grpc_cancel(call.token);
    call = call.next;
  }
}

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
  remember(token, callback, true);
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
  remember(token, callback, false);
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
  const call = pendingCalls.get(token);
  if (call === null) return;
  forget(call);
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
  if (pending.unary) forget(pending);
  if (!enterStream(pending.contextId)) return;
  pending.callback.onGrpcMessage(token, size);
}

/** From exports.ts: hands an event to its callback. */
export function dispatchGrpcClose(token: u32, status: i32): void {
  const pending = pendingCalls.get(token);
  if (pending === null) return;
  forget(pending);
  if (!enterStream(pending.contextId)) return;
  pending.callback.onGrpcClose(token, status);
}
