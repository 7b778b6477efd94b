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
/** Bytes of chunk extensions of one message: they are dropped, so more is only a way to waste CPU (Node's bound is the same). */
export const MAX_CHUNK_EXTENSION_BYTES = 16 * 1024;
/** Empty lines tolerated before a request line. RFC 9112 section 2.2: some old senders append one to a body. */
export const MAX_EMPTY_LINES = 2;
/** Informational responses before a final one: more is an upstream in a loop. */
export const MAX_INFORMATIONAL = 100;
/** Bytes of a head whose fields a parser remembers to recognise the next one at once: bounds what an idle connection holds. */
export const MAX_REMEMBERED_HEAD_BYTES = 2048;

// ---- Connections and streams --------------------------------------------------------------------

/** Bytes buffered per connection and direction before reading pauses. Envoy: `per_connection_buffer_limit_bytes`. */
export const CONNECTION_BUFFER_BYTES = 1024 * 1024;
/** Bytes of the buffer that all downstream connections of a thread are read into. */
export const DOWNSTREAM_READ_BYTES = 64 * 1024;
/** Milliseconds a stream may go without any byte. Envoy: `stream_idle_timeout`, 5 minutes. */
export const STREAM_IDLE_TIMEOUT_MS = 300_000;
/** Milliseconds a downstream connection may stay without a stream. Envoy: `idle_timeout`, 1 hour. */
export const CONNECTION_IDLE_TIMEOUT_MS = 3_600_000;
/** Milliseconds from a head's first byte to its end: bounds slow heads. Envoy: `request_headers_timeout` (off there; a proxy open to the network should not wait for ever). */
export const REQUEST_HEAD_TIMEOUT_MS = 60_000;
/** Milliseconds from the whole request to the whole response. Envoy: `RouteAction.timeout`, 15 s. */
export const ROUTE_TIMEOUT_MS = 15_000;
/** Milliseconds between the two signs of a graceful end: no more streams, and the end. Envoy: `drain_timeout`, 5 s. */
export const HTTP_DRAIN_TIMEOUT_MS = 5000;
/** Milliseconds up to which the first retry of a request waits. Envoy: `retry_back_off.base_interval`, 25 ms. */
export const RETRY_BASE_INTERVAL_MS = 25;
/** Weights of the clusters of one route, or of one tcp_proxy, added up: 32 bits wide in Envoy. */
export const MAX_TOTAL_WEIGHT = 0xffff_ffff;
/** Tries of a request, or of a fetch, after the first one. Envoy: `num_retries`. */
export const NUM_RETRIES = 1;
/** Times the first wait that later ones grow to. Envoy: `max_interval`, ten times `base_interval`. */
export const BACKOFF_MAX_FACTOR = 10;
/** Milliseconds a closing connection may take to be read out. Envoy: `delayed_close_timeout`, 1 s. */
export const DELAYED_CLOSE_TIMEOUT_MS = 1000;
/** What a timer of Node takes at most, in milliseconds, 25 days: a longer one would fire at once. Longer times are waited for in parts. */
export const MAX_TIMER_MS = 0x7fff_ffff;

// ---- Listeners ----------------------------------------------------------------------------------

/** Milliseconds that listener filters may wait for first bytes. Envoy: `listener_filters_timeout`, 15 s. */
export const LISTENER_FILTERS_TIMEOUT_MS = 15_000;
/** Bytes that listener filters may ask for before a chain is chosen: the largest header of the PROXY protocol has 65,551 (Envoy: 64 KiB). */
export const MAX_LISTENER_FILTER_BYTES = 65 * 1024;
/** Bytes of a TLS hello that a `tls_inspector` reads. Envoy: `max_client_hello_size`, 16 KiB. */
export const MAX_CLIENT_HELLO_BYTES = 16 * 1024;
/** Bytes of a request line that an `http_inspector` waits for. Envoy: 8 KiB. */
export const MAX_HTTP_INSPECTOR_BYTES = 8 * 1024;
/** Combinations of the lists in the filter chain matches of one listener: each takes memory in every worker. */
export const MAX_FILTER_CHAIN_PLACES = 200_000;

/** Milliseconds that a connection of tcp_proxy may go without any byte. Envoy: `idle_timeout`, 1 hour. */
export const TCP_IDLE_TIMEOUT_MS = 3_600_000;
/** Milliseconds up to which tcp_proxy waits before its second attempt to connect, where `backoff_options` says nothing: Envoy's rules want it to. */
export const TCP_BACKOFF_BASE_MS = 500;
/** Bytes that the network filter direct_response sends: it is made for a line of text. */
export const MAX_DIRECT_RESPONSE_BYTES = 64 * 1024;

// ---- TLS ----------------------------------------------------------------------------------------

/** Bytes of one file with certificates, keys or revocations: lists of a large authority have some hundred KiB. */
export const MAX_SECRET_BYTES = 4 * 1024 * 1024;
/** Milliseconds from a change in a folder of certificates until its files are read again: certificate and key change one after the other. */
export const SECRET_SETTLE_MS = 100;
/** Milliseconds of a TLS handshake, where no `transport_socket_connect_timeout` says otherwise: Envoy waits for ever, which is what slow attackers want. */
export const TLS_HANDSHAKE_TIMEOUT_MS = 15_000;
/** Sessions that one listener's filter chain keeps on a worker for downstreams without tickets. OpenSSL: 20,480. */
export const MAX_TLS_SESSIONS = 10_000;
/** Seconds that a downstream may take a session up again. BoringSSL's default, which Envoy has: 2 hours. */
export const TLS_SESSION_SECONDS = 7200;
/** Milliseconds for which one key of session tickets of ours is used, where the configuration has none: BoringSSL's 2 days. */
export const TICKET_KEY_LIFE_MS = 2 * 86_400_000;
/** Rounds of the key derivation of a PKCS #12 file: tools write 2,048 to 600,000; a million takes half a second. */
export const MAX_KEY_ITERATIONS = 1_000_000;
/** Certificates of a chain above the leaf. OpenSSL's own bound, and Envoy's. */
export const MAX_VERIFY_DEPTH = 100;

