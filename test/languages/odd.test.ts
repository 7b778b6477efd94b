/** Modules that no current SDK makes, but that are about, or could be: written by hand. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BytesStage } from "../wasm/bytes-stage.ts";
import { assemble } from "../wasm/puppet.ts";

const LOG = `(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))`;
const MEMORY = `(memory (export "memory") 1)`;
const MARKER = `(func (export "proxy_abi_version_0_2_1"))`;
const MALLOC = `(func (export "malloc") (param i32) (result i32) (i32.const 1024))`;

interface Text {
  readonly imports?: string;
  readonly memory?: string;
  readonly allocator?: string;
  readonly marker?: string;
  readonly body?: string;
}

function module({ imports = "", memory = MEMORY, allocator = MALLOC, marker = MARKER, body = "" }: Text): Uint8Array {
  return assemble(`(module ${LOG} ${imports} ${memory} ${allocator} ${marker} ${body})`);
}

/** Logs one letter that stands in memory at \`at\`. */
const say = (letter: string, at: number): string =>
  `(i32.store8 (i32.const ${at}) (i32.const ${letter.charCodeAt(0)}))
   (drop (call $log (i32.const 2) (i32.const ${at}) (i32.const 1)))`;

function lines(stage: BytesStage): string {
  return stage.log.lines
    .filter((line) => line.startsWith("2 wasm log"))
    .map((line) => line.slice(line.lastIndexOf(" ") + 1))
    .join("");
}

describe("start", () => {
  for (const [what, body, said] of [
    ["only a start section", `(func $s ${say("a", 1)}) (start $s)`, "a"],
    ["only __wasm_call_ctors", `(func (export "__wasm_call_ctors") ${say("a", 1)})`, "a"],
    [
      "_initialize beside _start: only the first",
      `(func (export "_start") ${say("b", 1)}) (func (export "_initialize") ${say("a", 1)})`,
      "a",
    ],
    [
      "_initialize beside the constructors that it calls",
      `(func $c (export "__wasm_call_ctors") ${say("b", 1)}) (func (export "_initialize") ${say("a", 1)} (call $c))`,
      "ab",
    ],
    [
      "a start section, then _initialize, then __main_void",
      `(func $s ${say("a", 1)}) (start $s) (func (export "_initialize") ${say("b", 1)})
       (func (export "__main_void") (result i32) ${say("c", 1)} (i32.const 7))`,
      "abc",
    ],
  ] as const) {
    test(what, () => assert.equal(lines(BytesStage.started(module({ body }))), said));
  }

  test("the start section of each copy has run, too", () => {
    const body = `(func $s ${say("a", 1)} (i32.store (i32.const 64) (i32.const 41))) (start $s)
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
        (if (i32.ne (i32.load (i32.const 64)) (i32.const 42)) (then (unreachable))) (i32.const 0))`;
    const stage = BytesStage.started(module({ body }), { isolation: "stream", maxInstances: 4 });
    for (let n = 0; n < 6; n++) {
      const stream = stage.stream();
      stream.requestHead();
      stream.finish();
    }
    assert.equal(stage.stats.values.get("wasm.puppet.traps") ?? 0, 0);
  });
});

describe("memory and allocators", () => {
  /** Asks for a header, and logs the first byte of where the host put it. */
  const ask = `(data (i32.const 16) "x-a")
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $get (i32.const 0) (i32.const 16) (i32.const 3) (i32.const 32) (i32.const 36)))
      (drop (call $log (i32.const 2) (i32.load (i32.const 32)) (i32.load (i32.const 36)))) (i32.const 0))`;
  const imports = `(import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))`;

  test("both allocators: whichever is called gives memory that can be used", () => {
    const allocator = `(func (export "malloc") (param i32) (result i32) (i32.const 2048))
      (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 4096))`;
    const stage = BytesStage.started(module({ imports, allocator, body: ask }));
    stage.stream().requestHead();
    assert.equal(lines(stage), "1");
  });

  for (const isolation of ["worker", "stream"] as const) {
    test(`an imported memory, isolation ${isolation}`, () => {
      const memory = `(import "env" "memory" (memory 1 4)) (export "memory" (memory 0))`;
      const stage = BytesStage.started(module({ imports, memory, body: ask }), { isolation, maxInstances: 4 });
      for (let n = 0; n < 3; n++) {
        const stream = stage.stream();
        stream.requestHead();
        stream.finish();
      }
      assert.equal(lines(stage), "111");
    });

    test(`256 pages from the start, isolation ${isolation}`, () => {
      const stage = BytesStage.started(module({ imports, memory: `(memory (export "memory") 256 256)`, body: ask }), {
        isolation,
        maxInstances: 4,
      });
      for (let n = 0; n < 3; n++) {
        const stream = stage.stream();
        stream.requestHead();
        stream.finish();
      }
      assert.equal(lines(stage), "111");
    });
  }
});

describe("exports and imports", () => {
  test("misspelt callbacks, data globals and symbols of any type are nobody's business", () => {
    const body = `(func (export "proxy_on_grpc_trailing_metadata") (param i64) (unreachable))
      (func (export "proxy_on_grpc_create_initial_metadata") (param i32 i32 i32) (result f32) (unreachable))
      (func (export "_ZN7context3runEv") (result v128) (unreachable))
      (global (export "__data_end") i32 (i32.const 1024))
      (table (export "__indirect_function_table") 2 funcref)`;
    assert.equal(lines(BytesStage.started(module({ body }))), "");
  });

  test("the same import under two names, and in both WASI modules", () => {
    const imports = `(import "env" "proxy_log" (func $again (param i32 i32 i32) (result i32)))
      (import "wasi_unstable" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))`;
    const body = `(func (export "_start") ${say("a", 1)}
      (drop (call $again (i32.const 2) (i32.const 1) (i32.const 1))))`;
    assert.equal(lines(BytesStage.started(module({ imports, body }))), "aa");
  });

  test("proxy_on_configure with four parameters is refused by name and type", () => {
    const body = `(func (export "proxy_on_configure") (param i32 i32 i32 i32) (result i32) (i32.const 1))`;
    assert.throws(() => BytesStage.started(module({ body })), /MODULE_EXPORT.*proxy_on_configure.*iiii>i/);
  });

  test("0.1.0 asks for request headers with two parameters, 0.2.1 with three, and either may have the other's", () => {
    for (const marker of ["proxy_abi_version_0_1_0", "proxy_abi_version_0_2_1"]) {
      for (const params of ["i32 i32", "i32 i32 i32"]) {
        const body = `(func (export "proxy_on_request_headers") (param ${params}) (result i32) ${say("a", 1)} (i32.const 0))`;
        const stage = BytesStage.started(module({ body, marker: `(func (export "${marker}"))` }));
        stage.stream().requestHead();
        assert.equal(lines(stage), "a");
      }
    }
  });
});
