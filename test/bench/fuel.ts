/** What fuel costs: the same work with and without it, in turn. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readModuleBinary } from "../../runtime/wasm/module/binary.ts";
import { harden } from "../../runtime/wasm/module/harden.ts";
import { HostExport } from "../../runtime/wasm/module/hardened.ts";
import type { HardenOptions } from "../../runtime/wasm/module/hardened.ts";
import { buildFilter } from "../../filters/build/build.ts";
import { encode } from "../filters/filter-engine.ts";
import { built } from "../languages/toolchains.ts";
import { assemble } from "../wasm/puppet.ts";
import { compared, heading, line } from "./figures.ts";
import { quietStage, streamThrough } from "./streams.ts";

const AMPLE = 2_000_000_000;
type Fuel = HardenOptions["fuel"];

const CHAIN: readonly (readonly [filter: string, configuration: Uint8Array])[] = [
  [
    "local_ratelimit",
    encode(
      "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.proto",
      "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
      {
        stat_prefix: "bench",
        token_bucket: {
          max_tokens: 1_000_000_000,
          tokens_per_fill: { value: 1_000_000_000 },
          fill_interval: { seconds: 1 },
        },
        filter_enabled: { default_value: { numerator: 100 } },
        filter_enforced: { default_value: { numerator: 100 } },
      },
    ),
  ],
  [
    "fault",
    encode("envoy/extensions/filters/http/fault/v3/fault.proto", "envoy.extensions.filters.http.fault.v3.HTTPFault", {
      abort: { header_abort: {}, percentage: { numerator: 100 } },
    }),
  ],
];

/** One stream through bundled filters. */
async function chain(fuel: Fuel): Promise<() => void> {
  const stages = [];
  for (const [filter, configuration] of CHAIN) {
    const { path } = await buildFilter(fileURLToPath(new URL(`../../filters/${filter}`, import.meta.url)));
    const config = { configuration, bundled: true, isolation: "worker" } as const;
    stages.push(quietStage(readFileSync(path), config, fuel === undefined ? {} : { fuel }));
  }
  return streamThrough(stages);
}

interface Work {
  readonly run: () => number;
  readonly left: WebAssembly.Global | undefined;
}

function workOf(bytes: Uint8Array, name: string, fuel: Fuel): Work {
  const options = { memoryPages: 16, ...(fuel === undefined ? {} : { fuel }) };
  const code = harden(bytes, readModuleBinary(bytes), options).bytes;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code));
  const left = exports[HostExport.FUEL] as WebAssembly.Global;
  left.value = AMPLE;
  (exports["prepare"] as (() => void) | undefined)?.();
  return { run: exports[name] as () => number, left };
}

/** Work of guests without a host. */
const COMPUTING: readonly (readonly [label: string, name: string])[] = [
  ["JSON of 22 KB: is it valid (C)", "json"],
  ["two patterns searched in 22 KB, going back and trying again (C)", "pattern"],
  ["words of 22 KB cut out, hashed and counted (C)", "words"],
];

const HEAD = `(memory (export "memory") 2) (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))`;

/** The least that fuel can cost, and the most. */
const EXTREMES: readonly (readonly [label: string, text: string])[] = [
  [
    "hash of 64 KiB: a chain of multiplications",
    `(func (export "run") (result i32) (local $i i32) (local $h i32)
      (local.set $h (i32.const 0x811c9dc5))
      (loop $l
        (local.set $h (i32.mul (i32.xor (local.get $h) (i32.load8_u (local.get $i))) (i32.const 16777619)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 65536))))
      (local.get $h))`,
  ],
  [
    "tree of 8191 functions that do nothing but call each other",
    `(func $tree (param $n i32) (result i32)
        (if (i32.eqz (local.get $n)) (then (return (i32.const 1))))
        (i32.add (i32.load8_u (local.get $n)) (i32.add (call $tree (i32.sub (local.get $n) (i32.const 1))) (call $tree (i32.sub (local.get $n) (i32.const 1))))))
      (func (export "run") (result i32) (call $tree (i32.const 12)))`,
  ],
];

function compareWork(label: string, bytes: Uint8Array, name: string): void {
  const [off, on] = [workOf(bytes, name, "off"), workOf(bytes, name, undefined)];
  const refuelled = (): void => {
    on.left!.value = AMPLE;
    on.run();
  };
  const { ms, ratio } = compared(() => off.run(), refuelled);
  refuelled();
  const units = AMPLE - Number(on.left!.value);
  const perMs = units / (ms * ratio) / 1e6;
  line(label, percent(ratio), `${(ms * 1000).toFixed(0)} µs without, ${perMs.toFixed(0)} million units a ms`);
}

function percent(ratio: number): string {
  return `${((ratio - 1) * 100).toFixed(1)} %`;
}

/** Prints the table. */
export async function benchFuel(): Promise<void> {
  heading("fuel on against off, in turn", "more time");
  const { ms, ratio } = compared(await chain("off"), await chain(undefined));
  line(
    "local_ratelimit and fault, one stream (bundled filters)",
    percent(ratio),
    `${(ms * 1e6).toFixed(0)} ns without`,
  );
  for (const [label, name] of COMPUTING) compareWork(label, built("work"), name);
  for (const [label, text] of EXTREMES) compareWork(label, assemble(`(module ${HEAD} ${text})`), "run");
}