// ---- Upstream -----------------------------------------------------------------------------------

/** Milliseconds to connect to a host. Envoy: `Cluster.connect_timeout`, 5 s. */
export const CONNECT_TIMEOUT_MS = 5000;
/** Milliseconds after which a host of an ORIGINAL_DST cluster that took nothing is forgotten. Envoy: `cleanup_interval`, 5 s. */
export const ORIGINAL_DST_CLEANUP_MS = 5000;
/** Hosts of one ORIGINAL_DST cluster per worker: a header may name any number of them. */
export const MAX_ORIGINAL_DST_HOSTS = 10_000;
/** Connections of one cluster in each worker. Envoy: `circuit_breakers.thresholds.max_connections`. */
export const CLUSTER_CONNECTIONS = 1024;
/** Requests of one cluster that wait for a connection in each worker. Envoy: `max_pending_requests`. */
export const CLUSTER_PENDING_REQUESTS = 1024;
/** Requests of one cluster under way in each worker. Envoy: `max_requests`. */
export const CLUSTER_REQUESTS = 1024;
/** Retries of one cluster that run or wait in each worker. Envoy: `max_retries`, and `retry_budget.min_retry_concurrency`. */
export const CLUSTER_RETRIES = 3;
/** Percent of the requests under way that may be retries, where there is a budget. Envoy: `retry_budget.budget_percent`. */
export const RETRY_BUDGET_PERCENT = 20;
/** Milliseconds between look-ups of a name. Envoy: `dns_refresh_rate`, 5 s. */
export const DNS_REFRESH_MS = 5000;
/** Hosts that LEAST_REQUEST draws, to take the least busy. Envoy: `choice_count`. */
export const LEAST_REQUEST_CHOICES = 2;
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
/** Milliseconds that the process log, which blocks its thread, waits before it tries a full pipe again. */
export const LOG_RETRY_MS = 1;
/** Tries before the rest of a log line is given up: a reader that stands still must not stop the proxy. */
export const LOG_RETRIES = 100;

// ---- Wasm: modules and guests -------------------------------------------------------------------

/** Bytes of one module: the largest published filters have about 20 MiB. */
export const MAX_MODULE_BYTES = 64 * 1024 * 1024;
/** Functions, globals or segments of one module. V8's own bound. */
export const MAX_MODULE_FUNCTIONS = 1_000_000;
/** Bytes of one function's code, and of all code, once fuel is counted in it. The first is V8's own bound. */
export const MAX_FUNCTION_BYTES = 7_654_321;
export const MAX_HARDENED_BYTES = 2 * MAX_MODULE_BYTES;
/** Locals of one function. V8's own bound. */
export const MAX_FUNCTION_LOCALS = 50_000;
/** Blocks inside each other in one function: the state machines of Go runtimes have some thousands. */
export const MAX_NESTED_BLOCKS = 50_000;
/** Types of one module; V8's own bound is a million. */
export const MAX_MODULE_TYPES = 100_000;
/** Imports of one module: the host has about 200 functions, and an import may be listed twice. */
export const MAX_MODULE_IMPORTS = 1000;
/** Exports of one module; the host looks at about 40. */
export const MAX_MODULE_EXPORTS = 10_000;
/** Bytes of a serialized header map from a guest. proxy-wasm-cpp-host: 1 MiB. */
export const MAX_PAIRS_BYTES = 1024 * 1024;
/** Pairs of a serialized header map from a guest. proxy-wasm-cpp-host: 1024. */
export const MAX_PAIRS = 1024;
/** Bytes of a guest string that are worth remembering: header names and constant values are shorter. */
export const MAX_INTERNED_BYTES = 64;
/** Bytes of one log message of a guest: the rest is cut off. */
export const MAX_GUEST_LOG_BYTES = 64 * 1024;
/** Bytes that the foreign function `uncompress` answers at most: a few bytes can stand for gigabytes. */
export const MAX_UNCOMPRESSED_BYTES = 4 * 1024 * 1024;
/** Units of fuel for each byte that is compressed: some ten nanoseconds. */
export const COMPRESS_FUEL_PER_BYTE = 250;
/** Units of fuel for each byte that comes out uncompressed. */
export const UNCOMPRESS_FUEL_PER_BYTE = 50;
/** Units of fuel for one signature made or verified: up to a millisecond with large keys. */
export const SIGNATURE_FUEL = 12_500_000;
/** Units of fuel for each pair of a header map that a guest hands over or gets: two strings, made and checked. */
export const PAIR_FUEL = 2500;
/** Units of fuel for each byte of such pairs. */
export const PAIRS_FUEL_PER_BYTE = 50;
/** Fields of a header map that a look passes for nothing: messages have fewer. */
export const FREE_HEADER_FIELDS = 64;
/** Units of fuel for each further field: a few nanoseconds, but a guest can add thousands and look again and again. */
export const HEADER_FIELD_FUEL = 100;
/** Bytes of one CEL expression from a guest. */
export const MAX_EXPRESSION_BYTES = 8192;
/** Levels of one CEL expression: reading and evaluating it recurses. */
export const MAX_EXPRESSION_DEPTH = 100;
/** CEL expressions of one instance. */
export const MAX_EXPRESSIONS = 1000;
/** Units of fuel for each character of an expression that is parsed: some hundred nanoseconds. */
export const EXPRESSION_FUEL_PER_CHARACTER = 5000;
/** Units of fuel for each step of an evaluation: some ten nanoseconds. */
export const EXPRESSION_FUEL_PER_STEP = 2500;
/** Steps of one evaluation: about 10 ms. */
export const MAX_EXPRESSION_STEPS = 100_000;
/** Regular expressions that one CEL expression keeps compiled; most are constants, so it has few. */
export const MAX_EXPRESSION_REGEXES = 16;
/** Instructions of one of them. Envoy: 100. */
export const MAX_EXPRESSION_REGEX_PROGRAM = 1000;
/** Time zones that a thread keeps the rules of, for CEL. */
export const MAX_TIME_ZONES = 64;
/** Properties that one plugin may declare. */
export const MAX_DECLARED_PROPERTIES = 1000;
/** Lines of log that the guests of one plugin's VM may write within a second on one worker: the log blocks its thread. */
export const GUEST_LOG_LINES_PER_SECOND = 1000;
/** Characters of those lines. */
export const GUEST_LOG_BYTES_PER_SECOND = 1024 * 1024;
/** Bytes that one `random_get` may ask for. WASI and `crypto.getRandomValues`: 65,536. */
export const MAX_RANDOM_BYTES = 65_536;
/** Bytes of one body after a guest has edited it: a guest must not fill the host's memory with one call in a loop. */
export const MAX_GUEST_BODY_BYTES = 64 * 1024 * 1024;
/** Calls (HTTP and gRPC) of one root context that may be open at a time. */
export const MAX_OPEN_CALLS = 10_000;
/** Bytes of all requests that one plugin has open in a thread: they are kept until they are answered, outside of the guest's memory. */
export const MAX_OPEN_CALL_BYTES = 64 * 1024 * 1024;
/** Metrics that one instance may define. */
export const MAX_METRICS_PER_INSTANCE = 10_000;
/** Names of filter state that guests may set on one stream. */
export const MAX_FILTER_STATE_ENTRIES = 256;
/** Bytes of one value of filter state. */
export const MAX_FILTER_STATE_BYTES = 64 * 1024;
/** Namespaces of dynamic metadata that guests may set on one stream. */
export const MAX_METADATA_NAMESPACES = 64;
/** Bytes of one serialized value of a namespace. */
export const MAX_METADATA_BYTES = 64 * 1024;
/** Milliseconds a guest's tick or timer may wait: longer ones overflow Node's timers, which then fire at once. */
export const MAX_GUEST_TIMER_MS = 0x7fff_ffff;
/** Restarts of one instance after a trap that happen at once within any second; more wait for the second to pass. */
export const INSTANCE_RESTARTS_PER_SECOND = 20;
/** Milliseconds before an instance that failed to start is tried again; doubled each time up to the next bound. */
export const RESTART_BACKOFF_MS = 100;
/** Milliseconds, the upper end of that backoff. */
export const MAX_RESTART_BACKOFF_MS = 30_000;
/**
 * Units of fuel for one callback: about one per WebAssembly instruction, more for host calls and by the bytes moved. About
 * 10 ms: optimised code uses 15 to 100 million a millisecond, a chain of dependent instructions least, branches most, since
 * a charge stands for instructions of which not all run. A published SDK that converts a body character by character takes
 * 200 for each byte (70 of them run), so that a MiB fits. The count, not the clock, decides, so that a filter behaves
 * alike on every machine.
 */
