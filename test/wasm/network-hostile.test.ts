/** A network filter that attacks its host from each of its callbacks, while other connections of the plugin go on. */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { describe, test } from "node:test";
import type { Isolation } from "../../runtime/config/snapshot.ts";
import { MemoryConnection } from "../../runtime/testkit/memory-connection.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { PluginSet } from "../../runtime/wasm/plugin-set.ts";
import { connectionSample } from "../observe/stream-sample.ts";
import { assemble } from "./puppet.ts";
import { environmentFor, pluginConfig, RecordingLog, RecordingStats } from "./stage.ts";

/** What it does is in the name of the property `attack` of its connection, one letter and the place. */
const GUEST = assemble(`(module
  (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes" (func $edit (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
  (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "wasm.attack")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))
  (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))
  (func $attack (param $place i32) (param $buffer i32) (local $what i32)
    (br_if 0 (call $property (i32.const 32) (i32.const 19) (i32.const 64) (i32.const 68)))
    (br_if 0 (i32.ne (i32.load8_u (i32.const 4097)) (local.get $place)))
    (local.set $what (i32.load8_u (i32.const 4096)))
    (if (i32.eq (local.get $what) (i32.const 0x73)) (then (loop $l (br $l))))
    (if (i32.eq (local.get $what) (i32.const 0x74)) (then (unreachable)))
    (if (i32.eq (local.get $what) (i32.const 0x72)) (then (drop (call $deep (i32.const 0)))))
    (if (i32.eq (local.get $what) (i32.const 0x77)) (then (drop (i32.load (i32.const 0x7ffffff0)))))
    (if (i32.eq (local.get $what) (i32.const 0x65)) (then (loop $l
      (drop (call $edit (local.get $buffer) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 65536))) (br $l))))
    (if (i32.eq (local.get $what) (i32.const 0x63)) (then (loop $l
      (drop (call $continue (i32.const 2))) (drop (call $close (i32.const 3))) (br $l)))))
  (data (i32.const 32) "filter_state\\00attack")
  (func (export "proxy_on_new_connection") (param i32) (result i32) (call $attack (i32.const 0x6e) (i32.const 2)) (i32.const 0))
  (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) (call $attack (i32.const 0x64) (i32.const 2)) (i32.const 0))
  (func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32) (call $attack (i32.const 0x75) (i32.const 3)) (i32.const 0))
  (func (export "proxy_on_upstream_connection_close") (param i32 i32) (call $attack (i32.const 0x78) (i32.const 3)))
  (func (export "proxy_on_downstream_connection_close") (param i32 i32) (call $attack (i32.const 0x79) (i32.const 2)))
  (func (export "proxy_on_log") (param i32) (call $attack (i32.const 0x6c) (i32.const 2)))
  (func (export "proxy_on_done") (param i32) (result i32) (call $attack (i32.const 0x6f) (i32.const 2)) (i32.const 1))
  (func (export "proxy_on_delete") (param i32) (call $attack (i32.const 0x7a) (i32.const 2))))`);

const PLACES = {
  new: "n",
  downstream: "d",
  upstream: "u",
  "upstream close": "x",
  close: "y",
  log: "l",
  done: "o",
  delete: "z",
};
const ATTACKS: Readonly<Record<string, readonly [letter: string, reason: string]>> = {
  "endless loop": ["s", "out_of_fuel"],
  trap: ["t", "trap"],
  recursion: ["r", "stack_overflow"],
  "wild pointer": ["w", "bad_pointer"],
  "edits without end": ["e", "out_of_fuel"],
  "control without end": ["c", "out_of_fuel"],
};

function stage(isolation: Isolation) {
  const stats = new RecordingStats();
  const config = pluginConfig({ name: "hostile", isolation, fuel: 20_000_000 });
  const plugins = new PluginSet(
    [config],
    [loadModule(GUEST, "hostile")],
    environmentFor({}, new RecordingLog(), stats),
  );
  plugins.start();
  const connect = (attack = ""): MemoryConnection => {
    const info = { ...connectionSample("127.0.0.1:5555", "127.0.0.1:80"), closers: [], filterState: new Map() };
    if (attack !== "") info.filterState.set("attack", Buffer.from(attack));
    return new MemoryConnection(plugins.networkFilter(0), info).open();
  };
  return { connect, stats, plugins };
}

for (const isolation of ["worker", "stream"] as const) {
  describe(`isolation ${isolation}`, () => {
    for (const [name, [letter, reason]] of Object.entries(ATTACKS)) {
      test(name, async (t) => {
        const { connect, stats, plugins } = stage(isolation);
        t.after(() => plugins.close());
        for (const [place, mark] of Object.entries(PLACES)) {
          const other = connect().data("a");
          const attacker = connect(letter + mark);
          attacker.data("x").answer("y").answer("", true).data("", true);
          attacker.finish();
          const failures = `wasm.hostile.failures.${reason}`;
          assert.equal(stats.values.get(failures), 1, `${place}: ${JSON.stringify([...stats.values])}`);
          stats.values.delete(failures);
          const told = ["new", "downstream", "upstream", "upstream close"].includes(place);
          if (told) assert.ok(attacker.closed, place);
          await setImmediate();
          if (isolation === "stream") {
            assert.equal(other.data("b").upstream, "ab", place);
            assert.equal(other.answer("c").downstream, "c", place);
          } else assert.equal(other.data("b").closed, true, place);
          other.finish();
          // Whoever comes next is served.
          const next = connect().data("d");
          assert.equal(next.upstream, "d", place);
          next.finish();
        }
        await setImmediate();
        assert.ok(stats.values.get("wasm.hostile.instances")! <= 3);
      });
    }
  });
}
