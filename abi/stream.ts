/** Streams of `proxy_continue_stream` and `proxy_close_stream` (Proxy-Wasm `proxy_stream_type_t`). */
export const REQUEST = 0;
export const RESPONSE = 1;
export const DOWNSTREAM = 2;
export const UPSTREAM = 3;
