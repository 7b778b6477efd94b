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

// ---- HTTP engine --------------------------------------------------------------------------------

/** Milliseconds of one slice of a paced response. Envoy: `StreamRateLimiter`, 50 ms. */
export const PACE_SLICE_MS = 50;
/** Bytes of request body kept so that a request can be sent again; past it the request is sent once. Envoy: buffer limit of the stream; less here, since it is kept for every request with a body. */
export const REPLAY_BODY_BYTES = 64 * 1024;
/** Bytes up to which a head and the body that follows it are written as one piece. Larger ones cost more to copy than to write twice. */
export const COALESCE_BYTES = 16 * 1024;

// ---- Observe ------------------------------------------------------------------------------------

/** Names of statistics per thread: each costs memory on every thread, and some names come from traffic. */
export const MAX_STAT_NAMES = 200_000;
/** Characters of one statistic's name. */
export const MAX_STAT_NAME_LENGTH = 1024;
/** Doubles in one shared page of statistics (32 KiB): big enough for a small configuration, cheap if nearly empty. */
export const STAT_PAGE_SLOTS = 4096;
/** Bytes of access log after which a file is written at once. Envoy: `--file-flush-min-size-kb`, 64. */
export const ACCESS_LOG_FLUSH_BYTES = 64 * 1024;
/** Milliseconds until buffered access log is written. Envoy: `--file-flush-interval-msec`, 10 s. */
export const ACCESS_LOG_FLUSH_INTERVAL_MS = 10_000;
/** The same for stdout and stderr: somebody may be looking at them. */
export const ACCESS_LOG_STREAM_FLUSH_INTERVAL_MS = 100;
/** Bytes of access log waiting for a disk or pipe that takes none: more is dropped and counted. */
export const ACCESS_LOG_BUFFER_BYTES = 4 * 1024 * 1024;
/** Milliseconds before a full pipe is tried again. */
export const ACCESS_LOG_RETRY_MS = 20;
