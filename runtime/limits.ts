/**
 * Every bound of the host: name, unit, reason. Nothing else in `runtime/` holds a bare limit.
 * Bounds that Envoy's configuration can change are defaults here and carry the field's name.
 */

// ---- HTTP/1 codec -------------------------------------------------------------------------------

/** Bytes of one message head. Envoy: `max_request_headers_kb`, default 60. */
export const MAX_HEAD_BYTES = 60 * 1024;
/** Header fields of one message. Envoy: `common_http_protocol_options.max_headers_count`, default 100. */
export const MAX_HEADERS = 100;
/** Bytes of one chunk-size line with its extensions: longer ones only waste memory. RFC 9112 section 7.1.1. */
export const MAX_CHUNK_LINE_BYTES = 256;
/** Bytes of a trailer section: the head's own bound, as in Envoy. */
export const MAX_TRAILER_BYTES = 60 * 1024;

// ---- Connections and streams --------------------------------------------------------------------

/** Bytes buffered per connection and direction before reading pauses. Envoy: `per_connection_buffer_limit_bytes`. */
export const CONNECTION_BUFFER_BYTES = 1024 * 1024;
/** Milliseconds a stream may go without any byte. Envoy: `stream_idle_timeout`, 5 minutes. */
export const STREAM_IDLE_TIMEOUT_MS = 300_000;
/** Milliseconds a downstream connection may stay without a stream. Envoy: `idle_timeout`, 1 hour. */
export const CONNECTION_IDLE_TIMEOUT_MS = 3_600_000;
/** Milliseconds from a head's first byte to its end: bounds slow heads. Envoy: `request_headers_timeout` (off there; a proxy open to the network should not wait for ever). */
export const REQUEST_HEAD_TIMEOUT_MS = 60_000;
/** Milliseconds from the whole request to the whole response. Envoy: `RouteAction.timeout`, 15 s. */
export const ROUTE_TIMEOUT_MS = 15_000;
/** Milliseconds a closing connection may take to be read out. Envoy: `delayed_close_timeout`, 1 s. */
export const DELAYED_CLOSE_TIMEOUT_MS = 1000;

// ---- Upstream -----------------------------------------------------------------------------------

/** Milliseconds to connect to a host. Envoy: `Cluster.connect_timeout`, 5 s. */
export const CONNECT_TIMEOUT_MS = 5000;
/** Milliseconds an unused upstream connection is kept. Envoy: `idle_timeout`, 1 hour. */
export const UPSTREAM_IDLE_TIMEOUT_MS = 3_600_000;