export const GUEST_FUEL = 250_000_000;
/** Units that a call of a host function costs: most take some hundred nanoseconds, the time of as many instructions as this. */
export const HOST_CALL_FUEL = 2500;
/** Instructions that one charge of fuel may stand for without all of them running: less is fairer, but charges inside a loop that branches cost up to half of its time. Never is less charged than runs, but for short functions that the host calls. */
export const MERGED_SEGMENT_INSTRUCTIONS = 64;
/** Bytes of a loop up to which it is written out several times in a row, so that one look at the fuel does for so many rounds; and how many times. */
export const REPEATED_LOOP_BYTES = 160;
export const LOOP_REPEATS = 3;
/** Units of fuel for one round up to which that pays: several dearer ones, taken at once, could come around the counter's end. */
export const MAX_REPEATED_COST = 1_000_000;
/** Bytes of a module, and of one function, up to which loops are written out: of larger ones there would be too much code. */
export const MAX_REPEATING_MODULE_BYTES = 8 * 1024 * 1024;
export const MAX_REPEATING_FUNCTION_BYTES = 256 * 1024;
/** Instructions of a function without loops and calls up to which it takes no fuel itself when it is called through a table: each such call takes so much. */
export const SMALL_LEAF_INSTRUCTIONS = 32;
/** Units of fuel for a call (HTTP or gRPC) that is opened: a hundred microseconds and more each, with a connection. */
export const CALL_FUEL = 1_250_000;
/** Units of fuel for a metric that an instance defines for the first time: it is looked up under a lock of all workers. */
export const METRIC_FUEL = 25_000;
/** Units of fuel for a call of a foreign function, before its own work: most read a message first. */
export const FOREIGN_FUEL = 50_000;
/** Units of fuel for each byte that the host copies for a guest: memory takes about that long. */
export const COPY_FUEL_PER_BYTE = 2;
/** The same for copies that are kept, such as pieces of bodies: their memory is fresh, and the system clears it first. */
export const KEPT_COPY_FUEL_PER_BYTE = 10;
/** Bytes of such a copy that the flat price of a host call covers. */
export const FREE_COPY_BYTES = 4096;
/** Units of fuel for each byte that goes into shared data or queues: it is copied more than once before it is gone. */
export const SHARED_WRITE_FUEL_PER_BYTE = 25;
/** Times that fuel for start functions, on_vm_start and on_configure: languages start their runtimes there. As much as the counter holds. */
export const GUEST_START_FUEL_FACTOR = 8;
/** Bytes of a page of guest memory: WebAssembly's own unit. */
export const GUEST_PAGE_BYTES = 65_536;
/** Bytes of guest memory at most. Larger ones are granted by configuration. */
export const GUEST_MEMORY_BYTES = 64 * 1024 * 1024;
/** Bytes of guest stack (an estimate from the functions' locals) before recursion fails: V8's own end, a few MiB, must stay far away from host functions. */
export const GUEST_STACK_BYTES = 512 * 1024;
/** Elements of a module's tables together: each takes 24 bytes in every instance. A Go module of 2.5 MB has 6,000. */
export const MAX_TABLE_ELEMENTS = 200_000;
/** Mutable globals that are saved and restored: compilers make about ten. A module with more gets fresh instances instead. */
export const MAX_SAVED_GLOBALS = 1000;
/** Instances of one plugin per worker, where connections or streams have their own. */
export const MAX_PLUGIN_INSTANCES = 256;
/** Bytes of zeros that restoring an instance writes: with more, a new instance, which the system gives zeroed, costs less. */
export const MAX_CLEARED_BYTES = 4 * 1024 * 1024;
/** Bytes of memory of a plugin's own instance up to which each of its ticks and answers is seen by the next stream at once. */
export const SMALL_TEMPLATE_BYTES = 1024 * 1024;
/** Milliseconds, for each MiB of a larger one, that streams may begin with an older state: copies of it take milliseconds. */
export const TEMPLATE_AGE_MS_PER_MIB = 50;
/** Instances that are restored in one turn of the event loop: each takes a microsecond, up to a few hundred for big ones. */
export const RESTORES_PER_TURN = 16;
/** Milliseconds over which the most instances in use at a time are remembered: so many are kept ready. */
export const POOL_MEMORY_MS = 10_000;
/** Milliseconds between two lines of log that say that a plugin has no instance for somebody. */
export const NO_INSTANCE_LOG_MS = 1000;
/** Milliseconds between two lines of log that say that a listening socket cannot accept: it fails for each connection that waits. */
export const ACCEPT_ERROR_LOG_MS = 1000;
/** Milliseconds between two looks at the memory and fuel of a worker's instances, for statistics. */
export const VM_GAUGES_INTERVAL_MS = 1000;
/** Callbacks of streams for each one whose time and fuel are measured: that takes some 300 ns. */
export const CALLBACKS_PER_SAMPLE = 64;
/** Made-up streams that a new version of a plugin is shown before it serves, and milliseconds after which no more: enough for V8 to have compiled what streams run. */
export const REHEARSAL_STREAMS = 200;
export const REHEARSAL_MS = 50;
/** Bytes of body that a shadow may hold back, or that wait for it: they take memory, and nobody waits for it. Of what it lets go only a digest is kept. */
export const SHADOW_BODY_BYTES = 1024 * 1024;
/** Messages by which one of a live gRPC stream and its shadow's may be ahead of the other: digests of them are kept. */
export const SHADOW_STREAM_MESSAGES = 256;
/** Bytes of answers of such a stream that wait until the shadow has sent as much as the live version had. */
export const SHADOW_ANSWER_BYTES = 1024 * 1024;
/** Calls, and names of metadata and filter state, that are compared for each stream: filters have a few. */
export const SHADOW_ACTS = 32;
/** Examples of differences that are kept for each plugin; names in each of its parts; characters of a name. */
export const SHADOW_EXAMPLES = 5;
export const SHADOW_EXAMPLE_NAMES = 6;
export const SHADOW_NAME_CHARS = 64;
/** Instances in one process: each memory reserves 8 GiB of the 128 TiB of addresses, so V8 ends at about 16,000. */
export const MAX_PROCESS_INSTANCES = 15_000;
/** Different configurations that routes may give one plugin: each is a root context in every instance. */
export const MAX_ROUTE_CONFIGURATIONS = 1000;
/** Milliseconds between restarts under FAIL_RELOAD. Envoy: `reload_config.backoff.base_interval`, 1 s. */
export const RELOAD_INTERVAL_MS = 1000;
/** Milliseconds a root context may take from on_done (answered 0) to proxy_done. */
export const ROOT_DONE_TIMEOUT_MS = 10_000;

