/**
 * The host functions of Proxy-Wasm 0.2.1, declared. The file's name is the import module's name (`env`).
 * Only what a filter's code reaches becomes an import of its module. Words of this ABI: a `…P` parameter is
 * an address to which the host writes; every result is a status of `abi/status.ts`.
 */

export declare function proxy_log(level: i32, message: usize, size: usize): i32;
export declare function proxy_get_log_level(levelP: usize): i32;
export declare function proxy_get_current_time_nanoseconds(timeP: usize): i32;
export declare function proxy_set_tick_period_milliseconds(period: i32): i32;

export declare function proxy_set_effective_context(id: u32): i32;
export declare function proxy_done(): i32;
export declare function proxy_get_status(codeP: usize, messagePP: usize, sizeP: usize): i32;

export declare function proxy_get_property(path: usize, pathSize: usize, valuePP: usize, sizeP: usize): i32;
export declare function proxy_set_property(path: usize, pathSize: usize, value: usize, size: usize): i32;

export declare function proxy_continue_stream(stream: i32): i32;
export declare function proxy_close_stream(stream: i32): i32;
export declare function proxy_send_local_response(
  status: i32,
  details: usize,
  detailsSize: usize,
  body: usize,
  bodySize: usize,
  headers: usize,
  headersSize: usize,
  grpcStatus: i32,
): i32;

export declare function proxy_get_header_map_value(
  map: i32,
  name: usize,
  nameSize: usize,
  valuePP: usize,
  sizeP: usize,
): i32;
export declare function proxy_add_header_map_value(
  map: i32,
  name: usize,
  nameSize: usize,
  value: usize,
  size: usize,
): i32;
export declare function proxy_replace_header_map_value(
  map: i32,
  name: usize,
  nameSize: usize,
  value: usize,
  size: usize,
): i32;
export declare function proxy_remove_header_map_value(map: i32, name: usize, nameSize: usize): i32;
export declare function proxy_get_header_map_pairs(map: i32, pairsPP: usize, sizeP: usize): i32;
export declare function proxy_set_header_map_pairs(map: i32, pairs: usize, size: usize): i32;
export declare function proxy_get_header_map_size(map: i32, sizeP: usize): i32;

export declare function proxy_get_buffer_bytes(
  buffer: i32,
  start: usize,
  max: usize,
  bytesPP: usize,
  sizeP: usize,
): i32;
export declare function proxy_get_buffer_status(buffer: i32, lengthP: usize, flagsP: usize): i32;
export declare function proxy_set_buffer_bytes(
  buffer: i32,
  start: usize,
  length: usize,
  bytes: usize,
  size: usize,
): i32;

export declare function proxy_http_call(
  upstream: usize,
  upstreamSize: usize,
  headers: usize,
  headersSize: usize,
  body: usize,
  bodySize: usize,
  trailers: usize,
  trailersSize: usize,
  timeoutMs: u32,
  tokenP: usize,
): i32;
export declare function proxy_grpc_call(
  upstream: usize,
  upstreamSize: usize,
  service: usize,
  serviceSize: usize,
  method: usize,
  methodSize: usize,
  metadata: usize,
  metadataSize: usize,
  message: usize,
  messageSize: usize,
  timeoutMs: u32,
  tokenP: usize,
): i32;
export declare function proxy_grpc_stream(
  upstream: usize,
  upstreamSize: usize,
  service: usize,
  serviceSize: usize,
  method: usize,
  methodSize: usize,
  metadata: usize,
  metadataSize: usize,
  tokenP: usize,
): i32;
export declare function proxy_grpc_send(token: u32, message: usize, size: usize, endOfStream: i32): i32;
export declare function proxy_grpc_cancel(token: u32): i32;
export declare function proxy_grpc_close(token: u32): i32;

export declare function proxy_get_shared_data(
  key: usize,
  keySize: usize,
  valuePP: usize,
  sizeP: usize,
  casP: usize,
): i32;
export declare function proxy_set_shared_data(key: usize, keySize: usize, value: usize, size: usize, cas: u32): i32;
export declare function proxy_register_shared_queue(name: usize, nameSize: usize, tokenP: usize): i32;
export declare function proxy_resolve_shared_queue(
  vmId: usize,
  vmIdSize: usize,
  name: usize,
  nameSize: usize,
  tokenP: usize,
): i32;
export declare function proxy_enqueue_shared_queue(token: u32, value: usize, size: usize): i32;
export declare function proxy_dequeue_shared_queue(token: u32, valuePP: usize, sizeP: usize): i32;

export declare function proxy_define_metric(kind: i32, name: usize, nameSize: usize, idP: usize): i32;
export declare function proxy_increment_metric(id: u32, offset: i64): i32;
export declare function proxy_record_metric(id: u32, value: i64): i32;
export declare function proxy_get_metric(id: u32, valueP: usize): i32;

export declare function proxy_call_foreign_function(
  name: usize,
  nameSize: usize,
  args: usize,
  argsSize: usize,
  resultPP: usize,
  sizeP: usize,
): i32;
