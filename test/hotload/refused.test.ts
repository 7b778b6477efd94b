/** Reloads that are refused: what is said of each, and that nothing at all has changed. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { buildFilter } from "../../filters/build/build.ts";
import { ask } from "../cli/proxy-process.ts";
import { selfSigned } from "../tls/certificates.ts";
import { cluster, filter, listener, manager, moduleFile, Origin, plugin, to, typed, WorldProxy } from "./world.ts";
import type { World } from "./world.ts";

interface Refusal {
  readonly title: string;
  /** What is done to the good configuration, which has other clusters, plugins and listeners than the one in force. */
  readonly change: (next: World) => World | Promise<World>;
  readonly status: number;
  readonly says: RegExp;
}

type Json = World["clusters"][number];

const folder = mkdtempSync(join(tmpdir(), "sluice-refused-"));
const files: Record<string, string> = {};
let origin: Origin;
let taken = 0;

/** Within a test: what it starts ends with it. */
async function setUp(): Promise<void> {
  origin = await Origin.start("origin");
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => server.close());
  taken = (server.address() as AddressInfo).port;
  for (const [name, number, letter] of [
    ["one", 1, "-"],
    ["two", 2, "-"],
    ["configures", 3, "c"],
    ["starts", 3, "s"],
    ["requests", 3, "r"],
  ] as const)
    files[name] = await moduleFile(number, letter);
  files["text"] = join(folder, "text.wasm");
  writeFileSync(files["text"], "no module");
}

const now = (): World => ({
  listeners: [listener("ingress", [manager([to("a")], [filter(plugin("a", files["one"]!))])])],
  clusters: [cluster("a", [origin.port])],
});

/** Good by itself: another cluster and route, another plugin in front, a second listener. */
const next = (): World => ({
  listeners: [
    listener("ingress", [manager([to("b")], [filter(plugin("b", files["two"]!)), filter(plugin("a", files["one"]!))])]),
    listener("second", [manager([to("b")])]),
  ],
  clusters: [cluster("b", [origin.port])],
});

/** With one more filter in the first listener. */
function withFilter(world: World, config: Json): World {
  const [, second] = world.listeners;
  const filters = [filter(config), filter(plugin("a", files["one"]!))];
  return { ...world, listeners: [listener("ingress", [manager([to("b")], filters)]), second!] };
}

const withCluster = (world: World, more: Json): World => ({ ...world, clusters: [...world.clusters, more] });

function tls(context: Json): Json {
  const type = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
  return { transport_socket: { name: "tls", typed_config: typed(type, { common_tls_context: context }) } };
}

