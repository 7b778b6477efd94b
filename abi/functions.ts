/**
 * Every function a module may import and every export the host knows, per ABI version, with its type.
 * The host links by this table and refuses what is not in it. Host only: guests declare what they need.
 *
 * Type letters: `i` i32, `I` i64, `F` f64; parameters, then `>`, then the result (none: nothing follows).
 * `pp`/`sp` in a meaning: addresses that receive a pointer and a size the guest then owns.
 */

/** ABI versions as bits, so that a row can hold several. */
export const AbiVersion = { V0_1_0: 1, V0_2_0: 2, V0_2_1: 4 } as const;
const ALL = 7;
const FROM_0_2 = 6;
const ONLY_0_1 = 1;

/** Marker exports in the order of {@link AbiVersion}: a module says its version by exporting one. */
export const ABI_MARKERS: Readonly<Record<string, number>> = {
  proxy_abi_version_0_1_0: AbiVersion.V0_1_0,
  proxy_abi_version_0_2_0: AbiVersion.V0_2_0,
  proxy_abi_version_0_2_1: AbiVersion.V0_2_1,
};

/** One import. `answersOnly`: the name links, but the host answers this status and does nothing. */
export interface HostFunction {
  readonly module: string;
  readonly name: string;
  readonly type: string;
  readonly versions: number;
  readonly meaning: string;
  readonly answersOnly?: "UNIMPLEMENTED" | undefined;
}

type Row = readonly [name: string, type: string, versions: number, meaning: string, answersOnly?: "UNIMPLEMENTED"];

const PROXY: readonly Row[] = [
  ["proxy_log", "iii>i", ALL, "level, text"],
  ["proxy_get_log_level", "i>i", AbiVersion.V0_2_1, "level_p"],
  ["proxy_get_current_time_nanoseconds", "i>i", ALL, "u64_p: wall clock"],
  ["proxy_set_tick_period_milliseconds", "i>i", ALL, "period of the root context's timer, 0 stops it"],
  ["proxy_set_effective_context", "i>i", ALL, "context id the following calls act on, until the callback returns"],
  ["proxy_done", ">i", ALL, "the root context that answered 0 to on_done is done now"],
  ["proxy_get_status", "iii>i", ALL, "code_p, message pp sp: status of the last failed HTTP or gRPC call"],
  ["proxy_get_property", "iiii>i", ALL, "path, value pp sp"],
  ["proxy_set_property", "iiii>i", ALL, "path, value"],
  ["proxy_continue_stream", "i>i", FROM_0_2, "stream type"],
  ["proxy_close_stream", "i>i", FROM_0_2, "stream type"],
  ["proxy_continue_request", ">i", ONLY_0_1, "continue_stream(REQUEST)"],
  ["proxy_continue_response", ">i", ONLY_0_1, "continue_stream(RESPONSE)"],
  ["proxy_clear_route_cache", ">i", ONLY_0_1, "the route is computed anew"],
  ["proxy_get_configuration", "ii>i", ONLY_0_1, "pp sp: VM configuration in on_vm_start, else the plugin's"],
  ["proxy_send_local_response", "iiiiiiii>i", ALL, "code, details, body, header pairs, grpc_status"],
  ["proxy_get_header_map_value", "iiiii>i", ALL, "map, key, value pp sp"],
  ["proxy_add_header_map_value", "iiiii>i", ALL, "map, key, value"],
  ["proxy_replace_header_map_value", "iiiii>i", ALL, "map, key, value"],
  ["proxy_remove_header_map_value", "iii>i", ALL, "map, key"],
  ["proxy_get_header_map_pairs", "iii>i", ALL, "map, pairs pp sp"],
  ["proxy_set_header_map_pairs", "iii>i", ALL, "map, pairs"],
  ["proxy_get_header_map_size", "ii>i", ALL, "map, size_p: bytes of all names and values"],
  ["proxy_get_buffer_bytes", "iiiii>i", ALL, "buffer, start, max, pp sp"],
  ["proxy_get_buffer_status", "iii>i", ALL, "buffer, length_p, flags_p"],
  ["proxy_set_buffer_bytes", "iiiii>i", ALL, "buffer, start, length, data"],
  ["proxy_http_call", "iiiiiiiiii>i", ALL, "cluster, header pairs, body, trailer pairs, timeout_ms, token_p"],
  ["proxy_grpc_call", "iiiiiiiiiiii>i", ALL, "target, service, method, metadata pairs, message, timeout_ms, token_p"],
  ["proxy_grpc_stream", "iiiiiiiii>i", ALL, "target, service, method, metadata pairs, token_p"],
  ["proxy_grpc_send", "iiii>i", ALL, "token, message, end_stream"],
  ["proxy_grpc_cancel", "i>i", ALL, "token"],
  ["proxy_grpc_close", "i>i", ALL, "token"],
  ["proxy_get_shared_data", "iiiii>i", ALL, "key, value pp sp, cas_p"],
  [
    "proxy_set_shared_data",
    "iiiii>i",
    ALL,
    "key, value, cas (0: unconditional); from 0.2.1 on, value pointer 0 with size 0 deletes",
  ],
  ["proxy_register_shared_queue", "iii>i", ALL, "name, token_p"],
  ["proxy_resolve_shared_queue", "iiiii>i", ALL, "vm_id, name, token_p"],
  ["proxy_enqueue_shared_queue", "iii>i", ALL, "token, data"],
  ["proxy_dequeue_shared_queue", "iii>i", ALL, "token, pp sp"],
  ["proxy_define_metric", "iiii>i", ALL, "kind, name, id_p"],
  ["proxy_increment_metric", "iI>i", ALL, "id, offset"],
  ["proxy_record_metric", "iI>i", ALL, "id, value"],
  ["proxy_get_metric", "ii>i", ALL, "id, u64_p"],
  ["proxy_call_foreign_function", "iiiiii>i", ALL, "name, argument, result pp sp (either may be 0)"],
];

