/**
 * What the SDKs and their toolchains are known to import: names and types as their sources and modules built with them
 * have them, written down without a look at the host's own table. `i` i32, `I` i64, `F` f64.
 */

/** `proxy_` left out. */
const ENV: Readonly<Record<string, string>> = {
  log: "iii>i",
  get_log_level: "i>i",
  get_current_time_nanoseconds: "i>i",
  set_tick_period_milliseconds: "i>i",
  set_effective_context: "i>i",
  done: ">i",
  get_status: "iii>i",
  get_property: "iiii>i",
  set_property: "iiii>i",
  continue_stream: "i>i",
  close_stream: "i>i",
  send_local_response: "iiiiiiii>i",
  get_header_map_value: "iiiii>i",
  add_header_map_value: "iiiii>i",
  replace_header_map_value: "iiiii>i",
  remove_header_map_value: "iii>i",
  get_header_map_pairs: "iii>i",
  set_header_map_pairs: "iii>i",
  get_header_map_size: "ii>i",
  get_buffer_bytes: "iiiii>i",
  get_buffer_status: "iii>i",
  set_buffer_bytes: "iiiii>i",
  http_call: "iiiiiiiiii>i",
  grpc_call: "iiiiiiiiiiii>i",
  grpc_stream: "iiiiiiiii>i",
  grpc_send: "iiii>i",
  grpc_cancel: "i>i",
  grpc_close: "i>i",
  get_shared_data: "iiiii>i",
  set_shared_data: "iiiii>i",
  register_shared_queue: "iii>i",
  resolve_shared_queue: "iiiii>i",
  enqueue_shared_queue: "iii>i",
  dequeue_shared_queue: "iii>i",
  define_metric: "iiii>i",
  increment_metric: "iI>i",
  record_metric: "iI>i",
  get_metric: "ii>i",
  call_foreign_function: "iiiiii>i",
};

const OLD: Readonly<Record<string, string>> = {
  continue_request: ">i",
  continue_response: ">i",
  clear_route_cache: ">i",
  get_configuration: "ii>i",
};

const WASI: Readonly<Record<string, string>> = {
  args_get: "ii>i",
  args_sizes_get: "ii>i",
  clock_time_get: "iIi>i",
  environ_get: "ii>i",
  environ_sizes_get: "ii>i",
  fd_close: "i>i",
  fd_fdstat_get: "ii>i",
  fd_fdstat_set_flags: "ii>i",
  fd_prestat_dir_name: "iii>i",
  fd_prestat_get: "ii>i",
  fd_read: "iiii>i",
  fd_seek: "iIii>i",
  fd_write: "iiii>i",
  poll_oneoff: "iiii>i",
  proc_exit: "i>",
  random_get: "ii>i",
  sched_yield: ">i",
};

export interface Import {
  readonly module: string;
  readonly name: string;
  readonly type: string;
}

function proxy(names: readonly string[], table: Readonly<Record<string, string>> = ENV): Import[] {
  return names.map((name) => ({ module: "env", name: `proxy_${name}`, type: table[name]! }));
}
function wasi(module: string, names: readonly string[]): Import[] {
  return names.map((name) => ({ module, name, type: WASI[name]! }));
}
function env(name: string, type: string): Import {
  return { module: "env", name, type };
}

const PREVIEW1 = "wasi_snapshot_preview1";
const UNSTABLE = "wasi_unstable";
const SINCE_0_2 = new Set(["continue_stream", "close_stream"]);
const ALL = Object.keys(ENV);
const ALL_0_2_0 = ALL.filter((name) => name !== "get_log_level");
const ALL_0_1_0 = ALL_0_2_0.filter((name) => !SINCE_0_2.has(name));
/** Go's SDK has neither gRPC nor trailers of its own, nor the clock. */
const GO_LACKS = /^(grpc|get_status|get_header_map_size|get_buffer_status|get_log_level|get_current_time_nanoseconds)/;
const GO = ALL_0_2_0.filter((name) => !GO_LACKS.test(name));
/** The wrappers whose imports have the right type: its gRPC calls are declared with 10 and 7 parameters, and unused. */
const SCRIPT = ALL_0_2_0.filter((name) => !name.startsWith("grpc_"));
const GO_RUNTIME = [
  "sched_yield",
  "proc_exit",
  "args_get",
  "args_sizes_get",
  "clock_time_get",
  "environ_get",
  "environ_sizes_get",
  "fd_write",
  "random_get",
  "poll_oneoff",
  "fd_close",
  "fd_write",
  "fd_fdstat_get",
  "fd_fdstat_set_flags",
  "fd_prestat_get",
  "fd_prestat_dir_name",
];
const TINYGO_RUNTIME = [
  "fd_write",
  "args_get",
  "args_sizes_get",
  "clock_time_get",
  "environ_get",
  "environ_sizes_get",
  "proc_exit",
  "random_get",
];
const RUST_RUNTIME = ["clock_time_get", "random_get", "fd_write", "environ_get", "environ_sizes_get", "proc_exit"];
const EMSCRIPTEN_2020 = [
  "args_sizes_get",
  "args_get",
  "proc_exit",
  "fd_write",
  "fd_seek",
  "fd_close",
  "environ_get",
  "environ_sizes_get",
];
const GROWTH = env("emscripten_notify_memory_growth", "i>");
const COMPILER = [env("abort", "iiii>"), env("seed", ">F"), env("trace", "iiFFFFF>")];

