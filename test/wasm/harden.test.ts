/** What rewriting adds to a module: fuel, counted recursion, caps, saved state, offsets. Modules are rewritten and run as they are. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GUEST_STACK_BYTES, MAX_SAVED_GLOBALS, MAX_TABLE_ELEMENTS } from "../../runtime/limits.ts";
import { readModuleBinary } from "../../runtime/wasm/module/binary.ts";
import { harden } from "../../runtime/wasm/module/harden.ts";
import { GuestFlag, HostExport } from "../../runtime/wasm/module/hardened.ts";
import type { Hardened } from "../../runtime/wasm/module/hardened.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { assemble } from "./puppet.ts";

type Run = (...args: number[]) => number;

interface Guest {
  readonly facts: Hardened;
  readonly run: Run;
  call(name: string, ...args: number[]): number;
  get(name: string): number;
  set(name: string, value: number): void;
  /** Fuel that one `run` takes. */
  cost(...args: number[]): number;
}

const AMPLE = 2_000_000_000;

function rewrite(bytes: Uint8Array, memoryPages = 64): { bytes: Uint8Array; facts: Hardened } {
  return harden(bytes, readModuleBinary(bytes), { memoryPages });
}

function guestOf(text: string | Uint8Array, imports: WebAssembly.Imports = {}, memoryPages = 64): Guest {
  const original = typeof text === "string" ? assemble(`(module ${text})`) : text;
  const { bytes, facts } = rewrite(original, memoryPages);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), imports);
  const global = (name: string): WebAssembly.Global => exports[name] as WebAssembly.Global;
  const run = exports["run"] as Run;
  const guest: Guest = {
    facts,
    run,
    call: (name, ...args) => (exports[name] as Run)(...args),
    get: (name) => Number(global(name).value),
    set: (name, value) => (global(name).value = value),
    cost: (...args) => {
      guest.set(HostExport.FUEL, AMPLE);
      run(...args);
      return AMPLE - guest.get(HostExport.FUEL);
    },
  };
  guest.set(HostExport.FUEL, AMPLE);
  return guest;
}

/** A module whose only function, `run`, takes a number and has `body`: as bytes, since long code as text takes long. */
function withBody(head: string, body: Buffer): Uint8Array {
  const small = assemble(`(module ${head} (func (export "run") (param i32)))`);
  // Its code section is the last: id, size, one function, its size, no locals, end.
  assert.deepEqual([...small.subarray(-6)], [10, 4, 1, 2, 0, 0x0b]);
  const size = (bytes: number): Buffer =>
    Buffer.of((bytes & 0x7f) | 0x80, ((bytes >> 7) & 0x7f) | 0x80, ((bytes >> 14) & 0x7f) | 0x80, bytes >> 21);
  return Buffer.concat([
    small.subarray(0, -6),
    Buffer.of(10),
    size(body.length + 5),
    Buffer.of(1),
    size(body.length),
    body,
  ]);
}

const COUNT = `(local.set $n (i32.sub (local.get $n) (i32.const 1)))`;

