import assert from "node:assert/strict";
import { request } from "node:http";
import { connect, Server } from "node:net";
import type { AddressInfo } from "node:net";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Snapshot } from "../../runtime/config/snapshot.ts";
import { AdminListener } from "../../runtime/control/admin.ts";
import { ENDPOINTS, helpText } from "../../runtime/control/endpoints.ts";
import { ServerStats } from "../../runtime/control/server-stats.ts";
import type { Outcome } from "../../runtime/control/outcome.ts";
import type { AdminSubject, PluginDoor, ServerState } from "../../runtime/control/subject.ts";
import { ProxyError } from "../../runtime/errors.ts";
import { ProcessLog } from "../../runtime/observe/log.ts";
import type { LogLevel } from "../../runtime/observe/log.ts";
import { StatsRegistry } from "../../runtime/observe/stats-registry.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { clusterStatus } from "../worker/cluster-fixture.ts";
import { RecordingLog } from "../wasm/stage.ts";
import { pluginStatus } from "../worker/plugin-fixture.ts";

const LOG = new ProcessLog({ level: "off" });
const DUMP = {
  node: { id: "n" },
  static_resources: {
    listeners: [
      {
        name: "in",
        filter_chains: [
          { filters: [{ name: "hcm", typed_config: { "@type": "t", route_config: { name: "routes" } } }] },
        ],
      },
      { name: "out" },
    ],
    clusters: [{ name: "up" }],
  },
};

const OUTCOME: Outcome = {
  plugins: ["fault"],
  places: 1,
  number: 2,
  sha256: "ab".repeat(32),
  version: "1.0.1",
  state: "live",
  prepareMs: 1.234,
  swapMs: 0.5,
  tookMs: 20,
};

/** The process as admin sees it, with two workers' worth of everything, and a record of what it was told. */
class Subject implements AdminSubject {
  state: ServerState = "LIVE";
  readonly version = "sluice/0/node-26";
  readonly uptimeMs = 61_999;
  readonly uptimeOfRowMs = 3_600_500;
  readonly startedAt = new Date(0);
  readonly configuredAt = new Date(0);
  readonly commandLine = { concurrency: 2 };
  readonly hotRestartVersion = "disabled";
  readonly snapshot = {
    node: {
      id: "n",
      cluster: "c",
      zone: "z",
      region: "",
      subZone: "",
      metadata: { a: 1 },
      serialized: new Uint8Array(),
    },
    clusters: [{}],
    listeners: [],
    hotLoad: { token: "sesame" },
    dump: DUMP,
  } as unknown as Snapshot;
  readonly bound = [
    { name: "in", index: 0, address: "127.0.0.1:10000", port: 10000, descriptor: -1 },
    { name: "in", index: 1, address: "[::1]:10001", port: 10001, descriptor: -1 },
    { name: "pipe", index: 0, address: "/tmp/x.sock", port: 0, descriptor: -1 },
  ];
  readonly told: unknown[] = [];
  readonly #registry = new StatsRegistry();
  readonly #serverStats = new ServerStats(this.#registry, 2);
  readonly #levels = new Map<string, LogLevel>([
    ["main", "info"],
    ["wasm", "info"],
  ]);

  constructor() {
    for (const thread of [1, 2]) {
      const store = new StatsStore((announcement) => this.#registry.add(thread, announcement));
      store.counter("http.ingress.downstream_rq_2xx").add(thread);
      store.counter("http.ingress.no_route");
      store.gauge("listener.127.0.0.1_10000.downstream_cx_active").set(thread);
      store.histogram("http.ingress.downstream_rq_time").record(3);
      store.announceNow();
    }
    this.#serverStats.configured(this.snapshot);
  }
  stats() {
    return Promise.resolve(this.#serverStats.collect(this.state, this.uptimeMs));
  }
  resetCounters() {
    this.#registry.resetCounters();
  }
  clusters() {
    return Promise.resolve([clusterStatus(7)]);
  }
  certificates() {
    return Promise.resolve([]);
  }
  pullArtifact(): Promise<never> {
    return Promise.reject(new ProxyError("ARTIFACT_MISSING", "config", "no such artifact"));
  }
  hotLoad() {
    const report = { status: pluginStatus(), kept: [], previous: undefined, trial: undefined };
    const refuse = (): Promise<Outcome> => Promise.reject(new ProxyError("PLUGIN_UNKNOWN", "config", "no such plugin"));
    const door: PluginDoor = {
      reports: () => Promise.resolve([report]),
      load: (target, { bytes, source, how }) => {
        this.told.push(["load", target, bytes.length, source, how]);
        return Promise.resolve(OUTCOME);
      },
      promote: refuse,
      rollback: (name, number) => {
        this.told.push(["rollback", name, number]);
        return Promise.resolve(OUTCOME);
      },
      reload: refuse,
    };
    return Promise.resolve(door);
  }
  workers() {
    return [{ index: 0, thread: 1, state: "listening" as const, restarts: 0, uptimeMs: 5 }];
  }
  replaceWorker(index: number) {
    this.told.push(["replaceWorker", index]);
    return index === 0;
  }
  logLevels() {
    return [...this.#levels];
  }
  setLogLevel(level: LogLevel, component?: string) {
    for (const name of component === undefined ? this.#levels.keys() : [component]) this.#levels.set(name, level);
    return Promise.resolve();
  }
  reopenLogs() {
    this.told.push("reopenLogs");
    return Promise.resolve();
  }
  failHealthCheck(failed: boolean) {
    this.state = failed ? "DRAINING" : "LIVE";
    return Promise.resolve();
  }
  drainListeners(options: object) {
    this.told.push(["drainListeners", options]);
    return Promise.resolve();
  }
  quit() {
    this.told.push("quit");
  }
}

interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}

let subject: Subject;
let admin: AdminListener;
let port = 0;

before(async () => {
  subject = new Subject();
  admin = new AdminListener(subject, LOG.component("admin"));
  const bound = await admin.start({
    address: { kind: "ip", host: "127.0.0.1", port: 0, ipv4Compat: false },
    accessLogs: [],
  });
  port = Number(bound.split(":")[1]);
});
after(() => admin.stop());

function ask(method: string, path: string, headers: Record<string, string> = {}, body = ""): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: "127.0.0.1", port, method, path, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, body: text }));
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}
const get = (path: string): Promise<Answer> => ask("GET", path);
const post = (path: string): Promise<Answer> => ask("POST", path);
async function getJson(path: string): Promise<unknown> {
  const answer = await get(path);
  assert.equal(answer.status, 200, answer.body);
  assert.equal(answer.headers["content-type"], "application/json");
  return JSON.parse(answer.body);
}

