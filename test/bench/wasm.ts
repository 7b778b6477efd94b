/**
 * What the Wasm host costs, as tables: each host function, each callback, filters, instances, isolation, fuel.
 * Run: `npm run bench -- --only wasm`.
 */
import { HOST_FUNCTIONS } from "../../abi/functions.ts";
import { BodyBuffer } from "../../runtime/codec/body.ts";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { HttpFilter } from "../../runtime/http/filter.ts";
import { SharedStore } from "../../runtime/wasm/shared.ts";
import { assemble } from "../wasm/puppet.ts";
import type { FakeStream } from "../wasm/stage.ts";
import { heading, line, nanoseconds } from "./figures.ts";
import { benchFuel } from "./fuel.ts";
import { HOST_CALLS, hostImportsText, textData } from "./host-calls.ts";
import type { HostCall } from "./host-calls.ts";
import { benchSandbox } from "./sandbox.ts";
import { checkUnharmed, headersAlone, quietStage, REQUEST, streamThrough } from "./streams.ts";

/** Text constants at 16, answers at 512, texts of host calls from 1024, the heap from 65,536. */
const i = (n: number): string => `(i32.const ${n})`;
const GUEST_HEAD = `
  (memory (export "memory") 4)
  (data (i32.const 16) "x-request-id")
  (data (i32.const 48) "x-evangelist")
  (data (i32.const 80) "sluice")
  (data (i32.const 96) "x-absent")
  (global $heap (mut i32) (i32.const 65536))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param $size i32) (result i32) (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (i32.const 65536) (i32.and (i32.add (i32.sub (local.get $at) (i32.const 65536)) (i32.and (i32.add (local.get $size) (i32.const 7)) (i32.const -8))) (i32.const 65535))))
    (local.get $at))`;

/** Calls that a guest makes in one callback. */
const CALLS = 1000;
/** As much as the counter holds. */
const FUEL = 2_147_483_647;

function loopGuest(row: HostCall): Uint8Array {
  const name = row.inBody === true ? "proxy_on_request_body" : "proxy_on_request_headers";
  const call = `(call $${row.name} ${row.args})`;
  const answers = !HOST_FUNCTIONS.find((one) => one.name === row.name)!.type.endsWith(">");
  return assemble(`(module
    ${hostImportsText()}
    ${GUEST_HEAD}
    ${textData()}
    (func (export "${name}") (param $id i32) (param $n i32) (param i32) (result i32) (local $left i32)
      ${row.before ?? ""}
      (local.set $left ${i(CALLS)})
      (loop $next
        ${answers ? `(drop ${call})` : call}
        ${row.also ?? ""}
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $next (local.get $left)))
      (i32.const 0)))`);
}

const FILTER = `(module
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  ${GUEST_HEAD}
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $get ${i(0)} ${i(16)} ${i(12)} ${i(512)} ${i(516)}))
    (drop (call $set ${i(0)} ${i(48)} ${i(12)} ${i(80)} ${i(6)}))
    (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (drop (call $get ${i(2)} ${i(16)} ${i(12)} ${i(512)} ${i(516)}))
    (drop (call $set ${i(2)} ${i(48)} ${i(12)} ${i(80)} ${i(6)}))
    (i32.const 0))
  (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1))
  (func (export "proxy_on_delete") (param i32)))`;

/** Each callback alone in a module; `run` has the host call it once. */
interface Callback {
  readonly name: string;
  readonly type: string;
  readonly note?: string;
  run(filter: HttpFilter, stream: FakeStream): void;
}

const HEADERS = new HeaderMap(REQUEST.slice());
const BODY = new BodyBuffer();
BODY.append(Buffer.from("body"));
const TO_ACTION = "(param i32 i32 i32) (result i32)";

/** On a stream that is there already. */
const CALLBACKS: readonly Callback[] = [
  { name: "proxy_on_request_headers", type: TO_ACTION, run: (filter) => filter.onRequestHeaders(HEADERS, false) },
  { name: "proxy_on_request_body", type: TO_ACTION, run: (filter) => filter.onRequestData(BODY, false) },
  {
    name: "proxy_on_request_trailers",
    type: "(param i32 i32) (result i32)",
    run: (filter) => filter.onRequestTrailers(HEADERS),
  },
  { name: "proxy_on_response_headers", type: TO_ACTION, run: (filter) => filter.onResponseHeaders(HEADERS, false) },
  { name: "proxy_on_response_body", type: TO_ACTION, run: (filter) => filter.onResponseData(BODY, false) },
  {
    name: "proxy_on_response_trailers",
    type: "(param i32 i32) (result i32)",
    run: (filter) => filter.onResponseTrailers(HEADERS),
  },
  { name: "proxy_on_log", type: "(param i32)", run: (filter) => filter.onLog() },
];

