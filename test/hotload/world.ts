/** A proxy whose whole configuration changes while it runs: the configuration as data, and reloads of it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { ProxyProcess } from "../cli/proxy-process.ts";
import type { Answer } from "../cli/proxy-process.ts";
import { versionModule } from "./versions.ts";
import type { Letter, Plugin } from "./versions.ts";

type Json = Readonly<Record<string, unknown>>;

/** What a configuration consists of; every member as it stands in the bootstrap. */
export interface World {
  readonly listeners: readonly Json[];
  readonly clusters: readonly Json[];
  readonly extensions?: readonly Json[];
  /** Further members of the bootstrap. */
  readonly more?: Json;
}

export function typed(type: string, members: Json = {}): Json {
  return { "@type": `type.googleapis.com/${type}`, ...members };
}

export function address(port: number, host = "127.0.0.1"): Json {
  return { socket_address: { address: host, port_value: port } };
}

/** A cluster of hosts on the loopback. */
export function cluster(name: string, ports: readonly number[], more: Json = {}): Json {
  const endpoints = ports.map((port) => ({ endpoint: { address: address(port) } }));
  return {
    name,
    connect_timeout: "5s",
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: endpoints }] },
    ...more,
  };
}

export function to(name: string, prefix = "/"): Json {
  return { match: { prefix }, route: { cluster: name, timeout: "0s" } };
}

/** The plugin `name` with this file as its module. */
export function plugin(name: string, file: string, mark = "mark", more: Json = {}): Json {
  return {
    name,
    vm_config: { runtime: "envoy.wasm.runtime.v8", code: { local: { filename: file } } },
    configuration: typed("test.versions.v1.Versions", { mark }),
    ...more,
  };
}

/** The plugin as an HTTP filter. */
export function filter(config: Json): Json {
  return { name: config["name"], typed_config: typed("envoy.extensions.filters.http.wasm.v3.Wasm", { config }) };
}

/** The plugin as an access logger. */
export function logger(config: Json): Json {
  return {
    name: config["name"],
    typed_config: typed("envoy.extensions.access_loggers.wasm.v3.WasmAccessLog", { config }),
  };
}

export function manager(routes: readonly Json[], filters: readonly Json[] = [], more: Json = {}): Json {
  const router = { name: "router", typed_config: typed("envoy.extensions.filters.http.router.v3.Router") };
  return {
    name: "hcm",
    typed_config: typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", {
      stat_prefix: "ingress",
      route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes }] },
      http_filters: [...filters, router],
      ...more,
    }),
  };
}

/** One chain of these network filters; port 0. */
export function listener(name: string, filters: readonly Json[], more: Json = {}): Json {
  return { name, stat_prefix: name, address: address(0), filter_chains: [{ filters }], ...more };
}

export class WorldProxy extends ProxyProcess {
  constructor(world: World, args: readonly string[] = ["--concurrency", "2"]) {
    super(textOf(world), args);
  }

  /** Has the configuration replaced. Throws what the proxy says against it. */
  async reload(world: World): Promise<Json> {
    const answer = await this.tryReload(world);
    assert.equal(answer.status, 200, answer.body);
    return JSON.parse(answer.body) as Json;
  }

  tryReload(world: World): Promise<Answer> {
    writeFileSync(join(this.folder, "bootstrap.yaml"), textOf(world));
    return this.post("/reload");
  }

  /** Where a listener accepts. */
  async addressOf(name: string): Promise<string> {
    const { body } = await this.get("/listeners", this.admin);
    const line = body.split("\n").find((one) => one.startsWith(`${name}::`));
    assert.ok(line, body);
    return line.split("::")[1]!;
  }

  async stats(filter_: string): Promise<Readonly<Record<string, number>>> {
    const { body } = await this.get(`/stats?filter=${encodeURIComponent(filter_)}`, this.admin);
    const lines = body
      .trim()
      .split("\n")
      .filter((line) => line !== "");
    return Object.fromEntries(lines.map((line) => [line.split(": ")[0]!, Number(line.split(": ")[1])]));
  }

  /** Throws when there is none of that name. */
  async stat(name: string): Promise<number> {
    const found = (await this.stats(`^${name.replaceAll(".", "\\.")}$`))[name];
    assert.notEqual(found, undefined, `there is no ${name}`);
    return found!;
  }

  async plugins(): Promise<readonly (Plugin & { readonly name: string })[]> {
    const { body } = await this.get("/wasm?format=json", this.admin);
    return (JSON.parse(body) as { plugins: (Plugin & { readonly name: string })[] }).plugins;
  }
}

function textOf({ listeners, clusters, extensions = [], more = {} }: World): string {
  return JSON.stringify({
    admin: { address: address(0) },
    static_resources: { listeners, clusters },
    bootstrap_extensions: extensions,
    ...more,
  });
}

/** An upstream that says its name, or does what it is told. */
export class Origin {
  readonly name: string;
  readonly server: Server;
  /** Connections so far. */
  connections = 0;
  /** Everything is answered 500. */
  failing = false;
  readonly waiting: ServerResponse[] = [];

  private constructor(name: string) {
    this.name = name;
    this.server = createServer((request, response) => this.#answer(request, response));
    this.server.on("connection", () => this.connections++);
    // Whoever keeps a connection keeps it, however long nothing happens.
    this.server.keepAliveTimeout = 0;
  }

  static async start(name: string): Promise<Origin> {
    const origin = new Origin(name);
    origin.server.listen(0, "127.0.0.1");
    await once(origin.server, "listening");
    after(() => {
      origin.server.closeAllConnections();
      origin.server.close();
    });
    return origin;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Connections that are open now. */
  open(): Promise<number> {
    return new Promise((resolve, reject) =>
      this.server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
    );
  }

  /** Requests for /slow wait until somebody answers. */
  #answer(request: IncomingMessage, response: ServerResponse): void {
    if (request.url === "/slow") {
      this.waiting.push(response);
      return;
    }
    if (this.failing) response.statusCode = 500;
    response.end(this.name);
  }
}

/** A file with the module of a version. */
export async function moduleFile(number: number, letter?: Letter): Promise<string> {
  const file = join(mkdtempSync(join(tmpdir(), "sluice-world-")), `v${number}.wasm`);
  writeFileSync(file, await versionModule(number, letter));
  return file;
}
