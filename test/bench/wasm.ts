/** What the Wasm host costs: nanoseconds per host function, per callback, and per filter and direction. Run: node test/bench/wasm.ts */
import { HOST_FUNCTIONS } from "../../abi/functions.ts";
import { BodyBuffer } from "../../runtime/codec/body.ts";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { HttpFilter } from "../../runtime/http/filter.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { Plugin } from "../../runtime/wasm/plugin.ts";
import { PluginFilterFactory } from "../../runtime/wasm/plugin-factory.ts";
import { Vm } from "../../runtime/wasm/vm.ts";
import { assemble } from "../wasm/puppet.ts";
import { HOST_CALLS, hostImportsText, textData } from "./host-calls.ts";
import type { HostCall } from "./host-calls.ts";
import { benchSandbox } from "./sandbox.ts";
import { environmentFor, FakeStream, pluginConfig, RecordingLog, RecordingStats } from "../wasm/stage.ts";

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

const ROUNDS_OF_CALLS = 10_000;

function loopGuest(row: HostCall): Uint8Array {
  const name = row.inBody === true ? "proxy_on_request_body" : "proxy_on_request_headers";
  const result = HOST_FUNCTIONS.find((one) => one.name === row.name)!.type.endsWith(">") ? "" : "drop";
  return assemble(`(module
    ${hostImportsText()}
    ${GUEST_HEAD}
    ${textData()}
    (func (export "${name}") (param $id i32) (param $n i32) (param i32) (result i32) (local $left i32)
      ${row.before ?? ""}
      (local.set $left ${i(ROUNDS_OF_CALLS)})
      (loop $next
        (${result} (call $${row.name} ${row.args}))
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
  for (const row of HOST_CALLS) {
    const stream = new FakeStream(factoryOf(loopGuest(row)), { request: REQUEST });
    const body = new BodyBuffer();
    body.append(Buffer.alloc(4096, "x"));
    const run = row.inBody === true ? () => stream.requestData(body, false) : () => stream.requestHead();
    line(row.detail === undefined ? row.name : `${row.name}, ${row.detail}`, measure(run, ROUNDS_OF_CALLS));
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
benchSandbox();