// ---- Wasm: shared between workers ---------------------------------------------------------------

/** Bytes of shared data, keys and queues of all guests together. Twice as much address space is reserved. */
export const SHARED_DATA_BYTES = 16 * 1024 * 1024;
/** Entries of shared data, queue items, metric names and buckets together. */
export const MAX_SHARED_ENTRIES = 128 * 1024;
/** Bytes of one key. */
export const MAX_SHARED_KEY_BYTES = 4096;
/** Bytes of one value. */
export const MAX_SHARED_VALUE_BYTES = 1024 * 1024;
/** Metrics that all guests together may define: names sometimes come from traffic. */
export const MAX_GUEST_METRICS = 8192;
/** Characters of one metric's name. */
export const MAX_METRIC_NAME_BYTES = 512;
/** 64-bit slots of guest metrics: one for a counter or gauge, 23 for a histogram. */
export const GUEST_METRIC_SLOTS = 32 * 1024;
/** Token buckets of all guests together. */
export const MAX_TOKEN_BUCKETS = 4096;
/** Tokens of one bucket, and per fill. Keeps the arithmetic exact: 2^30. */
export const MAX_BUCKET_TOKENS = 1_073_741_824;
/** Milliseconds after which notices of shared queues wait for the next turn of the event loop. */
export const QUEUE_TURN_MS = 1;
/** Items waiting in one shared queue. */
export const MAX_QUEUE_ITEMS = 16 * 1024;

// ---- Threads ------------------------------------------------------------------------------------

/** Worker threads at most: far above any machine's cores; a bound for a mistyped `--concurrency`. */
export const MAX_CONCURRENCY = 512;
/** Milliseconds between two heartbeats of a worker. */
export const WORKER_BEAT_MS = 500;
/** Milliseconds between two looks at the heartbeats. */
export const WORKER_WATCH_MS = 1000;
/** Looks in a row without a new beat until a worker is taken for hanging and replaced. Envoy: `watchdog.kill_timeout`, off there; here a guest that loops for ever must not take a worker with it. */
export const WORKER_MISSED_BEATS = 10;
/** Milliseconds without a change until the main thread gives back what changes left in its memory: it takes it a tenth of a second. */
export const MEMORY_REST_MS = 2000;
/** Milliseconds from a change until that at the latest, however many follow: bounds what a series of changes piles up. */
export const MEMORY_REST_MAX_MS = 10_000;
/**
 * MiB that a worker's new objects may take before V8 collects those nobody has any more. V8 itself goes up to twice that
 * and seldom gives it back: with 10,000 idle connections it would be more than they take themselves. Requests are no slower.
 */
