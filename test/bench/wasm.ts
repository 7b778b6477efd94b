/** What the Wasm host costs: nanoseconds per host function, per callback, and per filter and direction. Run: node test/bench/wasm.ts */
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { HttpFilter } from "../../runtime/http/filter.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { Plugin, PluginFilterFactory } from "../../runtime/wasm/plugin.ts";
import { Vm } from "../../runtime/wasm/vm.ts";
import { assemble } from "../wasm/puppet.ts";
import { environmentFor, FakeStream, pluginConfig, RecordingLog, RecordingStats } from "../wasm/stage.ts";

/** Text constants at 16, answers at 512, path at 600. */
const GUEST_HEAD = `
  (memory (export "memory") 4)
  (data (i32.const 16) "x-request-id")
  (data (i32.const 48) "x-evangelist")
  (data (i32.const 80) "sluice")
  (data (i32.const 96) "x-absent")
  (data (i32.const 600) "request\\00path")
  (global $heap (mut i32) (i32.const 4096))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param $size i32) (result i32) (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (i32.const 4096) (i32.and (i32.add (i32.sub (local.get $at) (i32.const 4096)) (i32.and (i32.add (local.get $size) (i32.const 7)) (i32.const -8))) (i32.const 65535))))
    (local.get $at))`;

interface HostCall {
  readonly label: string;
  readonly name: string;
  readonly params: string;
  readonly args: string;
  readonly module?: string;
  /** Once, before the loop. */
  readonly before?: string;
}
const i = (n: number): string => `(i32.const ${n})`;
const HOST_CALLS: readonly HostCall[] = [
  {
    label: "nothing (set_effective_context)",
    name: "proxy_set_effective_context",
    params: "i",
    args: "(local.get $id)",
  },
  {
    label: "get_header_map_value, 36 characters",
    name: "proxy_get_header_map_value",
    params: "iiiii",
    args: i(0) + i(16) + i(12) + i(512) + i(516),
  },
  {
    label: "get_header_map_value, absent",
    name: "proxy_get_header_map_value",
    params: "iiiii",
    args: i(0) + i(96) + i(8) + i(512) + i(516),
  },
  {
    label: "replace_header_map_value",
    name: "proxy_replace_header_map_value",
    params: "iiiii",
    args: i(0) + i(48) + i(12) + i(80) + i(6),
  },
  {
    label: "get_header_map_pairs, 8 fields",
    name: "proxy_get_header_map_pairs",
    params: "iii",
    args: i(0) + i(512) + i(516),
  },
  {
    label: "get_property request.path",
    name: "proxy_get_property",
    params: "iiii",
    args: i(600) + i(12) + i(512) + i(516),
  },
  { label: "get_current_time_nanoseconds", name: "proxy_get_current_time_nanoseconds", params: "i", args: i(512) },
  { label: "log, level off", name: "proxy_log", params: "iii", args: i(0) + i(16) + i(12) },
  {
    label: "increment_metric",
    name: "proxy_increment_metric",
    params: "iI",
    args: `(i32.load ${i(520)}) (i64.const 1)`,
    before: `(drop (call $define ${i(0)} ${i(16)} ${i(12)} ${i(520)}))`,
  },
  {
    label: "take_tokens",
    name: "take_tokens",
    module: "sluice",
    params: "iiii",
    args: `(i32.load ${i(524)}) ${i(1)} ${i(528)} ${i(532)}`,
    before: `(drop (call $bucket ${i(16)} ${i(12)} ${i(1_000_000_000)} ${i(1)} ${i(1000)} ${i(524)}))`,
  },
];