/** Each runs a number of rounds that its parameter says. */
const ROUNDS: readonly [name: string, text: string][] = [
  ["a loop", `(func (export "run") (param $n i32) (loop $l ${COUNT} (br_if $l (local.get $n))))`],
  [
    "a loop that is left by a branch",
    `(func (export "run") (param $n i32) (block $b (loop $l ${COUNT} (br_if $b (i32.eqz (local.get $n))) (br $l))))`,
  ],
  [
    "a loop that is left by a table of branches",
    `(func (export "run") (param $n i32) (block $b (loop $l ${COUNT} (br_table $b $l (local.get $n)))))`,
  ],
  [
    "a loop that is left by a return",
    `(func (export "run") (param $n i32) (loop $l ${COUNT} (if (i32.eqz (local.get $n)) (then (return))) (br $l)))`,
  ],
  [
    "a loop that is left by an exception",
    `(tag $e) (func $f (param $n i32) (loop $l ${COUNT} (if (i32.eqz (local.get $n)) (then (throw $e))) (br $l)))
     (func (export "run") (param i32) (block $b (try_table (catch_all $b) (call $f (local.get 0)))))`,
  ],
  [
    "a loop inside of one with a call",
    `(func $f) (func (export "run") (param $n i32) (local $m i32)
       (loop $o (call $f) (local.set $m (i32.const 7)) (loop $l (br_if $l (local.tee $m (i32.sub (local.get $m) (i32.const 1)))))
         ${COUNT} (br_if $o (local.get $n))))`,
  ],
  [
    "recursion",
    `(func $r (param $n i32) (if (local.get $n) (then (call $r (i32.sub (local.get $n) (i32.const 1))))))
     (func (export "run") (param i32) (call $r (local.get 0)))`,
  ],
  [
    "tail calls",
    `(func $r (param $n i32) (if (local.get $n) (then (return_call $r (i32.sub (local.get $n) (i32.const 1))))))
     (func (export "run") (param i32) (call $r (local.get 0)))`,
  ],
];

/** Instructions that work on as many things as `run` is told, and what 65,535 of them must cost at least. */
const BULK: readonly [name: string, text: string, least: number][] = [
  ["memory.fill", "(memory.fill (i32.const 0) (i32.const 1) (local.get $n))", 30_000],
  ["memory.copy", "(memory.copy (i32.const 0) (i32.const 1) (local.get $n))", 30_000],
  ["memory.init", "(memory.init $d (i32.const 0) (i32.const 0) (local.get $n))", 30_000],
  ["memory.grow", "(drop (memory.grow (local.get $n)))", 1_000_000],
  ["table.fill", "(table.fill $t (i32.const 0) (ref.null func) (local.get $n))", 50_000_000],
  ["table.copy", "(table.copy $t $t (i32.const 0) (i32.const 0) (local.get $n))", 50_000_000],
  ["table.init", "(table.init $t $e (i32.const 0) (i32.const 0) (local.get $n))", 50_000_000],
  ["table.grow", "(drop (table.grow $t (ref.null func) (local.get $n)))", 50_000_000],
];