/**
 * Beyond Proxy-Wasm, for the bundled filters; a filter written for any host does without them.
 * `sluice_on_timer` in {@link EXPORTS} belongs to `set_timer`.
 */
const SLUICE: readonly Row[] = [
  ["set_timer", "i>i", ALL, "delay_ms: one timer per stream context, set again replaces it, 0 cancels"],
  ["get_route_configuration_id", "i>i", ALL, "id_p: this filter's override for the current route, 0 = none"],
  ["get_route_configuration", "iii>i", ALL, "id, pp sp: the serialized message of that id; NOT_FOUND"],
  [
    "get_rate_limit_descriptors",
    "iiii>i",
    ALL,
    "stage, virtual host mode (0 default, 1 include, 2 ignore; 3: the filter's own limits), pp sp: u32 count, then per descriptor u32 length and a serialized RateLimitDescriptor",
  ],
  ["set_response_flag", "i>i", ALL, "bit number of a response flag"],
  [
    "set_dynamic_metadata",
    "iiii>i",
    ALL,
    "namespace, serialized google.protobuf.Struct: its fields join those of the namespace; PARSE_FAILURE",
  ],
  [
    "replace_dynamic_metadata",
    "iiii>i",
    ALL,
    "namespace, serialized google.protobuf.Struct: the namespace holds its fields and no others then; PARSE_FAILURE",
  ],
  ["skip_response", ">i", ALL, "this filter has no more to do in the stream: no response callbacks for it"],
  ["set_response_pace", "i>i", ALL, "bytes per second of the response body, in slices of 50 ms"],
  [
    "define_token_bucket",
    "iiiiii>i",
    ALL,
    "key, max_tokens, tokens_per_fill, fill_interval_ms, id_p: process-wide by key; the same numbers keep its content",
  ],
  ["take_tokens", "iiii>i", ALL, "id, count, remaining_p, reset_ms_p: OK taken, EMPTY not enough"],
  ["runtime_fraction", "iiii>i", ALL, "key, numerator, denominator: OK in the sampled share, EMPTY not"],
  ["runtime_number", "iii>i", ALL, "key, value_p: i32 of a runtime key; NOT_FOUND leaves the default"],
  ["random", ">i", ALL, "32 random bits"],
  [
    "match_regex",
    "iiii>i",
    ALL,
    "RE2 expression, text: OK the whole text matches, EMPTY it does not, BAD_ARGUMENT no expression",
  ],
];

