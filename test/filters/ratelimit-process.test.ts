/** The rate limit filter in the whole proxy, from a file: its service killed and started again under load, and every way to say limits. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync } from "node:fs";
import { Agent, createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { buildFilter } from "../../filters/build/build.ts";
import { brief, bootstrap as sketch, load, snapshotOf } from "../config/fixture.ts";
import { ask, bootstrap, ProxyProcess } from "../cli/proxy-process.ts";
import { reservedPort } from "../ports.ts";
import { RateLimitPeer } from "./ratelimit-peer.ts";

const TYPE = "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3";
const NAME = "envoy.filters.http.ratelimit";
const FILTER = fileURLToPath(new URL("../../filters/ratelimit", import.meta.url));
const LOOPS = 8;

let origin: Server;
before(async () => {
  await buildFilter(FILTER);
  origin = createServer((_incoming, response) => response.end("hello"));
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
});
after(() => {
  origin.closeAllConnections();
  origin.close();
});

function clusterText(name: string, port: number, http2: boolean): string {
  const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
  const protocol = `typed_extension_protocol_options: { ${options}: { "@type": type.googleapis.com/${options}, explicit_http_config: { http2_protocol_options: {} } } }, `;
  const address = `{ address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } }`;
  return `{ name: ${name}, connect_timeout: 5s, ${http2 ? protocol : ""}load_assignment: { cluster_name: ${name}, endpoints: [{ lb_endpoints: [{ endpoint: ${address} }] }] } }`;
}

function filterText(more = ""): string {
  const service =
    "rate_limit_service: { transport_api_version: V3, grpc_service: { envoy_grpc: { cluster_name: limits } } }";
  return `- { name: ${NAME}, typed_config: { "@type": ${TYPE}.RateLimit, domain: test, timeout: 3600s, ${service}${more} } }`;
}

const LIMITED = "rate_limits: [{ actions: [{ generic_key: { descriptor_value: all } }] }]";
const ALL = `{ match: { prefix: / }, route: { cluster: origin, ${LIMITED} } }`;

/** A service that ends with the test. */
async function service(t: TestContext, port?: number): Promise<RateLimitPeer> {
  const peer = await RateLimitPeer.start(port ?? (await reservedPort(t)));
  t.after(() => peer.stop());
  return peer;
}

async function start(peer: RateLimitPeer, filter: string, routes: readonly string[], rest = ""): Promise<Proxy> {
  const accessLog = join(mkdtempSync(join(tmpdir(), "sluice-ratelimit-")), "access.log");
  const { port } = origin.address() as AddressInfo;
  const clusters = `[${clusterText("origin", port, false)}, ${clusterText("limits", peer.port, true)}]`;
  const text = bootstrap({ routes, accessLog, httpFilters: filter, clusters });
  return { proxy: await new ProxyProcess(text + rest, ["--concurrency", "1"]).live(), accessLog };
}

interface Proxy {
  readonly proxy: ProxyProcess;
  readonly accessLog: string;
}

/** The lines of the access log; the proxy is ended for that. */
async function logged({ proxy, accessLog }: Proxy): Promise<string[]> {
  proxy.process.kill("SIGTERM");
  await proxy.exited;
  return readFileSync(accessLog, "utf8").trimEnd().split("\n");
}

async function counter({ proxy }: Proxy, name: string): Promise<number> {
  const { body } = await proxy.get(`/stats?filter=cluster.origin.ratelimit.${name}`, proxy.admin);
  const value = /: (\d+)$/m.exec(body)?.[1];
  return Number(value ?? 0);
}

/** Requests without a pause on a few connections, until told to stop. */
class Load {
  readonly statuses = new Map<number, number>();
  #running = true;
  readonly #loops: Promise<void>[];
  #wake: (() => void)[] = [];

  constructor(address: string) {
    this.#loops = Array.from({ length: LOOPS }, () => this.#loop(address));
  }

