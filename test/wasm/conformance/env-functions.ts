/** What every Proxy-Wasm host function answers, as data. */
import { HOST_FUNCTIONS } from "../../../abi/functions.ts";
import * as Status from "../../../abi/status.ts";
import {
  MAX_FILTER_STATE_BYTES,
  MAX_GUEST_LOG_BYTES,
  MAX_METRIC_NAME_BYTES,
  MAX_PAIRS,
  MAX_PAIRS_BYTES,
  MAX_SHARED_KEY_BYTES,
  MAX_SHARED_VALUE_BYTES,
} from "../../../runtime/limits.ts";
import { encodePairs } from "../../../runtime/wasm/values/pairs.ts";
import { differs, held, out, RESULT, span, text, upTo, value } from "./arguments.ts";
import type { FunctionCases, QuietFunction, Row } from "./arguments.ts";

const {
  OK,
  BAD_ARGUMENT,
  CAS_MISMATCH,
  EMPTY,
  INVALID_MEMORY_ACCESS,
  NOT_FOUND,
  PARSE_FAILURE,
  SERIALIZATION_FAILURE,
  UNIMPLEMENTED,
} = Status;

const MAP = upTo(7);
const BUFFER = upTo(8);
const STREAM = upTo(3);
const CALL_HEADERS = [":method", "GET", ":path", "/", ":authority", "a"];
const PAIRS = text(encodePairs(CALL_HEADERS), "headers");
const TRAILERS = text(encodePairs(["x-t", "1"]), "trailers");
const MALFORMED = text("\x01\0\0\0nonsense");
const TOO_MANY = text(encodePairs(Array.from({ length: (MAX_PAIRS + 1) * 2 }, () => "")));
const LONG_KEY = span(0, MAX_SHARED_KEY_BYTES + 1);
const LONG_VALUE = span(0, MAX_SHARED_VALUE_BYTES + 1);
const NO_LIMIT = "nothing that grows: the host keeps nothing of it";
const FUEL = "what the stream's maps and bodies may hold; and each call costs fuel";

const FIELD: FunctionCases = {
  args: [MAP, text("x-a", "key"), text("1", "value")],
  root: BAD_ARGUMENT,
  log: BAD_ARGUMENT,
  others: [
    differs("trailers before they come", { 0: value(1) }, BAD_ARGUMENT),
    differs("response headers before they come: kept for them", { 0: value(2) }, OK),
    differs("a map that is read-only", { 0: value(6) }, BAD_ARGUMENT),
    differs("no field name", { 1: text("x a") }, BAD_ARGUMENT),
    differs("a value with a line end", { 2: text("a\r\nb: c") }, BAD_ARGUMENT),
    differs("no path", { 1: text(":path"), 2: text("a b") }, BAD_ARGUMENT),
    differs("an empty value", { 2: text("") }, OK),
  ],
  limit: FUEL,
};

const OPEN_STREAM: Row = ["proxy_grpc_stream", text("grpc"), text("s"), text("m"), text(""), out("token")];
const DEFINE = (kind: number): Row => ["proxy_define_metric", value(kind), text(`metric ${kind}`), out("id")];
const HISTOGRAM = [DEFINE(2)];
const REGISTER: Row = ["proxy_register_shared_queue", text("queue"), out("token")];
const STORE: Row = ["proxy_set_shared_data", text("key"), text("value"), value(0)];

const LOGS_AND_TIME: Readonly<Record<string, FunctionCases>> = {
  proxy_log: {
    args: [upTo(5, 2), text("a line", "text")],
    root: OK,
    log: OK,
    limit: [differs("longer than a message may be: cut", { 1: span(0, MAX_GUEST_LOG_BYTES + 1) }, OK)],
  },
  proxy_get_log_level: { args: [out("level_p")], root: OK, log: OK, limit: NO_LIMIT },
  proxy_get_current_time_nanoseconds: { args: [out("u64_p", 8)], root: OK, log: OK, limit: NO_LIMIT },
  proxy_set_tick_period_milliseconds: {
    args: [value(60_000)],
    root: OK,
    log: OK,
    others: [differs("stop", { 0: value(0) }, OK)],
    limit: [differs("longer than a timer can be: cut", { 0: value(-1) }, OK)],
  },
};

