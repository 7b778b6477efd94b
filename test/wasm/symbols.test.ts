/** What backtraces are made of, alone: names, tables of lines, hostile data; and frames of hand-written modules. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { appendSection } from "../../filters/build/sections.ts";
import { MAX_MANIFEST_BYTES, MAX_SYMBOL_BYTES } from "../../runtime/limits.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import type { LoadedModule } from "../../runtime/wasm/module/module.ts";
import { FailureReport } from "../../runtime/wasm/instance/backtrace.ts";
import { DebugLines } from "../../runtime/wasm/module/symbols-debug-line.ts";
import { demangle } from "../../runtime/wasm/module/symbols-demangle.ts";
import { Resolver } from "../../runtime/wasm/module/symbols-resolve.ts";
import { PluginSet } from "../../runtime/wasm/plugin-set.ts";
import { loadModules } from "../../runtime/worker/modules.ts";
import { built } from "../languages/toolchains.ts";
import { assemble } from "./puppet.ts";
import { environmentFor, FakeStream, pluginConfig, RecordingLog, RecordingStats } from "./stage.ts";

describe("names of functions", () => {
  for (const [mangled, readable] of [
    ["_ZN4core9panicking5panic17h0123456789abcdefE", "core::panicking::panic"],
    ["_ZN46_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$A$GT$4drop17h0123456789abcdefE", "<alloc::vec::Vec<T> as A>::drop"],
    ["_ZN4shop4Till5countE", "shop::Till::count"],
    ["_ZN4shop4Till9countE", "_ZN4shop4Till9countE"],
    ["_RNvNtCs1234_7mycrate5inner3foo", "mycrate::inner::foo"],
    ["_RNvXs_NtCsaaa_7mycrate5innerINtB4_1AmENtB4_1T2go", "<mycrate::inner::A as mycrate::inner::T>::go"],
    ["_RNCNvCsg_7mycrate4main0B3_", "mycrate::main::{closure}"],
    ["_RINvNtC3std3mem8align_ofjE", "std::mem::align_of"],
    ["_RNvMC1aRShB_3foo", "_RNvMC1aRShB_3foo"],
    ["_ZNK5Proxy7Context9onRequestEj", "Proxy::Context::onRequest"],
    ["_ZN5Proxy7ContextC2Ev", "Proxy::Context…"],
    ["_Z9onRequestj", "onRequest"],
    ["onRequest", "onRequest"],
    ["_ZN99999", "_ZN99999"],
    ["_Z99x", "x"],
    ["_RB_", "_RB_"],
    [`_RNv${"B_".repeat(500)}`, `_RNv${"B_".repeat(500)}`],
    [`_R${"Nt".repeat(5000)}C1a${"1b".repeat(5000)}`, undefined],
    [`_RM${"T".repeat(100)}`, undefined],
    ["", ""],
  ] as const) {
    test(mangled.slice(0, 60) || "none", () => assert.equal(demangle(mangled), readable ?? mangled));
  }
});

const MODULE = `(module
  (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $bad (mut i32) (i32.const 0))
  (func $allocate (export "malloc") (param i32) (result i32)
    (if (global.get $bad) (then (call $inside)))
    (i32.const 1024))
  (func $inside (unreachable))
  (func (export "proxy_abi_version_0_2_1"))
  (func $configured (export "proxy_on_configure") (param i32 i32) (result i32)
    (global.set $bad (i32.const 1))
    (i32.const 1))
  (func $headers (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $asking)
    (i32.const 0))
  (func $asking (drop (call $get (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 8) (i32.const 12))))`;

function started(module: LoadedModule): { log: RecordingLog; set: PluginSet } {
  const log = new RecordingLog();
  const set = new PluginSet([pluginConfig({ name: "asker" })], [module], environmentFor({}, log, new RecordingStats()));
  set.start();
  return { log, set };
}

describe("frames", () => {
  test("host functions stand between the guest's, and what hardening added does not show", () => {
    const { log, set } = started(loadModule(assemble(`${MODULE})`), "/somewhere/asker.wasm"));
    new FakeStream(set.httpFilter(0), {}).requestHead();
    const [head, ...frames] = log.lines.at(-1)!.split("\n");
    assert.match(
      head!,
      /^error plugin asker \(sha256 [0-9a-f]{12}\): trap: unreachable in proxy_on_request_headers, context 2 \(root 1\)$/,
    );
    // binaryen writes no names: exports and indices it is.
    assert.deepEqual(
      frames.map((line) => line.replace(/0x[0-9a-f]+/, "0x")),
      [
        "    at function[2] (asker.wasm:0x)",
        "    at malloc (asker.wasm:0x)",
        "    at [host] proxy_get_buffer_bytes",
        "    at function[6] (asker.wasm:0x)",
        "    at proxy_on_request_headers (asker.wasm:0x)",
      ],
    );
    set.close();
  });

  test("the offset is that in the module as it came", () => {
    const bytes = assemble(`${MODULE})`);
    const { log, set } = started(loadModule(bytes, "asker.wasm"));
    new FakeStream(set.httpFilter(0), {}).requestHead();
    const offset = parseInt(/0x([0-9a-f]+)/.exec(log.lines.at(-1)!.split("\n")[1]!)![1]!, 16);
    assert.deepEqual([...bytes.subarray(offset, offset + 2)], [0x00, 0x0b], "unreachable, end");
    set.close();
  });

  test("where the host called the guest the backtrace ends, whatever called the host", () => {
    const module = loadModule(assemble(`${MODULE})`), "asker.wasm");
    const error = new Error("x");
    error.stack = `Error: x
    at proxy_log (file:///x/runtime/wasm/host/log.ts:1:2)
    at inner (wasm://wasm/abc:wasm-function[2]:0x10)
    at Object.proxy_get_buffer_bytes (file:///x/runtime/wasm/host/buffers.ts:1:2)
    at outer (wasm://wasm/abc:wasm-function[3]:0x20)
    at Instance.call (file:///x/runtime/wasm/instance/instance.ts:1:2)
    at proxy_set_property (file:///x/runtime/wasm/host/properties.ts:1:2)
    at another (wasm://wasm/abc:wasm-function[4]:0x30)`;
    assert.deepEqual(
      new FailureReport(module)
        .trace(error)
        .split("\n")
        .map((line) => line.trim().split(" (")[0]),
      ["", "at [host] proxy_log", "at function[2]", "at [host] proxy_get_buffer_bytes", "at proxy_abi_version_0_2_1"],
    );
    error.stack = error.stack
      .replace("Instance.call (file:///x/runtime/wasm/instance/instance.ts:1:2)", "f (file:///x.ts:1:2)")
      .replace("abc:wasm-function[4]", "def:wasm-function[4]");
    assert.equal(
      new FailureReport(module).trace(error).split("\n").length,
      6,
      "the host's function, not the other module's",
    );
  });

  test("names of a guest cannot break a line or begin a frame", () => {
    const evil = "x\n    at proxy_log (wasm://wasm/0:wasm-function[1]:0x10)\u001b[31m\u2028";
    const name = Buffer.from(evil);
    const map = Buffer.concat([Buffer.of(1, 2, name.length), name]);
    const bytes = appendSection(assemble(`${MODULE})`), "name", Buffer.concat([Buffer.of(1, map.length), map]));
    const { log, set } = started(loadModule(bytes, "asker.wasm"));
    new FakeStream(set.httpFilter(0), {}).requestHead();
    const lines = log.lines.at(-1)!.split("\n");
    assert.equal(lines.length, 6);
    assert.match(lines[1]!, /^ {4}at x\? {4}at proxy_log \(wasm:.*\)\?\[31m\? \(asker\.wasm:0x[0-9a-f]+\)$/);
    set.close();
  });

  test("a start function that traps is refused with its frames", () => {
    const bytes = assemble(`${MODULE} (func $first (call $second)) (func $second (unreachable)) (start $first))`);
    assert.throws(
      () => started(loadModule(bytes, "asker.wasm")),
      (error: Error) =>
        /plugin asker: start function: trap: unreachable\n {4}at function\[8\] \(asker\.wasm:0x[0-9a-f]+\)\n {4}at function\[7\] /.test(
          error.message,
        ),
    );
  });
});

describe("the manifest", () => {
  test("a bundled filter says its version, and its source map is found beside it", () => {
    const path = fileURLToPath(new URL("../../build/filters/evangelist.wasm", import.meta.url));
    const { modules } = loadModules([pluginConfig({ code: { kind: "file", path } })]);
    assert.equal(modules[0]!.manifest?.name, "evangelist");
    assert.match(modules[0]!.manifest.version ?? "", /^\d+\.\d+\.\d+$/);
    assert.ok(modules[0]!.symbols.sourceMap !== undefined && modules[0]!.symbols.names !== undefined);
  });

  const manifestOf = (text: string | Uint8Array): LoadedModule["manifest"] =>
    loadModule(appendSection(assemble(`${MODULE})`), "sluice.manifest", Buffer.from(text)), "x").manifest;

  test("names the version in failures", () => {
    const manifest = Buffer.from(`{"name":"asker","version":"3.1.4"}`);
    const { log, set } = started(loadModule(appendSection(assemble(`${MODULE})`), "sluice.manifest", manifest), "x"));
    new FakeStream(set.httpFilter(0), {}).requestHead();
    assert.match(log.lines.at(-1)!, /^error plugin asker \(3\.1\.4, sha256 [0-9a-f]{12}\): trap: /);
    set.close();
  });

  test("is read with care", () => {
    assert.deepEqual(manifestOf(`{"name":"a","version":"1","isolation":"stream","more":[1]}`), {
      name: "a",
      version: "1",
      isolation: "stream",
    });
    const nothing = { name: undefined, version: undefined, isolation: undefined };
    assert.deepEqual(manifestOf(`{"name":1,"version":"","isolation":"request","__proto__":{"name":"x"}}`), nothing);
    assert.deepEqual(manifestOf("[]"), nothing);
    for (const bad of ["", "null", "{", "7", "[".repeat(60_000), Uint8Array.of(0xff, 0xfe)]) {
      assert.equal(manifestOf(bad), undefined);
    }
    assert.equal(manifestOf(`{"name":"${"x".repeat(MAX_MANIFEST_BYTES)}"}`), undefined);
    const long = manifestOf(`{"name":"a\\nb\\u001b[31m","version":"${"9".repeat(1000)}"}`);
    assert.equal(long?.name, "a?b?[31m");
    assert.equal(long.version?.length, 64);
  });
});

describe("hostile symbols", () => {
  const modules = ["traps-dwarf-4", "traps-dwarf-5"].map((name) => loadModule(built(name), `${name}.wasm`));

  /** All functions of the module, at their beginnings. */
  function describeAll(module: LoadedModule): string[] {
    const { importedFunctions, bodies } = module.symbols;
    const { offsets } = module.hardened;
    return new Resolver(module).describe(
      Array.from(bodies, (_, n) => ({ index: importedFunctions + n, position: offsets[2 * n] ?? 0 })),
    );
  }

  function shared(bytes: Uint8Array): Uint8Array {
    const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
    copy.set(bytes);
    return copy;
  }

  test("damaged names and tables of lines give other texts, never an error, an endless loop or a control character", () => {
    let seed = 12_345;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    let different = 0;
    for (let n = 0; n < 4000; n++) {
      const module = modules[n % modules.length]!;
      const part = (["names", "lines", "lineStrings"] as const)[random(3)]!;
      const whole = module.symbols[part];
      if (whole === undefined) continue;
      const damaged = shared(whole.subarray(0, random(4) === 0 ? random(whole.length) : whole.length));
      for (let left = random(4); left >= 0 && damaged.length > 0; left--) {
        damaged[random(damaged.length)] = random(3) === 0 ? 0xff : random(256);
      }
      const texts = describeAll({ ...module, symbols: { ...module.symbols, [part]: damaged } });
      assert.equal(texts.length, module.symbols.bodies.length);
      // oxlint-disable-next-line no-control-regex -- that is what must not reach a terminal
      for (const text of texts) assert.match(text, /^[^\u0000-\u001f\u007f-\u009f]+ \([^\u0000-\u001f]+\)$/);
      if (texts.join() !== describeAll(module).join()) different++;
    }
    assert.ok(different > 1000, `${different} differ`);
  });

  /** Sequences of one row each: from, to, line. */
  function sequence(from: number, to: number, line: number): number[] {
    return [0, 5, 2, from, 0, 0, 0, 3, line - 1, 1, 2, to - from, 0, 1, 1];
  }
  /** A whole table from its version on; the header's length covers what stands before the program. */
  function table(version: number, tables: readonly number[], program: readonly number[]): Uint8Array {
    const head = [1, 1, 1, 0xfb, 14, 10, 0, 1, 1, 1, 1, 0, 0, 0, 1, ...tables];
    const all = [version, 0, ...(version === 5 ? [4, 0] : []), head.length, 0, 0, 0, ...head, ...program];
    return shared(Uint8Array.of(all.length, 0, 0, 0, ...all));
  }
  const PLACE = { offset: 34, bodyStart: 32, bodyEnd: 40 };
  const ONE_FILE = [0, ...Buffer.from("a.c"), 0, 0, 0, 0, 0];

  test("lines of dropped code, which begin at address 0, do not hide those of the function", () => {
    const lines = table(4, ONE_FILE, [...sequence(0, 100, 50), ...sequence(32, 40, 5), ...sequence(1, 90, 51)]);
    assert.deepEqual(new DebugLines(lines, undefined, 0).locate([PLACE]), [{ file: "a.c", line: 5, column: 0 }]);
  });

  test("a table that says it has four thousand million entries of no bytes is refused at once", () => {
    const lines = table(5, [0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], sequence(32, 40, 5));
    assert.throws(() => new DebugLines(lines, undefined, 0).locate([PLACE]), /a table of names without a format/);
  });

  test("sections over the limit are left out", () => {
    const bytes = assemble(`${MODULE})`);
    const large = new Uint8Array(MAX_SYMBOL_BYTES + 1);
    const { symbols } = loadModule(appendSection(appendSection(bytes, "name", large), ".debug_line", large), "x");
    assert.equal(symbols.names, undefined);
    assert.equal(symbols.lines, undefined);
  });

  test("positions that lie nowhere are answered", () => {
    for (const module of modules) {
      for (const position of [0, 1, 0x7fff_ffff, 0xffff_ffff]) {
        for (const index of [0, 1, 5000]) {
          assert.match(new Resolver(module).describe([{ index, position }])[0]!, /^\S+ \(\S+\)$/);
        }
      }
    }
  });
});