function loopGuest(call: HostCall): Uint8Array {
  const param = [...call.params].map((one) => `(param ${one === "i" ? "i32" : "i64"})`).join("");
  return assemble(`(module
    (import "${call.module ?? "env"}" "${call.name}" (func $host ${param} (result i32)))
    (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
    (import "sluice" "define_token_bucket" (func $bucket (param i32 i32 i32 i32 i32 i32) (result i32)))
    ${GUEST_HEAD}
    (func (export "proxy_on_request_headers") (param $id i32) (param $n i32) (param i32) (result i32) (local $left i32)
      ${call.before ?? ""}
      (local.set $left ${i(10_000)})
      (loop $next
        (drop (call $host ${call.args}))
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

const REQUEST = [
  ":authority",
  "localhost:10000",
  ":path",
  "/api/items?id=1",
  ":method",
  "GET",
  ":scheme",
  "http",
  "user-agent",
  "curl/8.5.0",
  "accept",
  "*/*",
  "x-forwarded-proto",
  "http",
  "x-request-id",
  "b1f0f0a0-5c1e-4f6b-9a0e-1f2e3d4c5b6a",
];
const RESPONSE = [
  ":status",
  "200",
  "content-type",
  "application/json",
  "content-length",
  "512",
  "x-request-id",
  "b1f0f0a0-5c1e-4f6b-9a0e-1f2e3d4c5b6a",
];

function factoryOf(bytes: Uint8Array): PluginFilterFactory {
  const stats = new RecordingStats();
  const log = new RecordingLog();
  log.level = 2;
  const config = pluginConfig();
  const module = loadModule(bytes, "bench");
  const vm = new Vm(config, module, environmentFor({}, log, stats));
  const plugin = new Plugin(config, vm, stats);
  vm.plugins.push(plugin);
  vm.start();
  return new PluginFilterFactory(plugin, module.phases);
}

/** CPU nanoseconds of this thread per unit, after warming up; over many rounds, since that clock is coarse. */
function measure(run: () => void, unitsPerRun: number, rounds = 40): number {
  for (let n = 0; n < rounds; n++) run();
  const before = process.threadCpuUsage();
  for (let n = 0; n < rounds; n++) run();
  const { user, system } = process.threadCpuUsage(before);
  return ((user + system) * 1000) / (unitsPerRun * rounds);
}

function line(label: string, nanoseconds: number): void {
  console.log(`${label.padEnd(44)} ${nanoseconds.toFixed(0).padStart(7)} ns`);
}

function benchHostCalls(): void {
  for (const call of HOST_CALLS) {
    const stream = new FakeStream(factoryOf(loopGuest(call)), { request: REQUEST });
    line(
      call.label,
      measure(() => stream.requestHead(), 10_000),
    );
  }
}

function benchFilters(): void {
  const ROUND = 20_000;
  // Several plugins, as in a real chain: call sites see more than one guest.
  const factories = [factoryOf(assemble(FILTER)), factoryOf(assemble(FILTER)), factoryOf(assemble(FILTER))];
  const view = new FakeStream(factories[0]!, { request: REQUEST });
  const request = new HeaderMap();
  const response = new HeaderMap();
  view.requestHeaders = request;
  view.responseHeaders = response;
  const filters: HttpFilter[] = [];
  const whole = measure(() => {
    for (let n = 0; n < ROUND; n++) {
      request.list = REQUEST.slice();
      response.list = RESPONSE.slice();
      for (let f = 0; f < 3; f++) filters[f] = factories[f]!.create(view);
      for (let f = 0; f < 3; f++) filters[f]!.onRequestHeaders(request, true);
      for (let f = 2; f >= 0; f--) filters[f]!.onResponseHeaders(response, true);
      for (let f = 0; f < 3; f++) filters[f]!.onDestroy();
    }
  }, ROUND * 3);
  const copies = measure(() => {
    for (let n = 0; n < ROUND; n++) {
      request.list = REQUEST.slice();
      response.list = RESPONSE.slice();
    }
  }, ROUND * 3);
  line("filter, whole stream (7 guest calls)", whole - copies);
  line("filter, per direction", (whole - copies) / 2);
}

benchHostCalls();
benchFilters();
