/** Where `sluice dev` finds the module that it compiles, in a whole configuration. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { findPlace } from "../../runtime/cli/dev-place.ts";
import type { Snapshot } from "../../runtime/config/snapshot.ts";

const wasm = (plugin: number): object => ({ kind: "wasm", name: "", disabled: false, plugin });
const manager = (...plugins: number[]): object => ({
  kind: "http_connection_manager",
  name: "",
  hcm: { httpFilters: plugins.map(wasm) },
});
const chain = (filters: readonly object[], tls?: object): object => ({ filters, tls });

/** Three plugins: two of the module, one of another. Only what is looked at stands here. */
function snapshot(listeners: readonly object[]): Snapshot {
  const plugins = [
    { name: "other", code: { kind: "file", path: "/other.wasm" } },
    { name: "mine", code: { kind: "file", path: "/a/../mine.wasm" } },
    { name: "mine too", code: { kind: "file", path: "/mine.wasm" } },
    { name: "inline", code: { kind: "inline", bytes: new Uint8Array() } },
  ];
  return { plugins, listeners } as unknown as Snapshot;
}

it("is the first listener that leads to the module", () => {
  const listeners = [
    { name: "first", filterChains: [chain([wasm(0), manager(0, 3)])] },
    { name: "second", filterChains: [chain([{ kind: "echo" }]), chain([manager(0, 2)])] },
    { name: "third", filterChains: [chain([wasm(1)])] },
  ];
  const place = { plugins: ["mine", "mine too"], listener: "second", kind: "http", tls: false };
  assert.deepEqual(findPlace(snapshot(listeners), "/mine.wasm"), place);
});

it("is a network filter, or in the default chain, or behind TLS", () => {
  const listeners = [{ name: "only", filterChains: [], defaultFilterChain: chain([wasm(1), { kind: "echo" }], {}) }];
  const found = findPlace(snapshot(listeners), "/mine.wasm");
  assert.deepEqual([found?.listener, found?.kind, found?.tls], ["only", "network", true]);
});

it("is nowhere when no listener leads there", () => {
  assert.equal(findPlace(snapshot([{ name: "a", filterChains: [chain([wasm(0)])] }]), "/mine.wasm"), undefined);
  assert.equal(findPlace(snapshot([{ name: "a", filterChains: [chain([wasm(1)])] }]), "/nothing.wasm"), undefined);
});
