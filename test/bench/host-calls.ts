/**
 * One row per host function, but for those that end the guest or the stream: how a guest calls it in a loop, so that a
 * loop's time says what a call costs.
 */
import { encodePairs } from "../../runtime/wasm/values/pairs.ts";
import { HOST_FUNCTIONS } from "../../abi/functions.ts";

/** A call in a loop. `args` and `before` are WebAssembly text; `$id` is the stream's context id. */
export interface HostCall {
  readonly name: string;
  /** What is measured, when one function has several rows. */
  readonly detail?: string;
  readonly args: string;
  /** Once, before the loop. */
  readonly before?: string;
  /** With the call each time. */
  readonly also?: string;
  /** Runs in proxy_on_request_body, with a body of 4 KiB. */
  readonly inBody?: boolean;
}

const VALUES: Readonly<Record<string, string>> = { i: "i32", I: "i64", F: "f64" };
const FIRST_TEXT = 1024;
const texts = new Map<string, number>();
let nextText = FIRST_TEXT;

/** Address and size of a text in the guest's memory, as two arguments. */
function text(value: string): string {
  let at = texts.get(value);
  if (at === undefined) {
    texts.set(value, (at = nextText));
    nextText += (value.length + 15) & ~7;
  }
  return `(i32.const ${at}) (i32.const ${value.length})`;
}

