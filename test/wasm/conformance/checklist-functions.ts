/** The checklist about host functions and safety. */
import { different, MADE, of, shown, tabled } from "./evidence.ts";
import type { Entry } from "./evidence.ts";

const more = of("wasm/conformance/life");
const streams = of("wasm/conformance/streams");
const calls = of("wasm/conformance/calls");
const headers = of("wasm/host/headers");
const early = of("wasm/host/early-headers");
const buffers = of("wasm/host/buffers");
const control = of("wasm/host/stream");
const properties = of("wasm/host/properties");
const http = of("wasm/host/calls");
const grpc = of("wasm/host/grpc-stream");
const shared = of("wasm/host/shared");
const system = of("wasm/host/system");
const foreign = of("wasm/host/foreign");
const sandbox = of("wasm/sandbox");
const OVERSTEPS = sandbox("${name}: ${reason}; the next stream is served");
const failure = of("wasm/failure");
const isolation = of("wasm/isolation");

const BUFFERS: readonly Entry[] = [
  [
    77,
    "reading is clamped to what is there",
    buffers("${start} ${max}"),
    tabled("proxy_get_buffer_bytes", "more than there is"),
  ],
  [78, "nothing asked, nothing allocated", buffers("${start} ${max}")],
  [79, "sums past 2^32", tabled("proxy_get_buffer_bytes", "start and length past 2^32")],
  [
    80,
    "unknown buffers",
    tabled("proxy_get_buffer_bytes", MADE.sets),
    tabled("proxy_set_buffer_bytes", MADE.sets),
    tabled("proxy_get_buffer_status", MADE.sets),
  ],
  [
    81,
    "absent buffers",
    tabled("proxy_get_buffer_bytes", "a body of another phase"),
    tabled("proxy_set_buffer_bytes", "a body of another phase"),
  ],
  [
    82,
    "prepend, append, replace all, replace the first bytes",
    buffers("prepends"),
    buffers("appends behind the end"),
    buffers("replaces more than all"),
    buffers("replaces the first bytes"),
  ],
  [
    83,
    "replace in the middle",
    buffers("replaces in the middle"),
    different("`proxy_set_buffer_bytes` in the middle of a body works"),
  ],
  [84, "an empty value empties", buffers("empties")],
  [
    85,
    "a body of another length is framed rightly",
    shown("integration/hostile", "${callback}: headers held until the body is edited say its new length"),
    shown("integration/hostile", "${callback}: a body edited behind its headers is never framed wrongly"),
    different("When a filter that held the headers changed the body, Content-Length is corrected"),
  ],
  [86, "configurations and answers are read-only", tabled("proxy_set_buffer_bytes", "a buffer that is read-only")],
  [
    87,
    "the status is the length, and no flags",
    tabled("proxy_get_buffer_status", MADE.works),
    buffers("bad buffer, bad pointer, no body in header callbacks"),
  ],
  [88, "no body in a header callback", tabled("proxy_get_buffer_bytes", "a body in a header callback")],
];