const CONTEXTS: Readonly<Record<string, FunctionCases>> = {
  proxy_set_effective_context: {
    args: [value(1)],
    root: OK,
    log: OK,
    others: [
      differs("an id that nobody has", { 0: value(77) }, BAD_ARGUMENT),
      differs("the context of the VM", { 0: value(0) }, BAD_ARGUMENT),
      differs("the largest id", { 0: value(-1) }, BAD_ARGUMENT),
    ],
    limit: NO_LIMIT,
  },
  // Only after on_done has answered 0: see the life of a root context.
  proxy_done: { args: [], status: NOT_FOUND, root: NOT_FOUND, log: NOT_FOUND, limit: NO_LIMIT },
  proxy_get_status: { args: [out("code_p"), RESULT], root: OK, log: OK, limit: NO_LIMIT, emptyResult: true },
  proxy_get_property: {
    args: [text("request\0path", "path"), RESULT],
    root: NOT_FOUND,
    log: OK,
    others: [
      differs("a name that nobody has", { 0: text("no\0such") }, NOT_FOUND),
      differs("no path at all", { 0: text("") }, NOT_FOUND),
      differs("an upstream before there is one", { 0: text("upstream\0address") }, NOT_FOUND),
      differs("null", { 0: text("metadata\0filter_metadata\0ns\0none") }, SERIALIZATION_FAILURE),
    ],
    limit: [differs("a longer path than any", { 0: LONG_KEY }, NOT_FOUND)],
  },
  proxy_set_property: {
    args: [text("mine", "path"), text("v", "value")],
    root: NOT_FOUND,
    log: OK,
    others: [differs("an empty value", { 1: text("") }, OK)],
    limit: [
      differs("a path too long", { 0: LONG_KEY }, BAD_ARGUMENT),
      differs("a value too long", { 1: span(0, MAX_FILTER_STATE_BYTES + 1) }, BAD_ARGUMENT),
    ],
  },
};

const STREAMS: Readonly<Record<string, FunctionCases>> = {
  proxy_continue_stream: {
    args: [STREAM],
    root: OK,
    log: OK,
    others: [
      differs("the response", { 0: value(1) }, OK),
      differs("the downstream connection", { 0: value(2) }, OK),
      differs("the upstream connection", { 0: value(3) }, UNIMPLEMENTED),
    ],
    limit: NO_LIMIT,
  },
  proxy_close_stream: { args: [STREAM], root: OK, log: OK, limit: NO_LIMIT },
  proxy_continue_request: { args: [], root: OK, log: OK, limit: NO_LIMIT },
  proxy_continue_response: { args: [], root: OK, log: OK, limit: NO_LIMIT },
  proxy_clear_route_cache: { args: [], root: OK, log: OK, limit: NO_LIMIT },
  proxy_get_configuration: { args: [RESULT], root: OK, log: OK, limit: NO_LIMIT },
  proxy_send_local_response: {
    args: [
      value(403),
      text("why", "details"),
      text("no", "body"),
      text(encodePairs(["x-b", "1"]), "headers"),
      value(-1),
    ],
    root: OK,
    log: OK,
    others: [
      differs("no status of an answer", { 0: value(101) }, BAD_ARGUMENT),
      differs("a status of four digits", { 0: value(1000) }, BAD_ARGUMENT),
      differs("a negative status", { 0: value(-1) }, BAD_ARGUMENT),
      differs("malformed headers are left out", { 3: MALFORMED }, OK),
      differs("a second answer: the first one counts", { 0: value(500) }, OK),
    ],
    limit: FUEL,
  },
};