describe("fuel", () => {
  for (const [name, text] of ROUNDS) {
    test(`${name}: each round takes the same; too many of them trap`, () => {
      const guest = guestOf(text);
      const [ten, twenty, many] = [guest.cost(10), guest.cost(20), guest.cost(500)];
      assert.ok(twenty - ten >= 10, `${twenty - ten} for ten rounds`);
      assert.equal(many - ten, (twenty - ten) * 49);
      guest.set(HostExport.FUEL, twenty);
      guest.run(20);
      assert.equal(guest.get(HostExport.FUEL), 0);
      guest.set(HostExport.FUEL, twenty);
      assert.throws(() => guest.run(500), WebAssembly.RuntimeError);
      assert.ok(guest.get(HostExport.FUEL) < 0);
    });
  }

  test("a branch that is not taken is not paid for when it is long", () => {
    const long = "(global.set $g (i32.add (global.get $g) (i32.const 1)))".repeat(300);
    const guest = guestOf(`(global $g (mut i32) (i32.const 0))
      (func (export "run") (param $n i32) (if (local.get $n) (then ${long})))`);
    assert.ok(guest.cost(1) - guest.cost(0) >= 1200);
    assert.ok(guest.cost(0) < 400);
  });

  test("host calls are dear, also through a table", () => {
    const imports = `(import "env" "f" (func $f))`;
    const given = { env: { f: () => {} } };
    assert.ok(guestOf(`${imports} (func (export "run") (call $f))`, given).cost() >= 1000);
    const indirect = (how: string, before: string): number => {
      const text = `${imports} (table 1 funcref) ${how} (func (export "run") ${before} (call_indirect (i32.const 0)))`;
      return guestOf(text, given).cost();
    };
    assert.ok(indirect("(elem (i32.const 0) $f)", "") >= 1000);
    const late = `(elem declare func $f) (export "again" (func $f))`;
    assert.ok(indirect(late, "(table.set (i32.const 0) (ref.func $f))") >= 3000);
  });

  for (const [name, text, least] of BULK) {
    test(`${name} takes fuel by its size, also in a loop; a size too large for anything does not wrap around`, () => {
      const rest = `(memory 4 65536) (table $t 10 funcref) (elem $e func $x) (func $x) (data $d "0123")`;
      for (const body of [text, `(loop $l ${text} (br_if $l (i32.const 0)))`]) {
        const guest = guestOf(`${rest} (func (export "run") (param $n i32) ${body})`, {}, 65_536);
        for (const size of [65_535, 1_048_575, 0x7fff_ffff, -0x8000_0000, -1]) {
          guest.set(HostExport.FUEL, AMPLE);
          try {
            guest.run(size);
          } catch (error) {
            assert.ok(error instanceof WebAssembly.RuntimeError);
          }
          const left = guest.get(HostExport.FUEL);
          // What a loop keeps for itself shows only when it ends, and most of these trap in it.
          if (body === text && size === 65_535) assert.ok(AMPLE - left >= least, `${size}: ${AMPLE - left}`);
          assert.ok(left <= AMPLE, `${size}: ${left}`);
        }
        guest.set(HostExport.FUEL, 20_000);
        assert.throws(() => guest.run(65_535), WebAssembly.RuntimeError);
        assert.ok(guest.get(HostExport.FUEL) < 0);
      }
    });
  }

  test("code of any cost cannot make the fuel come around", () => {
    // 25 arms of 100,000 host calls cost more than 2^31 together.
    const calls = Buffer.alloc(200_000, Buffer.of(0x10, 0));
    const arm = Buffer.concat([Buffer.of(0x20, 0, 0x04, 0x40), calls, Buffer.of(0x0b)]);
    const body = Buffer.concat([Buffer.of(0), ...Array.from({ length: 25 }, () => arm), Buffer.of(0x0b)]);
    let called = 0;
    const guest = guestOf(withBody(`(import "env" "f" (func))`, body), { env: { f: () => called++ } });
    guest.set(HostExport.FUEL, 1000);
    assert.throws(() => guest.run(1), WebAssembly.RuntimeError);
    assert.ok(guest.get(HostExport.FUEL) < 0);
    assert.equal(called, 0);
  });

  test("callbacks and start functions begin with the budget and add up what they use; allocators do not", () => {
    const loop = `(local $n i32) (local.set $n (i32.const 100)) (loop $l ${COUNT} (br_if $l (local.get $n)))`;
    const guest = guestOf(`(func $t (export "proxy_on_tick") (param i32) ${loop}) (func $s ${loop}) (start $s)
      (func (export "malloc") (param i32) (result i32) ${loop} (i32.const 8)) (func (export "run") (call $t (i32.const 0)))`);
    guest.set(HostExport.BUDGET, 100_000);
    guest.set(HostExport.FUEL, 5);
    guest.call("proxy_on_tick", 1);
    const used = guest.get(HostExport.USED);
    assert.ok(used > 300 && used < 2000, String(used));
    assert.equal(guest.get(HostExport.FUEL), 100_000 - used);
    guest.call(HostExport.START);
    assert.equal(guest.get(HostExport.USED), 2 * used);
    guest.call("malloc", 8);
    assert.ok(guest.get(HostExport.FUEL) < 100_000 - used);
    assert.equal(guest.get(HostExport.USED), 2 * used);
    // The guest's own calls of its callbacks refill nothing.
    guest.set(HostExport.FUEL, 100);
    assert.throws(() => guest.run(), WebAssembly.RuntimeError);
    guest.set(HostExport.BUDGET, 50);
    assert.throws(() => guest.call("proxy_on_tick", 1), WebAssembly.RuntimeError);
  });
});

