/** A plugin is replaced in a running proxy: what serves, what is told, what stays. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { Agent, createServer } from "node:http";
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, describe, test } from "node:test";
import { ask } from "../cli/proxy-process.ts";
import { send, startProxy, until, versionModule, versionText } from "./versions.ts";
import type { Proxy } from "./versions.ts";

const FAULT = fileURLToPath(new URL("../../build/filters/fault.wasm", import.meta.url));

describe("hot load", () => {
  test("a posted module serves on every worker once the answer is there", async () => {
    const proxy = await startProxy();
    assert.equal(await proxy.version(), "0001");
    const answer = await proxy.load(await versionModule(2));
    assert.equal(answer.status, 200, answer.body);
    const outcome = JSON.parse(answer.body) as Record<string, unknown>;
    assert.deepEqual([outcome["plugins"], outcome["number"], outcome["state"]], [["versions"], 2, "live"]);
    for (let n = 0; n < 20; n++) assert.equal(await proxy.version(), "0002");
    const plugin = await proxy.plugin();
    assert.deepEqual([plugin.version_number, plugin.previous_version, plugin.instances], [2, 1, 2]);
    assert.equal(plugin.versions[0]!.source, "posted to the admin interface");
    assert.equal(await proxy.stat("wasm.versions.version"), 2);
    assert.equal(await proxy.stat("wasm.versions.swaps"), 1);
  });

  test("streams in flight finish on the version they began with, and its instances go with the last of them", async () => {
    const { proxy, waiting } = await slowProxy("defaults: {}");
    const answers = [proxy.get("/a"), proxy.get("/b")];
    await until(
      () => Promise.resolve(waiting.length),
      (length) => length === 2,
    );
    assert.equal((await proxy.load(await versionModule(2))).status, 200);
    const during = await proxy.plugin();
    assert.deepEqual(
      during.versions.map(({ number, state, streams, instances }) => [number, state, streams, instances]),
      [
        [2, "live", 0, 1],
        [1, "draining", 2, 1],
      ],
    );
    const fresh = proxy.get("/c");
    await until(
      () => Promise.resolve(waiting.length),
      (length) => length === 3,
    );
    for (const response of waiting) response.end("late");
    const versions = (await Promise.all([...answers, fresh])).map(({ headers }) => headers["x-version"]);
    assert.deepEqual(versions, ["0001", "0001", "0002"]);
    const plugin = await until(
      () => proxy.plugin(),
      ({ versions: all }) => all.find(({ number }) => number === 1)?.state === "kept",
    );
    assert.equal(plugin.instances, 1);
    assert.equal(await proxy.stat("wasm.versions.instances"), 1);
    assert.equal(await proxy.stat("wasm.versions.vm_memory_size"), 65_536);
  });

  test("streams that outlive the drain time get the failure policy", async () => {
    const { proxy, waiting } = await slowProxy("hot_load: { drain_time: 0.2s }");
    const answer = proxy.get("/a");
    await until(
      () => Promise.resolve(waiting.length),
      (length) => length === 1,
    );
    assert.equal((await proxy.load(await versionModule(2))).status, 200);
    await proxy.printed("1 streams outlived the drain time of version 1");
    waiting[0]!.end("late");
    const { status, headers } = await answer;
    assert.deepEqual([status, headers["x-version"]], [503, undefined]);
    await until(
      () => proxy.stat("wasm.versions.instances"),
      (count) => count === 1,
    );
  });

  test("metrics and shared data outlive versions", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1"] });
    await proxy.get("/remember");
    await proxy.load(await versionModule(2));
    const { headers } = await proxy.get("/");
    assert.deepEqual([headers["x-version"], headers["x-last"], headers["x-mark"]], ["0002", "0001", "mark"]);
    assert.equal(await proxy.stat("wasmcustom.versions.seen"), 2);
  });

  test("a worker that is replaced comes up with the version in force", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1"] });
    await proxy.load(await versionModule(2));
    await proxy.post("/workers/replace?index=0");
    await proxy.printed("worker 0 is back");
    assert.equal(await proxy.version(), "0002");
    assert.equal((await proxy.plugin()).version_number, 2);
  });

  test("versions are kept up to a number, and brought back", async () => {
    const proxy = await startProxy();
    for (const number of [2, 3, 4]) assert.equal((await proxy.load(await versionModule(number))).status, 200);
    const numbers = async (): Promise<number[]> => (await proxy.plugin()).versions.map(({ number }) => number);
    assert.deepEqual(await numbers(), [4, 3, 2]);
    const back = (more = ""): Promise<{ status: number; body: string }> =>
      proxy.post(`/wasm/rollback?plugin=versions${more}`);
    assert.equal((await back()).status, 200);
    assert.equal(await proxy.version(), "0003");
    assert.equal((await back()).status, 200);
    assert.equal(await proxy.version(), "0002");
    const none = await back();
    assert.deepEqual(
      [none.status, none.body],
      [404, "PLUGIN_VERSION: versions is at version 2, and there is no version before that one; kept: 2, 3, 4\n"],
    );
    assert.equal((await back("&version=4")).status, 200);
    assert.equal(await proxy.version(), "0004");
    assert.equal((await back("&version=1")).status, 404);
    assert.equal(await proxy.stat("wasm.versions.rollbacks"), 3);
    assert.equal((await proxy.post("/wasm/rollback?plugin=version")).status, 404);
  });

  test("a whole configuration is read anew: plugins that it changes are replaced, the rest is refused", async () => {
    const proxy = await startProxy();
    const path = join(proxy.folder, "bootstrap.yaml");
    const text = readFileSync(path, "utf8");
    const mark = async (): Promise<unknown> => (await proxy.get("/")).headers["x-mark"];
    writeFileSync(path, text.replace("mark: mark", "mark: other"));
    assert.equal((await proxy.post("/reload")).status, 200);
    assert.equal(await mark(), "other");
    const refusals: [string, string, RegExp][] = [
      ["mark: mark", "mark: far-too-long", /^CONFIG_INVALID: .*mark: must have at most 9 characters, has 12/],
      ["admin: {", "node: { id: other }\nadmin: {", /^RELOAD_REFUSED: .*started anew: node\n/],
      ["clusters: []", "clusters: [", /^CONFIG_INVALID: /],
    ];
    for (const [from, to, says] of refusals) {
      writeFileSync(path, text.replace(from, to));
      const answer = await proxy.post("/reload");
      assert.match(answer.body, says);
      assert.equal(await mark(), "other");
    }
    writeFileSync(path, text.replace("mark: mark", "mark: other"));
    assert.match((await proxy.post("/reload")).body, /"state":"unchanged"/);
  });

  test("listeners and routes change with the configuration, on every worker, while connections go on", async () => {
    const proxy = await startProxy();
    const path = join(proxy.folder, "bootstrap.yaml");
    const text = readFileSync(path, "utf8");
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    after(() => agent.destroy());
    assert.equal((await ask("GET", proxy.address, "/", agent)).body, "ok");
    const changed = text.replace("inline_string: ok", "inline_string: changed");
    const second =
      "    - name: second\n" + changed.slice(changed.indexOf("      address:"), changed.indexOf("\nbootstrap"));
    assert.notEqual(changed, text);
    // With a plugin that changes too, and a listener more that has no plugin.
    const plain = second.replace(/- \{ name: versions, typed_config: .*\n/, "\n").replace(/, *$/, "");
    writeFileSync(path, `${changed.replace("mark: mark", "mark: new").trimEnd()}\n${plain}`);
    const answer = await proxy.post("/reload");
    assert.equal(answer.status, 200, answer.body);
    for (let n = 0; n < 20; n++) {
      const { status, headers, body } = await proxy.get("/");
      assert.deepEqual([status, headers["x-mark"], body], [200, "new", "changed"]);
    }
    const lines = (await proxy.get("/listeners", proxy.admin)).body.trim().split("\n");
    assert.deepEqual(
      lines.map((line) => line.split("::")[0]),
      ["ingress", "second"],
    );
    const other = lines[1]!.split("::")[1]!;
    for (let n = 0; n < 20; n++) assert.equal((await proxy.get("/", other)).body, "changed");
    await proxy.post("/workers/replace?index=1");
    await proxy.printed("worker 1 is back");
    for (let n = 0; n < 20; n++) assert.equal((await proxy.get("/", other)).body, "changed");
    // What cannot be bound leaves everything as it was.
    const taken = plain.replace("port_value: 0", `port_value: ${proxy.admin.split(":")[1]}`);
    writeFileSync(path, `${changed.trimEnd()}\n${taken}`);
    const refused = await proxy.post("/reload");
    assert.match(refused.body, /^BIND_FAILED: /);
    assert.equal((await proxy.get("/", other)).body, "changed");
    assert.equal((await proxy.get("/")).headers["x-mark"], "new");
    writeFileSync(path, text);
    assert.equal((await proxy.post("/reload")).status, 200);
    assert.equal((await proxy.get("/")).body, "ok");
    await assert.rejects(proxy.get("/", other));
  });

  test("plugins that share a VM are replaced together, and a bundled filter like any other", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1"], twin: "vm", faultFilter: true });
    assert.equal(await proxy.stat("wasm.envoy.wasm.runtime.v8.active"), 2);
    assert.equal((await proxy.get("/")).headers["x-version"], "0001, 0001");
    const answer = await proxy.load(await versionModule(2));
    assert.deepEqual((JSON.parse(answer.body) as { plugins: unknown }).plugins, ["versions", "twin"]);
    assert.equal((await proxy.get("/")).headers["x-version"], "0002, 0002");
    assert.equal(await proxy.stat("wasm.envoy.wasm.runtime.v8.active"), 2);
    const fault = await proxy.post(`/wasm/load?plugin=envoy.filters.http.fault&file=${FAULT}`);
    assert.equal(fault.status, 200, fault.body);
    assert.equal((await proxy.get("/")).status, 418);
    assert.equal(await proxy.stat("wasm.envoy.filters.http.fault.version"), 2);
  });

  test("every isolation swaps", async (t) => {
    for (const isolation of ["CONNECTION", "STREAM"]) {
      await t.test(isolation, async () => {
        const proxy = await startProxy({
          args: ["--concurrency", "1"],
          runtime: `defaults: { isolation: ${isolation} }`,
        });
        const agent = new Agent({ keepAlive: true, maxSockets: 1 });
        for (let number = 1; number <= 4; number++) {
          if (number > 1) assert.equal((await proxy.load(await versionModule(number))).status, 200);
          for (let n = 0; n < 5; n++) {
            const { headers } = await ask("GET", proxy.address, "/", agent);
            assert.equal(headers["x-version"], versionText(number));
          }
        }
        agent.destroy();
        // The template, and what the pool keeps ready: the same as without any swap.
        await until(
          () => proxy.stat("wasm.versions.instances"),
          (count) => count === 2,
        );
      });
    }
  });

  test("off the loopback only the token changes plugins", async () => {
    const proxy = await startProxy({
      runtime: `hot_load: { token: { inline_string: "open sesame" } }`,
      everywhere: true,
    });
    const module = await versionModule(2);
    const load = (headers: Record<string, string>): Promise<{ status: number }> =>
      send(proxy.admin.replace("0.0.0.0", "127.0.0.1"), "/wasm/load?plugin=versions", module, headers);
    assert.equal((await load({})).status, 403);
    assert.equal((await load({ authorization: "Bearer open" })).status, 403);
    assert.equal((await load({ authorization: "Bearer open sesame" })).status, 200);
    assert.ok(!(await proxy.get("/config_dump", proxy.admin)).body.includes("sesame"));
  });
});

async function slowProxy(runtime: string): Promise<{ proxy: Proxy; waiting: ServerResponse[] }> {
  const waiting: ServerResponse[] = [];
  const upstream = createServer((_request, response) => void waiting.push(response)).listen(0, "127.0.0.1");
  await once(upstream, "listening");
  after(() => (upstream.close(), upstream.closeAllConnections()));
  const { port } = upstream.address() as AddressInfo;
  const endpoint = `{ address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } }`;
  const load = `load_assignment: { cluster_name: slow, endpoints: [{ lb_endpoints: [{ endpoint: ${endpoint} }] }] }`;
  const proxy = await startProxy({
    args: ["--concurrency", "1"],
    routes: ["{ match: { prefix: / }, route: { cluster: slow, timeout: 0s } }"],
    clusters: `[{ name: slow, connect_timeout: 5s, ${load} }]`,
    runtime,
  });
  return { proxy, waiting };
}