const MAPS: Readonly<Record<string, FunctionCases>> = {
  proxy_get_header_map_value: {
    args: [MAP, text("x-a", "key"), RESULT],
    root: BAD_ARGUMENT,
    log: OK,
    others: [
      differs("no such field", { 1: text("x-none") }, NOT_FOUND),
      differs("a map of another phase", { 0: value(2) }, BAD_ARGUMENT),
      differs("a map of a call, outside of its callback", { 0: value(6) }, BAD_ARGUMENT),
    ],
    limit: [differs("a longer name than any", { 1: span(0, 100_000) }, NOT_FOUND)],
  },
  proxy_add_header_map_value: FIELD,
  proxy_replace_header_map_value: FIELD,
  proxy_remove_header_map_value: {
    args: [MAP, text("x-a", "key")],
    root: BAD_ARGUMENT,
    log: BAD_ARGUMENT,
    others: [
      differs("what is not there", { 1: text("x-none") }, OK),
      differs("trailers before they come", { 0: value(1) }, BAD_ARGUMENT),
      differs("response headers before they come: the response's own will go", { 0: value(2) }, OK),
    ],
    limit: NO_LIMIT,
  },
  proxy_get_header_map_pairs: { args: [MAP, RESULT], root: OK, log: OK, limit: NO_LIMIT },
  proxy_set_header_map_pairs: {
    args: [MAP, PAIRS],
    root: BAD_ARGUMENT,
    log: BAD_ARGUMENT,
    others: [
      differs("trailers before they come", { 0: value(1) }, BAD_ARGUMENT),
      differs("malformed pairs", { 1: MALFORMED }, BAD_ARGUMENT),
      differs("fields that are none", { 1: text(encodePairs(["x a", "1"])) }, BAD_ARGUMENT),
    ],
    limit: [
      differs("too many pairs", { 1: TOO_MANY }, BAD_ARGUMENT),
      differs("too many bytes", { 1: span(0, MAX_PAIRS_BYTES + 1) }, BAD_ARGUMENT),
    ],
  },
  proxy_get_header_map_size: {
    args: [MAP, out("size_p")],
    root: BAD_ARGUMENT,
    log: OK,
    others: [differs("a map of another phase", { 0: value(2) }, BAD_ARGUMENT)],
    limit: NO_LIMIT,
  },
};

const BUFFERS: Readonly<Record<string, FunctionCases>> = {
  proxy_get_buffer_bytes: {
    args: [BUFFER, value(0), value(100), RESULT],
    phase: "body",
    root: NOT_FOUND,
    log: NOT_FOUND,
    others: [
      differs("a body of another phase", { 0: value(1) }, NOT_FOUND),
      differs("the body of a call, outside of its callback", { 0: value(4) }, NOT_FOUND),
      differs("the configuration", { 0: value(7) }, OK),
      { name: "a body in a header callback", change: {}, status: NOT_FOUND, phase: "headers" },
    ],
    limit: [
      differs("start and length past 2^32", { 1: value(-1), 2: value(-1) }, OK),
      differs("more than there is", { 2: value(-1) }, OK),
    ],
  },
  proxy_get_buffer_status: {
    args: [BUFFER, out("length_p"), out("flags_p")],
    phase: "body",
    root: NOT_FOUND,
    log: NOT_FOUND,
    others: [differs("a body of another phase", { 0: value(1) }, NOT_FOUND)],
    limit: NO_LIMIT,
  },
  proxy_set_buffer_bytes: {
    args: [BUFFER, value(0), value(0), text("x", "data")],
    phase: "body",
    root: NOT_FOUND,
    log: NOT_FOUND,
    others: [
      differs("a body of another phase", { 0: value(1) }, NOT_FOUND),
      differs("a buffer that is read-only", { 0: value(7) }, BAD_ARGUMENT),
      differs("nothing instead of all", { 2: value(-1), 3: text("") }, OK),
    ],
    limit: [{ name: "a body too long", change: { 1: value(-1) }, status: BAD_ARGUMENT, phase: "full body" }],
  },
};

