/** Who shares an instance: a worker's streams, a connection's, or nobody. */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { describe, test } from "node:test";
import type { PluginConfig } from "../../runtime/config/snapshot.ts";
import { MAX_PROCESS_INSTANCES } from "../../runtime/limits.ts";
import { SharedStore } from "../../runtime/wasm/shared.ts";
import { assemble } from "./puppet.ts";
import { BytesStage } from "./bytes-stage.ts";
import type { FakeStream } from "./stage.ts";

const HEAD = `
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
  (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $count (mut i32) (i32.const 0))
  (global $wide (mut i64) (i64.const 5))
  (global $part (mut f64) (f64.const 0.5))
  (data (i32.const 16) "x-count")
  (data (i32.const 32) "x-trap")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))
  (func $say (i32.store8 (i32.const 64) (i32.add (i32.const 48) (global.get $count)))
    (i32.store8 (i32.const 65) (i32.add (i32.const 48) (i32.load8_u (i32.const 100))))
    (i32.store8 (i32.const 66) (i32.add (i32.const 48) (i32.wrap_i64 (global.get $wide))))
    (drop (call $add (i32.const 0) (i32.const 16) (i32.const 7) (i32.const 64) (i32.const 3))))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (global.set $count (i32.const 1)) (i32.store8 (i32.const 100) (i32.const 1)) (i32.const 1))`;

/** Counts each request in a global, in memory and in a wide global, and tells the three numbers in x-count. */
const COUNTER = `(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (global.set $wide (i64.sub (global.get $wide) (i64.const 1)))
    (i32.store8 (i32.const 100) (i32.add (i32.load8_u (i32.const 100)) (i32.const 1)))
    (call $say) EXTRA (i32.const 0))`;

function guest(extra = "", more = ""): Uint8Array {
  return assemble(`(module ${HEAD} ${more} ${COUNTER.replace("EXTRA", extra)})`);
}

function staged(config: Partial<PluginConfig>, bytes = guest()): BytesStage {
  return BytesStage.started(bytes, { maxInstances: 4, ...config });
}

function counted(stream: FakeStream): string | undefined {
  stream.requestHead();
  return stream.requestHeaders!.get("x-count");
}