const CIRCLES: readonly [name: string, text: string][] = [
  [
    "of one function",
    `(func $r (param $n i32) (if (local.get $n) (then (call $r (i32.sub (local.get $n) (i32.const 1))))))`,
  ],
  [
    "of two",
    `(func $r (param $n i32) (if (local.get $n) (then (call $s (i32.sub (local.get $n) (i32.const 1))))))
     (func $s (param i32) (call $r (local.get 0)))`,
  ],
  [
    "through a table",
    `(table 1 funcref) (elem (i32.const 0) $r) (type $t (func (param i32)))
     (func $r (param $n i32) (if (local.get $n) (then (call_indirect (type $t) (i32.sub (local.get $n) (i32.const 1)) (i32.const 0)))))`,
  ],
  [
    "through a table that is filled when it runs",
    `(table 1 funcref) (elem declare func $r) (type $t (func (param i32)))
     (func $r (param $n i32) (table.set (i32.const 0) (ref.func $r))
       (if (local.get $n) (then (call_indirect (type $t) (i32.sub (local.get $n) (i32.const 1)) (i32.const 0)))))`,
  ],
  [
    "of a circle too large to count in part",
    `${Array.from({ length: 60 }, (_, n) => `(func $c${n} (param i32) (call ${n === 59 ? "$r" : `$c${n + 1}`} (local.get 0)))`).join("")}
     (func $r (param $n i32) (if (local.get $n) (then (call $c0 (i32.sub (local.get $n) (i32.const 1))))))`,
  ],
];

describe("recursion", () => {
  for (const [name, text] of CIRCLES) {
    test(`${name} is counted, ends above the bound and leaves no trace below it`, () => {
      const guest = guestOf(`${text} (func (export "run") (param i32) (call $r (local.get 0)))`);
      guest.run(40);
      assert.equal(guest.get(HostExport.STACK), 0);
      assert.throws(() => guest.run(1_000_000), WebAssembly.RuntimeError);
      assert.ok(guest.get(HostExport.STACK) > GUEST_STACK_BYTES);
    });
  }

  test("frames of many locals reach the bound sooner", () => {
    const depth = (locals: number, type = "i32"): number => {
      const guest = guestOf(`(global $d (export "depth") (mut i32) (i32.const 0))
        (func $r (param i32) ${`(local ${type})`.repeat(locals)}
          (global.set $d (i32.add (global.get $d) (i32.const 1))) (call $r (local.get 0)))
        (func (export "run") (call $r (i32.const 0)))`);
      assert.throws(() => guest.run(), WebAssembly.RuntimeError);
      return guest.get("depth");
    };
    assert.ok(depth(0) > 2000);
    assert.ok(depth(1000) < 70);
    assert.ok(depth(1000, "v128") < 40);
    assert.ok(depth(40_000) < 2);
  });

  test("a long chain without a circle is counted too", () => {
    const locals = "(local i64)".repeat(1000);
    const chain = Array.from({ length: 100 }, (_, n) => `(func $f${n} ${locals} (call $f${n + 1}))`).join("");
    const guest = guestOf(`${chain} (func $f100 ${locals}) (func (export "run") (call $f0))`);
    assert.throws(() => guest.run(), WebAssembly.RuntimeError);
    assert.ok(guest.get(HostExport.STACK) > GUEST_STACK_BYTES);
  });

  test("what an exception skips is not counted any more", () => {
    const deep = `(tag $e) (func $r (param $n i32)
      (if (i32.eqz (local.get $n)) (then (throw $e))) (call $r (i32.sub (local.get $n) (i32.const 1))))`;
    for (const caught of [
      "(block $b (try_table (catch_all $b) (call $r (i32.const 1500))))",
      "(try (do (call $r (i32.const 1500))) (catch_all))",
    ]) {
      const guest = guestOf(`${deep} (func (export "run") (param $n i32)
        (loop $l ${caught} ${COUNT} (br_if $l (local.get $n))))`);
      guest.run(200);
      assert.equal(guest.get(HostExport.STACK), 0);
    }
    // Also when it leads back to the start of a loop.
    const looping = guestOf(`${deep} (func (export "run") (param $n i32)
      (loop $l (if (i32.eqz (local.get $n)) (then (return))) ${COUNT} (try_table (catch_all $l) (call $r (i32.const 1500)))))`);
    looping.run(200);
    assert.equal(looping.get(HostExport.STACK), 0);
  });

  test("exceptions do not catch what the host ends", () => {
    const guest = guestOf(
      `(func (export "run") (loop $again (block $b (try_table (catch_all $b) (loop $l (br $l)))) (br $again)))`,
    );
    guest.set(HostExport.FUEL, 10_000);
    assert.throws(() => guest.run(), WebAssembly.RuntimeError);
    assert.ok(guest.get(HostExport.FUEL) < 0);
  });
});

