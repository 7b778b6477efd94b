/** What stays inside its bounds: running time, recursion, memory, the allocator, start functions. Real modules, each with one vice. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GUEST_LOG_LINES_PER_SECOND } from "../../runtime/limits.ts";
import type { FailureReason } from "../../runtime/wasm/instance/failure.ts";
import { assemble } from "./puppet.ts";
import { BytesStage } from "./bytes-stage.ts";

const HEAD = `
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_header_map_pairs" (func $set (param i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "x-a")
  (func (export "proxy_abi_version_0_2_1"))`;
const MALLOC = `(func (export "malloc") (param i32) (result i32) (i32.const 4096))`;

/** The body of proxy_on_request_headers, and what else the module holds. */
interface Vice {
  readonly body: string;
  readonly more?: string;
  readonly malloc?: string;
}

function moduleOf({ body, more = "", malloc = MALLOC }: Vice): Uint8Array {
  return assemble(`(module ${HEAD} ${malloc} ${more}
    (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32) (local $n i32)
      ${body} (i32.const 0)))`);
}

const CASES: readonly [name: string, vice: Vice, reason: FailureReason][] = [
  ["an endless loop", { body: "(loop $l (br $l))" }, "out_of_fuel"],
  ["an endless loop in two", { body: "(loop $a (loop $b (br $a)) (br $a))" }, "out_of_fuel"],
  [
    "an endless loop of host calls",
    { body: `(loop $l (drop (call $log (i32.const 0) (i32.const 16) (i32.const 3))) (br $l))` },
    "out_of_fuel",
  ],
  [
    "a loop that fills memory",
    { body: "(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 131072)) (br $l))" },
    "out_of_fuel",
  ],
  [
    "a loop that copies memory",
    { body: "(loop $l (memory.copy (i32.const 0) (i32.const 65536) (i32.const 65536)) (br $l))" },
    "out_of_fuel",
  ],
  ["a chain of tail calls", { body: "(call $t)", more: "(func $t (return_call $t))" }, "out_of_fuel"],
  ["recursion", { body: "(call $r)", more: "(func $r (call $r))" }, "stack_overflow"],
  ["mutual recursion", { body: "(call $a)", more: "(func $a (call $b)) (func $b (call $a))" }, "stack_overflow"],
  [
    "recursion through a table",
    {
      body: "(call $r)",
      more: "(table 1 funcref) (elem (i32.const 0) $r) (type $v (func)) (func $r (call_indirect (type $v) (i32.const 0)))",
    },
    "stack_overflow",
  ],
  ["reading past memory", { body: "(drop (i32.load (i32.const 0x7ffffff0)))" }, "bad_pointer"],
  ["writing past memory", { body: "(i64.store (i32.const 131069) (i64.const 1))" }, "bad_pointer"],
  ["copying past memory", { body: "(memory.copy (i32.const 131000) (i32.const 0) (i32.const 1000))" }, "bad_pointer"],
  ["unreachable code", { body: "(unreachable)" }, "trap"],
  ["a division by zero", { body: "(drop (i32.div_s (i32.const 1) (local.get $n)))" }, "trap"],
  [
    "a call of a table's empty element",
    { body: "(call_indirect (type $v) (i32.const 3))", more: "(table 4 funcref) (type $v (func))" },
    "trap",
  ],
  [
    "memory until there is none",
    { body: "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)" },
    "out_of_memory",
  ],
  [
    "an allocator that changes headers",
    {
      body: "(drop (call $pairs (i32.const 0) (i32.const 32) (i32.const 36)))",
      malloc: `(func (export "malloc") (param i32) (result i32) (drop (call $set (i32.const 0) (i32.const 0) (i32.const 0))) (i32.const 4096))`,
    },
    "restricted",
  ],
  [
    "an allocator that allocates through the host, by way of a table",
    {
      body: "(drop (call $pairs (i32.const 0) (i32.const 32) (i32.const 36)))",
      more: "(table 1 funcref) (elem (i32.const 0) $pairs) (type $p (func (param i32 i32 i32) (result i32)))",
      malloc: `(func (export "malloc") (param i32) (result i32)
        (drop (call_indirect (type $p) (i32.const 0) (i32.const 32) (i32.const 36) (i32.const 0))) (i32.const 4096))`,
    },
    "restricted",
  ],
];

