/** Plugins come, go and change places while the proxy runs: streams that begin have the new chain, those under way the old one. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { buildFilter } from "../../filters/build/build.ts";
import { ask } from "../cli/proxy-process.ts";
import { send, until, versionModule } from "./versions.ts";
import {
  cluster,
  filter,
  listener,
  logger,
  manager,
  moduleFile,
  Origin,
  plugin,
  to,
  typed,
  WorldProxy,
} from "./world.ts";
import type { World } from "./world.ts";

type Filters = Parameters<typeof manager>[1];

const OK = { match: { prefix: "/" }, direct_response: { status: 200, body: { inline_string: "ok" } } };

let one = "";
let two = "";
let three = "";
before(async () => {
  [one, two, three] = await Promise.all([moduleFile(1), moduleFile(2), moduleFile(3)]);
});

function chained(filters: Filters, more: Partial<World> = {}, routes: Parameters<typeof manager>[0] = [OK]): World {
  return { listeners: [listener("ingress", [manager(routes, filters)])], clusters: [], ...more };
}

/** The versions of the chain, the last filter's first, as both workers have them. */
async function versions(proxy: WorldProxy, path = "/"): Promise<string> {
  const all = await Promise.all(Array.from({ length: 20 }, () => proxy.get(path)));
  const texts = new Set(all.map(({ status, headers }) => `${status} ${String(headers["x-version"])}`));
  assert.equal(texts.size, 1, [...texts].join("; "));
  return [...texts][0]!.replace(/^200 /, "");
}

