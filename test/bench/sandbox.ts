/** What isolation costs: instances made and brought back, and a stream by each mode. */
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { Isolation } from "../../runtime/config/snapshot.ts";
import { GUEST_PAGE_BYTES } from "../../runtime/limits.ts";
import { assemble } from "../wasm/puppet.ts";
import { heading, line, nanoseconds } from "./figures.ts";
import { checkUnharmed, quietStage } from "./streams.ts";

/** Changes a header, and a global of its own; its memory is in use to the last byte. */
const FILTER = (pages: number): Uint8Array =>
  assemble(`(module
    (import "env" "proxy_replace_header_map_value" (func $set (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") ${pages}) (func (export "proxy_abi_version_0_2_1"))
    (global $n (mut i32) (i32.const 0))
    (data (i32.const 48) "x-mark") (data (i32.const ${pages * GUEST_PAGE_BYTES - 16}) "end")
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (global.set $n (i32.add (global.get $n) (i32.const 1)))
      (drop (call $set (i32.const 0) (i32.const 48) (i32.const 6) (i32.const 48) (i32.const 6))) (i32.const 0))
    (func (export "proxy_on_delete") (param i32)))`);

const PAGES = [1, 16] as const;
const sizeOf = (pages: number): string => (pages === 1 ? "64 KiB" : `${(pages * GUEST_PAGE_BYTES) / 2 ** 20} MiB`);
const figure = (ns: number): string =>
  ns < 10_000 ? `${ns.toFixed(0)} ns` : ns < 10e6 ? `${(ns / 1000).toFixed(0)} µs` : `${(ns / 1e6).toFixed(0)} ms`;

function benchInstances(): void {
  heading("an instance", "each");
  for (const pages of PAGES) {
    const { vm, instance } = quietStage(FILTER(pages), { isolation: "worker" });
    const snapshot = instance.snapshot()!;
    instance.takeOver(snapshot);
    const reset = nanoseconds(() => instance.restore(snapshot), 1);
    line(`brought back to the state of its snapshot, ${sizeOf(pages)} of memory`, figure(reset));
    vm.close();
  }
  for (const pages of PAGES) {
    const stage = quietStage(FILTER(pages), { isolation: "stream" });
    const make = nanoseconds(() => stage.vm.discard(stage.vm.create()!), 1);
    line(`made as a copy and given up, ${sizeOf(pages)} of memory`, figure(make));
    stage.vm.close();
  }
}

/** Nanoseconds of one stream through one filter. */
function streamCost(isolation: Isolation, pages: number): number {
  const STREAMS = 100;
  const stage = quietStage(FILTER(pages), { isolation });
  const view = stage.stream();
  const headers = new HeaderMap([":method", "GET", ":path", "/", ":authority", "a", ":scheme", "http"]);
  const cost = nanoseconds(() => {
    for (let n = 0; n < STREAMS; n++) {
      const filter = stage.factory.create(view);
      filter.onRequestHeaders(headers, true);
      filter.onDestroy();
    }
  }, STREAMS);
  checkUnharmed(stage, isolation);
  stage.vm.close();
  return cost;
}

function benchModes(): void {
  heading("one filter, one stream, bringing the instance back included", "a stream");
  for (const pages of PAGES) {
    const shared = streamCost("worker", pages);
    for (const isolation of ["worker", "connection", "stream"] as const) {
      const cost = isolation === "worker" ? shared : streamCost(isolation, pages);
      const more = isolation === "worker" ? "" : `${figure(Math.max(cost - shared, 0))} more than worker`;
      line(`isolation ${isolation}, ${sizeOf(pages)} of memory`, figure(cost), more);
    }
  }
}

/** Prints both tables. */
export function benchSandbox(): void {
  benchInstances();
  benchModes();
}