const REFUSALS: readonly Refusal[] = [
  {
    title: "a route to a cluster that is gone",
    change: (world) => ({ ...world, clusters: [] }),
    status: 422,
    says: /^CONFIG_INVALID: .*bootstrap\.yaml:1:\d+: error: static_resources\.listeners\[0\]\.filter_chains\[0\]\.filters\[0\]\.typed_config\.route_config\.virtual_hosts\[0\]\.routes\[0\]\.route\.cluster: route: unknown cluster 'b'/,
  },
  {
    title: "tcp_proxy to a cluster that is gone",
    change: (world) => {
      const proxy = typed("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", { stat_prefix: "t", cluster: "c" });
      return { ...world, listeners: [...world.listeners, listener("third", [{ name: "tcp", typed_config: proxy }])] };
    },
    status: 422,
    says: /listeners\[2\]\.filter_chains\[0\]\.filters\[0\]\.typed_config\.cluster: .*unknown cluster 'c'/,
  },
  {
    title: "two clusters of one name",
    change: (world) => withCluster(world, cluster("b", [1])),
    status: 422,
    says: /static_resources\.clusters\[1\]\.name: duplicate cluster name 'b'/,
  },
  {
    title: "a cluster with a misspelt field",
    change: (world) => withCluster(world, cluster("c", [1], { conect_timeout: "1s" })),
    status: 422,
    says: /static_resources\.clusters\[1\]\.conect_timeout: .* has no such field; did you mean "connect_timeout"\?/,
  },
  {
    title: "a cluster whose certificate is not there",
    change: (world) => {
      const chain = { certificate_chain: { filename: "/none.pem" }, private_key: { filename: "/none.key" } };
      return withCluster(world, cluster("c", [1], tls({ tls_certificates: [chain] })));
    },
    status: 422,
    says: /static_resources\.clusters\[1\]\.transport_socket.*\/none\.pem/,
  },
  {
    title: "a key that is another certificate's",
    change: (world) => {
      const [a, b] = [selfSigned(folder, "a"), selfSigned(folder, "b")];
      const chain = { certificate_chain: { filename: a.certificate }, private_key: { filename: b.key } };
      return withCluster(world, cluster("c", [1], tls({ tls_certificates: [chain] })));
    },
    status: 422,
    says: /static_resources\.clusters\[1\]\.transport_socket.*key/,
  },
  {
    title: "an address that is taken",
    change: (world) => ({
      ...world,
      listeners: [...world.listeners, { ...listener("third", [manager([to("b")])]), address: { socket_address: { address: "127.0.0.1", port_value: taken } } }], // prettier-ignore
    }),
    status: 422,
    says: /^BIND_FAILED: listener third: cannot bind 127\.0\.0\.1:\d+: the address is in use/,
  },
  {
    title: "a module that is not there",
    change: (world) => withFilter(world, plugin("c", join(folder, "none.wasm"))),
    status: 422,
    says: /none\.wasm/,
  },
  {
    title: "a file that is no module",
    change: (world) => withFilter(world, plugin("c", files["text"]!)),
    status: 422,
    says: /http_filters\[0\]\.typed_config\.config\.vm_config\.code\.local\.filename: not a WebAssembly module/,
  },
  {
    title: "a module that refuses its configuration",
    change: (world) => withFilter(world, plugin("c", files["configures"]!)),
    status: 422,
    says: /^GUEST_CONFIGURE: plugin c: proxy_on_configure refused the configuration\n/,
  },
  {
    title: "a module that traps when it starts",
    change: (world) => withFilter(world, plugin("c", files["starts"]!)),
    status: 422,
    says: /^GUEST_START: plugin c: proxy_on_vm_start: trap: divide by zero/,
  },
  {
    title: "a module that traps at a made-up request",
    change: (world) => withFilter(world, plugin("c", files["requests"]!)),
    status: 422,
    says: /^GUEST_REHEARSAL: on a made-up request of c: .*divide by zero in proxy_on_request_headers/,
  },
  {
    title: "a configuration that the module's own type does not allow",
    change: (world) => withFilter(world, plugin("c", files["two"]!, "far too long")),
    status: 422,
    says: /^CONFIG_INVALID: .*mark: must have at most 9 characters, has 12/,
  },
  {
    title: "an override for a filter that is gone",
    change: (world) => {
      const config = typed("envoy.extensions.filters.http.wasm.v3.Wasm", { config: {} });
      const routes = [{ ...to("b"), typed_per_filter_config: { c: config } }];
      return { ...world, listeners: [listener("ingress", [manager(routes)])] };
    },
    status: 422,
    says: /routes\[0\]\.typed_per_filter_config.*no HTTP filter has the name "c"/,
  },
  {
    title: "another node, another admin address and another runtime",
    change: (world) => ({
      ...world,
      more: {
        node: { id: "other", cluster: "other" },
        layered_runtime: { layers: [{ name: "s", static_layer: { key: 1 } }] },
      },
    }),
    status: 409,
    says: /^RELOAD_REFUSED: listeners, routes, clusters, plugins, registries and keys can change while the proxy runs; for this it must be started anew: node; layered_runtime\n$/,
  },
];