describe("admin", () => {
  test("answers carry Envoy's headers", async () => {
    const { headers } = await get("/ready");
    assert.equal(headers["content-type"], "text/plain; charset=UTF-8");
    assert.equal(headers["cache-control"], "no-cache, max-age=0");
    assert.equal(headers["x-content-type-options"], "nosniff");
    assert.equal(headers["server"], "envoy");
    assert.ok(headers["date"]);
  });

  test("/ready says the state, with 503 unless LIVE", async () => {
    assert.deepEqual(pick(await get("/ready")), [200, "LIVE\n"]);
    await post("/healthcheck/fail");
    assert.deepEqual(pick(await get("/ready")), [503, "DRAINING\n"]);
    assert.match((await get("/stats?filter=^server.(live|state)")).body, /server.live: 0\nserver.state: 1\n/);
    await post("/healthcheck/ok");
    assert.deepEqual(pick(await get("/ready")), [200, "LIVE\n"]);
  });

  test("an unknown path is 404 with the help text", async () => {
    assert.deepEqual(pick(await get("/nowhere")), [404, `invalid path. ${helpText()}`]);
    assert.equal((await get("/ready/")).status, 404);
  });

  test("every path is in /help and on the index, and help is sorted", async () => {
    const { body } = await get("/help");
    assert.ok(body.startsWith("admin commands are:\n"));
    const index = (await get("/")).body;
    for (const { path, help } of ENDPOINTS) {
      assert.ok(body.includes(`  ${path}`), path);
      assert.ok(index.includes(help), path);
    }
    const paths = ENDPOINTS.map(({ path }) => path);
    assert.deepEqual(paths, [...paths].sort());
  });

  for (const { path, mutates } of ENDPOINTS) {
    if (!mutates) continue;
    test(`${path} needs POST`, async () => {
      assert.deepEqual(pick(await get(path)), [405, "Method GET not allowed, POST required."]);
    });
  }

  test("reading pages refuse other methods", async () => {
    const refused = await ask("DELETE", "/stats");
    assert.deepEqual(pick(refused), [405, "Method DELETE not allowed, GET required."]);
    assert.equal(refused.headers["allow"], "GET, HEAD, POST");
    assert.equal((await get("/reload")).headers["allow"], "POST");
    assert.deepEqual(pick(await ask("HEAD", "/ready")), [200, ""]);
  });

  for (const host of [
    "evil.example",
    "evil.example:9901",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "a@127.0.0.1",
  ]) {
    test(`a loopback admin refuses the Host ${host}`, async () => {
      assert.equal((await ask("GET", "/ready", { host })).status, 403);
    });
  }
  for (const host of [
    "localhost",
    "localhost:9901",
    "LOCALHOST:1",
    "x.localhost",
    "127.0.0.1:9901",
    "[::1]:9901",
    "192.0.2.1",
  ]) {
    test(`a loopback admin answers the Host ${host}`, async () => {
      assert.equal((await ask("GET", "/ready", { host })).status, 200);
    });
  }

  test("a page of another origin cannot post", async () => {
    const told = subject.told.length;
    const answer = await ask("POST", "/quitquitquit", { origin: "http://evil.example" });
    assert.equal(answer.status, 403);
    assert.equal((await ask("POST", "/quitquitquit", { origin: "null" })).status, 403);
    assert.equal(subject.told.length, told);
    assert.equal((await ask("POST", "/quitquitquit", { origin: `http://127.0.0.1:${port}` })).status, 200);
  });

  test("what a browser says of the page that asks counts, and a page under a name changes nothing", async () => {
    const own = `http://127.0.0.1:${port}`;
    for (const [headers, status] of [
      [{ "sec-fetch-site": "cross-site" }, 403],
      [{ "sec-fetch-site": "same-site" }, 403],
      [{ origin: own, "sec-fetch-site": "cross-site" }, 403],
      [{ origin: own, "sec-fetch-site": "same-origin" }, 200],
      [{ "sec-fetch-site": "none" }, 200],
      [{ origin: `https://127.0.0.1:${port}` }, 403],
      [{ origin: `http://127.0.0.1:${port + 1}` }, 403],
    ] as [Record<string, string>, number][])
      assert.equal((await ask("POST", "/reopen_logs", headers)).status, status, JSON.stringify(headers));
    // On all addresses names cannot be told apart, but pages can.
    const wide = new AdminListener(subject, LOG.component("admin"));
    const bound = await wide.start({
      address: { kind: "ip", host: "0.0.0.0", port: 0, ipv4Compat: false },
      accessLogs: [],
    });
    const before = port;
    port = Number(bound.split(":")[1]);
    try {
      const name = `rebound.example:${port}`;
      for (const [method, headers, status] of [
        ["GET", { host: name }, 200],
        ["POST", { host: name }, 200],
        ["POST", { host: name, origin: `http://${name}` }, 403],
        ["POST", { host: name, "sec-fetch-site": "same-origin" }, 403],
        ["POST", { host: `127.0.0.1:${port}`, origin: `http://127.0.0.1:${port}` }, 200],
      ] as ["GET" | "POST", Record<string, string>, number][])
        assert.equal(
          (await ask(method, method === "GET" ? "/ready" : "/reopen_logs", headers)).status,
          status,
          JSON.stringify(headers),
        );
    } finally {
      wide.stop();
      port = before;
    }
  });

  test("pages of others cannot show it in a frame, nor take it in", async () => {
    const { headers } = await get("/");
    assert.equal(headers["x-frame-options"], "DENY");
    assert.equal(headers["content-security-policy"], "default-src 'none'; form-action 'self'; frame-ancestors 'none'");
    assert.equal(headers["cross-origin-resource-policy"], "same-origin");
  });

  test("a body that is too large is refused", async () => {
    assert.equal((await ask("POST", "/reopen_logs", {}, "x".repeat(65_537))).status, 413);
  });

  test("a head that is too large is refused", async () => {
    assert.equal((await ask("GET", "/ready", { "x-long": "x".repeat(17_000) })).status, 431);
  });

  test("/stats prints text, selects, and knows JSON and Prometheus", async () => {
    const text = (await get("/stats")).body;
    assert.match(text, /^http.ingress.downstream_rq_2xx: 3$/m);
    assert.match(text, /^http.ingress.no_route: 0$/m);
    assert.match(text, /^server.total_connections: 3$/m);
    assert.match(text, /^server.uptime: 61$/m);
    assert.match(text, /^server.concurrency: 2$/m);
    assert.match(text, /^http.ingress.downstream_rq_time: P0\(/m);
    assert.doesNotMatch((await get("/stats?usedonly")).body, /no_route/);
    assert.equal((await get("/stats?filter=rq_2xx$")).body, "http.ingress.downstream_rq_2xx: 3\n");
    assert.equal((await get("/stats?type=Gauges&filter=ingress")).body, "");
    assert.deepEqual(await getJson("/stats?format=json&filter=rq_2xx"), {
      stats: [{ name: "http.ingress.downstream_rq_2xx", value: 3 }],
    });
    for (const path of ["/stats/prometheus?filter=rq_2xx", "/stats?format=prometheus&filter=rq_2xx"]) {
      const { body } = await get(path);
      assert.equal(
        body,
        "# TYPE envoy_http_downstream_rq_xx counter\n" +
          'envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="ingress"} 3\n',
      );
    }
  });

  for (const query of [
    "filter=(",
    `filter=${"a".repeat(1025)}`,
    "type=Nonsense",
    "format=html",
    "histogram_buckets=odd",
  ]) {
    test(`/stats?${query.slice(0, 30)} is refused`, async () => {
      assert.equal((await get(`/stats?${query}`)).status, 400);
    });
  }

  test("/reset_counters sets counters to zero, and they count on", async () => {
    const other = new Subject();
    other.resetCounters();
    const stat = (await other.stats()).find(({ name }) => name === "http.ingress.downstream_rq_2xx");
    assert.ok(stat?.type === "counter" && stat.value === 0);
    assert.equal((await post("/reset_counters")).body, "OK\n");
    assert.match((await get("/stats?filter=rq_2xx")).body, /: 0\n/);
  });

  test("/listeners in text and JSON", async () => {
    assert.equal((await get("/listeners")).body, "in::127.0.0.1:10000\nin::[::1]:10001\npipe::/tmp/x.sock\n");
    assert.deepEqual(await getJson("/listeners?format=json"), {
      listener_statuses: [
        {
          name: "in",
          local_address: { socket_address: { address: "127.0.0.1", port_value: 10000 } },
          additional_local_addresses: [{ socket_address: { address: "::1", port_value: 10001 } }],
        },
        { name: "pipe", local_address: { pipe: { path: "/tmp/x.sock" } } },
      ],
    });
  });

  test("/clusters in text and JSON", async () => {
    const { body } = await get("/clusters");
    assert.match(body, /^up::default_priority::max_retries::3$/m);
    assert.match(body, /^up::127.0.0.1:8080::cx_active::1$/m);
    assert.match(body, /^up::127.0.0.1:8080::cx_total::7$/m);
    assert.match(body, /^up::127.0.0.1:8080::health_flags::healthy$/m);
    const json = (await getJson("/clusters?format=json")) as {
      cluster_statuses: { host_statuses: { stats: unknown[] }[] }[];
    };
    const [host] = json.cluster_statuses[0]!.host_statuses;
    assert.deepEqual(host!.stats[0], { name: "cx_connect_fail" });
    assert.deepEqual(host!.stats[1], { name: "cx_total", value: "7" });
    assert.deepEqual(host!.stats[6], { name: "cx_active", value: "1", type: "GAUGE" });
  });

  test("/wasm in text and JSON", async () => {
    const { body } = await get("/wasm");
    assert.match(body, /^fault::version::1\.0\.0$/m);
    assert.match(body, /^fault::failures::trap::1$/m);
    assert.match(body, /^fault::last_failure::2023-11-14T22:13:20\.000Z::plugin fault: trap \d+$/m);
    const { plugins } = (await getJson("/wasm?format=json")) as { plugins: Record<string, unknown>[] };
    assert.equal(plugins[0]!["memory_limit"], 65_536);
    assert.match((plugins[0]!["last_failure"] as { text: string }).text, /\n {4}at f \(a\.ts:1:2\)$/);
  });

  test("/config_dump in Envoy's sections, by resource and by name", async () => {
    const { configs } = (await getJson("/config_dump")) as { configs: Record<string, unknown>[] };
    assert.deepEqual(
      configs.map((config) => String(config["@type"]).replace("type.googleapis.com/envoy.admin.v3.", "")),
      ["BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump", "RoutesConfigDump"],
    );
    const listeners = (await getJson("/config_dump?resource=static_listeners&name_regex=in")) as {
      configs: { listener: { name: string } }[];
    };
    assert.deepEqual(
      listeners.configs.map(({ listener }) => listener.name),
      ["in"],
    );
    const routes = (await getJson("/config_dump?resource=static_route_configs")) as {
      configs: { route_config: object }[];
    };
    assert.deepEqual(routes.configs[0]!.route_config, {
      "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
      name: "routes",
    });
    assert.equal((await get("/config_dump?resource=nothing")).status, 404);
    assert.equal((await get("/config_dump?name_regex=(")).status, 400);
  });

  test("/server_info", async () => {
    const info = (await getJson("/server_info")) as Record<string, unknown>;
    assert.equal(info["state"], "LIVE");
    assert.equal(info["uptime_current_epoch"], "61s");
    assert.equal(info["uptime_all_epochs"], "3600s");
    assert.deepEqual(info["command_line_options"], { concurrency: 2 });
    const { extensions } = info["node"] as { extensions: { name: string }[] };
    const names = extensions.map(({ name }) => name);
    for (const name of ["envoy.filters.http.router", "envoy.filters.http.fault"]) assert.ok(names.includes(name), name);
  });

  test("/logging shows and changes levels, all or nothing", async () => {
    assert.equal((await post("/logging")).body, "active loggers:\n  main: info\n  wasm: info\n");
    assert.equal((await post("/logging?wasm=debug")).body, "active loggers:\n  main: info\n  wasm: debug\n");
    assert.equal(
      (await post("/logging?paths=main:error,wasm:trace")).body,
      "active loggers:\n  main: error\n  wasm: trace\n",
    );
    for (const query of ["level=loud", "paths=main:info,nobody:info", "nobody=info", "paths=main"]) {
      assert.equal((await post(`/logging?${query}`)).status, 400, query);
    }
    assert.equal((await post("/logging?level=warn")).body, "active loggers:\n  main: warning\n  wasm: warning\n");
  });

  test("commands reach the server", async () => {
    subject.told.length = 0;
    await post("/reopen_logs");
    await post("/drain_listeners?graceful&inboundonly&skip_exit");
    await post("/drain_listeners");
    await post("/quitquitquit");
    assert.equal((await post("/workers/replace?index=0")).status, 200);
    assert.equal((await post("/workers/replace?index=7")).status, 404);
    assert.equal((await post("/workers/replace?index=x")).status, 404);
    assert.deepEqual(subject.told, [
      "reopenLogs",
      ["drainListeners", { graceful: true, inboundOnly: true, skipExit: true }],
      ["drainListeners", { graceful: false, inboundOnly: false, skipExit: false }],
      "quit",
      ["replaceWorker", 0],
      ["replaceWorker", 7],
    ]);
  });

  test("a request that is no HTTP closes the connection and nothing else", async () => {
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => socket.write("nonsense\r\n\r\n"));
      let text = "";
      socket.on("data", (data) => (text += data.toString()));
      socket.on("close", () => resolve(text));
    });
    assert.match(answer, /^HTTP\/1.1 400 /);
    assert.equal((await get("/ready")).status, 200);
  });

  test("who goes away in the middle of a request, and connections that cannot be accepted, are no more than a line", async () => {
    const log = new RecordingLog();
    const own = new AdminListener(subject, log);
    const address = { kind: "ip", host: "127.0.0.1", port: 0, ipv4Compat: false } as const;
    const bound = Number((await own.start({ address, accessLogs: [] })).split(":")[1]);
    const socket = connect(bound, "127.0.0.1");
    socket.write("POST /logging HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\npart", () =>
      socket.destroy(),
    );
    while (log.lines.length === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(log.lines, ["debug admin /logging: who asked is gone"]);
    const handles = (process as unknown as { _getActiveHandles(): unknown[] })._getActiveHandles();
    const server = handles.find(
      (one) => one instanceof Server && (one.address() as AddressInfo).port === bound,
    ) as Server;
    for (let n = 0; n < 2; n++) server.emit("error", new Error("accept ENFILE"));
    assert.deepEqual(log.lines.slice(1), Array(2).fill("error admin: cannot accept a connection: accept ENFILE"));
    own.stop();
  });

  test("it binds unix sockets, and tells when an address is in use", async () => {
    const other = new AdminListener(subject, LOG.component("admin"));
    const address = { kind: "ip", host: "127.0.0.1", port, ipv4Compat: false } as const;
    await assert.rejects(other.start({ address, accessLogs: [] }), {
      code: "ADMIN_BIND_FAILED",
      message: `ADMIN_BIND_FAILED: admin: cannot bind 127.0.0.1:${port}: the address is in use (another process listens there)`,
    });
    const path = join(mkdtempSync(join(tmpdir(), "sluice-")), "admin.sock");
    const third = new AdminListener(subject, LOG.component("admin"));
    assert.equal(await third.start({ address: { kind: "pipe", path, mode: 0o600 }, accessLogs: [] }), path);
    third.stop();
  });
});

function pick({ status, body }: Answer): [number, string] {
  return [status, body];
}
