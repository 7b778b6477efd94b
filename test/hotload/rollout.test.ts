/** A candidate beside the live version: shares, headers, shadows, and the ways that it is taken back. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { Agent, createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { ask } from "../cli/proxy-process.ts";
import type { Answer } from "../cli/proxy-process.ts";
import { startProxy, until, versionModule } from "./versions.ts";
import type { Proxy } from "./versions.ts";

/** Answers of `count` requests on connections of the agent, by status and version. */
async function answers(proxy: Proxy, count: number, agent: Agent | false = false): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (let n = 0; n < count; n++) {
    const { status, headers } = await ask("GET", proxy.address, "/", agent);
    const key = `${status} ${String(headers["x-version"])}`;
    found.set(key, (found.get(key) ?? 0) + 1);
  }
  return found;
}

function withHeader(proxy: Proxy, path: string, name: string, value: string): Promise<Answer> {
  const [host, port] = proxy.address.split(":");
  return new Promise((resolve, reject) => {
    const outgoing = request({ host, port, path, headers: { [name]: value }, agent: false }, (response) => {
      response.resume();
      response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, body: "" }));
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

function keepAlive(): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  after(() => agent.destroy());
  return agent;
}

/** An upstream that holds each answer back for so long. */
class Upstream {
  holdMs = 0;
  readonly #server = createServer((_request, response) => void setTimeout(() => response.end("ok"), this.holdMs));

  static async start(): Promise<Upstream> {
    const upstream = new Upstream();
    const server = upstream.#server.listen(0, "127.0.0.1");
    await once(server, "listening");
    after(() => (server.close(), server.closeAllConnections()));
    return upstream;
  }

  /** For a proxy in front of it. */
  routed(): { readonly routes: readonly string[]; readonly clusters: string } {
    const { port } = this.#server.address() as AddressInfo;
    const endpoint = `{ address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } }`;
    return {
      routes: ["{ match: { prefix: / }, route: { cluster: up, timeout: 0s } }"],
      clusters: `[{ name: up, connect_timeout: 60s, load_assignment: { cluster_name: up, endpoints: [{ lb_endpoints: [{ endpoint: ${endpoint} }] }] } }]`,
    };
  }
}

describe("rollout", () => {
  test("a share of the streams has the candidate, until it is promoted", async () => {
    const proxy = await startProxy({ runtime: "defaults: { rollout: { percent: 30 } }" });
    const loaded = await proxy.load(await versionModule(2));
    assert.match(loaded.body, /"state":"share"/);
    const found = await answers(proxy, 300, keepAlive());
    const share = found.get("200 0002")! / 300;
    assert.equal(found.get("200 0001")! + found.get("200 0002")!, 300);
    // More than seven standard deviations to each side: once in 10^12 runs.
    assert.ok(share > 0.1 && share < 0.5, `share ${share}`);
    const { trial, versions } = await proxy.plugin();
    assert.deepEqual([trial?.kind, trial?.["version"], trial?.["percent"]], ["share", 2, 30]);
    assert.equal(trial!.streams, found.get("200 0002"));
    assert.equal(trial!["other_streams"], found.get("200 0001"));
    assert.deepEqual(
      versions.map(({ number, state, instances }) => [number, state, instances]),
      [
        [2, "candidate", 2],
        [1, "live", 2],
      ],
    );
    await until(
      () => proxy.stat("wasm.versions.candidate.streams"),
      (streams) => streams === found.get("200 0002"),
    );
    const promoted = await proxy.post("/wasm/promote?plugin=versions");
    assert.match(promoted.body, /"state":"live"/);
    assert.deepEqual([...(await answers(proxy, 20))], [["200 0002", 20]]);
    assert.equal((await proxy.post("/wasm/promote?plugin=versions")).status, 404);
  });

  test("requests with a header have it; a worker that is replaced goes on with the trial; it can be given up", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1"] });
    await proxy.load(await versionModule(2), "&header=X-Canary&header_value=yes");
    const versionFor = async (value: string): Promise<unknown> =>
      (await withHeader(proxy, "/", "x-canary", value)).headers["x-version"];
    assert.equal(await versionFor("yes"), "0002");
    assert.equal(await versionFor("no"), "0001");
    assert.equal(await proxy.version(), "0001");
    await proxy.post("/workers/replace?index=0");
    await proxy.printed("worker 0 is back");
    assert.equal(await versionFor("yes"), "0002");
    assert.equal(await proxy.version(), "0001");
    assert.match((await proxy.post("/wasm/rollback?plugin=versions")).body, /"state":"dropped"/);
    assert.equal(await versionFor("yes"), "0001");
    assert.equal((await proxy.plugin()).versions[0]!.taken_back, "given up by the operator");
    await proxy.printed("was taken back: given up by the operator");
    assert.doesNotMatch(proxy.output, /\[error\].*given up by the operator/);
    assert.equal(await proxy.stat("wasm.versions.instances"), 1);
  });

  test("a share of connections: all streams of one have the same version", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1"] });
    await proxy.load(await versionModule(2), "&percent=50&sticky");
    const seen = new Set<string>();
    while (seen.size < 2) {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const found = await answers(proxy, 8, agent);
      agent.destroy();
      assert.equal(found.size, 1);
      for (const key of found.keys()) seen.add(key);
    }
  });

  test("a candidate that traps once in a hundred streams is taken back by itself", async (t) => {
    const proxy = await startProxy({ runtime: "defaults: { rollout: { percent: 50 } }" });
    await proxy.load(await versionModule(2, "p"), "&unrehearsed");
    const found = new Map<string, number>();
    let total = 0;
    while (!proxy.output.includes("was taken back")) {
      total += 100;
      for (const [key, count] of await answers(proxy, 100, keepAlive())) found.set(key, (found.get(key) ?? 0) + count);
    }
    const failed = found.get("503 undefined") ?? 0;
    assert.equal(failed, 1);
    const { trial, versions, version_number } = await proxy.plugin();
    assert.deepEqual([trial, version_number], [undefined, 1]);
    assert.match(versions.find(({ number }) => number === 2)!.taken_back!, /^1 failure in \d+ streams, /);
    assert.deepEqual([...(await answers(proxy, 50))], [["200 0001", 50]]);
    assert.equal(await proxy.stat("wasm.versions.rollbacks"), 1);
    t.diagnostic(`${failed} of ${total} requests failed (${((100 * failed) / total).toFixed(2)} %)`);
  });

  test("a candidate that is too slow is taken back", async () => {
    const bounds = "hot_load: { rollback: { max_added_latency: 5s, min_streams: 20, window: 3600s } }";
    const slow = "hot_load: { rollback: { max_added_latency: 0.001s, min_streams: 20, window: 3600s } }";
    for (const [runtime, taken] of [
      [bounds, false],
      [slow, true],
    ] as const) {
      const proxy = await startProxy({ runtime, args: ["--concurrency", "1"] });
      await proxy.load(await versionModule(2, "w"), "&percent=50");
      const agent = keepAlive();
      await answers(proxy, 120, agent);
      // On a busy machine it takes more of them until the difference shows.
      while (taken && !proxy.output.includes("was taken back: its ")) await answers(proxy, 10, agent);
      assert.equal((await proxy.plugin()).trial === undefined, taken);
    }
  });

  test("a candidate that is slow once in fifty streams is taken back, which no average shows", async (t) => {
    const runtime =
      "defaults: { fuel: 2000000000 }, hot_load: { rollback: { max_added_latency: 0.001s, window: 3600s } }";
    const proxy = await startProxy({ runtime, args: ["--concurrency", "1"] });
    const loaded = await proxy.load(await versionModule(2, "t"), "&percent=50");
    assert.equal(loaded.status, 200, loaded.body);
    const agent = keepAlive();
    let last = (await proxy.plugin()).trial!;
    while (!proxy.output.includes("was taken back")) {
      await answers(proxy, 100, agent);
      last = (await proxy.plugin()).trial ?? last;
    }
    assert.match(
      proxy.output,
      /was taken back: its \d+ streams took longer than those of the version in force by more than 1 ms at percentile 99: /,
    );
    const number = (name: string): number => Number(last[name]);
    assert.ok(number("p99_ms") > number("other_p99_ms"));
    t.diagnostic(
      `after ${last.streams} of ${last.streams + number("other_streams")} streams: p99 ${number("p99_ms")} ms, others ${number("other_p99_ms")} ms`,
    );
    assert.deepEqual([...(await answers(proxy, 20, agent))], [["200 0001", 20]]);
  });

  test("after the commit, too: against what the version before took", async () => {
    const upstream = await Upstream.start();
    const routed = upstream.routed();
    for (const [bound, taken] of [
      ["3600s", false],
      ["0.001s", true],
    ] as const) {
      const runtime = `hot_load: { rollback: { max_added_latency: ${bound}, min_streams: 40, window: 3600s } }`;
      const proxy = await startProxy({ runtime, args: ["--concurrency", "1"], ...routed });
      const agent = keepAlive();
      upstream.holdMs = 0;
      let longestMs = 0;
      for (let n = 0; n < 160; n++) {
        const from = performance.now();
        await answers(proxy, 1, agent);
        longestMs = Math.max(longestMs, performance.now() - from);
      }
      await proxy.load(await versionModule(2));
      // Longer than any of the version before, whatever else the machine does.
      if (taken) upstream.holdMs = 2 * longestMs + 20;
      await Promise.all(Array.from({ length: 50 }, () => proxy.get("/")));
      if (!taken) {
        const { trial } = await proxy.plugin();
        assert.deepEqual([trial!.kind, trial!.streams, trial!["other_streams"]], ["probation", 50, 160]);
        continue;
      }
      await proxy.printed(
        /taken back for version 1 .*: its \d+ streams took longer than those of the version before by more than 1 ms at percentile \d+: [\d.]+ ms, not [\d.]+ ms/,
      );
      await until(
        () => proxy.version(),
        (version) => version === "0001",
      );
    }
  });

  test("a worker that is replaced goes on watching a version after its commit", async () => {
    const proxy = await startProxy({
      args: ["--concurrency", "1"],
      runtime: "hot_load: { rollback: { max_failures: 2, window: 3600s } }",
    });
    await proxy.load(await versionModule(2, "p"), "&unrehearsed");
    const agent = keepAlive();
    assert.equal((await answers(proxy, 100, agent)).get("503 undefined"), 1);
    assert.equal((await proxy.plugin()).trial?.failures, 1);
    await proxy.post("/workers/replace?index=0");
    await proxy.printed("worker 0 is back");
    const { trial, version_number } = await proxy.plugin();
    assert.deepEqual([version_number, trial?.kind, trial?.streams, trial?.failures], [2, "probation", 100, 1]);
    assert.equal((await answers(proxy, 100, keepAlive())).get("503 undefined"), 1);
    await proxy.printed("is taken back for version 1");
    await until(
      () => proxy.version(),
      (version) => version === "0001",
    );
  });

  test("a shadow goes on in a worker that is replaced", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1"] });
    await proxy.load(await versionModule(2), "&shadow");
    await answers(proxy, 3);
    // An answer may be here before its comparison is counted.
    const counted = async (): Promise<unknown[]> => {
      const { trial } = await proxy.plugin();
      return [trial?.kind, trial?.["shadowed"], trial?.["different_headers"]];
    };
    await until(counted, (now) => now[2] === 3);
    await proxy.post("/workers/replace?index=0");
    await proxy.printed("worker 0 is back");
    assert.deepEqual([...(await answers(proxy, 4))], [["200 0001", 4]]);
    await until(counted, (now) => now[2] === 7);
    assert.deepEqual(await counted(), ["shadow", 7, 7]);
  });

  test("a shadow changes nothing, and where it decides otherwise is counted", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1"] });
    assert.match((await proxy.load(await versionModule(2, "d"), "&shadow")).body, /"state":"shadow"/);
    const agent = keepAlive();
    for (const path of ["/", "/deny", "/remember", "/"]) {
      const { status, headers } = await ask("GET", proxy.address, path, agent);
      assert.deepEqual([status, headers["x-version"], headers["x-different"]], [200, "0001", undefined]);
    }
    // An answer may be here before its comparison is counted.
    const { trial } = await until(
      () => proxy.plugin(),
      (plugin) => plugin.trial?.["shadowed"] === 4,
    );
    assert.deepEqual(
      [trial!.kind, trial!.streams, trial!["undecided"], trial!["different_local_replies"], trial!.failures],
      ["shadow", 4, 0, 1, 0],
    );
    // x-version and x-different are others in each stream that it let through.
    assert.equal(trial!["different_headers"], 3);
    assert.equal(trial!["different_status"], 0);
    // What it counted and remembered is its own.
    assert.equal(await proxy.stat("wasmcustom.versions.seen"), 4);
    assert.equal((await proxy.get("/")).headers["x-last"], "0001");
    await until(
      () => proxy.stat("wasm.versions.shadow.different_local_replies"),
      (count) => count === 1,
    );
    assert.match((await proxy.post("/wasm/promote?plugin=versions")).body, /"state":"live"/);
    assert.deepEqual([(await proxy.get("/deny")).status, (await proxy.get("/")).headers["x-version"]], [403, "0002"]);
  });

  test("an equal shadow shows no difference; one that traps is taken back without anybody noticing", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1"] });
    await proxy.load(await versionModule(1), "&shadow&percent=100");
    await answers(proxy, 10);
    const { trial } = await until(
      () => proxy.plugin(),
      (plugin) => plugin.trial?.["shadowed"] === 10,
    );
    assert.deepEqual(
      [trial!.streams, trial!["different_headers"], trial!["different_status"], trial!["different_local_replies"]],
      [10, 0, 0, 0],
    );
    await proxy.load(await versionModule(3, "r"), "&shadow&unrehearsed");
    assert.deepEqual([...(await answers(proxy, 10))], [["200 0001", 10]]);
    await proxy.printed("was taken back");
    assert.equal(await proxy.stat("wasm.versions.traps"), 0);
    assert.equal(await proxy.stat("wasm_shadow.versions.traps"), 1);
  });

  test("a reload that changes the plugin, or takes it away, ends its trial; no stream fails", async () => {
    for (const how of ["&percent=50", "&shadow"]) {
      const proxy = await startProxy({ args: ["--concurrency", "1"] });
      const path = join(proxy.folder, "bootstrap.yaml");
      const text = readFileSync(path, "utf8");
      const agent = keepAlive();
      await proxy.load(await versionModule(2), how);
      writeFileSync(path, text.replace("mark: mark", "mark: other"));
      assert.equal((await proxy.post("/reload")).status, 200);
      assert.deepEqual([...(await answers(proxy, 10, agent))], [["200 0001", 10]]);
      const { trial, versions } = await proxy.plugin();
      assert.notEqual(trial?.kind, how === "&shadow" ? "shadow" : "share");
      assert.equal(versions.find(({ number }) => number === 2)!.taken_back, "followed by another version");
      await proxy.load(await versionModule(4), how);
      writeFileSync(path, text.replace(/- \{ name: versions, typed_config: .*\n/, "\n"));
      const gone = await proxy.post("/reload");
      assert.equal(gone.status, 200, gone.body);
      assert.deepEqual([...(await answers(proxy, 10, agent))], [["200 undefined", 10]]);
      assert.equal(await proxy.plugin(), undefined);
      assert.doesNotMatch(proxy.output, / (?:error|critical) /);
    }
  });

  test("parameters that say nothing, or two things, are refused", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1"] });
    const module = await versionModule(2);
    for (const [parameters, says] of [
      ["&percent=101", /percent is a number from 0 to 100/],
      ["&percent=", /percent is a number/],
      ["&percent=0", /nothing would reach the candidate/],
      ["&shadow&sticky", /a shadow serves nobody/],
      ["&now&percent=5", /now goes with neither/],
      ["&percent=%20", /percent is a number/],
      ["&percent=5&header_percent=5", /header_percent says nothing without header/],
      ["&percent=5&header_value=5", /header_value says nothing without header/],
      ["&header=x&header_percent=-1", /header_percent is a number from 0 to 100/],
      ["&header=x&header_percent=0", /nothing would reach the candidate/],
      ["&header=x%0d%0ay", /header is the name of one, "x\\r\\ny" is none/],
      ["&file=/x.wasm", /one of these/],
    ] as const) {
      const answer = await proxy.load(module, parameters);
      assert.equal(answer.status, 400);
      assert.match(answer.body, says);
    }
    assert.match((await proxy.post("/wasm/load?plugin=versions")).body, /give the module as the request's body/);
    assert.match((await proxy.post("/wasm/load?plugin=versions&file=x.wasm")).body, /must be an absolute path/);
    assert.match((await proxy.post("/wasm/load?plugin=versions&file=/none.wasm")).body, /^MODULE_UNREADABLE: ENOENT/);
    const unknown = await proxy.post("/wasm/load?plugin=version&file=/none.wasm");
    assert.match(unknown.body, /^MODULE_UNREADABLE|^PLUGIN_UNKNOWN/);
  });
});
