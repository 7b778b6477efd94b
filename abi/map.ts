/** Header maps of `proxy_get_header_map_value` and its kind (Proxy-Wasm `proxy_map_type_t`). */
export const HTTP_REQUEST_HEADERS = 0;
export const HTTP_REQUEST_TRAILERS = 1;
export const HTTP_RESPONSE_HEADERS = 2;
export const HTTP_RESPONSE_TRAILERS = 3;
export const GRPC_RECEIVE_INITIAL_METADATA = 4;
export const GRPC_RECEIVE_TRAILING_METADATA = 5;
export const HTTP_CALL_RESPONSE_HEADERS = 6;
export const HTTP_CALL_RESPONSE_TRAILERS = 7;