describe("memory and tables", () => {
  test("memory grows to the bound, or to the module's own when that is lower", () => {
    for (const [limits, most] of [
      ["1", 64],
      ["1 65536", 64],
      ["1 7", 7],
    ] as const) {
      const guest = guestOf(
        `(memory (export "memory") ${limits}) (func (export "run") (param i32) (result i32) (memory.grow (local.get 0)))`,
      );
      assert.equal(guest.facts.memoryPages, most);
      assert.equal(guest.run(most - 1), 1);
      assert.equal(guest.get(HostExport.FLAGS) & GuestFlag.MEMORY_DENIED, 0);
      assert.equal(guest.run(1), -1);
      assert.equal(guest.get(HostExport.FLAGS) & GuestFlag.MEMORY_DENIED, GuestFlag.MEMORY_DENIED);
    }
  });

  test("tables together stay within the bound", () => {
    const grow = (count: number, by: number): number => {
      const tables = Array.from({ length: count }, (_, n) => `(table $t${n} 1 funcref)`).join("");
      const guest = guestOf(
        `${tables} (func (export "run") (param i32) (result i32) (table.grow $t0 (ref.null func) (local.get 0)))`,
      );
      return guest.run(by);
    };
    for (const count of [1, 10]) {
      assert.equal(grow(count, MAX_TABLE_ELEMENTS / count), -1);
      assert.equal(grow(count, MAX_TABLE_ELEMENTS / count - 1), 1);
    }
    assert.throws(
      () => guestOf(`(table ${MAX_TABLE_ELEMENTS} funcref) (table 1 funcref) (func (export "run"))`),
      new RegExp(`MODULE_TOO_LARGE: tables of ${MAX_TABLE_ELEMENTS + 1} elements, at most ${MAX_TABLE_ELEMENTS}`),
    );
  });

  test("what a copy of memory and globals would miss is noted", () => {
    const rest = `(memory 1) (table $t 4 8 funcref) (elem $e func $run) (data $d "x")`;
    for (const [body, noted] of [
      ["(table.set $t (i32.const 0) (ref.null func))", true],
      ["(drop (table.grow $t (ref.null func) (i32.const 1)))", true],
      ["(table.fill $t (i32.const 0) (ref.null func) (i32.const 1))", true],
      ["(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 1))", true],
      ["(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))", true],
      ["(elem.drop $e)", true],
      ["(data.drop $d)", true],
      [
        "(drop (table.get $t (i32.const 0))) (i32.store (i32.const 0) (i32.const 1)) (drop (memory.grow (i32.const 1)))",
        false,
      ],
    ] as const) {
      const guest = guestOf(`${rest} (func $run (export "run") ${body})`);
      guest.run();
      assert.equal((guest.get(HostExport.FLAGS) & GuestFlag.UNRESTORABLE) !== 0, noted, body);
    }
  });
});

