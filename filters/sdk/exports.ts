/**
 * The module's exports: find the context, call it, return its number. The build adds this file to every
 * filter and drops the exports whose method no class of the filter overrides (filters/build/callbacks.ts).
 */
import * as Action from "../../abi/action.ts";
import { pluginConfiguration } from "./body.ts";
import { createContext, roots, streams } from "./contexts.ts";
import { endContext, enter, leave } from "./current.ts";
import { dispatchGrpcClose, dispatchGrpcMessage } from "./grpc-call.ts";
import { dispatchHttpResponse } from "./http-call.ts";
import { allocate } from "./memory.ts";

export function proxy_abi_version_0_2_1(): void {}

export function proxy_on_memory_allocate(size: usize): usize {
  return allocate(size);
}
export function malloc(size: usize): usize {
  return allocate(size);
}

export function proxy_on_context_create(id: u32, parentId: u32): void {
  const previous = enter(id);
  createContext(id, parentId);
  leave(previous, streams.size);
}

export function proxy_on_vm_start(id: u32, size: u32): i32 {
  const root = roots.get(id);
  if (root === null) return 1;
  const previous = enter(id);
  const ok = root.onVmStart(size);
  leave(previous, streams.size);
  return <i32>ok;
}

export function proxy_on_configure(id: u32, _size: u32): i32 {
  const root = roots.get(id);
  if (root === null) return 0;
  const previous = enter(id);
  const bytes = pluginConfiguration.bytes();
  const ok = root.onConfigure(bytes === null ? new ArrayBuffer(0) : bytes);
  leave(previous, streams.size);
  return <i32>ok;
}

export function proxy_on_tick(id: u32): void {
  const root = roots.get(id);
  if (root === null) return;
  const previous = enter(id);
  root.onTick();
  leave(previous, streams.size);
}

export function proxy_on_queue_ready(id: u32, token: u32): void {
  const root = roots.get(id);
  if (root === null) return;
  const previous = enter(id);
  root.onQueueReady(token);
  leave(previous, streams.size);
}

export function proxy_on_request_headers(id: u32, headers: u32, endOfStream: i32): i32 {
  const stream = streams.get(id);
  if (stream === null) return Action.CONTINUE;
  const previous = enter(id);
  const action = stream.onRequestHeaders(headers, endOfStream != 0);
  leave(previous, streams.size);
  return action;
}

export function proxy_on_request_body(id: u32, size: u32, endOfStream: i32): i32 {
  const stream = streams.get(id);
  if (stream === null) return Action.CONTINUE;
  const previous = enter(id);
  const action = stream.onRequestBody(size, endOfStream != 0);
  leave(previous, streams.size);
  return action;
}

export function proxy_on_request_trailers(id: u32, trailers: u32): i32 {
  const stream = streams.get(id);
  if (stream === null) return Action.CONTINUE;
  const previous = enter(id);
  const action = stream.onRequestTrailers(trailers);
  leave(previous, streams.size);
  return action;
}

export function proxy_on_response_headers(id: u32, headers: u32, endOfStream: i32): i32 {
  const stream = streams.get(id);
  if (stream === null) return Action.CONTINUE;
  const previous = enter(id);
  const action = stream.onResponseHeaders(headers, endOfStream != 0);
  leave(previous, streams.size);
  return action;
}

export function proxy_on_response_body(id: u32, size: u32, endOfStream: i32): i32 {
  const stream = streams.get(id);
  if (stream === null) return Action.CONTINUE;
  const previous = enter(id);
  const action = stream.onResponseBody(size, endOfStream != 0);
  leave(previous, streams.size);
  return action;
}

export function proxy_on_response_trailers(id: u32, trailers: u32): i32 {
  const stream = streams.get(id);
  if (stream === null) return Action.CONTINUE;
  const previous = enter(id);
  const action = stream.onResponseTrailers(trailers);
  leave(previous, streams.size);
  return action;
}

export function proxy_on_new_connection(id: u32): i32 {
  const stream = streams.get(id);
  if (stream === null) return Action.CONTINUE;
  const previous = enter(id);
  const action = stream.onNewConnection();
  leave(previous, streams.size);
  return action;
}

export function proxy_on_downstream_data(id: u32, size: u32, endOfStream: i32): i32 {
  const stream = streams.get(id);
  if (stream === null) return Action.CONTINUE;
  const previous = enter(id);
  const action = stream.onDownstreamData(size, endOfStream != 0);
  leave(previous, streams.size);
  return action;
}

export function proxy_on_upstream_data(id: u32, size: u32, endOfStream: i32): i32 {
  const stream = streams.get(id);
  if (stream === null) return Action.CONTINUE;
  const previous = enter(id);
  const action = stream.onUpstreamData(size, endOfStream != 0);
  leave(previous, streams.size);
  return action;
}

export function proxy_on_downstream_connection_close(id: u32, peer: i32): void {
  const stream = streams.get(id);
  if (stream === null) return;
  const previous = enter(id);
  stream.onDownstreamClose(peer);
  leave(previous, streams.size);
}

export function proxy_on_upstream_connection_close(id: u32, peer: i32): void {
  const stream = streams.get(id);
  if (stream === null) return;
  const previous = enter(id);
  stream.onUpstreamClose(peer);
  leave(previous, streams.size);
}

export function sluice_on_timer(id: u32): void {
  const stream = streams.get(id);
  if (stream === null) return;
  const previous = enter(id);
  stream.onTimer();
  leave(previous, streams.size);
}

export function proxy_on_http_call_response(id: u32, token: u32, headers: u32, bodySize: u32, trailers: u32): void {
  const previous = enter(id);
  dispatchHttpResponse(token, headers, bodySize, trailers);
  leave(previous, streams.size);
}

export function proxy_on_grpc_receive(id: u32, token: u32, size: u32): void {
  const previous = enter(id);
  dispatchGrpcMessage(token, size);
  leave(previous, streams.size);
}

export function proxy_on_grpc_close(id: u32, token: u32, status: i32): void {
  const previous = enter(id);
  dispatchGrpcClose(token, status);
  leave(previous, streams.size);
}

export function proxy_on_done(id: u32): i32 {
  const previous = enter(id);
  const stream = streams.get(id);
  let done: bool = true;
  if (stream !== null) done = stream.onDone();
  else {
    const root = roots.get(id);
    if (root !== null) done = root.onDone();
  }
  leave(previous, streams.size);
  return <i32>done;
}

export function proxy_on_log(id: u32): void {
  const previous = enter(id);
  const stream = streams.get(id);
  if (stream !== null) stream.onLog();
  else {
    const root = roots.get(id);
    if (root !== null) root.onLog();
  }
  leave(previous, streams.size);
}

export function proxy_on_delete(id: u32): void {
  const previous = enter(id);
  endContext(id);
  const stream = streams.get(id);
  if (stream !== null) {
    stream.onDelete();
    streams.delete(id);
  } else {
    const root = roots.get(id);
    if (root !== null) root.onDelete();
    roots.delete(id);
  }
  leave(previous, streams.size);
}