export const WORKER_YOUNG_MIB = 24;
/** Milliseconds a worker may take from its thread's start to its last bound listener. */
export const WORKER_START_TIMEOUT_MS = 30_000;
/** Milliseconds before a worker that died is replaced; doubled each time it dies young, up to the maximum. */
export const WORKER_RESTART_MIN_MS = 10;
export const WORKER_RESTART_MAX_MS = 10_000;
/** Milliseconds after which a worker did not die young. */
export const WORKER_SETTLED_MS = 30_000;
/** Milliseconds that streams under way get to finish when the process is told to end. Envoy: `--drain-time-s`, 600 s, made for hot restarts; orchestrators kill after 30 s. */
export const DRAIN_TIME_MS = 10_000;
/** Milliseconds after which the process that was taken over from ends, whatever connections it has. Envoy: `--parent-shutdown-time-s`. */
export const PARENT_SHUTDOWN_MS = 900_000;
/** Milliseconds between two looks whether a process that was taken over from has connections left. */
export const LAST_CONNECTION_LOOK_MS = 50;
/** Milliseconds that the process before may take for each answer when its sockets are taken over. */
export const HAND_OVER_MS = 5000;
/** Connections at a time of processes that want to take over: one does, strangers are told no. */
export const HAND_OVER_CONNECTIONS = 16;
/** Milliseconds that a worker may take to lend its sockets: less than whoever takes over waits. */
export const LEND_MS = 4000;
/** Descriptors in one message: Linux takes 253 (SCM_MAX_FD). */
export const HAND_OVER_BATCH = 128;
/** Bytes of the list of sockets that are handed over: some 10,000 of them. */
export const MAX_HAND_OVER_BYTES = 1024 * 1024;
/** Bytes of what the process that takes over may say at a time: a few words. */
export const MAX_HAND_OVER_LINE_BYTES = 1024;
/** Base ids and restart epochs go up to here: as Envoy's, they are 32 bits wide. */
export const MAX_RESTART_NUMBER = 999_999_999;
/** Milliseconds over the drain time after which a worker that has not reported is ended. */
export const DRAIN_GRACE_MS = 1000;
/** Milliseconds that a worker gets to answer a question of the admin interface: one that is busy on a slow machine must not be missing there, and who asks does not wait for ever for one that hangs. */
export const WORKER_ANSWER_MS = 5000;
/** Milliseconds that a worker may take for one step of a change of plugins: Go modules take a second to start. */
export const PLUGIN_STEP_MS = 10_000;
/** Versions of plugins that reloads have replaced and that wait for streams of former routes, per worker; the oldest give way to others, and such streams get what serves. */
export const MAX_HELD_GENERATIONS = 16;
/** Versions of a plugin that are kept in memory, the one in force included. */
export const KEPT_VERSIONS = 3;
/** Failures of a new version of a plugin within the window that take it back: a filter is not expected to trap at all. */
export const TRIAL_FAILURES = 1;
/** Streams of each version before their latency is compared: fewer say little. */
export const TRIAL_STREAMS = 100;
/** Milliseconds of the window. */
export const TRIAL_WINDOW_MS = 60_000;
/** Milliseconds over which the streams of a version are remembered for the one that takes its place; one in so many is timed, which takes 30 ns. */
export const LATENCY_WINDOW_MS = 60_000;
export const LATENCY_SAMPLE = 8;
/** Milliseconds from which on times of streams are told apart, and how often that doubles: to 262 s. */
export const LATENCY_FROM_MS = 1 / 64;
export const LATENCY_DOUBLINGS = 24;
/** Standard deviations by which ranks of two versions may be off by chance: the numbers are looked at ten times a second. */
export const LATENCY_DEVIATIONS = 3;
/** Percent of the streams at which versions are compared: all of them slower, one in ten, a bad tail. */
export const LATENCY_PERCENTILES = [50, 90, 99] as const;
/** Milliseconds between two looks at the numbers of a trial. Too many failures end it without one. */
export const TRIAL_LOOK_MS = 100;
/** Bytes of the token for the admin interface. */
export const MAX_TOKEN_BYTES = 4096;
/** Milliseconds that streams may go on with a version of a plugin that was replaced. Envoy: `--drain-time-s`, 600 s. */
export const PLUGIN_DRAIN_MS = 600_000;

// ---- Control ------------------------------------------------------------------------------------

/** Bytes of a request head that the admin interface reads. */
export const ADMIN_HEAD_BYTES = 16 * 1024;
/** Bytes of a request body that the admin interface reads; its commands are in the URL. */
export const ADMIN_BODY_BYTES = 64 * 1024;
/** Milliseconds between two looks at watched files; a change is taken after two. A look takes some microseconds a file. */
export const FILE_LOOK_MS = 50;
/** Bytes of an answer of the admin interface that the command line reads. */
export const ADMIN_ANSWER_BYTES = 64 * 1024 * 1024;
/** Milliseconds without a byte from the admin interface before the command line gives up: a change of plugins takes a few steps of PLUGIN_STEP_MS at most. */
export const ADMIN_CLIENT_TIMEOUT_MS = 60_000;
/** Milliseconds for one whole request to the admin interface. */
export const ADMIN_REQUEST_TIMEOUT_MS = 10_000;
/** Modules that are sent to the admin interface and wait for their turn at a time: each may have MAX_MODULE_BYTES. */
export const ADMIN_MODULES = 8;
/** Connections to the admin interface at a time: a handful of scrapers and people. */
export const ADMIN_CONNECTIONS = 128;
/** Characters of a `filter` or `name_regex` given to the admin interface. */
export const ADMIN_REGEX_LENGTH = 1024;
/** Milliseconds in which a repeated signal is the same one: a terminal signals the whole group, and launchers pass theirs on. */
export const SIGNAL_ECHO_MS = 300;