const OPEN_CALLS = "10,000 calls may be open; the circuit breakers of a cluster end more before";
const CALLS: Readonly<Record<string, FunctionCases>> = {
  proxy_http_call: {
    args: [text("origin", "cluster"), PAIRS, text("hello", "body"), TRAILERS, value(1000), out("token_p")],
    root: OK,
    log: OK,
    others: [
      differs("a cluster that nobody knows", { 0: text("nobody") }, BAD_ARGUMENT),
      differs("no cluster", { 0: text("") }, BAD_ARGUMENT),
      differs("no path", { 1: text(encodePairs([":method", "GET", ":authority", "a", ":path2", "/"])) }, BAD_ARGUMENT),
      differs("malformed headers", { 1: MALFORMED }, BAD_ARGUMENT),
      differs("trailers that are none", { 3: text(encodePairs(["x t", ""])) }, BAD_ARGUMENT),
      differs("a negative timeout", { 4: value(-1) }, BAD_ARGUMENT),
    ],
    limit: OPEN_CALLS,
  },
  proxy_grpc_call: {
    args: [
      ...[text("grpc", "target"), text("svc", "service"), text("Do", "method"), TRAILERS],
      ...[text("message", "message"), value(1000), out("token_p")],
    ],
    root: OK,
    log: OK,
    others: [
      differs("a cluster that nobody knows", { 0: text("nobody") }, PARSE_FAILURE),
      differs("malformed metadata", { 3: MALFORMED }, PARSE_FAILURE),
    ],
    limit: OPEN_CALLS,
  },
  proxy_grpc_stream: {
    args: [text("grpc", "target"), text("svc", "service"), text("Do", "method"), TRAILERS, out("token_p")],
    root: OK,
    log: OK,
    others: [differs("a cluster that nobody knows", { 0: text("nobody") }, PARSE_FAILURE)],
    limit: OPEN_CALLS,
  },
  proxy_grpc_send: {
    args: [held("token"), text("message", "message"), value(0)],
    before: [OPEN_STREAM],
    root: OK,
    log: OK,
    others: [
      differs("a stream that nobody opened", { 0: value(40_002) }, NOT_FOUND),
      differs("a token of another kind", { 0: value(5) }, BAD_ARGUMENT),
    ],
    limit: { file: "test/wasm/host/grpc-stream.test.ts", test: "what waits to be sent is bounded" },
  },
  proxy_grpc_cancel: {
    args: [held("token")],
    before: [OPEN_STREAM],
    root: OK,
    log: OK,
    others: [
      differs("a stream that nobody opened", { 0: value(40_002) }, NOT_FOUND),
      differs("a token of another kind", { 0: value(4) }, BAD_ARGUMENT),
    ],
    limit: NO_LIMIT,
  },
  proxy_grpc_close: {
    args: [held("token")],
    before: [OPEN_STREAM],
    root: OK,
    log: OK,
    others: [
      differs("a stream that nobody opened", { 0: value(40_002) }, NOT_FOUND),
      differs("a token of another kind", { 0: value(4) }, BAD_ARGUMENT),
    ],
    limit: NO_LIMIT,
  },
};

const SHARED: Readonly<Record<string, FunctionCases>> = {
  proxy_get_shared_data: {
    args: [text("key", "key"), RESULT, out("cas_p")],
    before: [STORE],
    root: OK,
    log: OK,
    others: [differs("a key that nobody set", { 0: text("none") }, NOT_FOUND)],
    limit: [differs("a longer key than any", { 0: LONG_KEY }, NOT_FOUND)],
  },
  proxy_set_shared_data: {
    args: [text("key", "key"), text("value", "value"), value(0)],
    before: [STORE],
    root: OK,
    log: OK,
    others: [
      differs("a cas that is not the value's", { 2: value(0x7fff_ffff) }, CAS_MISMATCH),
      differs("an empty value", { 1: span(1, 0) }, OK),
      differs("no value: delete", { 1: span(0, 0) }, OK),
      differs("delete what is not there", { 0: text("none"), 1: span(0, 0) }, OK),
    ],
    limit: [
      differs("a key too long", { 0: LONG_KEY }, BAD_ARGUMENT),
      differs("a value too long", { 1: LONG_VALUE }, BAD_ARGUMENT),
    ],
  },
  proxy_register_shared_queue: {
    args: [text("queue", "name"), out("token_p")],
    root: OK,
    log: OK,
    limit: [differs("a name too long", { 0: LONG_KEY }, BAD_ARGUMENT)],
  },
  proxy_resolve_shared_queue: {
    args: [text("vm", "vm_id"), text("queue", "name"), out("token_p")],
    before: [REGISTER],
    root: OK,
    log: OK,
    others: [
      differs("the plugin's own vm_id", { 0: text("") }, OK),
      differs("a name that nobody registered", { 1: text("none") }, NOT_FOUND),
      differs("another vm_id", { 0: text("other") }, NOT_FOUND),
    ],
    limit: [
      differs("a longer name than any", { 1: LONG_KEY }, NOT_FOUND),
      differs("a longer vm_id than any", { 0: LONG_KEY }, NOT_FOUND),
    ],
  },
  proxy_enqueue_shared_queue: {
    args: [held("token"), text("item", "data")],
    before: [REGISTER],
    root: OK,
    log: OK,
    others: [
      differs("a queue that nobody registered", { 0: value(77) }, NOT_FOUND),
      differs("queue 0", { 0: value(0) }, NOT_FOUND),
    ],
    limit: [differs("an item too long", { 1: LONG_VALUE }, BAD_ARGUMENT)],
  },
  proxy_dequeue_shared_queue: {
    args: [held("token"), RESULT],
    before: [REGISTER, ["proxy_enqueue_shared_queue", held("token"), text("item")]],
    root: OK,
    log: OK,
    others: [
      differs("a queue that nobody registered", { 0: value(77) }, NOT_FOUND),
      {
        name: "an empty queue",
        change: {},
        status: EMPTY,
        before: [["proxy_register_shared_queue", text("an empty one"), out("token")]],
      },
    ],
    limit: NO_LIMIT,
  },
};

