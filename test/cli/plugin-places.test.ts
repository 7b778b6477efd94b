/**
 * One module of an author's own in every place that a plugin can have, in a running proxy: filter with configurations
 * on routes, access logger, service of each worker and of the process. The logger hands what it sees to the service
 * through a queue, and the service posts it to a collector.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect, createServer as createEcho } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { buildFilter } from "../../filters/build/build.ts";
import { bootstrap, ProxyProcess } from "./proxy-process.ts";

const SOURCE = `import { CONTINUE } from "sluice/abi/action.ts";
import { EncoderFilter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { requestHeaders, responseHeaders } from "sluice/filters/sdk/headers.ts";
import { httpCall, HttpCallback } from "sluice/filters/sdk/http-call.ts";
import * as log from "sluice/filters/sdk/log.ts";
import { Pairs } from "sluice/filters/sdk/pairs.ts";
import { Property } from "sluice/filters/sdk/property.ts";
import { dequeue, enqueue, registerQueue, resolveQueue } from "sluice/filters/sdk/shared.ts";
import { setTickPeriod } from "sluice/filters/sdk/time.ts";

class Mark extends EncoderFilter {
  private readonly root: Root;
  constructor(root: Root) {
    super();
    this.root = root;
  }
  override onResponseHeaders(_headers: u32, _endOfStream: bool): i32 {
    responseHeaders.add("x-mark", this.root.text);
    return CONTINUE;
  }
}

class Root extends RootContext implements HttpCallback {
  text: string = "";

  override onConfigure(configuration: ArrayBuffer): bool {
    this.text = String.UTF8.decode(configuration);
    log.info(this.text + " configured");
    if (this.text == "service" && registerQueue("streams") == 0) return false;
    if (this.text == "worker") setTickPeriod(10);
    return this.text != "refuse";
  }
  override createFilter(): StreamContext {
    return new Mark(this);
  }
  override onTick(): void {
    setTickPeriod(0);
    log.info(this.text + " ticked");
  }
  override onLog(): void {
    const path = requestHeaders.get(":path");
    if (path === null) {
      log.info("connection " + new Property("upstream.address").text()! + " " + new Property("xds.listener_direction").integer().toString());
      return;
    }
    if (path == "/trap") unreachable();
    const status = responseHeaders.get(":status");
    const code = new Property("response.code").integer();
    const route = new Property("xds.route_name").text();
    const line = path + " " + (status === null ? "none" : status) + " " + code.toString() + " " + (route === null ? "none" : route);
    if (!enqueue(resolveQueue("logs", "streams"), line)) log.error("no queue");
  }
  override onQueueReady(token: u32): void {
    const item = dequeue(token);
    if (item === null) return;
    const headers = new Pairs();
    headers.add(":method", "POST");
    headers.add(":path", "/streams");
    headers.add(":authority", "collector");
    httpCall("collector", headers, String.UTF8.decode(item), 60000, this);
  }
  onHttpResponse(_token: u32, _headers: u32, _bodySize: u32, _trailers: u32): void {
    log.info("collector has it");
  }
}
register((): RootContext => new Root());
`;

const folder = mkdtempSync(join(tmpdir(), "sluice-places-"));
after(() => rmSync(folder, { recursive: true }));
let module = "";
before(async () => {
  const source = join(folder, "places");
  mkdirSync(source);
  writeFileSync(join(source, "places.ts"), SOURCE);
  ({ path: module } = await buildFilter(source, { outFolder: join(folder, "out") }));
});

const type = (name: string): string => `"@type": type.googleapis.com/${name}`;
const text = (value: string): string => `configuration: { ${type("google.protobuf.StringValue")}, value: ${value} }`;

function plugin(name: string, vmId = ""): string {
  return `{ name: ${name}, ${text(name)}, vm_config: { vm_id: "${vmId}", code: { local: { filename: "${module}" } } } }`;
}

interface Places {
  readonly httpFilters?: string;
  readonly routes: readonly string[];
  readonly manager?: string;
  readonly collector?: number;
  readonly extensions?: readonly string[];
}

function configured({ httpFilters = "", routes, manager = "", collector = 1, extensions = [] }: Places): string {
  const address = `{ socket_address: { address: 127.0.0.1, port_value: ${collector} } }`;
  const endpoint = `{ endpoint: { address: ${address} } }`;
  const clusters = `[{ name: collector, load_assignment: { cluster_name: collector, endpoints: [{ lb_endpoints: [${endpoint}] }] } }]`;
  const base = bootstrap({ routes, httpFilters, clusters }).replace("stat_prefix: ingress", `stat_prefix: ingress\n                ${manager}`); // prettier-ignore
  return `${base}\nbootstrap_extensions: [${extensions.join(", ")}]\n`;
}

function service(name: string, singleton: boolean): string {
  return `{ name: ${name}, typed_config: { ${type("envoy.extensions.wasm.v3.WasmService")}, singleton: ${singleton}, config: ${plugin(name, "logs")} } }`;
}

/** How often the process has printed a line that ends so. */
function count(proxy: ProxyProcess, line: string): number {
  return proxy.output.split("\n").filter((one) => one.endsWith(line)).length;
}