describe("state", () => {
  test("mutable globals of every number type are saved, restored and exported in order; the flags are answered", () => {
    const guest =
      guestOf(`(global $c i32 (i32.const 1)) (global $a (mut i32) (i32.const 5)) (global $b (mut i64) (i64.const 6))
      (global $f (mut f32) (f32.const 0.5)) (global $g (mut f64) (f64.const 0.25)) (table 1 funcref)
      (func (export "run") (global.set $a (i32.add (global.get $a) (i32.const 1))) (global.set $b (i64.const -1))
        (global.set $f (f32.const 9)) (global.set $g (f64.const 9)))
      (func (export "mark") (table.set (i32.const 0) (ref.null func)))`);
    assert.equal(guest.facts.globals, "iIfF");
    assert.equal(guest.facts.restorable, true);
    const all = (): number[] => [0, 1, 2, 3].map((n) => guest.get(`${HostExport.GLOBAL}${n}`));
    guest.call(HostExport.SAVE);
    guest.run();
    assert.deepEqual(all(), [6, -1, 9, 9]);
    assert.equal(guest.call(HostExport.RESTORE), 0);
    assert.deepEqual(all(), [5, 6, 0.5, 0.25]);
    guest.set(`${HostExport.GLOBAL}0`, 70);
    guest.run();
    assert.deepEqual(all(), [71, -1, 9, 9]);
    guest.call("mark");
    assert.equal(guest.call(HostExport.RESTORE) & GuestFlag.UNRESTORABLE, GuestFlag.UNRESTORABLE);
  });

  test("references, vectors and very many globals cannot be copied, and that is said", () => {
    const facts = (globals: string): Hardened => guestOf(`${globals} (func (export "run"))`).facts;
    assert.equal(facts("(global (mut funcref) (ref.null func))").restorable, false);
    assert.equal(facts("(global (mut v128) (v128.const i32x4 0 0 0 0))").restorable, false);
    assert.equal(facts("(global funcref (ref.null func))").restorable, true);
    assert.equal(facts("(global (mut i32) (i32.const 0))".repeat(MAX_SAVED_GLOBALS)).restorable, true);
    const many = facts("(global (mut i32) (i32.const 0))".repeat(MAX_SAVED_GLOBALS + 1));
    assert.deepEqual([many.restorable, many.globals], [false, ""]);
  });
});

/** Offset into the file that the stack of a trap in `run` names. */
function trapOffset(bytes: Uint8Array, argument: number): number {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
  const fuel = exports[HostExport.FUEL];
  if (fuel instanceof WebAssembly.Global) fuel.value = AMPLE;
  try {
    (exports["run"] as Run)(argument);
  } catch (error) {
    const place = /wasm-function\[\d+\]:0x([0-9a-f]+)/.exec((error as Error).stack ?? "");
    return parseInt(place![1]!, 16);
  }
  throw new Error("it did not trap");
}

test("offsets of the rewritten file lead to the places of the original", () => {
  const arms = Array.from(
    { length: 12 },
    (_, n) => `(if (i32.eq (local.get $n) (i32.const ${n})) (then
      ${n % 3 === 0 ? `(loop $l (br_if $l (i32.const 0)) (drop (i32.load (i32.const -${4 + n}))))` : ""}
      ${n % 3 === 1 ? `(call $f (i32.const ${n}))` : ""}
      (drop (i32.div_u (i32.const ${n}) (i32.const 0))) (unreachable)))`,
  ).join("");
  const original =
    assemble(`(module (memory 1) (func $f (param i32) (if (i32.gt_u (local.get 0) (i32.const 5)) (then (unreachable))))
    (func $r (param $n i32) ${arms} (call $r (i32.const 3))) (func (export "run") (param i32) (call $r (local.get 0))))`);
  const { bytes, facts } = rewrite(original);
  assert.ok(facts.offsets.buffer instanceof SharedArrayBuffer);
  const back = (position: number): number => {
    let n = 0;
    while (n + 2 < facts.offsets.length && facts.offsets[n + 2]! <= position) n += 2;
    return facts.offsets[n + 1]! + position - facts.offsets[n]!;
  };
  for (let argument = 0; argument < 13; argument++) {
    const expected = trapOffset(original, argument);
    const found = trapOffset(bytes, argument);
    assert.notEqual(found, expected);
    assert.equal(back(found), expected, `case ${argument}`);
  }
});

