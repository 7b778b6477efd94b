/** What callbacks take, measured: root contexts' always, streams' now and then, in histograms and on the admin page. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { callbacksJson, callbacksText } from "../../runtime/control/callbacks-page.ts";
import { CALLBACKS_PER_SAMPLE } from "../../runtime/limits.ts";
import { StatsRegistry } from "../../runtime/observe/stats-registry.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { CallbackMeter, splitMeasureName } from "../../runtime/wasm/callback-meter.ts";
import { BytesStage } from "./bytes-stage.ts";
import { assemble } from "./puppet.ts";

const GUEST = assemble(`(module
  (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $tick (i32.const 0))) (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $n i32)
    (loop $again (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000))))
    (i32.const 0)))`);

const TIME = "wasm.puppet.callback_us.";
const FUEL = "wasm.puppet.callback_fuel_thousands.";

describe("measured callbacks", () => {
  test("of streams about one in so many, of root contexts each", () => {
    const stage = BytesStage.started(GUEST);
    const { stats } = stage;
    assert.equal(stats.values.get(`${TIME}proxy_on_configure`), 1);
    assert.equal(stats.values.get(`${FUEL}proxy_on_configure`), 1);
    const calls = CALLBACKS_PER_SAMPLE * 400;
    const stream = stage.stream();
    for (let n = 0; n < calls; n++) stream.requestHead();
    const measured = stats.values.get(`${TIME}proxy_on_request_headers`) ?? 0;
    // 400 are expected, with a deviation of 12.
    assert.ok(measured > 300 && measured < 500, String(measured));
    assert.equal(stats.values.get(`${FUEL}proxy_on_request_headers`), measured);
  });

  test("the page has time and fuel of each, and nothing else's histograms", () => {
    const registry = new StatsRegistry();
    const store = new StatsStore((announcement) => registry.add(1, announcement));
    const meter = new CallbackMeter(store);
    for (let n = 0; n < 100; n++) meter.record("a.b", "proxy_on_tick", 0.02, 5000);
    meter.record("c", "proxy_on_log", 2, 2_000_000);
    store.histogram("wasm.c.other.x").record(1);
    store.announceNow();
    const { callbacks } = callbacksJson(registry.collect()) as { callbacks: Record<string, unknown>[] };
    assert.deepEqual(
      callbacks.map(({ plugin, callback, measured, max_us, max_fuel }) => [
        plugin,
        callback,
        measured,
        max_us,
        max_fuel,
      ]),
      [
        ["a.b", "proxy_on_tick", 100, 20, 5000],
        ["c", "proxy_on_log", 1, 2000, 2_000_000],
      ],
    );
    assert.match(
      callbacksText(registry.collect()),
      /^a\.b::proxy_on_tick::measured=100 p50_us=\d[\d.]* p99_us=20 max_us=20 p50_fuel=5000 p99_fuel=5000 max_fuel=5000\nc::proxy_on_log::measured=1 /,
    );
    assert.equal(splitMeasureName("wasm.x.fuel_used"), undefined);
  });
});
