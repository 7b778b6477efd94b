import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AbiVersion, EXPORTS, HOST_FUNCTIONS } from "../../abi/functions.ts";
import * as Status from "../../abi/status.ts";
import { ProxyError } from "../../runtime/errors.ts";
import { Phase } from "../../runtime/http/filter.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { assemble, Puppet } from "./puppet.ts";
import { Stage } from "./stage.ts";

const MARKER = `(func (export "proxy_abi_version_0_2_1"))`;
const MEMORY = `(memory (export "memory") 1)`;
const MALLOC = `(func (export "malloc") (param i32) (result i32) (i32.const 64))`;

function load(body: string): ReturnType<typeof loadModule> {
  return loadModule(assemble(`(module ${body})`), "test.wasm");
}

function refusal(body: string): ProxyError {
  try {
    load(body);
  } catch (error) {
    assert.ok(error instanceof ProxyError);
    assert.match(error.message, /test\.wasm/);
    return error;
  }
  throw new Error("the module was accepted");
}

describe("what loads", () => {
  for (const [marker, version] of [
    ["0_1_0", AbiVersion.V0_1_0],
    ["0_2_0", AbiVersion.V0_2_0],
    ["0_2_1", AbiVersion.V0_2_1],
    ["0_2_100", AbiVersion.V0_2_1],
  ] as const) {
    test(`marker ${marker}`, () => {
      assert.equal(load(`(func (export "proxy_abi_version_${marker}")) ${MEMORY} ${MALLOC}`).abiVersion, version);
    });
  }

  for (const [what, body, version] of [
    [
      "headers with two parameters",
      `(func (export "proxy_on_request_headers") (param i32 i32) (result i32) (i32.const 0))`,
      AbiVersion.V0_1_0,
    ],
    ["an import of 0.1.0 alone", `(import "env" "proxy_continue_request" (func (result i32)))`, AbiVersion.V0_1_0],
    ["a callback of any version", `(func (export "proxy_on_tick") (param i32))`, AbiVersion.V0_2_0],
    [
      "a callback that nobody calls",
      `(func (export "proxy_on_grpc_trailing_metadata") (param i64))`,
      AbiVersion.V0_2_0,
    ],
    ["an import", `(import "env" "proxy_done" (func (result i32)))`, AbiVersion.V0_2_0],
  ] as const) {
    test(`no marker but ${what}: with a warning`, () => {
      const module = load(`${body} ${MEMORY} ${MALLOC}`);
      assert.equal(module.abiVersion, version);
      assert.match(module.warnings.join(), /^exports no ABI version marker.* is taken for 0\.[12]\.0$/);
      assert.deepEqual(load(`${body} ${MARKER} ${MEMORY} ${MALLOC}`).warnings, []);
    });
  }

  test("a marker that is no function beside one that is", () => {
    const other = `(global (export "proxy_abi_version_0_1_0") i32 (i32.const 0))`;
    assert.equal(load(`${other} ${MARKER} ${MEMORY} ${MALLOC}`).abiVersion, AbiVersion.V0_2_1);
  });

  test("exports with names that the host does not know, whatever their type", () => {
    const odd = ["proxy_on_grpc_trailing_metadata", "proxy_on_grpc_create_initial_metadata", "_ZN3fooEv"]
      .map((name) => `(func (export "${name}") (param f64) (result f64) (local.get 0))`)
      .join("");
    assert.deepEqual(load(`${odd} (global (export "data") i32 (i32.const 9)) ${MARKER} ${MEMORY} ${MALLOC}`).exports, [
      "malloc",
    ]);
  });

  test("what only some hosts have links and answers that it is not there", () => {
    const stubs = HOST_FUNCTIONS.filter((one) => one.answersOnly !== undefined);
    assert.ok(stubs.length >= 13);
    const puppet = new Puppet();
    const calls = stubs.map(({ name, type }) =>
      puppet.call(name, ...Array.from({ length: type.indexOf(">") }, () => 0)),
    );
    puppet.on("proxy_on_request_headers", 0, ...calls);
    const stage = Stage.started(puppet);
    stage.stream().requestHead();
    assert.deepEqual(
      calls.map((call) => stage.status(call)),
      stubs.map(() => Status.UNIMPLEMENTED),
    );
  });

  test("only proxy_on_memory_allocate as allocator", () => {
    const allocator = `(func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 64))`;
    assert.equal(load(`${MARKER} ${MEMORY} ${allocator}`).allocator, "proxy_on_memory_allocate");
  });

  test("phases are read off the exports", () => {
    const callback = (name: string, type: string): string =>
      `(func (export "${name}") ${type} (result i32) (i32.const 0))`;
    const three = "(param i32 i32 i32)";
    assert.equal(load(`${MARKER} ${MEMORY} ${MALLOC}`).phases, 0);
    assert.equal(
      load(`${MARKER} ${MEMORY} ${MALLOC} ${callback("proxy_on_request_headers", three)}`).phases,
      Phase.REQUEST_HEADERS,
    );
    const old = load(
      `${MARKER} ${MEMORY} ${MALLOC} ${callback("proxy_on_response_headers", "(param i32 i32)")} (func (export "proxy_on_log") (param i32))`,
    );
    assert.equal(old.phases, Phase.RESPONSE_HEADERS | Phase.LOG);
    assert.equal(loadModule(new Puppet().bytes(), "puppet").phases, 127);
  });

  test("the same import twice, both WASI modules, an imported memory", () => {
    const log = `(import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))`;
    const wasi = (module: string): string => `(import "${module}" "sched_yield" (func (result i32)))`;
    const module = load(
      `${log}${log}${wasi("wasi_unstable")}${wasi("wasi_snapshot_preview1")}(import "env" "memory" (memory 1)) (export "memory" (memory 0)) ${MARKER} ${MALLOC}`,
    );
    assert.equal(module.storage[0]!.kind, "memory");
  });

  test("size and sha256 are those of the bytes as they came", () => {
    const module = load(`${MARKER} ${MEMORY} ${MALLOC} (start $s) (func $s)`);
    assert.match(module.sha256, /^[0-9a-f]{64}$/);
    assert.equal(module.hasStartSection, true);
    assert.equal(structuredClone({ ...module, module: null }).sha256, module.sha256);
  });
});

