/** Hardening with `coverage`: each straight piece of code is counted once per run, and nothing else changes. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readModuleBinary } from "../../runtime/wasm/module/binary.ts";
import { harden } from "../../runtime/wasm/module/harden.ts";
import { HostExport } from "../../runtime/wasm/module/hardened.ts";
import { assemble } from "./puppet.ts";

type Run = (...args: number[]) => number;

/** A function of three pieces in a loop, one of which the loop is left from; short enough to be written out several times. */
const LOOP = `(func (export "run") (param $n i32) (result i32) (local $sum i32)
  (block $out (loop $again
    (br_if $out (i32.eqz (local.get $n)))
    (if (i32.and (local.get $n) (i32.const 1)) (then (local.set $sum (i32.add (local.get $sum) (local.get $n)))))
    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
    (br $again)))
  (local.get $sum))`;

function started(
  text: string,
  imports: WebAssembly.Imports = {},
): { readonly exports: WebAssembly.Exports; readonly pieces: Uint32Array; counts(): number[] } {
  const bytes = assemble(`(module ${text})`);
  const { bytes: code, facts } = harden(bytes, readModuleBinary(bytes), { memoryPages: 4, coverage: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code), imports);
  (exports[HostExport.FUEL] as WebAssembly.Global).value = 1_000_000;
  const pieces = facts.pieces ?? new Uint32Array();
  const counters = exports[HostExport.COVERAGE] as WebAssembly.Memory | undefined;
  return {
    exports,
    pieces,
    counts: () => (counters === undefined ? [] : [...new Uint32Array(counters.buffer, 0, pieces.length)]),
  };
}

describe("runs of code", () => {
  it("are counted piece by piece, in ascending order of offsets", () => {
    const { exports, pieces, counts } = started(`(memory (export "memory") 1) ${LOOP}`);
    assert.equal((exports["run"] as Run)(5), 9);
    assert.deepEqual(
      [...pieces],
      [...pieces].sort((a, b) => a - b),
    );
    const seen = counts();
    assert.equal(seen[0], 1, "the function");
    // Rounds, the last of which only looks; those that go on; the odd ones.
    for (const times of [6, 5, 3]) assert.ok(seen.includes(times), `${times} of ${seen.join()}`);
    assert.equal(Math.max(...seen), 6, "no piece more often than the loop");
    (exports["run"] as Run)(0);
    assert.equal(counts()[0], 2);
  });

  it("are counted of modules that are given their memory, and not of those that have none", () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 4 });
    const given = started(`(import "env" "memory" (memory 1 4)) (export "memory" (memory 0)) ${LOOP}`, {
      env: { memory },
    });
    assert.equal((given.exports["run"] as Run)(3), 4);
    assert.equal(given.counts()[0], 1);
    assert.ok(
      new Uint8Array(memory.buffer).every((byte) => byte === 0),
      "the guest's memory is its own",
    );
    assert.deepEqual(started(LOOP).counts(), []);
  });

  it("stay when an instance is brought back to its snapshot", () => {
    const { exports, counts } = started(`(memory (export "memory") 1) (global $g (mut i32) (i32.const 1))
      (func (export "run") (param i32) (result i32) (global.set $g (local.get 0)) (global.get $g))`);
    (exports[HostExport.SAVE] as Run)();
    (exports["run"] as Run)(7);
    (exports[HostExport.RESTORE] as Run)();
    (exports["run"] as Run)(8);
    assert.deepEqual(counts(), [2]);
  });

  it("cost no fuel", () => {
    const bytes = assemble(`(module (memory (export "memory") 1) ${LOOP})`);
    const left = [false, true].map((coverage) => {
      const { bytes: code } = harden(bytes, readModuleBinary(bytes), { memoryPages: 4, coverage, fuel: "exact" });
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code));
      const fuel = exports[HostExport.FUEL] as WebAssembly.Global;
      fuel.value = 1_000_000;
      (exports["run"] as Run)(1000);
      return fuel.value;
    });
    assert.equal(left[0], left[1]);
  });
});