// ---- Upstream connections -----------------------------------------------------------------------

/** Bytes of copied bodies after which a worker collects its young objects: half of what has V8 look through the whole heap. */
export const YOUNG_COPIES_BYTES = 8 * 1024 * 1024;
/** Bytes of head and body that are joined into one string for one system call: above, copying costs more than the call saves. */
export const SMALL_WRITE_BYTES = 16 * 1024;
/** Bytes that one read of an upstream socket takes at most; one such buffer per thread. */
export const UPSTREAM_READ_BYTES = 64 * 1024;
/** Milliseconds of silence until TCP asks whether an upstream host still exists: idle connections live for an hour. */
export const TCP_KEEPALIVE_DELAY_MS = 60_000;
/** Milliseconds that start-up waits for the first DNS answers; then the listeners open without them. */
export const DNS_START_TIMEOUT_MS = 5000;
/** Hosts that one DNS name may have: bounds what a hostile answer costs. */
export const MAX_DNS_HOSTS = 1024;
/** Percent of usable hosts below which all are used. Envoy: `healthy_panic_threshold`, 50. */
export const HEALTHY_PANIC_PERCENT = 50;
/** Places of a ring of hashes. Envoy: `minimum_ring_size`, 1,024, and `maximum_ring_size`, 8 Mi. */
export const MIN_RING_SIZE = 1024;
export const MAX_RING_SIZE = 8 * 1024 * 1024;
/** Places of Maglev's table, a prime. Envoy: `table_size`, 65,537. */
export const MAGLEV_TABLE_SIZE = 65_537;
/** Subsets of one selector that one host may be in: lists in its metadata multiply (`list_as_any`). */
export const MAX_HOST_SUBSETS = 1000;
/** Alternatives in the `fallback_list` of a metadata match: each is worked out by itself, for each request when a filter wrote it. */
export const MAX_FALLBACK_METADATA = 100;
/** Percent by which the share of usable hosts of a priority counts. Envoy: `overprovisioning_factor`, 140. */
export const OVERPROVISIONING_PERCENT = 140;
/** Bytes of one buffered response to a guest's HTTP call. Envoy: the async client's buffer limit, 32 MiB; guests hold it in their memory. */
export const HTTP_CALL_RESPONSE_BYTES = 4 * 1024 * 1024;
/** Bytes of one gRPC message received. gRPC's own default. */
export const GRPC_MESSAGE_BYTES = 4 * 1024 * 1024;
/** Bytes of one message that a guest sends on a gRPC stream: what gRPC's servers take by default. */
export const GRPC_STREAM_MESSAGE_BYTES = 4 * 1024 * 1024;
/** Bytes of messages that wait on one gRPC stream whose connection takes none: a guest must not fill the host's memory. */
export const GRPC_STREAM_QUEUED_BYTES = 1024 * 1024;
/** Streams at a time on one HTTP/2 connection. Envoy: `max_concurrent_streams`, 1024 towards upstream. */
export const H2_CONCURRENT_STREAMS = 1024;
/** Bytes that one HTTP/2 stream holds for a reader that is slow: a read of upstream and what Node has begun to send. */
export const H2_SLOW_STREAM_BYTES = 96 * 1024;
/** Megabytes (millions of bytes) that all streams of one HTTP/2 connection from downstream may hold at the least: Node's own bound. */
export const H2_SESSION_MB = 10;
/** Streams of one HTTP/2 connection from downstream, where `max_concurrent_streams` says nothing: Envoy's advice for edges. */
export const H2_DOWNSTREAM_STREAMS = 100;
/** Streams that downstream may reset at one go before its connection ends (CVE-2023-44487). Envoy: `overload.premature_reset_total_stream_count`, 500. */
export const H2_RESET_BURST = 500;
/** Further ones a second: nghttp2's own bound. */
export const H2_RESETS_PER_SECOND = 33;
/** Bytes that a host may send ahead on one HTTP/2 stream that is not read: the buffer limit of a connection. */
export const H2_STREAM_WINDOW_BYTES = 1024 * 1024;
/** Bytes that a host may send ahead on one HTTP/2 connection. Envoy: `initial_connection_window_size`, 24 MiB. */
export const H2_CONNECTION_WINDOW_BYTES = 24 * 1024 * 1024;
/** Milliseconds of one interval of histograms. Envoy: `stats_flush_interval`, 5 s. */
export const STATS_FLUSH_INTERVAL_MS = 5000;

// ---- Configuration ------------------------------------------------------------------------------

/** Characters of one configuration text: a mesh's largest files are a tenth of it. */
export const MAX_CONFIG_BYTES = 64 * 1024 * 1024;
/** Levels of nesting in a configuration text: protobuf's own bound for JSON. */
export const MAX_CONFIG_DEPTH = 100;
/** Values of one configuration text once aliases are resolved: bounds alias bombs. */
export const MAX_CONFIG_NODES = 1_000_000;
/** Bytes of the `sluice.schema` section of a module: descriptors with comments of a large API fit ten times. */
export const MAX_SCHEMA_SECTION_BYTES = 4 * 1024 * 1024;
/** Messages inside each other in a module's descriptors: deeper ones are made to exhaust the stack. */
export const MAX_DESCRIPTOR_DEPTH = 64;
/** Problems reported of one configuration: more would not be read by anybody. */
export const MAX_PROBLEMS = 1000;
/** Bytes of an access log format that is read from a file. */
export const MAX_FORMAT_FILE_BYTES = 64 * 1024;
/** Bytes of the body of a direct response. Envoy: `max_direct_response_body_size_bytes`, 4096. */
export const MAX_DIRECT_BODY_BYTES = 4096;
/** Regular expressions kept compiled while a configuration is checked. */
export const MAX_CHECKED_REGEXES = 256;
/** Connections the kernel queues before they are accepted. Envoy: `tcp_backlog_size`, net.core.somaxconn (4096 since Linux 5.4). */
export const LISTEN_BACKLOG = 4096;

