/** A filter of an author's own, built as a release, fails in a running proxy: what the log and `/wasm` say of it. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { buildFilter } from "../../filters/build/build.ts";
import { mergePluginStatuses } from "../../runtime/wasm/plugin-status.ts";
import { pluginStatus } from "../worker/plugin-fixture.ts";
import { bootstrap, OK_ROUTE, ProxyProcess } from "./proxy-process.ts";

const SOURCE = `import { DecoderFilter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { requestHeaders } from "sluice/filters/sdk/headers.ts";
import { CONTINUE } from "sluice/abi/action.ts";

class Trapdoor extends DecoderFilter {
  override onRequestHeaders(headers: u32, _endOfStream: bool): i32 {
    const path = requestHeaders.get(":path");
    if (path !== null && path == "/open") return fall(headers - headers);
    return CONTINUE;
  }
}
function fall(depth: i32): i32 {
  return 100 / depth;
}
class Root extends RootContext {
  override createFilter(): StreamContext { return new Trapdoor(); }
}
register((): RootContext => new Root());
`;

test("the line of a trap is in the log, and /wasm tells version, instances and the last failure", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-page-"));
  after(() => rmSync(folder, { recursive: true }));
  const filter = join(folder, "trapdoor");
  mkdirSync(filter);
  writeFileSync(join(filter, "trapdoor.ts"), SOURCE);
  writeFileSync(join(filter, "filter.json"), `{ "version": "2.1.0" }`);
  const { path, sha256, size } = await buildFilter(filter, { outFolder: join(folder, "out") });

  const code = `code: { local: { filename: "${path}" } }`;
  const config = `{ name: door, vm_config: { runtime: envoy.wasm.runtime.v8, ${code} } }`;
  const typed = `{ "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: ${config} }`;
  const httpFilters = `- { name: door, typed_config: ${typed} }`;
  const proxy = await new ProxyProcess(bootstrap({ routes: [OK_ROUTE], httpFilters }), ["--concurrency", "2"]).live();
  assert.equal((await proxy.get("/")).status, 200);
  assert.equal((await proxy.get("/open")).status, 503);
  await proxy.printed(/\n +at \S+ \(trapdoor\/trapdoor\.ts:14:10\)\n/);
  const head = `plugin door (2.1.0, sha256 ${sha256.slice(0, 12)}): trap: divide by zero in proxy_on_request_headers, context `;
  assert.ok(proxy.output.includes(head), proxy.output);

  const text = (await proxy.get("/wasm", proxy.admin)).body;
  assert.match(text, /^door::version::2\.1\.0$/m);
  assert.match(text, /^door::isolation::worker$/m);
  assert.match(text, /^door::instances::2$/m);
  assert.match(text, /^door::failures::trap::1$/m);
  assert.match(text, /^door::last_failure::\d{4}-\S+Z::plugin door \(2\.1\.0, .*$/m);
  const costs = (await proxy.get("/wasm/callbacks", proxy.admin)).body;
  assert.match(costs, /^door::proxy_on_context_create::measured=[2-9] p50_us=\d+\.?\d* .* max_fuel=\d+$/m);
  const json = JSON.parse((await proxy.get("/wasm?format=json", proxy.admin)).body) as {
    callbacks: { plugin: string; callback: string; measured: number }[];
    plugins: (Record<string, unknown> & { memory: number; fuel_used: number; last_failure: { text: string } })[];
  };
  assert.ok(json.callbacks.some(({ callback, measured }) => callback === "proxy_on_context_create" && measured > 1));
  assert.equal(json.plugins.length, 1);
  const [door] = json.plugins;
  assert.deepEqual(
    [door!["name"], door!["module"], door!["sha256"], door!["source"], door!["size"], door!["failures"]],
    ["door", "trapdoor", sha256, path, size, { trap: 1 }],
  );
  assert.ok(door!.memory >= 2 * 65_536 && door!.fuel_used > 0, JSON.stringify(door));
  assert.match(door!.last_failure.text, /trapdoor\/trapdoor\.ts:14:10/);
});

test("what workers say of a plugin is added up, and the newest failure is the last", () => {
  const [merged, ...more] = mergePluginStatuses([[pluginStatus(2)], [pluginStatus(3)], [pluginStatus(1)]]);
  assert.equal(more.length, 0);
  assert.deepEqual([merged!.instances, merged!.memory, merged!.fuelUsed], [3, 3 * 65_536, 15]);
  assert.deepEqual(merged!.failures, { trap: 3 });
  assert.equal(merged!.lastFailure?.atMs, 3);
  assert.deepEqual(mergePluginStatuses([]), []);
});