interface Sdk {
  readonly marker: string;
  readonly imports: readonly Import[];
}

const V0_1_0 = "proxy_abi_version_0_1_0";
const V0_2_0 = "proxy_abi_version_0_2_0";
const V0_2_1 = "proxy_abi_version_0_2_1";

/** By SDK and toolchain: the whole list that a module may have. */
export const SDKS: Readonly<Record<string, Sdk>> = {
  "C++ 0.1.0, emscripten of 2020": {
    marker: V0_1_0,
    imports: [...proxy(ALL_0_1_0), ...proxy(Object.keys(OLD), OLD), ...wasi(UNSTABLE, EMSCRIPTEN_2020), GROWTH],
  },
  "C++ 0.2.0, emscripten": {
    marker: V0_2_0,
    imports: [...proxy(ALL_0_2_0), ...wasi(UNSTABLE, ["proc_exit"]), env("pthread_equal", "ii>i")],
  },
  "C++ 0.2.1, emscripten": { marker: V0_2_1, imports: [...proxy(ALL), ...wasi(PREVIEW1, ["proc_exit"]), GROWTH] },
  "C++ 0.2.1, clang and wasi-libc": {
    marker: V0_2_1,
    imports: [...proxy(ALL), ...wasi(PREVIEW1, Object.keys(WASI))],
  },
  "Rust 0.1, WASI": {
    marker: V0_1_0,
    imports: [...proxy(ALL_0_1_0), ...proxy(Object.keys(OLD), OLD), ...wasi(PREVIEW1, RUST_RUNTIME)],
  },
  "Rust 0.2, WASI": { marker: V0_2_1, imports: [...proxy(ALL), ...wasi(PREVIEW1, RUST_RUNTIME)] },
  "Rust 0.2, no WASI": { marker: V0_2_1, imports: proxy(ALL) },
  "Go 1.24": { marker: V0_2_0, imports: [...wasi(PREVIEW1, GO_RUNTIME), ...proxy(GO)] },
  TinyGo: { marker: V0_2_0, imports: [...wasi(PREVIEW1, TINYGO_RUNTIME), ...proxy(GO)] },
  "TinyGo of 2020": { marker: V0_2_0, imports: [...wasi(UNSTABLE, TINYGO_RUNTIME), ...proxy(GO)] },
  "AssemblyScript, solo.io": {
    marker: V0_2_0,
    imports: [...proxy(SCRIPT), ...proxy(["clear_route_cache"], OLD), ...wasi(UNSTABLE, ["proc_exit"])],
  },
  "AssemblyScript, solo.io, with the compiler's own abort": {
    marker: V0_2_0,
    imports: [...proxy(SCRIPT), ...proxy(["clear_route_cache"], OLD), ...COMPILER],
  },
  "AssemblyScript, Kong": {
    marker: V0_2_1,
    imports: [...proxy([...SCRIPT, "get_log_level"]), ...proxy(["clear_route_cache"], OLD), ...COMPILER],
  },
  "AssemblyScript, G-Core": {
    marker: V0_2_1,
    imports: [
      ...proxy([...SCRIPT, "get_log_level"]),
      ...proxy(["clear_route_cache"], OLD),
      ...wasi(PREVIEW1, ["fd_write", "proc_exit", "clock_time_get", "random_get", "environ_get", "environ_sizes_get"]),
    ],
  },
  "AssemblyScript, Higress": {
    marker: "proxy_abi_version_0_2_100",
    imports: [...proxy([...SCRIPT, "get_log_level"]), ...proxy(["clear_route_cache"], OLD), ...COMPILER],
  },
  "AssemblyScript's console and clocks": {
    marker: V0_2_1,
    imports: [
      ...COMPILER,
      ...["log", "debug", "info", "warn", "error"].map((name) => env(`console.${name}`, "i>")),
      env("console.assert", "ii>"),
      env("Date.now", ">F"),
      env("performance.now", ">F"),
      env("process.exit", "i>"),
    ],
  },
};