/** The data segments of all texts. */
export function textData(): string {
  return [...texts]
    .map(([value, at]) => {
      const escaped = [...Buffer.from(value, "latin1")].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`);
      return `(data (i32.const ${at}) "${escaped.join("")}")`;
    })
    .join("\n");
}

const i = (...values: readonly number[]): string => values.map((value) => `(i32.const ${value})`).join(" ");
/** Where answers go: pointer and size, or one number. */
const ANSWER = i(512, 516);
const CELL = i(512);
/** An id that `before` has stored. */
const ID = "(i32.load (i32.const 520))";
const ID_AT = i(520);
const call = (name: string, args: string): string => `(drop (call $${name} ${args}))`;
const pairs = (...list: readonly string[]): string => text(Buffer.from(encodePairs(list)).latin1Slice());

/** WASI without files and sockets: each says so at once. */
const FILELESS = HOST_FUNCTIONS.filter(
  ({ module, meaning }) => module === "wasi_snapshot_preview1" && /^no (files|sockets)$/.test(meaning),
).map(({ name }) => name);

/** Arguments of a function, all of them 0. */
function zeros(name: string): string {
  const { type } = HOST_FUNCTIONS.find((one) => one.name === name)!;
  return [...type.split(">")[0]!].map((letter) => `(${VALUES[letter]}.const 0)`).join(" ");
}

export const HOST_CALLS: readonly HostCall[] = [
  { name: "proxy_set_effective_context", detail: "the least a call costs", args: "(local.get $id)" },
  { name: "proxy_log", detail: "level off", args: `${i(0)} ${text("a line of text")}` },
  { name: "proxy_get_log_level", args: CELL },
  { name: "proxy_get_current_time_nanoseconds", args: CELL },
  { name: "proxy_set_tick_period_milliseconds", args: i(60_000) },
  { name: "proxy_get_status", args: i(508, 512, 516) },
  { name: "proxy_get_configuration", args: ANSWER },
  { name: "proxy_continue_stream", args: i(0) },
  { name: "proxy_continue_request", args: "" },
  { name: "proxy_continue_response", args: "" },
  { name: "proxy_clear_route_cache", args: "" },
  { name: "proxy_done", detail: "a stream is not", args: "" },
  { name: "proxy_get_property", detail: "request.path", args: `${text("request\0path")} ${ANSWER}` },
  { name: "proxy_get_property", detail: "source.address", args: `${text("source\0address")} ${ANSWER}` },
  { name: "proxy_get_property", detail: "one request header", args: `${text("request\0headers\0accept")} ${ANSWER}` },
  { name: "proxy_set_property", args: `${text("mine")} ${text("value")}` },
  { name: "proxy_get_header_map_value", detail: "36 bytes", args: `${i(0)} ${text("x-request-id")} ${ANSWER}` },
  { name: "proxy_get_header_map_value", detail: "absent", args: `${i(0)} ${text("x-absent")} ${ANSWER}` },
  { name: "proxy_replace_header_map_value", args: `${i(0)} ${text("x-mark")} ${text("sluice")}` },
  {
    name: "proxy_add_header_map_value",
    detail: "and removed again",
    args: `${i(0)} ${text("x-more")} ${text("sluice")}`,
    also: call("proxy_remove_header_map_value", `${i(0)} ${text("x-more")}`),
  },
  { name: "proxy_remove_header_map_value", detail: "absent", args: `${i(0)} ${text("x-absent")}` },
  { name: "proxy_get_header_map_pairs", detail: "8 fields", args: `${i(0)} ${ANSWER}` },
  {
    name: "proxy_set_header_map_pairs",
    detail: "4 fields",
    args: `${i(0)} ${pairs(":method", "GET", ":path", "/", ":authority", "localhost", ":scheme", "http")}`,
  },
  { name: "proxy_get_header_map_size", args: `${i(0)} ${CELL}` },
  { name: "proxy_get_buffer_bytes", detail: "64 bytes of body", args: `${i(0, 0, 64)} ${ANSWER}`, inBody: true },
  { name: "proxy_get_buffer_bytes", detail: "4 KiB of body", args: `${i(0, 0, 4096)} ${ANSWER}`, inBody: true },
  { name: "proxy_get_buffer_status", args: i(0, 512, 516), inBody: true },
  {
    name: "proxy_set_buffer_bytes",
    detail: "replace 8 bytes",
    args: `${i(0, 0, 8)} ${text("12345678")}`,
    inBody: true,
  },
  {
    name: "proxy_get_shared_data",
    args: `${text("key")} ${i(512, 516, 524)}`,
    before: call("proxy_set_shared_data", `${text("key")} ${text("value")} ${i(0)}`),
  },
  { name: "proxy_set_shared_data", args: `${text("key")} ${text("value")} ${i(0)}` },
  {
    name: "proxy_resolve_shared_queue",
    args: `${i(0, 0)} ${text("bench")} ${CELL}`,
    before: call("proxy_register_shared_queue", `${text("bench")} ${CELL}`),
  },
  { name: "proxy_register_shared_queue", detail: "known", args: `${text("bench")} ${CELL}` },
  {
    name: "proxy_enqueue_shared_queue",
    detail: "16 bytes, and dequeued",
    args: `${ID} ${text("sixteen bytes it")}`,
    before: call("proxy_register_shared_queue", `${text("bench")} ${ID_AT}`),
    also: call("proxy_dequeue_shared_queue", `${ID} ${ANSWER}`),
  },
  {
    name: "proxy_dequeue_shared_queue",
    detail: "empty",
    args: `${ID} ${ANSWER}`,
    before: call("proxy_register_shared_queue", `${text("bench")} ${ID_AT}`),
  },
  { name: "proxy_define_metric", detail: "known", args: `${i(0)} ${text("bench")} ${CELL}` },
  {
    name: "proxy_increment_metric",
    args: `${ID} (i64.const 1)`,
    before: call("proxy_define_metric", `${i(0)} ${text("bench")} ${ID_AT}`),
  },
  {
    name: "proxy_record_metric",
    detail: "histogram",
    args: `${ID} (i64.const 12)`,
    before: call("proxy_define_metric", `${i(2)} ${text("bench_h")} ${ID_AT}`),
  },
  {
    name: "proxy_get_metric",
    args: `${ID} ${CELL}`,
    before: call("proxy_define_metric", `${i(0)} ${text("bench")} ${ID_AT}`),
  },
  { name: "proxy_call_foreign_function", detail: "unknown", args: `${text("nothing")} ${i(0, 0)} ${ANSWER}` },
  {
    name: "proxy_http_call",
    detail: "unknown cluster",
    args: `${text("nobody")} ${pairs(":method", "GET", ":path", "/", ":authority", "a")} ${i(0, 0, 0, 0, 100)} ${CELL}`,
  },
  {
    name: "proxy_grpc_call",
    detail: "unknown cluster",
    args: `${text("nobody")} ${text("a.B")} ${text("C")} ${i(0, 0, 0, 0, 100)} ${CELL}`,
  },
  {
    name: "proxy_grpc_stream",
    detail: "unknown cluster",
    args: `${text("nobody")} ${text("a.B")} ${text("C")} ${i(0, 0)} ${CELL}`,
  },
  { name: "proxy_grpc_send", detail: "unknown call", args: `${i(99)} ${text("message")} ${i(0)}` },
  { name: "proxy_grpc_close", detail: "unknown call", args: i(99) },
  { name: "proxy_grpc_cancel", detail: "unknown call", args: i(99) },
  {
    name: "proxy_send_local_response",
    detail: "all but the first are refused",
    args: `${i(418)} ${text("detail")} ${text("body")} ${i(0, 0, -1)}`,
  },
  {
    name: "take_tokens",
    args: `${ID} ${i(1, 528, 532)}`,
    before: call("define_token_bucket", `${text("bench")} ${i(1_000_000_000, 1, 1000)} ${ID_AT}`),
  },
  { name: "match_regex", args: `${text("^/api/[a-z]+$")} ${text("/api/items")}` },
  { name: "random", args: "" },
  { name: "define_token_bucket", detail: "known", args: `${text("bench")} ${i(1_000_000_000, 1, 1000)} ${ID_AT}` },
  { name: "set_timer", args: i(60_000) },
  { name: "runtime_number", detail: "absent", args: `${text("no.such.key")} ${CELL}` },
  { name: "runtime_fraction", detail: "absent", args: `${text("no.such.key")} ${i(50, 100)}` },
  { name: "get_route_configuration_id", detail: "none", args: CELL },
  { name: "get_route_configuration", detail: "none", args: `${i(7)} ${ANSWER}` },
  { name: "get_rate_limit_descriptors", detail: "none", args: `${i(0, 0)} ${ANSWER}` },
  { name: "set_response_flag", args: i(5) },
  { name: "set_response_pace", args: i(100_000) },
  { name: "skip_response", args: "" },
  {
    name: "set_dynamic_metadata",
    detail: "one number",
    args: `${text("bench.namespace")} ${text("\x0a\x0e\x0a\x01n\x12\x09\x11\x00\x00\x00\x00\x00\x00\xf0\x3f")}`,
  },
  {
    name: "replace_dynamic_metadata",
    detail: "one number",
    args: `${text("bench.namespace")} ${text("\x0a\x0e\x0a\x01n\x12\x09\x11\x00\x00\x00\x00\x00\x00\xf0\x3f")}`,
  },
  { name: "fd_write", detail: "empty", args: `${i(1, 0, 0)} ${CELL}` },
  { name: "clock_time_get", args: `${i(1)} (i64.const 0) ${CELL}` },
  { name: "random_get", detail: "32 bytes", args: i(2048, 32) },
  { name: "sched_yield", args: "" },
  { name: "args_sizes_get", args: i(512, 516) },
  { name: "environ_sizes_get", args: i(512, 516) },
  { name: "environ_get", args: i(512, 540) },
  { name: "clock_res_get", args: i(1, 512) },
  { name: "fd_fdstat_get", args: i(1, 512) },
  { name: "fd_prestat_get", args: i(3, 512) },
  { name: "poll_oneoff", detail: "one clock", args: i(2048, 2200, 1, 512) },
  { name: "Date.now", args: "" },
  { name: "performance.now", args: "" },
  { name: "seed", args: "" },
  { name: "console.log", detail: "empty, as the rest of console", args: i(0) },
  { name: "trace", detail: "empty", args: `${i(0, 0)} ${"(f64.const 0) ".repeat(5)}` },
  { name: "emscripten_notify_memory_growth", args: i(0) },
  { name: "pthread_equal", args: i(1, 2) },
  { name: "args_get", args: i(512, 540) },
  { name: "fd_pwrite", detail: "empty", args: `${i(1, 0, 0)} (i64.const 0) ${CELL}` },
  { name: "proxy_kv_store_open", detail: "as all that only answers", args: i(0, 0, 512) },
  ...FILELESS.map((name) => ({ name, detail: "refused", args: zeros(name) })),
];

const needed = new Set(
  HOST_CALLS.flatMap(({ name, before = "", also = "" }) => [
    name,
    ...[...`${before}${also}`.matchAll(/call \$(\w+)/g)].map((one) => one[1]!),
  ]),
);

/** Imports of everything that rows call, as `$name`. */
export function hostImportsText(): string {
  return HOST_FUNCTIONS.filter(({ name, module }) => needed.has(name) && module !== "wasi_unstable")
    .map(({ module, name, type }) => {
      const [params = "", result = ""] = type.split(">");
      const param = [...params].map((one) => ` (param ${VALUES[one]})`).join("");
      return `(import "${module}" "${name}" (func $${name}${param}${result === "" ? "" : ` (result ${VALUES[result]})`}))`;
    })
    .join("\n");
}