const WASI: readonly Row[] = [
  ["args_get", "ii>i", ALL, "no arguments"],
  ["args_sizes_get", "ii>i", ALL, "no arguments"],
  ["clock_res_get", "ii>i", ALL, "1 ns"],
  ["clock_time_get", "iIi>i", ALL, "0 wall clock, 1 monotonic"],
  ["environ_get", "ii>i", ALL, "the plugin's own environment"],
  ["environ_sizes_get", "ii>i", ALL, "the plugin's own environment"],
  ["fd_advise", "iIIi>i", ALL, "no files"],
  ["fd_allocate", "iII>i", ALL, "no files"],
  ["fd_close", "i>i", ALL, "no files"],
  ["fd_datasync", "i>i", ALL, "no files"],
  ["fd_fdstat_get", "ii>i", ALL, "1 and 2 are writable"],
  ["fd_fdstat_set_flags", "ii>i", ALL, "no files"],
  ["fd_fdstat_set_rights", "iII>i", ALL, "no files"],
  ["fd_filestat_get", "ii>i", ALL, "no files"],
  ["fd_filestat_set_size", "iI>i", ALL, "no files"],
  ["fd_filestat_set_times", "iIIi>i", ALL, "no files"],
  ["fd_pread", "iiiIi>i", ALL, "no files"],
  ["fd_prestat_dir_name", "iii>i", ALL, "no files"],
  ["fd_prestat_get", "ii>i", ALL, "ends the scan of preopened directories"],
  ["fd_pwrite", "iiiIi>i", ALL, "1 and 2 go to the log"],
  ["fd_read", "iiii>i", ALL, "no files"],
  ["fd_readdir", "iiiIi>i", ALL, "no files"],
  ["fd_renumber", "ii>i", ALL, "no files"],
  ["fd_seek", "iIii>i", ALL, "no files"],
  ["fd_sync", "i>i", ALL, "no files"],
  ["fd_tell", "ii>i", ALL, "no files"],
  ["fd_write", "iiii>i", ALL, "1 and 2 go to the log"],
  ["path_create_directory", "iii>i", ALL, "no files"],
  ["path_filestat_get", "iiiii>i", ALL, "no files"],
  ["path_filestat_set_times", "iiiiIIi>i", ALL, "no files"],
  ["path_link", "iiiiiii>i", ALL, "no files"],
  ["path_open", "iiiiiIIii>i", ALL, "no files"],
  ["path_readlink", "iiiiii>i", ALL, "no files"],
  ["path_remove_directory", "iii>i", ALL, "no files"],
  ["path_rename", "iiiiii>i", ALL, "no files"],
  ["path_symlink", "iiiii>i", ALL, "no files"],
  ["path_unlink_file", "iii>i", ALL, "no files"],
  ["poll_oneoff", "iiii>i", ALL, "no event, never sleeps"],
  ["proc_exit", "i>", ALL, "ends the instance"],
  ["random_get", "ii>i", ALL, "at most 65,536 bytes at a time"],
  ["sched_yield", ">i", ALL, "nothing to yield to"],
  ["sock_accept", "iii>i", ALL, "no sockets"],
  ["sock_recv", "iiiiii>i", ALL, "no sockets"],
  ["sock_send", "iiiii>i", ALL, "no sockets"],
  ["sock_shutdown", "ii>i", ALL, "no sockets"],
];

/**
 * What other hosts add to the ABI and published filters import: Envoy's DNS, the span tags of a fork, the Redis of
 * another, the secrets and stores of Gcore's edge. Such filters run, and learn that there is none of it here.
 */
