/** Clusters come, change and go while the proxy runs: what goes on, what is warmed, what drains, and who finds them. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { buildFilter } from "../../filters/build/build.ts";
import { ask } from "../cli/proxy-process.ts";
import { until } from "./versions.ts";
import { cluster, filter, listener, manager, Origin, to, WorldProxy } from "./world.ts";
import type { World } from "./world.ts";

function world(routes: Parameters<typeof manager>[0], clusters: World["clusters"], more = {}): World {
  return { listeners: [listener("ingress", [manager(routes, [], more)])], clusters };
}

/** So many that both workers have answered. */
async function bodies(proxy: WorldProxy, path: string): Promise<ReadonlySet<string>> {
  const all = await Promise.all(Array.from({ length: 20 }, () => proxy.get(path)));
  return new Set(all.map(({ status, body }) => `${status} ${body}`));
}

async function clusterNames(proxy: WorldProxy): Promise<readonly string[]> {
  const { body } = await proxy.get("/clusters?format=json", proxy.admin);
  return (JSON.parse(body) as { cluster_statuses: { name: string }[] }).cluster_statuses.map(({ name }) => name);
}

const COUNTS = "^cluster_manager\\.(cluster_added|cluster_modified|cluster_removed|active_clusters|warming_clusters)$";

