/**
 * Fuel stands for what runs: what guests of several languages are charged is held against a count of every instruction.
 * The fuzz of modules does the same with small programs and what becomes of them (test/fuzz/modules.ts).
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GUEST_FUEL } from "../../runtime/limits.ts";
import { ByteWriter } from "../../runtime/wasm/module/byte-writer.ts";
import { readModuleBinary } from "../../runtime/wasm/module/binary.ts";
import { harden } from "../../runtime/wasm/module/harden.ts";
import { HostExport } from "../../runtime/wasm/module/hardened.ts";
import { built } from "../languages/toolchains.ts";
import { BytesStage } from "./bytes-stage.ts";
import { EXACT, exactlyMetered } from "./exact-meter.ts";
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

  test("callers pay for short functions that others may call too", () => {
    const callee = `(func $f (export "f") ${add.repeat(3)})`;
    const calls = (count: number): number =>
      costOf(`${head} ${callee} (func (export "run") ${"(call $f)".repeat(count)})`, undefined);
    assert.equal(calls(3) - calls(2), 10 + 12);
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

/** `table.set` of a null reference, one of the dearest instructions, so many times. */
function sets(count: number): Buffer {
  return Buffer.alloc(6 * count, Buffer.of(0x41, 0, 0xd0, 0x70, 0x26, 0));
}

/** A module of functions without parameters, as bytes; the last one is `run`, and `$g`, a number, is global 0. */
function moduleOf(...bodies: readonly Buffer[]): Uint8Array {
  const out = new ByteWriter(1024);
  const section = (id: number, write: (contents: ByteWriter) => void): void => {
    const contents = new ByteWriter(1024);
    write(contents);
    out.byte(id);
    out.unsigned(contents.length);
    out.copy(contents.bytes, 0, contents.length);
  };
  out.list([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  section(1, (types) => types.list([1, 0x60, 0, 0]));
  section(3, (functions) => functions.list([bodies.length, ...bodies.map(() => 0)]));
  section(4, (tables) => tables.list([1, 0x70, 0, 1]));
  section(6, (globals) => globals.list([1, 0x7f, 1, 0x41, 0, 0x0b]));
  section(7, (exports) => exports.list([2, 3, ...Buffer.from("run"), 0, bodies.length - 1, 1, 0x67, 3, 0]));
  section(10, (code) => {
    code.unsigned(bodies.length);
    for (const body of bodies) {
      code.unsigned(body.length + 2);
      code.byte(0);
      code.copy(body, 0, body.length);
      code.byte(0x0b);
    }
  });
  return out.view();
}

/** How often `run` has raised `$g` when a usual budget is used up. */
function roundsOf(bytes: Uint8Array): number {
  assert.ok(WebAssembly.validate(bytes));
  const code = harden(bytes, readModuleBinary(bytes), { memoryPages: 1 }).bytes;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code));
  (exports[HostExport.FUEL] as WebAssembly.Global).value = GUEST_FUEL;
  assert.throws(() => (exports["run"] as () => void)(), /unreachable/);
  return (exports["g"] as WebAssembly.Global).value as number;
}

describe("the counter does not come around, nor stand still", () => {
  /** Raises `$g`, and goes to the start of the loop while it is less than 200. */
  const again = Buffer.of(0x23, 0, 0x41, 1, 0x6a, 0x24, 0, 0x23, 0, 0x41, 0xc8, 0x01, 0x48, 0x0d, 0);
  const loop = (...parts: readonly Buffer[]): Buffer =>
    Buffer.concat([Buffer.of(0x03, 0x40), ...parts, again, Buffer.of(0x0b)]);
  const call = Buffer.of(0x10, 0);

  // Three of these cost 2^32, nearly.
  test("in a short loop around a call that costs as much as a charge can take", () => {
    assert.equal(roundsOf(moduleOf(sets(540_000), loop(call))), 0);
  });

  test("in a loop behind code so dear that the function has cost as much already", () => {
    const never = Buffer.concat([Buffer.of(0x41, 0, 0x04, 0x40), sets(540_000), Buffer.of(0x0b)]);
    const rounds = roundsOf(moduleOf(Buffer.concat([never, loop(sets(1000))])));
    assert.ok(rounds <= GUEST_FUEL / 2_000_000, String(rounds));
  });

  test("in a loop around many calls, each of which is dear", () => {
    const rounds = roundsOf(moduleOf(sets(5000), loop(Buffer.concat(Array.from({ length: 200 }, () => call)))));
    assert.equal(rounds, 0);
  });
});