describe("what is refused", () => {
  test("garbage, and every truncation of a good module", () => {
    const good = assemble(
      `(module (import "env" "proxy_log" (func (param i32 i32 i32) (result i32))) ${MARKER} ${MEMORY} ${MALLOC})`,
    );
    for (let size = 0; size < good.length; size++) {
      assert.throws(() => loadModule(good.subarray(0, size), "cut"), ProxyError, `first ${size} bytes`);
    }
    assert.throws(() => loadModule(Buffer.from("not a module at all"), "text"), /MODULE_CORRUPTED: text: /);
  });

  test("each flipped byte gives a module or a ProxyError, never anything else", () => {
    const good = Buffer.from(
      assemble(
        `(module (import "env" "proxy_log" (func (param i32 i32 i32) (result i32))) ${MARKER} ${MEMORY} ${MALLOC} (start $s) (func $s))`,
      ),
    );
    for (let at = 0; at < good.length; at++) {
      for (const mask of [0xff, 0x80, 1]) {
        const bytes = Buffer.from(good);
        bytes[at]! ^= mask;
        try {
          loadModule(bytes, "flipped");
        } catch (error) {
          assert.ok(error instanceof ProxyError, `byte ${at}: ${String(error)}`);
        }
      }
    }
  });

  test("no marker and nothing of the ABI, an unknown marker, one that is no function", () => {
    assert.match(
      refusal(`${MEMORY} ${MALLOC}`).message,
      /^MODULE_ABI: .*no ABI version marker \(proxy_abi_version_0_2_1\)/,
    );
    assert.match(refusal(`(func (export "proxy_abi_version_9_9_9")) ${MEMORY} ${MALLOC}`).message, /9\.9\.9/);
    assert.equal(
      refusal(`(global (export "proxy_abi_version_0_2_1") i32 (i32.const 0)) ${MEMORY} ${MALLOC}`).code,
      "MODULE_ABI",
    );
  });

  test("unknown imports are named", () => {
    const error = refusal(`(import "env" "proxy_fly" (func (result i32))) ${MARKER} ${MEMORY} ${MALLOC}`);
    assert.equal(error.code, "MODULE_IMPORT");
    assert.match(error.message, /env\.proxy_fly/);
    assert.match(
      refusal(`(import "nowhere" "proxy_log" (func (param i32 i32 i32) (result i32))) ${MARKER} ${MEMORY} ${MALLOC}`)
        .message,
      /nowhere\.proxy_log/,
    );
  });

  test("all unknown imports are in one error, up to a bound", () => {
    const imports = (count: number): string =>
      Array.from({ length: count }, (_, n) => `(import "env" "fly${n}" (func))`).join("");
    assert.match(
      refusal(`${imports(3)} (import "env" "fly1" (func)) ${MARKER} ${MEMORY} ${MALLOC}`).message,
      /import env\.fly0, env\.fly1, env\.fly2: this host has no such functions$/,
    );
    assert.match(refusal(`${imports(25)} ${MARKER} ${MEMORY} ${MALLOC}`).message, /env\.fly19 and 5 more: /);
  });

  test("imports of another type than the host's", () => {
    const error = refusal(`(import "env" "proxy_log" (func (param i32))) ${MARKER} ${MEMORY} ${MALLOC}`);
    assert.match(error.message, /env\.proxy_log: type i>, the host's is iii>i/);
    assert.match(
      refusal(
        `(import "env" "proxy_increment_metric" (func (param i32 i32) (result i32))) ${MARKER} ${MEMORY} ${MALLOC}`,
      ).message,
      /iI>i/,
    );
  });

  test("imported globals, no allocator, no memory, callbacks of a wrong type, the host's own name", () => {
    assert.equal(refusal(`(import "env" "g" (global i32)) ${MARKER} ${MEMORY} ${MALLOC}`).code, "MODULE_IMPORT");
    assert.match(refusal(`${MARKER} ${MEMORY}`).message, /malloc nor proxy_on_memory_allocate/);
    assert.match(refusal(`${MARKER} ${MALLOC}`).message, /memory/);
    assert.match(refusal(`${MARKER} ${MEMORY} ${MALLOC} (func (export "proxy_on_tick"))`).message, /proxy_on_tick/);
    assert.match(refusal(`${MARKER} ${MEMORY} ${MALLOC} (func (export "sluice_start"))`).message, /sluice_start/);
  });
});

describe("the table", () => {
  test("has every function once per module", () => {
    const names = HOST_FUNCTIONS.map((one) => `${one.module}.${one.name}`);
    assert.equal(new Set(names).size, names.length);
    assert.equal(new Set(EXPORTS.map((one) => one.name)).size, EXPORTS.length);
  });

  test("every function links, and takes any arguments without harming the host", () => {
    const ends = new Set(["proc_exit", "abort", "process.exit"]);
    const callable = HOST_FUNCTIONS.filter((one) => one.module !== "wasi_unstable" && !ends.has(one.name));
    for (const argument of [0, -1, 0x7fff_ffff, 65_530]) {
      for (const one of callable) {
        const count = one.type.indexOf(">");
        const fresh = new Puppet();
        const call = fresh.call(one.name, ...Array.from({ length: count }, () => argument));
        fresh.on("proxy_on_request_headers", 0, call);
        const stage = Stage.started(fresh);
        const stream = stage.stream();
        stream.requestHead();
        assert.notEqual(
          stage.plugin.root,
          null,
          `${one.name}(${argument}) failed the instance: ${stage.plugin.lastFailure}`,
        );
        stage.plugin.root!.setTickPeriod(0);
        stream.finish();
      }
    }
  });
});
