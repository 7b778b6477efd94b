/** Made-up requests that a new version has to stand before it serves. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Snapshot } from "../../runtime/config/snapshot.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { rehearse } from "../../runtime/wasm/rehearsal.ts";
import { assemble } from "./puppet.ts";
import { pluginConfig } from "./stage.ts";

const guest = (body: string): Buffer =>
  Buffer.from(
    assemble(`(module (memory (export "memory") 1)
      (func (export "proxy_abi_version_0_2_1"))
      (func (export "malloc") (param i32) (result i32) (i32.const 4096))
      (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) ${body}))`),
  );

test("requests with a body and without one are made up, also when a busy machine leaves no time for them", (t) => {
  let now = 0;
  t.mock.method(performance, "now", () => (now += 1000));
  const snapshot = { clusters: [], node: {}, runtime: {} } as unknown as Snapshot;
  const run = (module: Buffer): void =>
    rehearse([{ index: 0, config: pluginConfig({ name: "p" }), module: loadModule(module, "p"), number: 1 }], snapshot);
  run(guest("(i32.const 0)"));
  assert.throws(() => run(guest("(unreachable)")), {
    code: "GUEST_REHEARSAL",
    message: /on a made-up request of p: .*trap: unreachable in proxy_on_request_body/,
  });
});