const MAPS: readonly Entry[] = [
  [
    89,
    "names in any case; a missing one is told, or empty for 0.1.0",
    headers("gives the first value, whatever the case of the name"),
    headers("an absent header is empty in ABI 0.1.0"),
  ],
  [
    90,
    "an empty value is no missing one",
    headers("tells an absent header from an empty one, without asking the allocator"),
  ],
  [
    91,
    "pseudo-headers can be read",
    streams("names come in lower case, pseudo-headers with their values, each of many fields"),
  ],
  [
    92,
    "pseudo-headers can be changed, with effect",
    streams("pseudo-headers that a guest replaces are those of the message"),
  ],
  [93, "an impossible status changes nothing", headers("pseudo-headers keep to what a first line can carry")],
  [
    94,
    "add appends, replace leaves one, remove takes all",
    headers("add appends, replace leaves one, remove takes all and tolerates none"),
  ],
  [
    95,
    "get gives the first, pairs give all",
    headers("gives the first value, whatever the case of the name"),
    headers("pairs come out and go back byte for byte"),
  ],
  [96, "pairs go back as they came", headers("pairs come out and go back byte for byte")],
  [97, "an empty map is no bytes", headers("what cannot be reached has no pairs and no size")],
  [98, "legal empties clear the map", headers("legal empties clear, malformed and oversized pairs are refused")],
  [
    99,
    "malformed pairs",
    headers("legal empties clear, malformed and oversized pairs are refused"),
    different("malformed `proxy_set_header_map_pairs` is `BadArgument`"),
  ],
  [
    100,
    "too many pairs, or too many bytes",
    tabled("proxy_set_header_map_pairs", "too many pairs"),
    tabled("proxy_set_header_map_pairs", "too many bytes"),
  ],
  [
    101,
    "unknown maps",
    tabled("proxy_get_header_map_value", MADE.sets),
    tabled("proxy_set_header_map_pairs", MADE.sets),
  ],
  [
    102,
    "response headers in the request phase",
    early("are added to the response, replace its own, or take them away"),
    different("response headers that request callbacks set are kept for the response"),
  ],
  [
    103,
    "maps after their phase",
    headers("headers are closed once their callback went on, trailers and answers are read-only elsewhere"),
    different("Header maps stay readable after their phase"),
  ],
  [104, "maps of calls are read-only", tabled("proxy_add_header_map_value", "a map that is read-only")],
  [
    105,
    "trailers can be added where the body ends",
    headers("trailers can be added by the body callback that ends the stream, and only there"),
  ],
  [
    106,
    "more than a hundred fields",
    streams("names come in lower case, pseudo-headers with their values, each of many fields"),
  ],
  [
    107,
    "names are in lower case",
    streams("names come in lower case, pseudo-headers with their values, each of many fields"),
  ],
];

const REPLIES: readonly Entry[] = [
  [108, "status, body, fields and length arrive", streams("status, body, further headers and the right length arrive")],
  [
    109,
    "from request and response callbacks, and from answers of calls",
    streams("from ${callback}"),
    calls("a local response from the answer's callback ends the request that waits"),
  ],
  [110, "redirects, and answers without a body", streams("a redirect, and one without a body")],
  [
    111,
    "what the callback returns is of no matter",
    control("answers with everything the guest gave, after it returned; the status it answers is ignored"),
  ],
  [
    112,
    "later request filters do not run",
    streams("filters behind the one that answers do not run; what the callback returns is of no matter"),
  ],
  [113, "the first one wins", control("the first one wins")],
  [
    114,
    "none in the log phase",
    control("from the root it needs the stream as effective context, and none works in the log phase"),
  ],
  [
    115,
    "an impossible status is refused",
    tabled("proxy_send_local_response", "no status of an answer"),
    tabled("proxy_send_local_response", "a status of four digits"),
  ],
  [
    116,
    "gRPC requests get a gRPC status",
    streams("to a gRPC request: the status that the guest gave, or the one that HTTP's stands for"),
  ],
  [
    117,
    "none from a root context by itself",
    control("from the root it needs the stream as effective context, and none works in the log phase"),
  ],
];

const PROPERTIES: readonly Entry[] = [
  [118, "each kind of value has its encoding", properties("encodings")],
  [119, "paths go through maps, messages and lists", properties("encodings"), properties("what is not there yet")],
  [120, "an unknown name is not found", tabled("proxy_get_property", "a name that nobody has")],
  [
    121,
    "what one filter sets, it and others read",
    properties("is read back by the same path, by other filters of the stream too"),
  ],
  [
    122,
    "a read-only property is refused",
    foreign("declare_property: twice is BAD_ARGUMENT; a readonly property can be set once"),
  ],
  [123, "no upstream yet: not found", tabled("proxy_get_property", "an upstream before there is one")],
];

