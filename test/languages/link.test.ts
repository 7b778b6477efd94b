/** A module with the whole import list of each SDK links; what no host has is refused by name. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { BytesStage } from "../wasm/bytes-stage.ts";
import { assemble } from "../wasm/puppet.ts";
import { SDKS } from "./imports.ts";
import type { Import } from "./imports.ts";

const VALUE: Readonly<Record<string, string>> = { i: "i32", I: "i64", F: "f64" };

function importing(imports: readonly Import[], marker: string): Uint8Array {
  const lines = imports.map(({ module, name, type }, n) => {
    const [params = "", results = ""] = type.split(">");
    const of = (word: string, letters: string): string => [...letters].map((one) => `(${word} ${VALUE[one]})`).join("");
    return `(import "${module}" "${name}" (func $f${n} ${of("param", params)}${of("result", results)}))`;
  });
  return assemble(`(module ${lines.join("\n")}
    (memory (export "memory") 1)
    (func (export "${marker}"))
    (func (export "malloc") (param i32) (result i32) (i32.const 1024)))`);
}

describe("every import of an SDK links", () => {
  for (const [name, { marker, imports }] of Object.entries(SDKS)) {
    test(`${name}: ${imports.length} imports`, () => {
      const stage = BytesStage.started(importing(imports, marker));
      assert.equal(stage.stats.values.get("wasm.puppet.traps") ?? 0, 0);
    });
  }
});

describe("what does not link is refused by name", () => {
  for (const [what, wrong, message] of [
    ["an unknown function", { module: "env", name: "missing", type: ">" }, /MODULE_IMPORT.*env\.missing/],
    ["an unknown module", { module: "envoy", name: "proxy_log", type: "iii>i" }, /MODULE_IMPORT.*envoy\.proxy_log/],
    ["a wrong type", { module: "env", name: "proxy_log", type: "ii>i" }, /MODULE_IMPORT.*env\.proxy_log.*ii>i.*iii>i/],
    ["a wrong result", { module: "env", name: "proxy_done", type: ">" }, /MODULE_IMPORT.*env\.proxy_done/],
  ] as const) {
    test(what, () => {
      assert.throws(() => loadModule(importing([wrong], "proxy_abi_version_0_2_1"), "guest"), message);
    });
  }
});
