/** The checklist about modules, contexts, callbacks and pauses. */
import { different, MADE, of, shown, tabled } from "./evidence.ts";
import type { Entry } from "./evidence.ts";

const module = of("wasm/module");
const odd = of("languages/odd");
const life = of("wasm/life-cycle");
const more = of("wasm/conformance/life");
const streams = of("wasm/conformance/streams");
const headers = of("wasm/host/headers");
const buffers = of("wasm/host/buffers");
const control = of("wasm/host/stream");
const sandbox = of("wasm/sandbox");
const failure = of("wasm/failure");
const isolation = of("wasm/isolation");

const LOAD: readonly Entry[] = [
  [1, "a marker function says the version", module("marker ${marker}")],
  [
    2,
    "a module without a marker is refused, and the version named",
    module("no marker and nothing of the ABI, an unknown marker, one that is no function"),
    different("A module without a version marker"),
  ],
  [
    3,
    "an unknown marker is refused",
    module("no marker and nothing of the ABI, an unknown marker, one that is no function"),
  ],
  [4, "a marker that is no function does not count", module("a marker that is no function beside one that is")],
  [5, "garbage is refused and harms nobody", module("garbage, and every truncation of a good module")],
  [
    6,
    "no allocator: refused",
    module("imported globals, no allocator, no memory, callbacks of a wrong type, the host's own name"),
  ],
  [7, "proxy_on_memory_allocate alone will do", module("only proxy_on_memory_allocate as allocator")],
  [8, "of two allocators either will do", odd("both allocators: whichever is called gives memory that can be used")],
  [
    9,
    "an unknown import is refused by its full name",
    module("unknown imports are named"),
    module("all unknown imports are in one error, up to a bound"),
  ],
  [
    10,
    "functions of a later version",
    different("A module may import the functions of every ABI version, whichever it is of"),
  ],
  [
    11,
    "functions of an earlier version",
    different("A module may import the functions of every ABI version, whichever it is of"),
  ],
  [
    12,
    "a callback of a wrong type is never called",
    odd("proxy_on_configure with four parameters is refused by name and type"),
    different("Exported callbacks of a wrong type are refused"),
  ],
  [
    13,
    "_initialize, then main; _start is not called beside it",
    life("_initialize, then main; a start section can log"),
    odd("_initialize beside _start: only the first"),
  ],
  [14, "_start alone is called", life("proc_exit(0) in _start is a normal end")],
  [15, "no start function is fine", life("root: create, vm_start, configure; stream: create … log, done, delete")],
  [
    16,
    "start functions may log, and touch no stream",
    sandbox("may log"),
    shown("wasm/conformance/functions", '${name} ${harmless.has(name) ? "may be called" : "fails the VM"}'),
  ],
  [17, "a trap in a start function ends the start", life("a trap in the start function is told")],
  [
    18,
    "instances of one module have memories of their own",
    isolation("stream: each begins with what configuration left, one after the other and at the same time"),
  ],
  [19, "an import may be listed twice", odd("the same import under two names, and in both WASI modules")],
  [20, "both names of WASI link", odd("the same import under two names, and in both WASI modules")],
  [21, "custom sections do not disturb", more("custom sections of any name and content are nobody's business")],
  [22, "signatures inside modules", different("a signature inside a module is not looked at")],
  [
    23,
    "a start section that logs",
    shown(
      "wasm/assemblyscript",
      "a default AssemblyScript build: its start section logs, its abort names file and line, the next stream is served",
    ),
  ],
];

const ROOTS: readonly Entry[] = [
  [24, "create, vm_start, configure", life("root: create, vm_start, configure; stream: create … log, done, delete")],
  [
    25,
    "vm_start is told the size of the VM's configuration, which the buffer holds",
    buffers("configurations are given as they are"),
    more("sizes of configurations are told, and 0 when there is none"),
  ],
  [
    26,
    "configure is told the size of the plugin's",
    buffers("configurations are given as they are"),
    more("sizes of configurations are told, and 0 when there is none"),
  ],
  [27, "vm_start answering 0 refuses", life("so does on_vm_start")],
  [28, "configure answering 0 refuses", life("on_configure answering 0 refuses the plugin by name")],
  [29, "a trap in either is told", life("a trap in either is told")],
  [30, "a VM for validation is thrown away", different("no VM is started for validation alone")],
  [31, "validation is remembered", different("no VM is started for validation alone")],
  [
    32,
    "vm_id, VM configuration and code make the VM",
    more(
      "plugins of one vm_id, VM configuration and code share a VM, each with a root context; another of the three is another VM",
    ),
    different("A VM is shared by plugins only if they name the same `vm_id`"),
  ],
  [
    33,
    "plugins of one VM have root contexts of their own",
    more(
      "plugins of one vm_id, VM configuration and code share a VM, each with a root context; another of the three is another VM",
    ),
    life("one factory per plugin, each with its own configuration"),
  ],
  [
    34,
    "after a failure a fresh VM takes over",
    failure("${policy}: paused ones are settled at once, others at their next event, new ones run in a fresh instance"),
    different("a failed instance is replaced at once"),
  ],
  [
    35,
    "a start that fails once is no verdict on the module",
    failure("a restart that fails is tried again later, meanwhile streams get the policy"),
  ],
  [36, "a plugin that goes hears done and delete", life("on_done, then on_delete")],
  [
    37,
    "done answering 0: delete waits for proxy_done",
    life("on_done answering 0 waits for proxy_done, and on_delete comes after that callback"),
  ],
  [38, "proxy_done when nobody waits", tabled("proxy_done", MADE.works)],
  [39, "what is not used any more goes", isolation("after close every instance is gone")],
  [
    40,
    "a root knows its plugin's name and ids from its creation on",
    more("plugin_name, plugin_root_id and plugin_vm_id are there when the context is created"),
  ],
  [41, "a root has no properties of streams", tabled("proxy_get_property", MADE.root)],
];

