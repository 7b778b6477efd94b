/**
 * Fuel stands for what runs: what guests of several languages are charged is held against a count of every instruction.
 * The fuzz of modules does the same with small programs and what becomes of them (test/fuzz/modules.ts).
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readModuleBinary } from "../../runtime/wasm/module/binary.ts";
import { harden } from "../../runtime/wasm/module/harden.ts";
import { HostExport } from "../../runtime/wasm/module/hardened.ts";
import { built } from "../languages/toolchains.ts";
import { BytesStage } from "./bytes-stage.ts";
import { exactlyMetered } from "./exact-meter.ts";
import { assemble } from "./puppet.ts";
import { bodyOf } from "./stage.ts";

const CONFIG = {
  rootId: "errand",
  configuration: Buffer.from("plugin text"),
  vmConfiguration: Buffer.from("vm text"),
  environment: { ERRAND: "bread" },
};
const BODY = "0123456789abcdef".repeat(200);

/** Units that streams take: by the plugin's own statistics, or by the count of instructions, which must be the last global. */
function unitsOf(bytes: Uint8Array, exact: boolean): number[] {
  const stage = BytesStage.started(bytes, CONFIG);
  const units = (): number => Number(exact ? stage.instance.snapshot()!.globals.at(-1) : stage.instance.fuelUsed);
  const used = ["headers", "pairs", "body"].map((errand) => {
    const before = units();
    const stream = stage.stream({
      request: [":method", "POST", ":path", "/errand?a=b", ":authority", "h", ":scheme", "http", "x-do", errand],
    });
    stream.requestHead(errand !== "body");
    if (errand === "body") stream.requestData(bodyOf(BODY), true);
    stream.responseHead([":status", "200"], true);
    stream.finish();
    return units() - before;
  });
  assert.equal(stage.stats.values.get("wasm.puppet.traps"), undefined);
  return used;
}

describe("guests are charged for what they run, and not for much more", () => {
  for (const name of ["c", "c-reactor", "cpp", "rust", "gcore"]) {
    test(name, () => {
      const charged = unitsOf(built(name), false);
      const ran = unitsOf(exactlyMetered(built(name)), true);
      for (const [n, units] of charged.entries()) {
        assert.ok(units >= ran[n]! * 0.99 && units <= ran[n]! * 4, `${units} charged, ${ran[n]} ran`);
      }
    });
  }
});

const AMPLE = 2_000_000_000;

function costOf(text: string, fuel: "exact" | "off" | undefined): number {
  const bytes = assemble(`(module ${text})`);
  const options = { memoryPages: 1, ...(fuel === undefined ? {} : { fuel }) };
  const code = harden(bytes, readModuleBinary(bytes), options).bytes;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code));
  const left = exports[HostExport.FUEL] as WebAssembly.Global;
  left.value = AMPLE;
  (exports["run"] as () => void)();
  return AMPLE - left.value;
}

describe("who pays", () => {
  const add = "(global.set $g (i32.add (global.get $g) (i32.const 1)))";
  const head = "(global $g (mut i32) (i32.const 0))";

  test("callers pay for the start of what they call, once, and only when they call", () => {
    const callee = `(func $f (if (global.get $g) (then ${add.repeat(50)})))`;
    const calls = (count: number): number =>
      costOf(`${head} ${callee} (func (export "run") ${"(call $f)".repeat(count)})`, undefined);
    assert.equal(calls(2) - calls(1), 12);
    assert.equal(calls(40) - calls(1), 39 * 12);
    const guarded = `${head} ${callee} (func (export "run") (if (global.get $g) (then (call $f))))`;
    assert.equal(costOf(guarded, undefined), 2);
  });

  test("what a branch leaves behind is not paid for when it is long", () => {
    const text = `${head} (func (export "run") (block $b (br_if $b (i32.const 1)) ${add.repeat(200)}))`;
    assert.equal(costOf(text, "exact"), 2);
    assert.equal(costOf(text, undefined), 2);
    assert.equal(costOf(text, "off"), 0);
  });

  test("code that is never reached is not paid for", () => {
    assert.equal(costOf(`${head} (func (export "run") (block $b (br $b) ${add.repeat(5)}))`, "exact"), 1);
  });
});

test("calls in a row of a function without calls cannot make the fuel come around", () => {
  // 70,000 calls that take 64,000 units each are twice as much as the counter holds.
  const long = "(drop (i32.const 1))".repeat(32_000);
  const bytes = assemble(`(module (global $g (mut i32) (i32.const 1))
    (func $f (if (global.get $g) (then ${long})))
    (func (export "run") ${"(call $f)".repeat(70_000)}))`);
  const code = harden(bytes, readModuleBinary(bytes), { memoryPages: 1 }).bytes;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code));
  const left = exports[HostExport.FUEL] as WebAssembly.Global;
  left.value = AMPLE;
  assert.throws(() => (exports["run"] as () => void)(), WebAssembly.RuntimeError);
  assert.ok(left.value < 0);
});