  async #loop(address: string): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    while (this.#running) {
      const { status } = await ask("GET", address, "/", agent);
      this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
      for (const wake of this.#wake.splice(0)) wake();
    }
    agent.destroy();
  }

  count(status: number): number {
    return this.statuses.get(status) ?? 0;
  }

  /** Resolves after so many more responses of a status, or when a request has failed. */
  async more(status: number, count: number): Promise<void> {
    const wanted = this.count(status) + count;
    const failed = Promise.all(this.#loops);
    while (this.count(status) < wanted) {
      await Promise.race([failed, new Promise<void>((resolve) => this.#wake.push(resolve))]);
    }
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#loops);
  }
}

describe("the service is killed and started again under load", () => {
  it("no request fails while failure_mode_deny is false", async (t) => {
    let peer = await service(t);
    const started = await start(peer, filterText(), [ALL]);
    const load = new Load(started.proxy.address);
    for (let round = 0; round < 3; round++) {
      await load.more(200, 100);
      peer.stop();
      const allowed = await counter(started, "failure_mode_allowed");
      while ((await counter(started, "failure_mode_allowed")) < allowed + 50);
      peer = await service(t, peer.port);
      const answered = await counter(started, "ok");
      while ((await counter(started, "ok")) < answered + 50);
    }
    await load.stop();
    assert.deepEqual([...load.statuses.keys()], [200]);
    const [ok, error, allowed] = [
      await counter(started, "ok"),
      await counter(started, "error"),
      await counter(started, "failure_mode_allowed"),
    ];
    assert.equal(error, allowed);
    assert.equal(ok + error, load.count(200));
    const lines = await logged(started);
    assert.equal(lines.length, load.count(200));
    for (const line of lines) assert.match(line, /" 200 - /);
  });

  it("500 with flag RLSE, and nothing else, while failure_mode_deny is true", async (t) => {
    let peer = await service(t);
    const started = await start(peer, filterText(", failure_mode_deny: true"), [ALL]);
    const load = new Load(started.proxy.address);
    for (let round = 0; round < 3; round++) {
      await load.more(200, 100);
      peer.stop();
      await load.more(500, 50);
      peer = await service(t, peer.port);
      await load.more(200, 50);
    }
    await load.stop();
    assert.deepEqual(new Set(load.statuses.keys()), new Set([200, 500]));
    assert.equal(await counter(started, "error"), load.count(500));
    assert.equal(await counter(started, "failure_mode_allowed"), 0);
    assert.equal(await counter(started, "ok"), load.count(200));
    const lines = await logged(started);
    const failed = lines.filter((line) => !/" 200 - /.test(line));
    assert.equal(failed.length, load.count(500));
    for (const line of failed) assert.match(line, /" 500 RLSE /);
  });
});

describe("from a file", () => {
  const own = (value: string): string =>
    `rate_limits: [{ actions: [{ generic_key: { descriptor_value: ${value} } }] }]`;
  const override = (fields: string): string =>
    `typed_per_filter_config: { ${NAME}: { "@type": ${TYPE}.RateLimitPerRoute, ${fields} } }`;

  it("limits, overrides, own limits, a disabled key; 429 in log and counters", async (t) => {
    const peer = await service(t);
    peer.reply = ({ domain }) => ({ overall_code: domain === "strict" ? "OVER_LIMIT" : "OK" });
    const started = await start(
      peer,
      filterText(),
      [
        `{ match: { prefix: /strict }, route: { cluster: origin, ${LIMITED} }, ${override("domain: strict")} }`,
        `{ match: { prefix: /own }, route: { cluster: origin, ${LIMITED} }, ${override(own("mine"))} }`,
        `{ match: { prefix: /key }, route: { cluster: origin, rate_limits: [{ disable_key: off, actions: [{ remote_address: {} }] }, { actions: [{ remote_address: {} }] }] } }`,
        ALL,
      ],
      'layered_runtime: { layers: [{ name: static, static_layer: { "ratelimit.off.http_filter_enabled": 0 } }] }\n',
    );
    const { proxy } = started;
    assert.equal((await proxy.get("/strict")).status, 429);
    assert.equal((await proxy.get("/own")).status, 200);
    assert.equal((await proxy.get("/key")).status, 200);
    assert.equal((await proxy.get("/")).status, 200);
    assert.deepEqual(
      peer.asked.map(({ domain, descriptors }) => [domain, descriptors]),
      [
        ["strict", [["generic_key=all"]]],
        ["test", [["generic_key=mine"]]],
        ["test", [["remote_address=127.0.0.1"]]],
        ["test", [["generic_key=all"]]],
      ],
    );
    const { body } = await proxy.get("/stats?filter=cluster.origin", proxy.admin);
    assert.match(body, /^cluster\.origin\.ratelimit\.ok: 3$/m);
    assert.match(body, /^cluster\.origin\.ratelimit\.over_limit: 1$/m);
    assert.match(body, /^cluster\.origin\.upstream_rq_429: 1$/m);
    assert.match((await logged(started))[0]!, /" 429 RL /);
  });

  it("hits_addend of own limits goes with its descriptor", async (t) => {
    const peer = await service(t);
    const limit = (value: string, hits: string): string =>
      `{ actions: [{ generic_key: { descriptor_value: ${value} } }]${hits === "" ? "" : `, hits_addend: { number: ${hits} }`} }`;
    const limits = [limit("none", ""), limit("zero", "0"), limit("some", "300"), limit("most", "1000000000")];
    const { proxy } = await start(peer, filterText(`, rate_limits: [${limits.join(", ")}]`), [ALL]);
    assert.equal((await proxy.get("/")).status, 200);
    assert.deepEqual(
      peer.asked[0]!.descriptors.flat(),
      ["none", "zero", "some", "most"].map((one) => `generic_key=${one}`),
    );
    assert.deepEqual(peer.asked[0]!.hits, [0, 300, 1_000_000_000]);
  });

  const config = (fields: string, perRoute = ""): string =>
    sketch({
      filters: `{ name: ${NAME}, typed_config: { "@type": ${TYPE}.RateLimit, domain: d, rate_limit_service: { grpc_service: { envoy_grpc: { cluster_name: up } } }, ${fields} } },`,
      routes: `{ match: { prefix: / }, route: { cluster: up }${perRoute === "" ? "" : `, ${override(perRoute)}`} }`,
    });

  it("own limits go into the snapshot with their filter and their override", () => {
    const snapshot = snapshotOf(config(own("filter"), own("route")));
    const limits = (value: string): unknown => [
      { stage: 0, disableKey: "", actions: [{ kind: "generic_key", key: "generic_key", value }] },
    ];
    assert.deepEqual(snapshot.plugins[0]!.rateLimits, limits("filter"));
    const filter = snapshot.listeners[0]!.filterChains[0]!.filters[0]!;
    assert.ok(filter.kind === "http_connection_manager");
    const [host] = filter.hcm.routeConfig.virtualHosts;
    assert.deepEqual(host!.routes[0]!.perFilter[NAME]!.rateLimits, limits("route"));
  });

  const wrong: readonly (readonly [string, string, string])[] = [
    ["stage: 11", "", "stage"],
    ['request_type: "some"', "", "request_type"],
    ["enable_x_ratelimit_headers: 7", "", "enable_x_ratelimit_headers"],
    ["rate_limits: [{ stage: 1, actions: [{ remote_address: {} }] }]", "", "rate_limits[0].stage"],
    ["rate_limits: [{ disable_key: k, actions: [{ remote_address: {} }] }]", "", "rate_limits[0].disable_key"],
    ["rate_limits: [{ actions: [] }]", "", "rate_limits[0].actions"],
    [
      "rate_limits: [{ hits_addend: { number: 1000000001 }, actions: [{ remote_address: {} }] }]",
      "",
      "hits_addend.number",
    ],
    [
      'rate_limits: [{ hits_addend: { format: "%PROTOCOL%" }, actions: [{ remote_address: {} }] }]',
      "",
      "hits_addend.format",
    ],
    ["", "vh_rate_limits: 3", "vh_rate_limits"],
    ["", "rate_limits: [{ stage: 1, actions: [{ remote_address: {} }] }]", "rate_limits[0].stage"],
  ];
  for (const [fields, perRoute, path] of wrong) {
    it(`refuses ${fields}${perRoute}`, () => {
      const problems = brief(load(config(fields, perRoute)).errors);
      assert.equal(problems.length, 1, problems.join("\n"));
      assert.ok(problems[0]!.split(" ")[1]!.endsWith(path), problems.join("\n"));
    });
  }

  it("refuses hits_addend in a route's limits, which no filter would read", () => {
    const limits = "rate_limits: [{ hits_addend: { number: 2 }, actions: [{ remote_address: {} }] }]";
    const problems = brief(
      load(config("").replace("route: { cluster: up }", `route: { cluster: up, ${limits} }`)).errors,
    );
    assert.match(problems.join("\n"), /^\S+ \S+rate_limits\[0\]\.hits_addend not-supported$/);
  });

  it("refuses a service without a cluster, and one without a service", () => {
    const text = config("");
    assert.equal(load(text.replace("cluster_name: up } } }", "cluster_name: gone } } }")).errors.length, 1);
    assert.equal(load(text.replace(/rate_limit_service: .*?\} \} \}, /, "")).errors.length, 1);
  });
});
