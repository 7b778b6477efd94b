/** The bootstrap extension that says what plugins may use and who shares their instances. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GUEST_FUEL } from "../../runtime/limits.ts";
import type { PluginConfig } from "../../runtime/config/snapshot.ts";
import { bootstrap, brief, load, snapshotOf } from "./fixture.ts";

const FILTERS = ["one", "two"]
  .map(
    (name) =>
      `{ name: ${name}, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault } },`,
  )
  .join(" ");

function withRuntime(settings: string, type = "sluice.v1.WasmRuntime"): string {
  const rest = `bootstrap_extensions:
- { name: sluice.wasm_runtime, typed_config: { "@type": type.googleapis.com/${type}, ${settings} } }`;
  return bootstrap({ filters: FILTERS, rest });
}

function settled(settings: string): unknown[] {
  return snapshotOf(withRuntime(settings)).plugins.map(
    ({ name, isolation, fuel, memoryBytes, maxInstances }: PluginConfig) => [
      name,
      isolation,
      fuel,
      memoryBytes,
      maxInstances,
    ],
  );
}

describe("sluice.v1.WasmRuntime", () => {
  const MEMORY = 64 * 1024 * 1024;

  test("without settings plugins have the limits of the house", () => {
    assert.deepEqual(settled(""), [
      ["one", undefined, GUEST_FUEL, MEMORY, 256],
      ["two", undefined, GUEST_FUEL, MEMORY, 256],
    ]);
  });

  test("defaults are for all, a plugin's own settings for it", () => {
    const settings = `defaults: { isolation: CONNECTION, fuel: 5000 }, plugins: [ { name: two, isolation: STREAM, memory: 100000, max_instances: 7 } ]`;
    assert.deepEqual(settled(settings), [
      ["one", "connection", 5000, MEMORY, 256],
      ["two", "stream", 5000, 2 * 65_536, 7],
    ]);
  });

  test("mistakes are told with place and rule", () => {
    const cases: readonly [string, RegExp][] = [
      [`plugins: [ { name: tow } ]`, /plugins\[0\]\.name unknown-plugin/],
      [`plugins: [ { name: one }, { name: one } ]`, /plugins\[1\]\.name duplicate/],
      [`defaults: { name: one }`, /defaults\.name wasm-runtime/],
      [`defaults: { fuel: 3 }`, /defaults\.fuel/],
      [`defaults: { memory: 5000000000 }`, /defaults\.memory/],
      [`defaults: { isolation: PROCESS }`, /defaults\.isolation/],
      [`defaults: { max_instances: 0 }`, /defaults\.max_instances/],
    ];
    for (const [settings, expected] of cases) {
      const { errors, snapshot } = load(withRuntime(settings));
      assert.equal(snapshot, undefined, settings);
      assert.match(brief(errors).join("\n"), expected);
    }
  });

  test("a name that is nearly right is proposed", () => {
    const { errors } = load(withRuntime(`plugins: [ { name: tow } ]`));
    assert.match(errors[0]!.message, /did you mean "two"/i);
  });
});