describe("isolation", () => {
  test("worker: all streams share globals and memory", () => {
    const stage = staged({ isolation: "worker" });
    assert.deepEqual(
      [1, 2, 3].map(() => counted(stage.stream())),
      ["224", "333", "442"],
    );
  });

  test("stream: each begins with what configuration left, one after the other and at the same time", async () => {
    const stage = staged({ isolation: "stream" });
    const open = [stage.stream(), stage.stream(), stage.stream()];
    assert.deepEqual(open.map(counted), ["224", "224", "224"]);
    for (const one of open) one.finish();
    for (let n = 0; n < 20; n++) {
      const stream = stage.stream();
      assert.equal(counted(stream), "224");
      stream.finish();
      if (n % 3 === 0) await setImmediate();
    }
    assert.ok(stage.stats.values.get("wasm.puppet.instances")! <= 5);
  });

  test("connection: streams of one share, those of another do not, and a closed one's instance is pristine again", () => {
    const stage = staged({ isolation: "connection" });
    const first = stage.stream();
    assert.equal(counted(first), "224");
    const connection = first.info.connection;
    const second = stage.stream();
    assert.equal(counted(second), "333");
    const other = stage.stream({ connection: { ...connection, id: 8, closers: [] } });
    assert.equal(counted(other), "224");
    first.finish();
    second.finish();
    for (const close of connection.closers!.splice(0)) close();
    assert.equal(counted(stage.stream({ connection: { ...connection, id: 9, closers: [] } })), "224");
  });

  test("a trap harms its own stream only", () => {
    const stage = staged({ isolation: "stream" }, guest(TRAP_IF_ASKED));
    const good = stage.stream();
    const bad = stage.stream({ request: [...REQUEST, "x-trap", "1"] });
    const later = stage.stream();
    assert.equal(counted(good), "224");
    bad.requestHead();
    assert.deepEqual(bad.events, ["reply 503"]);
    assert.equal(counted(later), "224");
    for (const one of [good, bad, later]) one.finish();
    assert.deepEqual(good.events, []);
    assert.equal(stage.stats.values.get("wasm.puppet.vm_reload"), undefined);
    assert.equal(counted(stage.stream()), "224");
  });

  for (const [what, extra, more] of [
    ["memory grew", "(drop (memory.grow (i32.const 1)))", ""],
    ["a table was written", "(table.set (i32.const 0) (ref.null func))", "(table 2 funcref)"],
    ["a segment was dropped", "(data.drop $d)", '(data $d "abc")'],
  ] as const) {
    test(`where ${what}, the instance is replaced`, async () => {
      const stage = staged({ isolation: "stream" }, guest(extra, more));
      for (let n = 0; n < 10; n++) {
        const stream = stage.stream();
        assert.equal(counted(stream), "224");
        stream.finish();
        await setImmediate();
      }
      assert.ok(stage.stats.values.get("wasm.envoy.wasm.runtime.v8.created")! > 8);
      assert.ok(stage.stats.values.get("wasm.puppet.instances")! <= 3);
    });
  }

  test("a module whose start writes a table gets instances that start by themselves", async () => {
    const more = `(table 2 funcref) (func (export "_initialize") (table.set (i32.const 1) (ref.null func)))`;
    const stage = staged({ isolation: "stream" }, guest("", more));
    for (let n = 0; n < 5; n++) {
      const stream = stage.stream();
      assert.equal(counted(stream), "224");
      stream.finish();
      await setImmediate();
    }
    assert.ok(stage.log.lines.some((line) => /cannot be copied/.test(line)));
  });

  test("more streams than instances: the failure policy, counted, and others are not disturbed", () => {
    const stage = staged({ isolation: "stream", maxInstances: 2 });
    const streams = [stage.stream(), stage.stream(), stage.stream()];
    streams.forEach((one) => one.requestHead());
    assert.deepEqual(
      streams.map(({ events }) => events),
      [[], [], ["reply 503"]],
    );
    assert.equal(streams[2]!.replies[0]!.details, "wasm_fail_stream{no_instance}");
    assert.equal(stage.stats.values.get("wasm.puppet.pool_exhausted"), 1);
    streams[0]!.finish();
    assert.equal(counted(stage.stream()), "224");
  });

  test("more instances than the process may have: the same, until other workers give some back", () => {
    const shared = SharedStore.create();
    const stage = BytesStage.started(guest(), { isolation: "stream" }, { shared });
    // The plugin's own instance, one for a stream, and those of another worker.
    shared.countInstance(1, MAX_PROCESS_INSTANCES - 2);
    const [first, second] = [stage.stream(), stage.stream()];
    assert.equal(counted(first), "224");
    second.requestHead();
    assert.equal(second.replies[0]!.details, "wasm_fail_stream{no_instance}");
    assert.equal(stage.stats.values.get("wasm.puppet.pool_exhausted"), 1);
    assert.match(stage.log.lines.at(-1)!, /^error plugin puppet: no instance for another stream, 2 are there/);
    assert.equal(shared.instances(), MAX_PROCESS_INSTANCES);
    shared.countInstance(1, -1);
    assert.equal(counted(stage.stream()), "224");
    stage.vm.close();
  });

  test("a module with state that cannot be copied gets instances that start by themselves, whatever its start does", async () => {
    for (const global of ["(global (mut funcref) (ref.null func))", "(global (mut v128) (v128.const i32x4 0 0 0 0))"]) {
      const stage = staged({ isolation: "stream" }, guest("", global));
      for (let n = 0; n < 3; n++) {
        const stream = stage.stream();
        assert.equal(counted(stream), "224");
        stream.finish();
        await setImmediate();
      }
      assert.ok(stage.stats.values.get("wasm.envoy.wasm.runtime.v8.created")! >= 4);
      stage.vm.close();
    }
  });

  test("more streams than instances, FAIL_OPEN: they go on without the filter", () => {
    const stage = staged({ isolation: "stream", maxInstances: 1, failurePolicy: "FAIL_OPEN" });
    const [first, second] = [stage.stream(), stage.stream()];
    first.requestHead();
    second.requestHead();
    assert.deepEqual([first.requestHeaders!.get("x-count"), second.requestHeaders!.get("x-count")], ["224", undefined]);
    assert.deepEqual(second.events, []);
  });

  test("what a tick changes is there for streams that begin later", async () => {
    const more = `(func (export "proxy_on_vm_start") (param i32 i32) (result i32) (drop (call $tick (i32.const 1))) (i32.const 1))
      (func (export "proxy_on_tick") (param i32) (i32.store8 (i32.const 100) (i32.const 7)) (drop (call $tick (i32.const 0))))`;
    const stage = staged({ isolation: "stream" }, guest("", more));
    const early = stage.stream();
    while (stage.instance.memory.bytes[100] !== 7) await setImmediate();
    assert.equal(counted(early), "224");
    early.finish();
    for (let n = 0; n < 3; n++) {
      const stream = stage.stream();
      assert.equal(counted(stream), "284");
      stream.finish();
      await setImmediate();
    }
    stage.vm.close();
  });

  test("after close every instance is gone", async () => {
    const stage = staged({ isolation: "stream" });
    const stream = stage.stream();
    stream.requestHead();
    stage.vm.close();
    stream.finish();
    await setImmediate();
    assert.equal(stage.stats.values.get("wasm.envoy.wasm.runtime.v8.active"), 0);
  });
});

const REQUEST = [":method", "GET", ":path", "/", ":authority", "host", ":scheme", "http"];
const TRAP_IF_ASKED = `(if (i32.eqz (call $value (i32.const 0) (i32.const 32) (i32.const 6) (i32.const 200) (i32.const 204))) (then (unreachable)))`;