const CALLS: readonly Entry[] = [
  [
    124,
    "method, path and authority must be there",
    http("what cannot be started is told at once, with token 0"),
    tabled("proxy_http_call", "no path"),
  ],
  [
    125,
    "an unknown cluster is refused",
    tabled("proxy_http_call", "a cluster that nobody knows"),
    tabled("proxy_http_call", "no cluster"),
  ],
  [126, "a negative timeout is refused", tabled("proxy_http_call", "a negative timeout")],
  [127, "answers of every framing arrive whole", calls("${what}: status, whole body, number of trailers")],
  [
    128,
    "a call that fails is answered too",
    calls("because nobody is there, or nobody answers in time: an answer of the proxy's own, and the request goes on"),
    calls("because the answer breaks off: no fields, BrokenConnection and the reason"),
    http("a call that no host answers still gets its callback, after the guest has its token"),
  ],
  [
    129,
    "the answer comes to the root, with the token, later",
    http("the request goes out whole; the answer comes to the root and can resume the stream"),
    http("a call that no host answers still gets its callback, after the guest has its token"),
  ],
  [
    130,
    "it can be read with the stream as effective context",
    http("the request goes out whole; the answer comes to the root and can resume the stream"),
  ],
  [
    131,
    "calls at once, in turn, and from ticks",
    calls("two and ten at once, from a tick, and one after another from the answers"),
  ],
  [132, "filters of a chain wait for a call each", calls("two filters of a chain wait for a call of their own each")],
  [133, "calls end with their instance", http("answers for an instance that is gone reach nobody")],
  [
    134,
    "a trap in an answer's callback is contained",
    calls("a trap in the answer's callback harms its own instance, and the next stream is served"),
  ],
  [
    135,
    "a body has its length, a path its query",
    calls("a length for the body, the path with its query, many fields"),
  ],
  [
    136,
    "many fields, large answers",
    calls("a length for the body, the path with its query, many fields"),
    calls("${what}: status, whole body, number of trailers"),
  ],
  [137, "TLS of calls", different("Calls of filters go to configured clusters")],
  [
    138,
    "an answer's callback can answer the request",
    calls("a local response from the answer's callback ends the request that waits"),
  ],
  [
    139,
    "gRPC: one message, or one close",
    http("a message comes back once; the target may be a GrpcService message"),
    http("failure and timeout close with a status and a message"),
  ],
  [
    140,
    "gRPC streams: metadata, messages, trailing metadata, close",
    grpc("initial metadata, messages, trailing metadata and close come in this order, each readable in its callback"),
  ],
  [
    141,
    "gRPC: unknown streams, tokens of other kinds",
    tabled("proxy_grpc_send", "a stream that nobody opened"),
    tabled("proxy_grpc_send", "a token of another kind"),
  ],
  [
    142,
    "gRPC: cancel silences",
    http("cancel silences; tokens of other kinds and unknown ones are told apart"),
    grpc("after the peer's end the token is unknown; a call's token is no stream's; cancel silences"),
  ],
  [143, "gRPC: status and message of the close", http("failure and timeout close with a status and a message")],
];

const SHARED: readonly Entry[] = [
  [
    144,
    "shared data: missing, set, get, with a cas",
    shared("set, get with cas, stale cas, delete by null, empty stays"),
  ],
  [145, "a stale cas changes nothing", shared("set, get with cas, stale cas, delete by null, empty stays")],
  [146, "compare-and-swap loses nothing", shown("wasm/shared", "compare-and-swap loses no update")],
  [
    147,
    "vm_ids are apart",
    shown("wasm/shared", "get, set, cas, delete, namespaces"),
    different("shared data and queues live as long as the process"),
  ],
  [
    148,
    "a null value deletes, an empty one stays",
    shared("set, get with cas, stale cas, delete by null, empty stays"),
    shared("no value is an empty one to modules before 0.2.1, as Go's SDK needs it"),
    different("setting shared data with a null value deletes the key for modules of 0.2.1"),
  ],
  [
    149,
    "too much is refused, and nothing is lost",
    shown("wasm/shared", "a full store refuses, keeps what it has, and takes again after a delete"),
  ],
  [
    150,
    "queues: the same token, in order, empty, unknown",
    shared("register, resolve, enqueue, dequeue; on_queue_ready comes later, to the root"),
    shown("wasm/shared", "first in, first out; the last registrant hears of each item"),
  ],
  [
    151,
    "queues are found by vm_id and name",
    tabled("proxy_resolve_shared_queue", MADE.works),
    tabled("proxy_resolve_shared_queue", "a name that nobody registered"),
  ],
  [
    152,
    "who registered hears of items, later",
    shared("register, resolve, enqueue, dequeue; on_queue_ready comes later, to the root"),
  ],
];

const METRICS: readonly Entry[] = [
  [
    153,
    "metrics of each kind, again, with too long a name",
    tabled("proxy_define_metric", "again"),
    tabled("proxy_define_metric", "a name too long"),
  ],
  [154, "what each kind can do", shared("each kind does what Envoy's does")],
  [
    155,
    "an unknown metric",
    tabled("proxy_increment_metric", "a metric that nobody defined"),
    tabled("proxy_get_metric", "a metric that nobody defined"),
  ],
  [156, "64 bits", shared("each kind does what Envoy's does")],
];