const VENDORS: readonly Row[] = [
  ["envoy_resolve_dns", "iii>i", ALL, "name, token_p", "UNIMPLEMENTED"],
  ["proxy_set_active_span_tag", "iiii>i", ALL, "key, value", "UNIMPLEMENTED"],
  ["proxy_get_secret", "iiii>i", ALL, "key, value pp sp", "UNIMPLEMENTED"],
  ["proxy_secret_get", "iiii>i", ALL, "key, value pp sp", "UNIMPLEMENTED"],
  ["proxy_get_effective_at_secret", "iiiii>i", ALL, "key, time, value pp sp", "UNIMPLEMENTED"],
  ["proxy_secret_get_effective_at", "iiiii>i", ALL, "key, time, value pp sp", "UNIMPLEMENTED"],
  ["proxy_dictionary_get", "iiii>i", ALL, "key, value pp sp", "UNIMPLEMENTED"],
  ["proxy_kv_store_open", "iii>i", ALL, "name, handle_p", "UNIMPLEMENTED"],
  ["proxy_kv_store_get", "iiiii>i", ALL, "handle, key, value pp sp", "UNIMPLEMENTED"],
  ["proxy_kv_store_scan", "iiiii>i", ALL, "handle, pattern, keys pp sp", "UNIMPLEMENTED"],
  ["proxy_kv_store_zrange_by_score", "iiiFFii>i", ALL, "handle, key, least, most, values pp sp", "UNIMPLEMENTED"],
  ["proxy_kv_store_zscan", "iiiiiii>i", ALL, "handle, key, pattern, values pp sp", "UNIMPLEMENTED"],
  ["proxy_redis_init", "iiiiiii>i", ALL, "cluster, user, password, timeout_ms", "UNIMPLEMENTED"],
  ["proxy_redis_call", "iiiii>i", ALL, "cluster, query, token_p", "UNIMPLEMENTED"],
  ["proxy_kv_store_bf_exists", "iiiiii>i", ALL, "handle, key, item, answer_p", "UNIMPLEMENTED"],
];

const EMSCRIPTEN: readonly Row[] = [
  ["emscripten_notify_memory_growth", "i>", ALL, "nothing to do"],
  ["pthread_equal", "ii>i", ALL, "one thread"],
];

const ASSEMBLYSCRIPT: readonly Row[] = [
  ["abort", "iiii>", ALL, "message, file, line, column: ends the instance"],
  ["seed", ">F", ALL, "of Math.random"],
  ["trace", "iiFFFFF>", ALL, "message, count, five numbers"],
  ["console.assert", "ii>", ALL, "condition, text"],
  ["console.log", "i>", ALL, "text"],
  ["console.debug", "i>", ALL, "text"],
  ["console.info", "i>", ALL, "text"],
  ["console.warn", "i>", ALL, "text"],
  ["console.error", "i>", ALL, "text"],
  ["console.time", "i>", ALL, "label"],
  ["console.timeLog", "i>", ALL, "label"],
  ["console.timeEnd", "i>", ALL, "label"],
  ["Date.now", ">F", ALL, "milliseconds since the epoch"],
  ["performance.now", ">F", ALL, "milliseconds on the monotonic clock"],
  ["process.exit", "i>", ALL, "ends the instance"],
];

const TWO_NUMBERS: ReadonlySet<string> = new Set(["atan2", "hypot", "imul", "max", "min", "pow"]);
/** AssemblyScript compiled to take JavaScript's `Math` for its own. */
const MATH: readonly Row[] = (
  "abs acos acosh asin asinh atan atan2 atanh cbrt ceil clz32 cos cosh exp expm1 floor hypot imul " +
  "log log10 log1p log2 max min pow random round sign sin sinh sqrt tan tanh trunc"
)
  .split(" ")
  .map((name) => {
    const type = name === "random" ? ">F" : TWO_NUMBERS.has(name) ? "FF>F" : "F>F";
    return [`Math.${name}`, type, ALL, "as in JavaScript"];
  });

function rows(module: string, list: readonly Row[]): HostFunction[] {
  return list.map(([name, type, versions, meaning, answersOnly]) => ({
    module,
    name,
    type,
    versions,
    meaning,
    answersOnly,
  }));
}