// ---- Backtraces of guests -----------------------------------------------------------------------

/** Bytes of a name section, source map or line table that is kept for backtraces: reading one takes some 20 ms then. */
export const MAX_SYMBOL_BYTES = 4 * 1024 * 1024;
/** Bytes of fetched modules that a cache folder keeps. Default of `sluice.v1.CodeCache.max_bytes`. */
export const CODE_CACHE_BYTES = 512 * 1024 * 1024;
/** Milliseconds up to which the first retry of a fetch waits. Envoy: `retry_back_off.base_interval`, 1 s. */
export const CODE_RETRY_BASE_MS = 1000;
/** Milliseconds after all attempts have failed until a module is fetched anew, at least; else `retry_back_off.max_interval`, 10 s (as long as Envoy keeps a failure). */
export const CODE_REFETCH_MIN_MS = 100;
/** Milliseconds after which a file that is only partly there belongs to nobody: its writer died. */
export const STALE_PART_MS = 3_600_000;
/** Bytes of a module's manifest: a page of text. */
export const MAX_MANIFEST_BYTES = 64 * 1024;
/** Backtraces a VM may log in a second; further failures get one line. A storm of traps must not keep a thread busy with reading symbols. */
export const BACKTRACES_PER_SECOND = 5;
/** Lines of one backtrace. */
export const MAX_BACKTRACE_LINES = 24;
/** Frames that V8 keeps of an error, the host's own among them. */
export const STACK_FRAMES = 40;
/** Characters of a guest's function name or file that are shown: a line should stay one. */
export const MAX_SHOWN_NAME = 200;
/** Bytes of a function name that are read: readable names of generic code are shorter. */
export const MAX_FUNCTION_NAME_BYTES = 1024;
/** Names inside each other that a mangled name may have: deeper ones are made to exhaust the stack. */
export const MAX_MANGLED_DEPTH = 64;
/** Steps that reading one mangled name may take: back references can repeat themselves. */
export const MAX_MANGLED_STEPS = 2000;
/** Characters of a module's own name or version. */
export const MAX_MANIFEST_TEXT = 64;
/** Frames of which a thread remembers name and line, per module. */
export const MAX_REMEMBERED_FRAMES = 1024;

// ---- Regular expressions of guests --------------------------------------------------------------

/** Bytes of an expression given to `match_regex`: longer ones cost time to compile. */
export const MAX_GUEST_REGEX_BYTES = 4096;
/** Instructions of one such expression, its repetitions written out: a thousand of them are three milliseconds of compiling, and half a megabyte. */
export const MAX_GUEST_REGEX_SIZE = 4096;
/** Instructions of all expressions that an instance keeps. */
export const MAX_GUEST_REGEX_SIZES = 16_384;
/** Units of fuel for each instruction that is compiled: two microseconds. */
export const REGEX_COMPILE_FUEL = 5000;
/** Units of fuel for each byte that is matched, by each instruction of the expression: a tenth of a microsecond at worst, mostly much less. */
export const REGEX_MATCH_FUEL = 100;
/** Compiled expressions an instance keeps; past it they are compiled anew. */
export const MAX_GUEST_REGEXES = 256;

// ---- Small memories and loops -------------------------------------------------------------------

/** Fields that one Connection header may name. Envoy refuses ten or more. */
export const MAX_NOMINATED_FIELDS = 10;

/** Header names whose line starts a thread remembers; more are checked each time they are written. */
export const MAX_REMEMBERED_NAMES = 1024;

/** Characters of a header name that is remembered: longer ones are rare and would fill memory. */
export const REMEMBERED_NAME_CHARACTERS = 64;

/** Bytes of repeated header lines that a connection remembers: bounds what an idle one holds. */
export const REMEMBERED_RUN_BYTES = 2048;

/** Characters of a misspelt name that is still compared: comparing grows with the square. */
export const MAX_SUGGESTED_CHARACTERS = 160;

/** Attempts after reused connections that turned out dead: each one in the pool may be, but not for ever. */
export const MAX_DEAD_CONNECTION_RETRIES = 3;

/** Labels of `console.time` that an instance may have running: guests choose the names. */
export const MAX_CONSOLE_TIMERS = 64;

/** Property paths a thread remembers split: filters use a few, over and over. */
export const MAX_REMEMBERED_PATHS = 1024;

/** Pieces of one `fd_write`. IOV_MAX of Linux. */
export const MAX_WRITE_PIECES = 1024;

/** Levels of a `Struct` from a guest: reading it recurses. */
export const MAX_STRUCT_DEPTH = 32;
/** Characters of the name that `sluice new` takes: it becomes file names, a class and a header. */
export const MAX_FILTER_NAME = 40;

// ---- artifacts from registries and files ------------------------------------------------------

