/** One row per host function of Proxy-Wasm and of ours: how a guest calls it in a loop, so that a loop's time says what a call costs. */
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

export const HOST_CALLS: readonly HostCall[] = [
  { name: "proxy_set_effective_context", detail: "the least a call costs", args: "(local.get $id)" },
  { name: "proxy_log", detail: "level off", args: `${i(0)} ${text("a line of text")}` },
  { name: "proxy_get_log_level", args: CELL },
  { name: "proxy_get_current_time_nanoseconds", args: CELL },
  { name: "proxy_set_tick_period_milliseconds", args: i(60_000) },
  { name: "proxy_get_status", args: i(508, 512, 516) },
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
    name: "take_tokens",
    args: `${ID} ${i(1, 528, 532)}`,
    before: call("define_token_bucket", `${text("bench")} ${i(1_000_000_000, 1, 1000)} ${ID_AT}`),
  },
  { name: "match_regex", args: `${text("^/api/[a-z]+$")} ${text("/api/items")}` },
  { name: "random", args: "" },
  { name: "fd_write", detail: "empty", args: `${i(1, 0, 0)} ${CELL}` },
  { name: "clock_time_get", args: `${i(1)} (i64.const 0) ${CELL}` },
  { name: "random_get", detail: "32 bytes", args: i(2048, 32) },
];

const VALUES: Readonly<Record<string, string>> = { i: "i32", I: "i64", F: "f64" };
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