const METRICS: Readonly<Record<string, FunctionCases>> = {
  proxy_define_metric: {
    args: [upTo(2), text("metric", "name"), out("id_p")],
    root: OK,
    log: OK,
    others: [differs("again", {}, OK)],
    limit: [differs("a name too long", { 1: span(0, MAX_METRIC_NAME_BYTES + 1) }, BAD_ARGUMENT)],
    huge: BAD_ARGUMENT,
  },
  proxy_increment_metric: {
    args: [held("id"), value(1n)],
    before: [DEFINE(0)],
    root: OK,
    log: OK,
    others: [
      differs("a metric that nobody defined", { 0: value(400) }, NOT_FOUND),
      differs("id 0", { 0: value(0) }, NOT_FOUND),
      differs("a counter by nothing", { 1: value(0n) }, BAD_ARGUMENT),
      differs("a counter by less than nothing", { 1: value(-1n) }, BAD_ARGUMENT),
      { name: "a gauge by less than nothing", change: { 1: value(-1n) }, status: OK, before: [DEFINE(1)] },
      { name: "a histogram", change: {}, status: BAD_ARGUMENT, before: HISTOGRAM },
    ],
    limit: NO_LIMIT,
  },
  proxy_record_metric: {
    args: [held("id"), value(1n)],
    before: [DEFINE(0)],
    root: OK,
    log: OK,
    others: [
      differs("a metric that nobody defined", { 0: value(400) }, NOT_FOUND),
      { name: "a histogram", change: {}, status: OK, before: HISTOGRAM },
    ],
    limit: NO_LIMIT,
  },
  proxy_get_metric: {
    args: [held("id"), out("value_p", 8)],
    before: [DEFINE(0)],
    root: OK,
    log: OK,
    others: [
      differs("a metric that nobody defined", { 0: value(400) }, NOT_FOUND),
      { name: "a histogram", change: {}, status: BAD_ARGUMENT, before: HISTOGRAM },
    ],
    limit: NO_LIMIT,
  },
};

const FOREIGN: Readonly<Record<string, FunctionCases>> = {
  proxy_call_foreign_function: {
    args: [text("compress", "name"), text("text", "argument"), RESULT],
    root: OK,
    log: OK,
    others: [
      differs("a name that nobody has", { 0: text("none") }, NOT_FOUND),
      differs("a result that is not wanted", { 2: span(0, 0) }, OK),
      differs("a result of which neither address is any", { 2: span(-1, -1) }, INVALID_MEMORY_ACCESS),
    ],
    limit: {
      file: "test/wasm/host/foreign.test.ts",
      test: "uncompress: damaged bytes and a bomb are SERIALIZATION_FAILURE, and the reason is told",
    },
  },
};

/** By name. */
export const PROXY_CASES: ReadonlyMap<string, FunctionCases> = new Map(
  [LOGS_AND_TIME, CONTEXTS, STREAMS, MAPS, BUFFERS, CALLS, SHARED, METRICS, FOREIGN].flatMap((one) =>
    Object.entries(one),
  ),
);

/** Functions without a status: no harm whatever they are called with, or the end of the instance. */
export const QUIET: ReadonlyMap<string, QuietFunction> = new Map([
  ...[
    ...["emscripten_notify_memory_growth", "pthread_equal", "seed", "trace", "Date.now", "performance.now"],
    ...["console.assert", "console.log", "console.debug", "console.info", "console.warn", "console.error"],
    ...["console.time", "console.timeLog", "console.timeEnd"],
  ].map((name): [string, QuietFunction] => [name, { ends: null }]),
  ["random", { ends: null }],
  ...HOST_FUNCTIONS.filter(({ name }) => name.startsWith("Math.")).map(({ name }): [string, QuietFunction] => [
    name,
    { ends: null },
  ]),
  ["abort", { ends: "abort" }],
  ["proc_exit", { ends: "exit" }],
  ["process.exit", { ends: "exit" }],
]);