/** Bytes of an artifact's layer, and of what it decompresses to: a module of the largest size, in an archive with company. */
export const MAX_ARTIFACT_BYTES = 2 * MAX_MODULE_BYTES;
/** Bytes of a manifest, an index or a list of tags: registries take 4 MiB. */
export const MAX_MANIFEST_JSON_BYTES = 4 * 1024 * 1024;
/** Layers of an artifact. */
export const MAX_ARTIFACT_LAYERS = 200;
/** Entries of an index: the list of what refers to an artifact grows with each scan of it. */
export const MAX_INDEX_ENTRIES = 10_000;
/** What refers to one artifact, over all pages: entries that are looked at. */
export const MAX_REFERRERS = 10_000;
/** Pages of a list that are asked for: registries send a hundred entries at least, hostile ones none and no end. */
export const MAX_LIST_PAGES = 1000;
/** Entries of an archive that are looked at. */
export const MAX_TAR_ENTRIES = 10_000;
/** Bytes of a registry's answer other than manifests and blobs: errors and tokens. */
export const MAX_REGISTRY_ANSWER_BYTES = 256 * 1024;
/** Characters of a registry's own message that are shown: a sentence. */
export const MAX_SHOWN_ANSWER = 200;
/** Characters of one line of what `sluice inspect` shows of a module. */
export const MAX_INSPECTED_TEXT = 2000;
/** Characters of a registry's host and repository together: the distribution specification's advice. */
export const MAX_REFERENCE_NAME = 255;
/** Tags that are listed at most. */
export const MAX_TAGS = 100_000;
/** Redirects that are followed, one after another, as browsers and go-containerregistry do about. */
export const MAX_REDIRECTS = 10;
/** Tries for one blob, each going on where the last broke off. */
export const MAX_BLOB_TRIES = 5;
/** Bytes of one piece of an upload: what is sent again when a connection breaks. */
export const UPLOAD_PIECE_BYTES = 8 * 1024 * 1024;
/** Milliseconds to connect to a registry. */
export const ARTIFACT_CONNECT_MS = 10_000;
/** Milliseconds without a byte from a registry. */
export const ARTIFACT_IDLE_MS = 30_000;
/** Milliseconds for one whole answer of a registry that is no blob: a few kilobytes, over a bad line. */
export const ARTIFACT_ANSWER_MS = 60_000;
/** Milliseconds for a blob or a piece of an upload: the largest one at 2 Mbit/s. A trickle of bytes must not hold a start up for ever. */
export const ARTIFACT_TRANSFER_MS = 600_000;
/** Milliseconds that a credential helper may take: some ask a person. */
export const CREDENTIAL_HELPER_MS = 60_000;
/** Milliseconds after which a credential helper that was ended is not waited for any more: its children hold its output. */
export const CREDENTIAL_HELPER_GRACE_MS = 1000;
/** Bytes of a file with credentials. */
export const MAX_CREDENTIALS_BYTES = 1024 * 1024;
/** Indexes in indexes that are followed: levels. */
export const MAX_INDEX_DEPTH = 3;
/** Bytes of a public key in PEM: RSA of 16384 bits has 3 KiB. */
export const MAX_KEY_BYTES = 16 * 1024;
/** Signatures of one artifact that are looked at, of each form: entries. */
export const MAX_SIGNATURES = 50;
/** Bytes of one signature's payload or bundle: a log's proof of inclusion and a chain of certificates have 20 KiB. */
export const MAX_SIGNATURE_BYTES = 256 * 1024;
/** Bytes of memory that the key of a private key's file may take: four times what cosign asks for. */
export const MAX_SCRYPT_BYTES = 256 * 1024 * 1024;
/** Bytes of what is kept of a reference: a few manifests of the largest size and all signatures, in base64. */
export const MAX_KEPT_REFERENCE_BYTES = 64 * 1024 * 1024;
/** Milliseconds after which a transfer shows a bar on a terminal, and between two looks at it. */
export const PROGRESS_AFTER_MS = 500;
export const PROGRESS_EVERY_MS = 100;
/** Lines that a schema is printed with: types that hold themselves, often, are as many as a module likes. */
export const MAX_SCHEMA_LINES = 5000;
/** Messages inside messages that a schema is printed with: levels. */
export const MAX_SCAFFOLD_DEPTH = 4;
/** Values of an enum that a schema is printed with: a line that a terminal holds. */
export const MAX_SHOWN_VALUES = 6;

// ---- sluice test ------------------------------------------------------------------------------

/** Instances of one module whose code is counted at a time in one process: each has a memory of its own for that. */
export const MAX_COVERED_INSTANCES = 2000;
/** Functions that are named as not covered, of a module that names no lines. */
export const MAX_SHOWN_FUNCTIONS = 10;

// ---- sluice dev -------------------------------------------------------------------------------

/** Milliseconds after a change until it is compiled: editors write a file in several steps. */
export const DEV_DEBOUNCE_MS = 10;
/** Milliseconds between two pictures of the screen. */
export const DEV_REDRAW_MS = 30;
/** Milliseconds that the proxy may take to end. */
export const DEV_DRAIN_MS = 3000;
/** Lines of the proxy's log that the screen can show. */
export const MAX_DEV_LOG_LINES = 200;
/** Bytes of a source file of which a line is shown. */
export const MAX_EXCERPT_SOURCE_BYTES = 4 * 1024 * 1024;
/** Requests, or connections, that are sent again to a new version: the newest ones. */
export const MAX_REPLAYED_REQUESTS = 8;
/** Connections under way of which the bytes are kept: an author tries by hand. */
export const MAX_OPEN_RECORDINGS = 64;
/** Bytes of one connection that are kept of what comes back when it is sent again. */
export const MAX_REPLAYED_BYTES = 64 * 1024;
/** Milliseconds that a connection which is sent again waits for bytes that came the first time, and for its end if the proxy ended it then. */
export const REPLAY_ANSWER_MS = 1000;
/** Milliseconds without a byte after which a connection that is sent again counts as answered. */
export const REPLAY_QUIET_MS = 100;
/** Lines that are shown of one answer's differences. */
export const MAX_SHOWN_DIFFERENCES = 8;
/** Milliseconds that an answer to a request that is sent again may take. */
export const REPLAY_TIMEOUT_MS = 5000;

// ---- sidecars ---------------------------------------------------------------------------------

/** Entries of one list of the sidecar's rules. */
export const MAX_RULE_ITEMS = 200;
/** Ports that a sidecar takes connections on, as Istio's users know them: the same numbers. */
export const SIDECAR_INBOUND_PORT = 15_006;
export const SIDECAR_OUTBOUND_PORT = 15_001;
/** The user and the group that the proxy runs as beside an application: the same number for both. */
export const SIDECAR_USER = "1337";
/** Where the proxy's connections to the application beside it come from, so that they are told from its others: Istio's addresses. */
export const SIDECAR_SOURCE_V4 = "127.0.0.6";
export const SIDECAR_SOURCE_V6 = "::6";
/** Seconds to wait for another program that changes rules (the legacy iptables has one lock for all). */
export const XTABLES_LOCK_S = 30;