const TICKS: readonly Entry[] = [
  [42, "period 0 starts no timer", more("period 0 starts none, and a long period none early")],
  [43, "ticks come again and again, to the root", life("come until the period is 0, also when set inside on_tick")],
  [44, "0 inside a tick ends them", life("come until the period is 0, also when set inside on_tick")],
  [45, "a long period does not fire early", more("period 0 starts none, and a long period none early")],
  [46, "plugins tick by themselves", more("of one plugin are none of another's business")],
  [47, "a trap in a tick is contained", more("a trap in on_tick is told, and the plugin goes on in a fresh instance")],
  [48, "a new period replaces the old one", more("a new period replaces the old one")],
  [49, "the period can be set anywhere", more("the period can be set in every callback")],
];

const STREAMS: readonly Entry[] = [
  [
    50,
    "a stream's context is created first, under an id of its own",
    life("ids are never reused soon, and stay known until on_delete has run"),
  ],
  [
    51,
    "no body: the headers end the stream",
    streams("a request without a body ends with its headers; a body ends with its last callback; trailers end both"),
  ],
  [
    52,
    "the last body callback ends the stream, or the trailers do",
    streams("a request without a body ends with its headers; a body ends with its last callback; trailers end both"),
  ],
  [
    53,
    "two arguments for 0.1.0, three for 0.2",
    odd("0.1.0 asks for request headers with two parameters, 0.2.1 with three, and either may have the other's"),
  ],
  [54, "a callback that is not there continues", life("modules that lack callbacks are not called for them")],
  [
    55,
    "a pause keeps the next filter from running",
    streams("requests go down the chain, responses come up; a pause keeps the next filter from running"),
  ],
  [
    56,
    "a module twice in a chain: two contexts",
    streams("a module that is in a chain twice has a context for each place"),
  ],
  [
    57,
    "log, done and delete once each, also when the peer leaves",
    life("root: create, vm_start, configure; stream: create … log, done, delete"),
    shown("integration/accounting", "a downstream that leaves a paused stream"),
  ],
  [
    58,
    "an id is known until delete has returned",
    life("ids are never reused soon, and stay known until on_delete has run"),
  ],
  [
    59,
    "the log phase reads headers and changes none",
    more("shows headers of both directions and response trailers, and bodies no more"),
    headers("in the log phase everything can be read and nothing changed"),
  ],
  [60, "the log phase has no bodies", tabled("proxy_get_buffer_bytes", MADE.log)],
  [
    61,
    "a stream that never came is logged in a context made for it",
    life("a context is made at its first callback, for the log alone too"),
  ],
  [
    62,
    "behind a filter that answered there are no response callbacks",
    streams("behind a filter that answers, others see nothing of the stream but its log"),
  ],
];

const PAUSES: readonly Entry[] = [
  [
    63,
    "a pause in request headers holds the request",
    streams("in request headers: nothing more until it continues, then the body comes to the same filter"),
  ],
  [
    64,
    "the body waits, and comes to this filter afterwards",
    streams("in request headers: nothing more until it continues, then the body comes to the same filter"),
  ],
  [
    65,
    "allow_on_headers_stop_iteration: bodies come while headers wait",
    streams("with allow_on_headers_stop_iteration the body comes while headers are held, and they can be changed"),
  ],
  [
    66,
    "a paused body is shown as a whole",
    streams("in the body: each callback sees all so far, and all goes on once"),
    buffers("a paused body is offered whole, and can be read from other callbacks while it is held"),
  ],
  [
    67,
    "every byte goes on once",
    streams("in the body: each callback sees all so far, and all goes on once"),
    shown("integration/schedules", "random schedules"),
  ],
  [68, "responses can be held", streams("in ${callback}: the response waits, and goes on whole")],
  [
    69,
    "continue before the pause is returned resumes",
    control("a continue in the paused callback itself resumes by its status"),
  ],
  [70, "continue without a pause does nothing", tabled("proxy_continue_stream", MADE.works)],
  [
    71,
    "unknown streams are refused",
    tabled("proxy_continue_stream", MADE.sets),
    tabled("proxy_close_stream", MADE.sets),
  ],
  [72, "the upstream side cannot be continued", tabled("proxy_continue_stream", "the upstream connection")],
  [
    73,
    "close resets; log, done and delete follow",
    streams("close_stream: the connection ends without an answer; log, done and delete follow"),
  ],
  [
    74,
    "over the limit: 413, 500",
    streams("over the limit with everything buffered: 413 for a request, 500 for a response"),
  ],
  [75, "watermarks push back", streams("over the limit with a watermark: the peer waits, nothing fails")],
  [76, "a pause is its own stream's", streams("of one stream hold no other up")],
];

/** Behaviours 1 to 76. */
export const CONTEXT_ENTRIES: readonly Entry[] = [LOAD, ROOTS, TICKS, STREAMS, PAUSES].flat();
