/** What the sandbox costs: fuel on against off on three kinds of work, restoring an instance, and each isolation mode. */
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { Isolation } from "../../runtime/config/snapshot.ts";
import { readModuleBinary } from "../../runtime/wasm/module/binary.ts";
import { harden } from "../../runtime/wasm/module/harden.ts";
import { HostExport } from "../../runtime/wasm/module/hardened.ts";
import { BytesStage } from "../wasm/bytes-stage.ts";
import { assemble } from "../wasm/puppet.ts";
import { median } from "./rounds.ts";

const HEAD = `(memory (export "memory") 2) (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))`;

/** Work of three kinds; each runs for some tens of microseconds. */
const WORK: readonly [name: string, text: string][] = [
  [
    "hash of 64 KiB (a tight loop)",
    `(func (export "run") (result i32) (local $i i32) (local $h i32)
      (local.set $h (i32.const 0x811c9dc5))
      (loop $l
        (local.set $h (i32.mul (i32.xor (local.get $h) (i32.load8_u (local.get $i))) (i32.const 16777619)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 65536))))
      (local.get $h))`,
  ],
  [
    "scan of 32 KiB of text (branches)",
    `(func (export "run") (result i32) (local $i i32) (local $c i32) (local $words i32) (local $depth i32) (local $in i32)
      (loop $l
        (local.set $c (i32.and (i32.add (i32.mul (local.get $i) (i32.const 7)) (i32.load8_u (local.get $i))) (i32.const 127)))
        (if (i32.eq (local.get $c) (i32.const 123)) (then (local.set $depth (i32.add (local.get $depth) (i32.const 1))))
          (else (if (i32.eq (local.get $c) (i32.const 125)) (then (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))
            (if (i32.lt_s (local.get $depth) (i32.const 0)) (then (local.set $depth (i32.const 0)))))
          (else (if (i32.le_u (local.get $c) (i32.const 32)) (then (local.set $in (i32.const 0)))
          (else (if (i32.eqz (local.get $in)) (then (local.set $in (i32.const 1)) (local.set $words (i32.add (local.get $words) (i32.const 1)))))))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 32768))))
      (i32.add (local.get $words) (local.get $depth)))`,
  ],
  [
    "tree of 8191 calls (recursion)",
    `(func $tree (param $n i32) (result i32)
        (if (i32.eqz (local.get $n)) (then (return (i32.const 1))))
        (i32.add (i32.load8_u (local.get $n)) (i32.add (call $tree (i32.sub (local.get $n) (i32.const 1))) (call $tree (i32.sub (local.get $n) (i32.const 1))))))
      (func (export "run") (result i32) (call $tree (i32.const 12)))`,
  ],
];

type Run = () => number;

function runOf(bytes: Uint8Array): { run: Run; fuel: WebAssembly.Global | undefined } {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes)));
  return { run: exports["run"] as Run, fuel: exports[HostExport.FUEL] as WebAssembly.Global | undefined };
}

/** Milliseconds of `rounds` runs. */
function time({ run, fuel }: ReturnType<typeof runOf>, rounds: number): number {
  const start = performance.now();
  for (let n = 0; n < rounds; n++) {
    if (fuel !== undefined) fuel.value = 2_000_000_000;
    run();
  }
  return performance.now() - start;
}

function benchFuel(): void {
  console.log("\nfuel on against off, in turn (median of 15 pairs)");
  for (const [name, text] of WORK) {
    const bytes = assemble(`(module ${HEAD} ${text})`);
    const plain = runOf(bytes);
    const metered = runOf(harden(bytes, readModuleBinary(bytes), { memoryPages: 16 }).bytes);
    time(plain, 2000);
    time(metered, 2000);
    const pairs = Array.from({ length: 15 }, () => [time(plain, 300), time(metered, 300)] as const);
    metered.fuel!.value = 2_000_000_000;
    metered.run();
    const units = 2_000_000_000 - metered.fuel!.value;
    const ms = median(pairs.map(([, on]) => on / 300));
    const change = (median(pairs.map(([off, on]) => on / off)) - 1) * 100;
    console.log(
      `${name.padEnd(44)} ${change.toFixed(1).padStart(7)} %   ${(units / ms / 1e6).toFixed(2)} million units per ms`,
    );
  }
}

const FILTER = (pages: number): Uint8Array =>
  assemble(`(module
    (import "env" "proxy_replace_header_map_value" (func $set (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") ${pages}) (func (export "proxy_abi_version_0_2_1"))
    (global $n (mut i32) (i32.const 0))
    (data (i32.const 48) "x-mark") (data (i32.const ${pages * 65_536 - 16}) "end")
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (global.set $n (i32.add (global.get $n) (i32.const 1)))
      (drop (call $set (i32.const 0) (i32.const 48) (i32.const 6) (i32.const 48) (i32.const 6))) (i32.const 0))
    (func (export "proxy_on_delete") (param i32)))`);

const STREAMS = 20_000;

/** Nanoseconds of one stream through one filter. */
function streamCost(isolation: Isolation, pages: number): number {
  const stage = BytesStage.started(FILTER(pages), { isolation });
  stage.log.level = 6;
  const view = stage.stream();
  const headers = new HeaderMap([":method", "GET", ":path", "/", ":authority", "a", ":scheme", "http"]);
  const round = (): number => {
    const start = process.threadCpuUsage();
    for (let n = 0; n < STREAMS; n++) {
      const filter = stage.factory.create(view);
      filter.onRequestHeaders(headers, true);
      filter.onDestroy();
    }
    const { user, system } = process.threadCpuUsage(start);
    return ((user + system) * 1000) / STREAMS;
  };
  round();
  const cost = median(Array.from({ length: 5 }, round));
  stage.vm.close();
  return cost;
}

function benchIsolation(): void {
  console.log("\none filter, one stream, by isolation (CPU; stream and connection include bringing the instance back)");
  for (const pages of [1, 16]) {
    const shared = streamCost("worker", pages);
    for (const isolation of ["worker", "connection", "stream"] as const) {
      const cost = isolation === "worker" ? shared : streamCost(isolation, pages);
      const label = `${isolation}, ${pages * 64} KiB of memory in use`;
      console.log(
        `${label.padEnd(44)} ${cost.toFixed(0).padStart(7)} ns   ${(cost - shared).toFixed(0)} ns more than worker`,
      );
    }
  }
}

/** Prints everything. */
export function benchSandbox(): void {
  benchFuel();
  benchIsolation();
}