function calledModule(functions: string): Uint8Array {
  return assemble(`(module ${GUEST_HEAD} ${functions})`);
}

const empty = (name: string, type: string): string =>
  `(func (export "${name}") ${type}${type.includes("result") ? " (i32.const 0)" : ""})`;

function benchCallbacks(): void {
  heading("callbacks, into a guest that returns at once", "each");
  for (const { name, type, run } of CALLBACKS) {
    const stage = quietStage(calledModule(empty(name, type)));
    const stream = stage.stream();
    stream.responseHeaders = HEADERS;
    const cost = nanoseconds(() => {
      for (let n = 0; n < CALLS; n++) run(stream.filter, stream);
    }, CALLS);
    checkUnharmed(stage, name);
    line(name, `${cost.toFixed(0)} ns`);
  }
  const whole = (functions: string): number => {
    const stage = quietStage(calledModule(functions));
    const view = stage.stream();
    return nanoseconds(() => {
      for (let n = 0; n < CALLS; n++) {
        const filter = stage.factory.create(view);
        filter.onRequestHeaders(HEADERS, true);
        filter.onDestroy();
      }
    }, CALLS);
  };
  const head = empty("proxy_on_request_headers", TO_ACTION);
  const create = empty("proxy_on_context_create", "(param i32 i32)");
  const rest = `(func (export "proxy_on_done") (param i32) (result i32) (i32.const 1)) ${empty("proxy_on_delete", "(param i32)")}`;
  line("a stream's context from start to end, with request headers", `${whole(head).toFixed(0)} ns`);
  line("the same with proxy_on_context_create", `${whole(head + create).toFixed(0)} ns`);
  line("the same with proxy_on_done and proxy_on_delete besides", `${whole(head + create + rest).toFixed(0)} ns`);
  const stage = quietStage(calledModule(empty("proxy_on_tick", "(param i32)")));
  const tick = stage.instance.export("proxy_on_tick")!;
  const root = stage.plugin.root!;
  const ticks = nanoseconds(() => {
    for (let n = 0; n < CALLS; n++) stage.instance.callWith(root, tick, "proxy_on_tick", []);
  }, CALLS);
  line("proxy_on_tick, and other callbacks of a root context", `${ticks.toFixed(0)} ns`);
}

function benchHostCalls(): void {
  heading("host functions, from a loop in a guest", "each");
  for (const row of HOST_CALLS) {
    const label = row.detail === undefined ? row.name : `${row.name}, ${row.detail}`;
    const config = { fuel: FUEL, isolation: "worker", environment: { HOME: "/" } } as const;
    const stage = quietStage(loopGuest(row), config, { shared: SharedStore.create() });
    const stream = stage.stream({ request: REQUEST.slice() });
    const body = new BodyBuffer();
    body.append(Buffer.alloc(4096, "x"));
    const run = row.inBody === true ? () => stream.requestData(body, false) : () => stream.requestHead();
    const cost = nanoseconds(run, CALLS);
    checkUnharmed(stage, label);
    stage.vm.close();
    line(label, `${cost.toFixed(0)} ns`);
  }
}

function benchFilters(): void {
  heading("a filter: reads one header and sets one, in both directions", "each");
  // Several plugins, as in a real chain: call sites see more than one guest.
  const stages = [1, 2, 3].map(() => quietStage(assemble(FILTER)));
  const cost = (nanoseconds(streamThrough(stages), 1) - nanoseconds(headersAlone, 1)) / stages.length;
  line("whole stream: 5 callbacks, 4 host calls", `${cost.toFixed(0)} ns`);
  line("per direction", `${(cost / 2).toFixed(0)} ns`);
}

console.log("Wall time of one thread, the least of 25 rounds.");
benchFilters();
benchCallbacks();
benchHostCalls();
benchSandbox();
await benchFuel();