describe("plugins in a reload", () => {
  test("come, change places and go; connections stay, and so does what is not touched", async () => {
    const [a, b, c] = [filter(plugin("a", one)), filter(plugin("b", two)), filter(plugin("c", three))];
    const proxy = await new WorldProxy(chained([a])).live();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    after(() => agent.destroy());
    let connections = 0;
    const kept = async (): Promise<unknown> => {
      const { headers } = await ask("GET", proxy.address, "/", agent);
      assert.notEqual(headers["connection"], "close");
      connections = await proxy.stat("listener.ingress.downstream_cx_total");
      return headers["x-version"];
    };
    assert.equal(await kept(), "0001");
    const first = connections;
    const created = (): Promise<number> => proxy.stat("wasm.envoy.wasm.runtime.v8.created");
    const made = await created();
    const steps: readonly (readonly [Filters, string])[] = [
      [[a, b], "0002, 0001"],
      [[c, a, b], "0002, 0001, 0003"],
      [[b, a, c], "0003, 0001, 0002"],
      [[c], "0003"],
      [[], "undefined"],
      [[a], "0001"],
    ];
    for (const [filters, expected] of steps) {
      const { state } = await proxy.reload(chained(filters));
      assert.equal(state, "live");
      assert.equal(String(await kept()), expected);
      assert.equal(connections, first);
    }
    assert.equal(await versions(proxy), "0001");
    // Two workers: a, b, c once, and a once more.
    assert.equal(await created(), made + 2 * 3);
    for (const name of ["b", "c"]) {
      await until(
        () => proxy.stat(`wasm.${name}.instances`),
        (count) => count === 0,
      );
      assert.equal(await proxy.stat(`wasm.${name}.version`), 0);
    }
    assert.deepEqual(
      (await proxy.plugins()).map(({ name, instances, version_number }) => [name, instances, version_number]),
      [["a", 2, 1]],
    );
    await proxy.printed(/plugins removed: b, a\n/);
    await proxy.post("/workers/replace?index=1");
    await proxy.printed("worker 1 is back");
    assert.equal(await versions(proxy), "0001");
  });

  test("streams under way finish on the chain that they began with", async () => {
    const origin = await Origin.start("o");
    const clusters = [cluster("o", [origin.port])];
    const [a, b] = [filter(plugin("a", one)), filter(plugin("b", two))];
    const proxy = await new WorldProxy(chained([a, b], { clusters }, [to("o")])).live();
    const slow = [proxy.get("/slow"), proxy.get("/slow")];
    await until(
      () => Promise.resolve(origin.waiting.length),
      (length) => length === 2,
    );
    // The cluster goes as well.
    await proxy.reload(chained([a]));
    assert.equal(await versions(proxy), "0001");
    assert.ok((await proxy.stat("wasm.b.instances")) > 0);
    for (const response of origin.waiting) response.end("late");
    for (const { status, headers, body } of await Promise.all(slow))
      assert.deepEqual([status, headers["x-version"], body], [200, "0002, 0001", "late"]);
    await until(
      () => proxy.stat("wasm.b.instances"),
      (count) => count === 0,
    );
  });

  test("connections of a chain that drains have its plugins until they end", async () => {
    const [a, b] = [filter(plugin("a", one)), filter(plugin("b", two))];
    const proxy = await new WorldProxy(chained([a]), ["--concurrency", "2", "--drain-time-s", "1"]).live();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    after(() => agent.destroy());
    await ask("GET", proxy.address, "/", agent);
    // Another listener in its place: nothing of the connection can stay.
    const other = { ...listener("ingress", [manager([OK], [b])]), per_connection_buffer_limit_bytes: 65_536 };
    await proxy.reload({ listeners: [other], clusters: [] });
    assert.equal(await versions(proxy), "0002");
    let last: unknown;
    do {
      const { status, headers } = await ask("GET", proxy.address, "/", agent);
      assert.deepEqual([status, headers["x-version"]], [200, "0001"]);
      last = headers["connection"];
    } while (last !== "close");
    assert.equal((await ask("GET", proxy.address, "/", agent)).headers["x-version"], "0002");
    await until(
      () => proxy.stat("wasm.a.instances"),
      (count) => count === 0,
    );
  });

  test("versions, ways back and trials of others survive; those of plugins that get one place more are built anew", async () => {
    const [a, b] = [filter(plugin("versions", one)), filter(plugin("b", two))];
    const proxy = await new WorldProxy(chained([a])).live();
    const load = async (number: number, more = ""): Promise<void> => {
      const answer = await send(proxy.admin, `/wasm/load?plugin=versions${more}`, await versionModule(number));
      assert.equal(answer.status, 200, answer.body);
    };
    await load(4);
    await load(5, "&percent=0&header=x-try");
    await proxy.reload(chained([b, a]));
    assert.equal(await versions(proxy), "0004, 0002");
    const of = async (name: string): Promise<Awaited<ReturnType<typeof proxy.plugins>>[number]> =>
      (await proxy.plugins()).find((one_) => one_.name === name)!;
    assert.deepEqual([(await of("versions")).version_number, (await of("versions")).previous_version], [2, 1]);
    assert.equal((await of("versions")).trial?.kind, "share");
    assert.equal((await proxy.post("/wasm/promote?plugin=versions")).status, 200);
    assert.equal(await versions(proxy), "0005, 0002");
    assert.equal((await proxy.post("/wasm/rollback?plugin=versions")).status, 200);
    assert.equal((await proxy.post("/wasm/rollback?plugin=versions")).status, 200);
    assert.equal(await versions(proxy), "0001, 0002");
    await load(6);
    // Once more in a second listener: with the module that serves, not with the configured one.
    const both = { listeners: [listener("second", [manager([OK], [a])]), ...chained([b, a]).listeners], clusters: [] };
    await proxy.reload(both);
    assert.equal(await versions(proxy), "0006, 0002");
    assert.equal((await proxy.get("/", await proxy.addressOf("second"))).headers["x-version"], "0006");
    const numbers = (await proxy.plugins()).filter(({ name }) => name === "versions").map((plugin_) => plugin_.version_number); // prettier-ignore
    assert.equal(new Set(numbers).size, 1);
    assert.equal((await proxy.post("/wasm/rollback?plugin=versions")).status, 200);
    await load(7);
    assert.equal((await proxy.get("/", await proxy.addressOf("second"))).headers["x-version"], "0007");
    await proxy.reload(chained([b, a]));
    await load(8);
    assert.equal(await versions(proxy), "0008, 0002");
  });

  test("a trial begins anew when its plugin gets a place more or loses one, in all that it has then", async () => {
    const [a, b] = [filter(plugin("versions", one)), filter(plugin("b", two))];
    const proxy = await new WorldProxy(chained([a])).live();
    const load = await send(
      proxy.admin,
      "/wasm/load?plugin=versions&percent=0&header=x-try&header_value=yes",
      await versionModule(5),
    );
    assert.equal(load.status, 200, load.body);
    const second = listener("second", [manager([OK], [a])]);
    const both = { ...chained([b, a]), listeners: [second, ...chained([b, a]).listeners] };
    const seen = async (at: string, value: string): Promise<unknown> =>
      (await ask("GET", at, "/", false, { "x-try": value })).headers["x-version"];
    const trials = async (): Promise<unknown[]> =>
      (await proxy.plugins()).flatMap(({ name, trial }) =>
        name === "versions" ? [trial && [trial.kind, trial["header"]]] : [],
      );
    for (const [world, places] of [
      [both, 2],
      [chained([b, a]), 1],
      [both, 2],
    ] as const) {
      await proxy.reload(world);
      assert.deepEqual(
        await trials(),
        Array.from({ length: places }, () => ["share", "x-try"]),
      );
      assert.deepEqual(
        [await seen(proxy.address, "yes"), await seen(proxy.address, "no")],
        ["0005, 0002", "0001, 0002"],
      );
      if (places === 1) continue;
      const at = await proxy.addressOf("second");
      assert.deepEqual([await seen(at, "yes"), await seen(at, "no")], ["0005", "0001"]);
    }
    assert.doesNotMatch(proxy.output, /\[error\]/);
    assert.equal((await proxy.post("/wasm/promote?plugin=versions")).status, 200);
    assert.equal(await versions(proxy), "0005, 0002");
    // One that does not fit there is told, and the reload stands.
    await proxy.reload(chained([b, a]));
    await send(proxy.admin, "/wasm/load?plugin=versions&percent=0&header=x-try", await versionModule(6, "k"));
    assert.deepEqual(await trials(), [["share", "x-try"]]);
    const other = listener("second", [manager([OK], [filter(plugin("versions", one, "other"))])]);
    await proxy.reload({ ...both, listeners: [other, ...chained([b, a]).listeners] });
    await proxy.printed("is on trial no more since the reload: GUEST_CONFIGURE: ");
    assert.deepEqual(await trials(), [undefined, undefined]);
    assert.deepEqual(
      [await versions(proxy), await seen(await proxy.addressOf("second"), "yes")],
      ["0005, 0002", "0005"],
    );
  });

  test("listeners that come in front of others change nothing for them", async () => {
    const limits = (tokens: number): Readonly<Record<string, unknown>> =>
      typed("envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", {
        stat_prefix: "limit",
        token_bucket: { max_tokens: tokens, tokens_per_fill: tokens, fill_interval: "3600s" },
        filter_enabled: { default_value: { numerator: 100 } },
        filter_enforced: { default_value: { numerator: 100 } },
      });
    const limit = "envoy.filters.http.local_ratelimit";
    const few = {
      name: "few",
      typed_config: typed("envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit", {
        stat_prefix: "few",
        max_connections: 100,
      }),
    };
    const own = typed("envoy.extensions.filters.http.wasm.v3.Wasm", {
      config: { configuration: typed("test.versions.v1.Versions", { mark: "route" }) },
    });
    const routes = [{ ...OK, typed_per_filter_config: { [limit]: limits(3), a: own } }];
    const filters = [{ name: limit, typed_config: limits(1000) }, filter(plugin("a", one))];
    const ingress = listener("ingress", [few, manager(routes, filters)]);
    const front = listener("front", [manager([OK], [filter(plugin("b", two)), filter(plugin("a", one))])]);
    const proxy = await new WorldProxy({ listeners: [ingress], clusters: [] }).live();
    const answer = async (): Promise<unknown[]> => {
      const { status, headers } = await proxy.get("/");
      return [status, headers["x-mark"]];
    };
    assert.deepEqual(await answer(), [200, "route"]);
    for (const listeners of [[front, ingress], [ingress]]) {
      await proxy.reload({ listeners, clusters: [] });
      assert.deepEqual(await answer(), [200, "route"]);
      assert.equal(await proxy.stat("listener_manager.listener_in_place_updated"), 0);
      assert.equal(await proxy.stat("listener_manager.listener_modified"), 0);
    }
    // The bucket of the route is what it was: this one is over.
    assert.equal((await answer())[0], 429);
  });

  test("streams of former routes have the plugin as those configured it, under way and on connections that drain", async () => {
    const origin = await Origin.start("o");
    const clusters = [cluster("o", [origin.port])];
    const onRoute = (mark: string): Parameters<typeof manager>[0] => {
      const config = { configuration: typed("test.versions.v1.Versions", { mark }) };
      return [{ ...to("o"), typed_per_filter_config: { a: typed("envoy.extensions.filters.http.wasm.v3.Wasm", { config }) } }]; // prettier-ignore
    };
    const world = (mark: string, more = {}): World => {
      const http = manager(onRoute(mark), [filter(plugin("a", one))]);
      return { listeners: [listener("ingress", [http], more)], clusters };
    };
    const proxy = await new WorldProxy(world("old"), ["--concurrency", "1", "--drain-time-s", "60"]).live();
    const marks = async (agent: Agent | false): Promise<unknown[]> => {
      const { status, headers } = await ask("GET", proxy.address, "/", agent);
      return [status, headers["x-mark"]];
    };
    // A connection for each answer that is looked at: any answer may ask to leave.
    const [first, second] = [1, 2].map(() => new Agent({ keepAlive: true, maxSockets: 1 })) as [Agent, Agent];
    after(() => (first.destroy(), second.destroy()));
    for (const agent of [first, second]) assert.deepEqual(await marks(agent), [200, "old"]);
    // Another listener: the connections stay with the old routes until they leave.
    await proxy.reload(world("new", { per_connection_buffer_limit_bytes: 65_536 }));
    assert.deepEqual(await marks(false), [200, "new"]);
    assert.deepEqual(await marks(first), [200, "old"]);
    // Routes alone: it would be the same stream by stream.
    await proxy.reload(world("newer", { per_connection_buffer_limit_bytes: 65_536 }));
    assert.deepEqual(await marks(false), [200, "newer"]);
    assert.deepEqual(await marks(second), [200, "old"]);
    first.destroy();
    second.destroy();
    await until(
      () => proxy.stat("wasm.a.instances"),
      (count) => count === 1,
    );
    assert.deepEqual(await marks(false), [200, "newer"]);
  });

  test("two in one VM: one that comes makes it anew, one that goes leaves it to the other", async () => {
    const shared = (name: string): ReturnType<typeof filter> => {
      const config = plugin(name, one);
      return filter({ ...config, vm_config: { ...(config["vm_config"] as object), vm_id: "both" } });
    };
    const proxy = await new WorldProxy(chained([shared("a")]), ["--concurrency", "1"]).live();
    await proxy.reload(chained([shared("a"), shared("b")]));
    assert.equal(await versions(proxy), "0001, 0001");
    const active = (): Promise<number> => proxy.stat("wasm.envoy.wasm.runtime.v8.active");
    await until(active, (count) => count === 1);
    await proxy.reload(chained([shared("b")]));
    assert.equal(await versions(proxy), "0001");
    assert.equal(await active(), 1);
    await proxy.reload(chained([]));
    await until(active, (count) => count === 0);
  });

  test("access loggers of HTTP and of listeners, and services", async () => {
    const file = await notesModule();
    const notes = (name: string): Parameters<typeof logger>[0] => ({
      name,
      vm_config: { runtime: "envoy.wasm.runtime.v8", code: { local: { filename: file } } },
      configuration: typed("google.protobuf.StringValue", { value: name }),
    });
    const service = (name: string): NonNullable<World["extensions"]>[number] => ({
      name,
      typed_config: typed("envoy.extensions.wasm.v3.WasmService", { config: notes(name) }),
    });
    const world = (http: readonly string[], connections: readonly string[], services: readonly string[]): World => ({
      listeners: [
        listener("ingress", [manager([OK], [], { access_log: http.map((name) => logger(notes(name))) })], {
          access_log: connections.map((name) => logger(notes(name))),
        }),
      ],
      clusters: [],
      extensions: services.map(service),
    });
    const proxy = await new WorldProxy(world([], [], [])).live();
    const lines = async (): Promise<readonly string[]> => {
      const from = proxy.output.length;
      await proxy.get("/marked");
      await until(
        () => proxy.get("/stats?filter=downstream_cx_active", proxy.admin),
        ({ body }) => body.includes("http.ingress.downstream_cx_active: 0"),
      );
      // What the worker has said is in the pipe by then, and so is this, behind it.
      await proxy.post("/reopen_logs");
      await proxy.printed("reopening access logs", from);
      return [...proxy.output.slice(from).matchAll(/(\w+) logged (\S+)/g)].map(([, who, what]) => `${who} ${what}`);
    };
    assert.deepEqual(await lines(), []);
    await proxy.reload(world(["http"], [], ["service"]));
    await proxy.printed("service ticked");
    assert.deepEqual(await lines(), ["http /marked"]);
    await proxy.reload(world(["other", "http"], ["connections"], []));
    assert.deepEqual((await lines()).toSorted(), ["connections connection", "http /marked", "other /marked"]);
    await proxy.reload(world(["other"], [], []));
    assert.deepEqual(await lines(), ["other /marked"]);
    await until(
      () => proxy.stat("wasm.service.instances"),
      (count) => count === 0,
    );
    assert.deepEqual(
      (await proxy.plugins()).map(({ name }) => name),
      ["other"],
    );
  });

  test("network filters: a connection has the chain that it began with", async () => {
    const echo = createServer((socket) => void socket.on("error", () => {}).pipe(socket)).listen(0, "127.0.0.1");
    await once(echo, "listening");
    after(() => echo.close());
    const file = await stampModule();
    const stamp = (name: string): Parameters<typeof listener>[1][number] => ({
      name,
      typed_config: typed("envoy.extensions.filters.network.wasm.v3.Wasm", {
        config: {
          name,
          vm_config: { runtime: "envoy.wasm.runtime.v8", code: { local: { filename: file } } },
          configuration: typed("google.protobuf.StringValue", { value: name }),
        },
      }),
    });
    const proxied = {
      name: "tcp",
      typed_config: typed("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", {
        stat_prefix: "tcp",
        cluster: "echo",
      }),
    };
    const clusters = [cluster("echo", [(echo.address() as AddressInfo).port])];
    const world = (...names: readonly string[]): World => ({
      listeners: [listener("ingress", [...names.map(stamp), proxied])],
      clusters,
    });
    const proxy = await new WorldProxy(world("a")).live();
    const sockets: Socket[] = [];
    const open = (): Socket => {
      const socket = connect(Number(proxy.address.split(":")[1]), "127.0.0.1");
      sockets.push(socket);
      return socket;
    };
    after(() => sockets.forEach((socket) => socket.destroy()));
    const old = open();
    assert.equal(await say(old, "x"), "a:x");
    await proxy.reload(world("b", "a"));
    assert.equal(await say(open(), "x"), "a:b:x");
    assert.equal(await say(old, "x"), "a:x");
    await proxy.reload(world());
    assert.equal(await say(open(), "x"), "x");
    assert.equal(await say(old, "x"), "a:x");
    for (const socket of sockets) socket.destroy();
    await until(
      () => proxy.stat("wasm.a.instances"),
      (count) => count === 0,
    );
  });
});

