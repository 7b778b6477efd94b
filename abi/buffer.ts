/** Buffers of `proxy_get_buffer_bytes` and its kind (Proxy-Wasm `proxy_buffer_type_t`). */
export const HTTP_REQUEST_BODY = 0;
export const HTTP_RESPONSE_BODY = 1;
export const DOWNSTREAM_DATA = 2;
export const UPSTREAM_DATA = 3;
export const HTTP_CALL_RESPONSE_BODY = 4;
export const GRPC_RECEIVE_BUFFER = 5;
export const VM_CONFIGURATION = 6;
export const PLUGIN_CONFIGURATION = 7;
export const CALL_DATA = 8;