describe("a guest that oversteps", () => {
  for (const [name, vice, reason] of CASES) {
    test(`${name}: ${reason}; the next stream is served`, () => {
      const stage = BytesStage.started(moduleOf(vice));
      const stream = stage.stream();
      stream.requestHead();
      assert.deepEqual(
        stream.replies.map(({ status, details }) => [status, details]),
        [[503, `wasm_fail_stream{${reason}}`]],
      );
      assert.equal(stage.stats.values.get(`wasm.puppet.failures.${reason}`), 1);
      stream.finish();
    });
  }

  test("the allocator may log, tell the time and grow memory", () => {
    const stage = BytesStage.started(
      moduleOf({
        body: "(local.set $n (call $value (i32.const 0) (i32.const 16) (i32.const 3) (i32.const 32) (i32.const 36))) (if (local.get $n) (then (unreachable)))",
        malloc: `(func (export "malloc") (param i32) (result i32)
          (drop (call $log (i32.const 2) (i32.const 16) (i32.const 3))) (drop (memory.grow (i32.const 1))) (i32.const 140000))`,
      }),
    );
    stage.stream().requestHead();
    assert.equal(stage.stats.values.get("wasm.puppet.traps"), undefined);
    assert.ok(stage.log.lines.some((line) => line.endsWith(": x-a")));
  });

  test("memory that could not grow is forgotten with the callback: a later trap is a trap", () => {
    const stage = BytesStage.started(
      moduleOf({
        body: `(if (i32.eq (global.get $seen) (i32.const 0))
            (then (global.set $seen (i32.const 1)) (drop (memory.grow (i32.const 65000))))
            (else (unreachable)))`,
        more: "(global $seen (mut i32) (i32.const 0))",
      }),
    );
    stage.stream().requestHead();
    stage.stream().requestHead();
    assert.equal(stage.stats.values.get("wasm.puppet.failures.trap"), 1);
  });
});

describe("start functions", () => {
  const starting = (call: string): Uint8Array =>
    assemble(`(module ${HEAD} ${MALLOC} (func (export "_initialize") ${call}))`);

  test("may log", () => {
    const stage = BytesStage.started(starting("(drop (call $log (i32.const 2) (i32.const 16) (i32.const 3)))"));
    assert.ok(stage.log.lines.some((line) => line.endsWith(": x-a")));
  });

  test("may not touch a stream: the plugin does not start, and the reason is told", () => {
    assert.throws(
      () => BytesStage.started(starting("(drop (call $set (i32.const 0) (i32.const 0) (i32.const 0)))")),
      /GUEST_START: plugin puppet: start function: restricted/,
    );
  });

  test("have more fuel than a callback, but not endless", () => {
    const count = (rounds: number): string =>
      `(local $n i32) (loop $l (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $l (i32.lt_u (local.get $n) (i32.const ${rounds}))))`;
    BytesStage.started(starting(count(5_000)), { fuel: 10_000 });
    assert.throws(
      () => BytesStage.started(starting(count(20_000_000)), { fuel: 10_000 }),
      /start function: out of fuel/,
    );
  });
});

test("a storm of log lines is cut, counted and told; the stream is served", (t) => {
  let nowMs = 5000;
  t.mock.method(performance, "now", () => nowMs);
  const stage = BytesStage.started(
    moduleOf({
      body: `(loop $l (drop (call $log (i32.const 2) (i32.const 16) (i32.const 3)))
        (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $l (i32.lt_u (local.get $n) (i32.const 5000))))`,
    }),
  );
  const stream = stage.stream();
  stream.requestHead();
  assert.deepEqual(stream.events, []);
  assert.equal(stage.log.lines.length, GUEST_LOG_LINES_PER_SECOND);
  nowMs += 1001;
  stage.stream().requestHead();
  assert.ok(
    stage.log.lines.some((line) =>
      line.startsWith(`warning plugin puppet: ${5000 - GUEST_LOG_LINES_PER_SECOND} lines`),
    ),
  );
});

test("the same work takes the same fuel, and the fuel of one callback is no other's", () => {
  const work = (rounds: number): Uint8Array =>
    moduleOf({
      body: `(loop $l (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $l (i32.lt_u (local.get $n) (i32.const ${rounds}))))`,
    });
  const stage = BytesStage.started(work(1000), { fuel: 12_000 });
  const used: bigint[] = [];
  for (let n = 0; n < 5; n++) {
    const before = stage.instance.fuelUsed;
    stage.stream().requestHead();
    used.push(stage.instance.fuelUsed - before);
  }
  assert.equal(stage.stats.values.get("wasm.puppet.traps"), undefined);
  assert.equal(new Set(used).size, 1);
  assert.ok(used[0]! > 5000n && used[0]! < 12_000n, String(used[0]));
});

test("a module that begins with more memory than the plugin may have is refused, with both sizes", () => {
  const large = assemble(`(module (memory (export "memory") 40) (func (export "proxy_abi_version_0_2_1")) ${MALLOC})`);
  assert.throws(() => BytesStage.started(large, { memoryBytes: 32 * 65_536 }), /begins with 40 pages.*at most 32/);
  BytesStage.started(large, { memoryBytes: 40 * 65_536 });
});