/** Each goes round as often as its parameter says, leaves its loop in a way of its own, and answers something. */
const REPEATED: readonly (readonly [name: string, text: string])[] = [
  [
    "over its end",
    "(loop $l (local.set $s (i32.add (i32.mul (local.get $s) (i32.const 3)) (local.get $n))) STEP (br_if $l (local.get $n)))",
  ],
  [
    "by a branch in front",
    "(block $b (loop $l (br_if $b (i32.eqz (local.get $n))) STEP (local.set $s (i32.add (local.get $s) (i32.const 5))) (br $l)))",
  ],
  [
    "by a branch that always jumps",
    "(block $b (loop $l STEP (if (i32.eqz (local.get $n)) (then (br $b))) (local.set $s (i32.add (local.get $s) (i32.const 5))) (br $l)))",
  ],
  [
    "by a return",
    "(loop $l STEP (if (i32.eqz (local.get $n)) (then (return (local.get $s)))) (local.set $s (i32.add (local.get $s) (i32.const 5))) (br $l))",
  ],
  [
    "two blocks at once",
    "(block $a (block $b (loop $l STEP (br_if $a (i32.eq (local.get $n) (i32.const 3))) (br_if $b (i32.eqz (local.get $n))) (local.set $s (i32.add (local.get $s) (i32.const 5))) (br $l))) (local.set $s (i32.xor (local.get $s) (i32.const 77))))",
  ],
  [
    "into the loop around it",
    "(loop $o (local.set $s (i32.mul (local.get $s) (i32.const 7))) (loop $l STEP (br_if $o (i32.and (local.get $n) (i32.const 1))) (local.set $s (i32.add (local.get $s) (local.get $n))) (br_if $l (local.get $n))))",
  ],
  [
    "with rounds cut short",
    "(loop $l (block $c STEP (br_if $c (i32.and (local.get $n) (i32.const 1))) (local.set $s (i32.add (i32.mul (local.get $s) (i32.const 3)) (local.get $n)))) (br_if $l (local.get $n)))",
  ],
  [
    "by a table that stays inside",
    "(loop $l (block $c (block $d STEP (br_table $c $d $c (i32.and (local.get $n) (i32.const 1)))) (local.set $s (i32.add (local.get $s) (i32.const 9)))) (br_if $l (local.get $n)))",
  ],
  [
    "by a table that leads out",
    "(block $b (loop $l STEP (local.set $s (i32.add (local.get $s) (i32.const 9))) (br_table $b $l (local.get $n))))",
  ],
];