/** What comes back up to the text itself, which stamps stand in front of; in however many pieces. */
async function say(socket: Socket, text: string): Promise<string> {
  let answer = "";
  socket.write(text);
  while (!answer.endsWith(text)) {
    const [data] = (await once(socket, "data")) as [Buffer];
    answer += data.toString();
  }
  return answer;
}

const IMPORTS = `import { NetworkFilter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { downstreamData } from "sluice/filters/sdk/body.ts";
import { requestHeaders } from "sluice/filters/sdk/headers.ts";
import * as log from "sluice/filters/sdk/log.ts";
import { setTickPeriod } from "sluice/filters/sdk/time.ts";
import { CONTINUE } from "sluice/abi/action.ts";
`;

/** Logs its name with each stream or connection, and once by itself. */
const NOTES = `${IMPORTS}
class Root extends RootContext {
  private name: string = "";
  override onConfigure(configuration: ArrayBuffer): bool {
    this.name = String.UTF8.decode(configuration);
    setTickPeriod(10);
    return true;
  }
  override onTick(): void {
    setTickPeriod(0);
    log.info(this.name + " ticked");
  }
  override onLog(): void {
    const path = requestHeaders.get(":path");
    log.info(this.name + " logged " + (path === null ? "connection" : path));
  }
}
register((): RootContext => new Root());
`;

/** Puts its name in front of what downstream sends. */
const STAMP = `${IMPORTS}
class Stamp extends NetworkFilter {
  private readonly name: string;
  constructor(name: string) {
    super();
    this.name = name;
  }
  override onDownstreamData(_size: u32, _endOfStream: bool): i32 {
    downstreamData.prepend(this.name + ":");
    return CONTINUE;
  }
}
class Root extends RootContext {
  private name: string = "";
  override onConfigure(configuration: ArrayBuffer): bool {
    this.name = String.UTF8.decode(configuration);
    return true;
  }
  override createFilter(): StreamContext {
    return new Stamp(this.name);
  }
}
register((): RootContext => new Root());
`;

const notesModule = (): Promise<string> => built("notes", NOTES);
const stampModule = (): Promise<string> => built("stamp", STAMP);

async function built(name: string, source: string): Promise<string> {
  const folder = join(mkdtempSync(join(tmpdir(), "sluice-plugins-")), name);
  mkdirSync(folder);
  writeFileSync(join(folder, `${name}.ts`), source);
  writeFileSync(join(folder, "filter.json"), `{ "version": "1.0.0" }`);
  const { path } = await buildFilter(folder, { outFolder: join(folder, "out") });
  return path;
}