const SYSTEM: readonly Entry[] = [
  [
    157,
    "an unknown foreign function; results that are not wanted",
    tabled("proxy_call_foreign_function", "a name that nobody has"),
    tabled("proxy_call_foreign_function", "a result that is not wanted"),
  ],
  [
    158,
    "six levels of log, and no seventh",
    system("all six levels with plugin, root and vm; level 6 and bad pointers are refused; long ones are cut"),
  ],
  [
    159,
    "lines of log name plugin, root and VM",
    system("all six levels with plugin, root and vm; level 6 and bad pointers are refused; long ones are cut"),
  ],
  [
    160,
    "standard output and error become lines",
    system("fd_write joins its pieces into one line of the log"),
    tabled("fd_write", MADE.sets),
  ],
  [
    161,
    "clocks go on; there are two",
    system("clocks, random, environment, the rest"),
    tabled("clock_time_get", MADE.sets),
  ],
  [
    162,
    "random bytes, so many at a time",
    system("clocks, random, environment, the rest"),
    tabled("random_get", "nothing"),
    tabled("random_get", "too much at once"),
  ],
  [163, "the environment is the configured one", system("clocks, random, environment, the rest")],
  [
    164,
    "poll_oneoff and sched_yield answer at once",
    tabled("poll_oneoff", MADE.works),
    tabled("sched_yield", MADE.works),
  ],
  [
    165,
    "what is not allowed answers, or is not called",
    system("what is not listed answers, and callbacks that are not listed are not called"),
  ],
  [
    166,
    "the effective context is for one callback",
    system("the effective context is chosen for one callback only, unknown ids are refused"),
  ],
  [
    167,
    "the allocator may log, and little more",
    sandbox("the allocator may log, tell the time and grow memory"),
    OVERSTEPS,
  ],
];

const SAFETY: readonly Entry[] = [
  [
    168,
    "keys outside of memory",
    tabled("proxy_get_header_map_value", MADE.pointers),
    tabled("proxy_get_shared_data", MADE.pointers),
  ],
  [
    169,
    "results outside of memory",
    tabled("proxy_get_header_map_pairs", MADE.pointers),
    tabled("proxy_get_property", MADE.pointers),
  ],
  [170, "unaligned addresses", system("nanoseconds of the wall clock; unaligned is fine, outside is not")],
  [171, "an allocator that answers 0", headers("survives memory growth and failure inside the allocator")],
  [172, "memory that grows in the allocator", headers("survives memory growth and failure inside the allocator")],
  [
    173,
    "an endless loop ends",
    OVERSTEPS,
    shown("worker/pool", "a worker that is told to ${command} is replaced, the others go on"),
  ],
  [
    174,
    "memory up to its bound, and no further",
    more("up to its bound is the guest's, isolation ${isolation}; what lies behind ends the instance"),
    OVERSTEPS,
  ],
  [
    175,
    "traps of all kinds are contained, and told with names",
    failure("${name}: its stream is answered 503, it is counted, and logged with plugin, callback and context"),
    shown("wasm/backtrace", "request ${fields} of the guest"),
  ],
  [
    176,
    "fail closed, fail open, and a later request works",
    failure("FAIL_OPEN: the stream goes on as if the filter were absent"),
    failure("${policy}: paused ones are settled at once, others at their next event, new ones run in a fresh instance"),
  ],
  [
    177,
    "state of a stream, state of a worker",
    isolation("worker: all streams share globals and memory"),
    isolation("stream: each begins with what configuration left, one after the other and at the same time"),
  ],
  [178, "a trap of one stream is not another's", isolation("a trap harms its own stream only")],
  [
    179,
    "numbers of every type cross the boundary",
    system("trace, console, seed and clocks"),
    shared("each kind does what Envoy's does"),
  ],
  [
    180,
    "filters of published SDKs run",
    shown("languages/link", "${name}: ${imports.length} imports"),
    shown("languages/speak.ts", "runs every errand with isolation ${isolation}"),
  ],
];

/** Behaviours 77 to 180. */
export const FUNCTION_ENTRIES: readonly Entry[] = [
  BUFFERS,
  MAPS,
  REPLIES,
  PROPERTIES,
  CALLS,
  SHARED,
  METRICS,
  SYSTEM,
  SAFETY,
].flat();