test("each route's configuration reaches the module, and FilterConfig switches it off", async () => {
  const wasm = type("envoy.extensions.filters.http.wasm.v3.Wasm");
  const reply = "direct_response: { status: 200 }";
  const own = (path: string, override: string): string =>
    `{ match: { path: ${path} }, ${reply}, typed_per_filter_config: { mark: ${override} } }`;
  const routes = [
    own("/a", `{ ${wasm}, config: { name: plain, ${text("apple")} } }`),
    own("/b", `{ ${type("google.protobuf.StringValue")}, value: pear }`),
    own("/off", `{ ${type("envoy.config.route.v3.FilterConfig")}, disabled: true }`),
    `{ match: { prefix: / }, ${reply} }`,
  ];
  const httpFilters = `- { name: mark, typed_config: { ${wasm}, config: ${plugin("plain")} } }`;
  const proxy = await new ProxyProcess(configured({ routes, httpFilters }), ["--concurrency", "1"]).live();
  const marks = await Promise.all(["/a", "/b", "/", "/off", "/a"].map((path) => proxy.get(path)));
  assert.deepEqual(
    marks.map(({ headers }) => headers["x-mark"]),
    ["apple", "pear", "plain", undefined, "apple"],
  );
  // One VM has all three.
  assert.match((await proxy.get("/wasm", proxy.admin)).body, /^plain::instances::1$/m);

  const bad = configured({ routes: [own("/", `{ ${wasm}, config: { ${text("refuse")} } }`)], httpFilters });
  const refused = new ProxyProcess(bad, ["--concurrency", "1"]);
  assert.equal(await refused.exited, 1);
  assert.match(refused.output, /plugin plain: proxy_on_configure refused the configuration/);
});

test("access logger, queue, service of the process, call: one line for each stream that the filter lets pass", async (t) => {
  const got: string[] = [];
  const collector = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => (got.push(body), response.end()));
  }).listen(0, "127.0.0.1");
  t.after(() => collector.close());
  await once(collector, "listening");
  const filter = `filter: { status_code_filter: { comparison: { op: GE, value: { default_value: 400, runtime_key: none } } } }`;
  const logger = `typed_config: { ${type("envoy.extensions.access_loggers.wasm.v3.WasmAccessLog")}, config: ${plugin("logger", "logs")} }`;
  const config = configured({
    routes: ["ok", "lost", "trap"].map(
      (name) =>
        `{ name: ${name}, match: { path: /${name} }, direct_response: { status: ${name === "ok" ? 200 : 404} } }`,
    ),
    manager: `access_log: [{ name: logger, ${filter}, ${logger} }]`,
    collector: (collector.address() as AddressInfo).port,
    extensions: [service("service", true), service("worker", false)],
  });
  const proxy = await new ProxyProcess(config, ["--concurrency", "2"]).live();
  // Once in the process, once in each worker.
  await proxy.printed("worker ticked");
  assert.deepEqual(
    ["service", "worker", "logger"].map((name) => count(proxy, `: ${name} configured`)),
    [1, 2, 2],
  );
  for (const path of ["/ok", "/lost?a", "/ok"]) await proxy.get(path);
  await proxy.printed("collector has it");
  // A logger that fails harms no stream, and the next one is logged.
  assert.equal((await proxy.get("/trap")).status, 404);
  await proxy.printed("trap: unreachable in proxy_on_log");
  await proxy.get("/lost?b");
  while (got.length < 2) await sleep(5);
  assert.deepEqual(got, ["/lost?a 404 404 lost", "/lost?b 404 404 lost"]);
  // Logger and service of each worker have one vm_id and the same code, so one VM: the trap was that service's, too.
  assert.equal(count(proxy, ": worker configured"), 3);
  // The worker that ran the service of the process is replaced, and so runs it again.
  assert.equal((await proxy.post("/workers/replace?index=0")).status, 200);
  await proxy.printed("worker 0 is back");
  assert.deepEqual(
    ["service", "worker"].map((name) => count(proxy, `: ${name} configured`)),
    [2, 4],
  );
});

test("an access logger of the admin interface cannot be a plugin", async () => {
  const logger = `{ name: logger, typed_config: { ${type("envoy.extensions.access_loggers.wasm.v3.WasmAccessLog")}, config: ${plugin("logger")} } }`;
  const config = configured({ routes: [] }).replace("admin: {", `admin: { access_log: [${logger}],`);
  const proxy = new ProxyProcess(config, ["--concurrency", "1"]);
  assert.equal(await proxy.exited, 1);
  assert.match(proxy.output, /admin\.access_log\[0\]: plugins run in workers/);
});

test("a plugin logs connections of tcp_proxy and of the listener, each once", async () => {
  const logger = (name: string): string =>
    `{ name: l, typed_config: { ${type("envoy.extensions.access_loggers.wasm.v3.WasmAccessLog")}, config: ${plugin(name)} } }`;
  const echo = createEcho((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
  after(() => echo.close());
  await once(echo, "listening");
  const { port } = echo.address() as AddressInfo;
  const endpoint = `{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } } }`;
  const proxy = await new ProxyProcess(
    `
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  clusters: [{ name: echo, load_assignment: { cluster_name: echo, endpoints: [{ lb_endpoints: [${endpoint}] }] } }]
  listeners:
  - name: tcp
    traffic_direction: OUTBOUND
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    access_log: [${logger("listener")}]
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          ${type("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")}
          stat_prefix: tcp
          cluster: echo
          access_log_options: { flush_access_log_on_connected: true }
          access_log: [${logger("proxy")}]
`,
    ["--concurrency", "1"],
  ).live();
  const socket = connect(Number(proxy.address.split(":")[1]), "127.0.0.1");
  socket.write("hello");
  await once(socket, "data");
  assert.equal(count(proxy, `: connection 127.0.0.1:${port} 2`), 0);
  socket.end();
  await proxy.printed(`wasm log listener  : connection 127.0.0.1:${port} 2`);
  await proxy.printed(`wasm log proxy  : connection 127.0.0.1:${port} 2`);
  assert.equal(count(proxy, `: connection 127.0.0.1:${port} 2`), 2);
});