describe("clusters in a reload", () => {
  test("one that comes serves on every worker, is shown, and is there for workers that start later", async () => {
    const [a, b] = [await Origin.start("a"), await Origin.start("b")];
    const proxy = await new WorldProxy(world([to("a")], [cluster("a", [a.port])])).live();
    assert.deepEqual(await bodies(proxy, "/"), new Set(["200 a"]));
    await proxy.reload(world([to("b", "/b"), to("a")], [cluster("b", [b.port]), cluster("a", [a.port])]));
    assert.deepEqual(await bodies(proxy, "/b"), new Set(["200 b"]));
    assert.deepEqual(await bodies(proxy, "/"), new Set(["200 a"]));
    assert.deepEqual(await clusterNames(proxy), ["b", "a"]);
    assert.match((await proxy.get("/config_dump?resource=static_clusters", proxy.admin)).body, /"name": "b"/);
    assert.deepEqual(await proxy.stats(COUNTS), {
      "cluster_manager.active_clusters": 2,
      "cluster_manager.cluster_added": 2,
      "cluster_manager.cluster_modified": 0,
      "cluster_manager.cluster_removed": 0,
      "cluster_manager.warming_clusters": 0,
    });
    await proxy.post("/workers/replace?index=0");
    await proxy.printed("worker 0 is back");
    assert.deepEqual(await bodies(proxy, "/b"), new Set(["200 b"]));
    await proxy.printed("clusters added: b");
  });

  test("one that stays keeps its connections and its numbers, whatever happens beside it", async () => {
    const [a, b] = [await Origin.start("a"), await Origin.start("b")];
    const routes = [to("b", "/b"), to("a")];
    const proxy = await new WorldProxy(world(routes, [cluster("a", [a.port]), cluster("b", [b.port])]), [
      "--concurrency",
      "1",
    ]).live();
    for (let n = 0; n < 3; n++) await proxy.get("/");
    assert.equal(a.connections, 1);
    await proxy.reload(world(routes, [cluster("b", [b.port], { connect_timeout: "3s" }), cluster("a", [a.port])]));
    for (let n = 0; n < 3; n++) await proxy.get("/");
    assert.deepEqual([a.connections, await a.open()], [1, 1]);
    assert.equal(await proxy.stat("cluster.a.upstream_cx_total"), 1);
    const { body } = await proxy.get("/clusters", proxy.admin);
    assert.match(body, new RegExp(`^a::127\\.0\\.0\\.1:${a.port}::rq_total::6$`, "m"));
    assert.equal(await proxy.stat("cluster_manager.cluster_modified"), 1);
    assert.equal(await proxy.stat("cluster.b.membership_total"), 1);
  });

  test("a host that was ejected stays out while its cluster stays, and is new when the cluster is", async () => {
    const [bad, good] = [await Origin.start("bad"), await Origin.start("good")];
    bad.failing = true;
    const outlier_detection = { consecutive_5xx: 1, base_ejection_time: "600s", max_ejection_percent: 50 };
    const both = cluster("a", [bad.port, good.port], { outlier_detection });
    const proxy = await new WorldProxy(world([to("a")], [both]), ["--concurrency", "1"]).live();
    const active = (): Promise<number> => proxy.stat("cluster.a.outlier_detection.ejections_active");
    while ((await active()) === 0) await proxy.get("/");
    await proxy.reload(world([to("a")], [both, cluster("b", [good.port])]));
    assert.deepEqual(await bodies(proxy, "/"), new Set(["200 good"]));
    assert.equal(await active(), 1);
    bad.failing = false;
    await proxy.reload(world([to("a")], [{ ...both, connect_timeout: "4s" }]));
    assert.deepEqual(await bodies(proxy, "/"), new Set(["200 good", "200 bad"]));
  });

  test("one that changes: requests under way finish on the old hosts, whose connections end; all others have the new ones", async () => {
    const [before, now] = [await Origin.start("before"), await Origin.start("now")];
    const proxy = await new WorldProxy(world([to("a")], [cluster("a", [before.port])])).live();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    after(() => agent.destroy());
    assert.equal((await ask("GET", proxy.address, "/", agent)).body, "before");
    const slow = [proxy.get("/slow"), proxy.get("/slow")];
    await until(
      () => Promise.resolve(before.waiting.length),
      (length) => length === 2,
    );
    // Its name is resolved before it serves.
    const named = cluster("a", [now.port], { type: "STRICT_DNS", dns_lookup_family: "V4_ONLY" });
    const text = JSON.stringify(named).replace("127.0.0.1", "localhost");
    await proxy.reload(world([to("a")], [JSON.parse(text) as World["clusters"][number]]));
    assert.deepEqual(await bodies(proxy, "/"), new Set(["200 now"]));
    // The connection that is there goes on too.
    assert.equal((await ask("GET", proxy.address, "/", agent)).body, "now");
    // The slow ones; what was idle goes.
    await until(
      () => before.open(),
      (count) => count === 2,
    );
    for (const response of before.waiting) response.end("late");
    assert.deepEqual(
      (await Promise.all(slow)).map(({ status, body }) => `${status} ${body}`),
      ["200 late", "200 late"],
    );
    await until(
      () => before.open(),
      (count) => count === 0,
    );
    assert.equal(await proxy.stat("cluster.a.upstream_rq_active"), 0);
    assert.equal(await proxy.stat("cluster.a.membership_total"), 1);
  });

  test("one that goes: requests under way finish, its connections end, and a route that names it all the same says so", async () => {
    const [a, b] = [await Origin.start("a"), await Origin.start("b")];
    const both = [cluster("a", [a.port]), cluster("b", [b.port])];
    const proxy = await new WorldProxy(world([to("b", "/b"), to("b", "/slow"), to("a")], both)).live();
    await bodies(proxy, "/b");
    const slow = proxy.get("/slow");
    await until(
      () => Promise.resolve(b.waiting.length),
      (length) => length === 1,
    );
    const unchecked = {
      route_config: {
        validate_clusters: false,
        virtual_hosts: [{ name: "all", domains: ["*"], routes: [to("b", "/b"), to("a")] }],
      },
      access_log: [
        {
          name: "out",
          typed_config: {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            log_format: { text_format_source: { inline_string: "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n" } },
          },
        },
      ],
    };
    await proxy.reload(world([], [both[0]!], unchecked));
    assert.deepEqual(await bodies(proxy, "/b"), new Set(["503 "]));
    await proxy.printed("NC cluster_not_found");
    assert.deepEqual(await bodies(proxy, "/"), new Set(["200 a"]));
    assert.deepEqual(await clusterNames(proxy), ["a"]);
    await until(
      () => b.open(),
      (count) => count === 1,
    );
    b.waiting[0]!.end("late");
    assert.equal((await slow).body, "late");
    await until(
      () => b.open(),
      (count) => count === 0,
    );
    assert.equal(await proxy.stat("cluster_manager.cluster_removed"), 1);
    assert.equal(await proxy.stat("cluster_manager.active_clusters"), 1);
    await proxy.reload(world([to("b", "/b"), to("a")], both));
    assert.deepEqual(await bodies(proxy, "/b"), new Set(["200 b"]));
  });

  test("modules call clusters that came with them, also when they are configured", async () => {
    const [a, b] = [await Origin.start("a"), await Origin.start("b")];
    const caller = await callerModule();
    const proxy = await new WorldProxy(world([to("a")], [cluster("a", [a.port])])).live();
    const config = {
      name: "caller",
      vm_config: { runtime: "envoy.wasm.runtime.v8", code: { local: { filename: caller } } },
    };
    const calling = (clusters: World["clusters"]): World => ({
      listeners: [listener("ingress", [manager([to("a")], [filter(config)])])],
      clusters,
    });
    await proxy.reload(calling([cluster("a", [a.port]), cluster("side", [b.port])]));
    for (let n = 0; n < 20; n++) assert.equal((await proxy.get("/")).headers["x-called"], "true b");
    await proxy.reload(calling([cluster("a", [a.port])]));
    for (let n = 0; n < 20; n++) assert.equal((await proxy.get("/")).headers["x-called"], "true none");
  });
});

