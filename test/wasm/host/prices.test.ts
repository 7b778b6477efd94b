/** Work of the host that depends on the size of what a guest has made costs fuel: a callback ends after so many calls. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodePairs } from "../../../runtime/wasm/values/pairs.ts";
import { BytesStage } from "../bytes-stage.ts";
import { assemble } from "../puppet.ts";
import type { Stage } from "../stage.ts";

const FIELDS = 20_000;
/** 1024 pairs of two letters each. */
const PAIRS = encodePairs(Array.from({ length: 1024 }, () => ["a", "b"]).flat());
const DATA = Array.from(PAIRS, (byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("");

const i = (...numbers: readonly number[]): string => numbers.map((one) => `(i32.const ${one})`).join(" ");

/** Adds fields, then makes one call again and again until there is no fuel; how often it was made. */
function made(fields: number, call: string): number {
  const bytes = assemble(`(module
    (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_size" (func $size (param i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_set_header_map_pairs" (func $set (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_send_local_response"
      (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_http_call" (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 16)
    (data (i32.const 16) "xy") (data (i32.const 32) "request\\00headers\\00y") (data (i32.const 1024) "${DATA}")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 65536))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $n i32)
      (block $full (loop $more
        (br_if $full (i32.ge_u (local.get $n) (i32.const ${fields})))
        (drop (call $add ${i(0, 16, 1, 16, 1)}))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br $more)))
      (loop $again
        (drop ${call})
        (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
        (br $again))
      (i32.const 0)))`);
  const stage = BytesStage.started(bytes);
  // What is refused is not told.
  stage.log.level = 6;
  const stream = stage.stream();
  stream.requestHead();
  assert.match(stage.plugin.lastFailure, /^out of fuel/);
  const { instance } = stream.filter as unknown as { readonly instance: Stage["instance"] };
  assert.ok(instance.memory.has(8, 4));
  return instance.memory.view.getUint32(8, true);
}

describe("looks into a map of thousands of fields", () => {
  for (const [name, call] of [
    ["get", `(call $get ${i(0, 17, 1, 64, 68)})`],
    ["replace", `(call $replace ${i(0, 17, 1, 16, 1)})`],
    ["remove", `(call $remove ${i(0, 17, 1)})`],
    ["size", `(call $size ${i(0, 64)})`],
    ["pairs", `(call $pairs ${i(0, 64, 68)})`],
    ["a property", `(call $property ${i(32, 17, 64, 68)})`],
  ] as const) {
    test(name, () => {
      const looks = made(FIELDS, call);
      assert.ok(looks > 0 && looks < 200, String(looks));
      assert.ok(made(0, call) > 5000);
    });
  }
});

describe("pairs of a thousand fields", () => {
  for (const [name, call] of [
    ["set", `(call $set ${i(0, 1024, PAIRS.length)})`],
    ["local response", `(call $reply ${i(200, 0, 0, 0, 0, 1024, PAIRS.length, -1)})`],
    ["HTTP call", `(call $http ${i(0, 0, 1024, PAIRS.length, 0, 0, 0, 0, 0, 64)})`],
    ["trailers of an HTTP call", `(call $http ${i(0, 0, 0, 0, 0, 0, 1024, PAIRS.length, 0, 64)})`],
  ] as const) {
    test(name, () => {
      const calls = made(0, call);
      assert.ok(calls > 10 && calls < 200, String(calls));
    });
  }
});