test("names stay; what only tools and the loader read goes, since it would take memory in each worker", () => {
  const section = (name: string, size: number): Buffer =>
    Buffer.concat([Buffer.of(0, name.length + 1 + size, name.length), Buffer.from(name), Buffer.alloc(size)]);
  const kept = ["name"];
  const gone = [".debug_info", "precompiled_x", "sourceMappingURL", "sluice.schema", "sluice.sourcemap"];
  const bytes = Buffer.concat([
    assemble(`(module (func (export "run")))`),
    ...[...kept, ...gone].map((name) => section(name, 3)),
  ]);
  const module = new WebAssembly.Module(rewrite(bytes).bytes);
  for (const name of kept) assert.equal(WebAssembly.Module.customSections(module, name).length, 1, name);
  for (const name of gone) assert.equal(WebAssembly.Module.customSections(module, name).length, 0, name);
});

describe("what is refused", () => {
  const ABI = `(func (export "proxy_abi_version_0_2_1")) (func (export "malloc") (param i32) (result i32) (i32.const 8))`;
  const MEMORY = `(memory (export "memory") 1)`;

  test("threads, 64-bit memory, several memories, garbage-collected types: each by name", () => {
    for (const [text, reason] of [
      [`(memory (export "memory") 1 2 shared) ${ABI}`, /a shared memory: threads could stop the worker/],
      [`(memory (export "memory") i64 1) ${ABI}`, /a memory with 64-bit addresses/],
      [`${MEMORY} (memory 1) ${ABI}`, /more than one memory/],
      [
        `(type $s (struct (field i32))) ${MEMORY} ${ABI} (func (param (ref null $s)))`,
        /UNSUPPORTED: .*garbage-collected/,
      ],
      [`(import "env" "t" (table 1 externref)) ${MEMORY} ${ABI}`, /an imported table of anything but functions/],
    ] as const) {
      assert.throws(() => loadModule(assemble(`(module ${text})`), "m.wasm"), reason, text);
    }
  });

  test("an instruction that nobody knows: with its place", () => {
    const bytes = Buffer.from(assemble(`(module ${MEMORY} ${ABI} (func (drop (i32.popcnt (i32.const 7)))))`));
    const at = bytes.indexOf(Buffer.from("410769", "hex")) + 2;
    bytes[at] = 0x27;
    assert.throws(() => loadModule(bytes, "m.wasm"), new RegExp(`MODULE_CORRUPTED: m.wasm: .*#2.*0x27.*@\\+${at}`));
    assert.throws(() => rewrite(bytes), new RegExp(`instruction 0x27 in function 2 at byte 0x${at.toString(16)}`));
  });

  test("a function that grows too large with fuel: by its number and size", () => {
    const grows = Buffer.alloc(750_000, Buffer.of(0x41, 0, 0x40, 0, 0x1a));
    const body = Buffer.concat([Buffer.of(0), grows, Buffer.of(0x0b)]);
    assert.throws(
      () => rewrite(withBody("(memory 1)", body)),
      /MODULE_TOO_LARGE: code of function 0: \d+ bytes with fuel, at most 7654321/,
    );
  });

  test("code that reaches for what the host adds: it is invalid before, and stays out", () => {
    // Behind the module's own globals, functions and locals stand the host's.
    const bytes = Buffer.from(
      assemble(`(module ${MEMORY} (global $g (mut i32) (i32.const 0)) ${ABI}
        (func $f (param i32) (global.set $g (i32.const 77)) (call $f (i32.const 78)) (local.set 0 (i32.const 79))))`),
    );
    assert.equal(loadModule(bytes, "m.wasm").hardened.globals, "i");
    for (const [code, index] of [
      ["41cd0024", 1],
      ["41ce0010", 3],
      ["41cf0021", 1],
    ] as const) {
      const changed = Buffer.from(bytes);
      const at = changed.indexOf(Buffer.from(code, "hex"));
      assert.notEqual(at, -1, code);
      changed[at + 4] = index;
      assert.throws(() => loadModule(changed, "m.wasm"), /MODULE_CORRUPTED/, code);
    }
  });
});