/** Every import the host links. */
export const HOST_FUNCTIONS: readonly HostFunction[] = [
  ...rows("env", PROXY),
  ...rows("env", VENDORS),
  ...rows("env", EMSCRIPTEN),
  ...rows("env", ASSEMBLYSCRIPT),
  ...rows("env", MATH),
  ...rows("sluice", SLUICE),
  ...rows("wasi_snapshot_preview1", WASI),
  ...rows("wasi_unstable", WASI),
];

/** One export the host calls; `types` lists what is accepted (header callbacks gained a parameter in 0.2). */
export interface GuestExport {
  readonly name: string;
  readonly types: readonly string[];
  readonly versions: number;
  readonly meaning: string;
}

function callback(name: string, types: string | readonly string[], meaning: string, versions = ALL): GuestExport {
  return { name, types: typeof types === "string" ? [types] : types, versions, meaning };
}

/** Every export the host looks at. All are optional but the marker and one allocator. */
export const EXPORTS: readonly GuestExport[] = [
  callback("_initialize", ">", "start, then main if exported"),
  callback("_start", ">", "start, when there is no _initialize"),
  callback("main", "ii>i", "after _initialize"),
  callback("__main_void", ">i", "after _initialize, when there is no main"),
  callback("__wasm_call_ctors", ">", "start of old modules that export neither of the two"),
  callback("malloc", "i>i", "allocator: size → pointer"),
  callback("proxy_on_memory_allocate", "i>i", "allocator: size → pointer"),
  callback("proxy_on_context_create", "ii>", "id, parent id; parent 0 = root context"),
  callback("proxy_on_vm_start", "ii>i", "root id, bytes of VM configuration; 0 refuses"),
  callback("proxy_validate_configuration", "ii>i", "never called"),
  callback("proxy_on_configure", "ii>i", "root id, bytes of plugin configuration; 0 refuses"),
  callback("proxy_on_tick", "i>", "root id"),
  callback("proxy_on_new_connection", "i>i", "stream id → action"),
  callback("proxy_on_downstream_data", "iii>i", "stream id, bytes, end_of_stream → action"),
  callback("proxy_on_upstream_data", "iii>i", "stream id, bytes, end_of_stream → action"),
  callback("proxy_on_downstream_connection_close", "ii>", "stream id, peer"),
  callback("proxy_on_upstream_connection_close", "ii>", "stream id, peer"),
  callback("proxy_on_request_headers", ["iii>i", "ii>i"], "stream id, fields, end_of_stream (0.2) → action"),
  callback("proxy_on_request_body", "iii>i", "stream id, bytes, end_of_stream → action"),
  callback("proxy_on_request_trailers", "ii>i", "stream id, fields → action"),
  callback("proxy_on_request_metadata", "ii>i", "never called"),
  callback("proxy_on_response_headers", ["iii>i", "ii>i"], "stream id, fields, end_of_stream (0.2) → action"),
  callback("proxy_on_response_body", "iii>i", "stream id, bytes, end_of_stream → action"),
  callback("proxy_on_response_trailers", "ii>i", "stream id, fields → action"),
  callback("proxy_on_response_metadata", "ii>i", "never called"),
  callback("proxy_on_http_call_response", "iiiii>", "root id, token, header fields (0: failed), body bytes, trailers"),
  callback("proxy_on_grpc_receive_initial_metadata", "iii>", "root id, token, fields"),
  callback("proxy_on_grpc_receive", "iii>", "root id, token, message bytes"),
  callback("proxy_on_grpc_receive_trailing_metadata", "iii>", "root id, token, fields"),
  callback("proxy_on_grpc_close", "iii>", "root id, token, gRPC status"),
  callback("proxy_on_queue_ready", "ii>", "root id, queue token"),
  callback("proxy_on_foreign_function", "iii>", "root id, function id, argument bytes", FROM_0_2),
  callback("proxy_on_done", "i>i", "id → done; 0 (root only): proxy_done follows"),
  callback("proxy_on_log", "i>", "stream id"),
  callback("proxy_on_delete", "i>", "id"),
  callback("sluice_on_timer", "i>", "stream id; see sluice.set_timer"),
];