describe("short loops are written out several times", () => {
  const STEP = "(local.set $n (i32.sub (local.get $n) (i32.const 1)))";
  for (const [name, text] of REPEATED) {
    // Counted functions have a block around them: what leaves those passes it too.
    for (const calls of ["", "(if (i32.eq (local.get $n) (i32.const -1)) (then (drop (call $run (i32.const 1)))))"]) {
      test(`and left ${name}${calls === "" ? "" : ", in a function that may call itself"}: fuel and answers are the same`, () => {
        const bytes = assemble(`(module (func $run (export "run") (param $n i32) (result i32) (local $s i32)
          ${calls} ${text.replaceAll("STEP", STEP)} (local.get $s)))`);
        const code = harden(bytes, readModuleBinary(bytes), { memoryPages: 1, fuel: "exact" }).bytes;
        const hardened = new WebAssembly.Instance(new WebAssembly.Module(code)).exports;
        const plain = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(exactlyMetered(bytes)))).exports;
        const left = hardened[HostExport.FUEL] as WebAssembly.Global;
        const sum = plain[EXACT] as WebAssembly.Global;
        for (let rounds = 1; rounds < 14; rounds++) {
          left.value = AMPLE;
          sum.value = 0n;
          const answer = (hardened["run"] as (n: number) => number)(rounds);
          assert.equal(answer, (plain["run"] as (n: number) => number)(rounds));
          const [charged, ran] = [AMPLE - left.value, Number(sum.value)];
          assert.ok(charged >= ran && charged <= ran + 2, `${rounds} rounds: ${charged} charged, ${ran} ran`);
        }
        // Endless rounds end.
        left.value = 10_000;
        assert.throws(() => (hardened["run"] as (n: number) => number)(-5), WebAssembly.RuntimeError);
        assert.ok(left.value < 0);
      });
    }
  }
});

/** Functions with several loops keep the fuel in a local from start to end; each of these gives it back in a way of its own. */
const HELD: readonly (readonly [name: string, text: string])[] = [
  ["at its end", "(local.get $s)"],
  ["by a return", "(if (local.get $n) (then (return (i32.const 5)))) (local.get $s)"],
  ["by a branch out of the function", "(br_if 0 (local.get $s) (local.get $n))"],
  [
    "for a call of itself",
    "(if (local.get $n) (then (local.set $s (i32.add (local.get $s) (call $run (i32.sub (local.get $n) (i32.const 1))))))) (local.get $s)",
  ],
  [
    "for a call through a table",
    "(i32.add (local.get $s) (call_indirect (param i32) (result i32) (i32.const 3) (i32.const 0)))",
  ],
  ["for a tail call", "(return_call $other (local.get $s))"],
  ["for a call of the host", "(i32.add (local.get $s) (call $host (local.get $n)))"],
];

describe("fuel that a function keeps is given back", () => {
  const loop =
    "(local.set $m (local.get $n)) (loop $l (local.set $s (i32.add (local.get $s) (local.get $m))) (br_if $l (i32.gt_s (local.tee $m (i32.sub (local.get $m) (i32.const 1))) (i32.const 0))))";
  for (const [name, text] of HELD) {
    test(name, () => {
      const bytes = assemble(`(module (import "env" "host" (func $host (param i32) (result i32)))
        (table 1 funcref) (elem (i32.const 0) $other)
        (func $other (param $n i32) (result i32) (local $s i32) (local $m i32) ${loop} (local.get $s))
        (func $run (export "run") (param $n i32) (result i32) (local $s i32) (local $m i32) ${loop} ${loop} ${text}))`);
      const code = harden(bytes, readModuleBinary(bytes), { memoryPages: 1, fuel: "exact" }).bytes;
      const imports = { env: { host: (n: number): number => n + 1 } };
      const hardened = new WebAssembly.Instance(new WebAssembly.Module(code), imports).exports;
      const plain = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(exactlyMetered(bytes))), imports)
        .exports;
      const left = hardened[HostExport.FUEL] as WebAssembly.Global;
      const sum = plain[EXACT] as WebAssembly.Global;
      for (let n = 0; n < 9; n++) {
        left.value = AMPLE;
        sum.value = 0n;
        const answer = (hardened["run"] as (n: number) => number)(n);
        assert.equal(answer, (plain["run"] as (n: number) => number)(n));
        assert.equal(AMPLE - left.value, Number(sum.value), `${n}`);
      }
      left.value = 30;
      assert.throws(() => (hardened["run"] as (n: number) => number)(1000), WebAssembly.RuntimeError);
      assert.ok(left.value < 0);
    });
  }
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