const CALLER = `import { CONTINUE, PAUSE } from "sluice/abi/action.ts";
import { callBody } from "sluice/filters/sdk/body.ts";
import { Filter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { requestHeaders, responseHeaders } from "sluice/filters/sdk/headers.ts";
import { httpCall, HttpCallback } from "sluice/filters/sdk/http-call.ts";
import { Pairs } from "sluice/filters/sdk/pairs.ts";
import { continueRequest } from "sluice/filters/sdk/stream.ts";

function call(callback: HttpCallback): bool {
  const headers = new Pairs();
  headers.add(":method", "GET");
  headers.add(":path", "/");
  headers.add(":authority", "side");
  return httpCall("side", headers, "", 60000, callback) != 0;
}
class Nobody implements HttpCallback {
  onHttpResponse(_token: u32, _headers: u32, _size: u32, _trailers: u32): void {}
}
class Caller extends Filter implements HttpCallback {
  private readonly early: bool;
  private answer: string = "none";
  constructor(early: bool) {
    super();
    this.early = early;
  }
  override onRequestHeaders(_count: u32, _end: bool): i32 {
    return call(this) ? PAUSE : CONTINUE;
  }
  onHttpResponse(_token: u32, _headers: u32, _size: u32, _trailers: u32): void {
    const text = callBody.text();
    if (text !== null) this.answer = text;
    continueRequest();
  }
  override onResponseHeaders(_count: u32, _end: bool): i32 {
    responseHeaders.add("x-called", this.early.toString() + " " + this.answer);
    return CONTINUE;
  }
}
class Root extends RootContext {
  private early: bool = false;
  override onConfigure(_configuration: ArrayBuffer): bool {
    this.early = call(new Nobody());
    return true;
  }
  override createFilter(): StreamContext {
    return new Caller(this.early);
  }
}
register((): RootContext => new Root());
`;

async function callerModule(): Promise<string> {
  const folder = join(mkdtempSync(join(tmpdir(), "sluice-caller-")), "caller");
  mkdirSync(folder);
  writeFileSync(join(folder, "caller.ts"), CALLER);
  writeFileSync(join(folder, "filter.json"), `{ "version": "1.0.0" }`);
  const { path } = await buildFilter(folder, { outFolder: join(folder, "out") });
  return path;
}