describe("reloads that are refused", () => {
  test("each says exactly why, and nothing has changed", async (t) => {
    await setUp();
    const proxy = await new WorldProxy(now()).live();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    after(() => agent.destroy());
    const served = async (): Promise<unknown[]> => {
      const { status, headers, body } = await ask("GET", proxy.address, "/", agent);
      assert.notEqual(headers["connection"], "close");
      return [status, headers["x-version"], body];
    };
    const state = async (): Promise<unknown> => ({
      listeners: (await proxy.get("/listeners", proxy.admin)).body,
      clusters: (await proxy.get("/clusters", proxy.admin)).body.match(/^\w+::observability_name.*$/gm),
      dump: (await proxy.get("/config_dump", proxy.admin)).body,
      plugins: (await proxy.plugins()).map(({ name, instances, version_number, versions }) => [
        name,
        instances,
        version_number,
        versions.length,
      ]),
      // Names stay, once somebody has had them.
      numbers: Object.entries(
        await proxy.stats(
          "^(cluster_manager\\..*|listener_manager\\.(listener_|total_).*|wasm\\..*\\.(version|instances|swaps)|wasm\\.envoy\\.wasm\\.runtime\\.v8\\.active|listener\\.ingress\\.downstream_cx_(total|destroy)|cluster\\.a\\.(upstream_cx_destroy|membership_total))$",
        ),
      ).filter(([, value]) => value !== 0),
    });
    assert.deepEqual(await served(), [200, "0001", "origin"]);
    const began = await state();
    for (const { title, change, status, says } of REFUSALS) {
      await t.test(title, async () => {
        const answer = await proxy.tryReload(await change(next()));
        assert.deepEqual([answer.status, says.test(answer.body)], [status, true], answer.body);
        assert.deepEqual(await served(), [200, "0001", "origin"]);
        assert.deepEqual(await state(), began);
      });
    }
    // What was good of it is good still.
    await proxy.reload(next());
    assert.deepEqual(await served(), [200, "0001, 0002", "origin"]);
  });

  test("one worker of two cannot: neither has anything of it", async () => {
    await setUp();
    const proxy = await new WorldProxy(now()).live();
    const once = { ...plugin("once", await onceModule()), configuration: undefined };
    // What it finds in the shared data the first worker takes, whichever that is.
    await proxy.get("/remember");
    const answer = await proxy.tryReload(withFilter(next(), once));
    assert.equal(answer.status, 422);
    assert.match(answer.body, /^GUEST_CONFIGURE: plugin once: proxy_on_configure refused the configuration/);
    const all = await Promise.all(Array.from({ length: 20 }, () => proxy.get("/")));
    assert.deepEqual(
      new Set(all.map(({ headers, body }) => `${String(headers["x-version"])} ${body}`)),
      new Set(["0001 origin"]),
    );
    assert.equal((await proxy.get("/listeners", proxy.admin)).body.trim().split("\n").length, 1);
    assert.match((await proxy.get("/clusters", proxy.admin)).body, /^a::observability_name::a\n(?:a::.*\n)*$/);
    assert.equal(await proxy.stat("wasm.once.instances"), 0);
    await proxy.reload(next());
  });

  test("a worker that dies meanwhile refuses it, and comes back as the others are", async () => {
    await setUp();
    const proxy = await new WorldProxy(now()).live();
    // Its name resolves to nothing before the time for that is over: the reload waits.
    const silent = cluster("b", [origin.port], { type: "STRICT_DNS", dns_lookup_family: "V4_ONLY" });
    const text = JSON.stringify({ ...next(), clusters: [silent] }).replaceAll('"address":"127.0.0.1","port_value":' + origin.port, '"address":"localhost","port_value":' + origin.port); // prettier-ignore
    const world = JSON.parse(text) as World;
    for (let n = 0; n < 3; n++) {
      const reload = proxy.tryReload(n === 2 ? now() : world);
      const kill = proxy.post("/workers/replace?index=1");
      const { status, body } = await reload;
      await kill;
      assert.ok(status === 200 || (status === 503 && body.startsWith("WORKER_FAILED: worker 1 ")), body);
      await proxy.printed("worker 1 is back");
      proxy.output = "";
    }
    await proxy.reload(world);
    const all = await Promise.all(Array.from({ length: 20 }, () => proxy.get("/")));
    assert.deepEqual(new Set(all.map(({ headers, body }) => `${String(headers["x-version"])} ${body}`)), new Set(["0001, 0002 origin"])); // prettier-ignore
  });
});

/** Can be configured in one worker only: the next one finds that it has been. */
async function onceModule(): Promise<string> {
  const place = join(mkdtempSync(join(tmpdir(), "sluice-once-")), "once");
  mkdirSync(place);
  writeFileSync(
    join(place, "once.ts"),
    `import { RootContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { getSharedData, setSharedData } from "sluice/filters/sdk/shared.ts";
class Root extends RootContext {
  override onConfigure(_configuration: ArrayBuffer): bool {
    const last = getSharedData("last");
    // A rehearsal has none.
    if (last === null) return true;
    return String.UTF8.decode(last.bytes) != "taken" && setSharedData("last", "taken", last.cas);
  }
}
register((): RootContext => new Root());
`,
  );
  writeFileSync(join(place, "filter.json"), `{ "version": "1.0.0" }`);
  const { path } = await buildFilter(place, { outFolder: join(place, "out") });
  return path;
}
