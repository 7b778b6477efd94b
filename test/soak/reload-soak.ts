/**
 * The whole configuration changed under load, again and again: clusters, plugins, routes and listeners come, change, move
 * and go, while kept connections, new ones, slow requests and plain bytes are served.
 */
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { after } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { startOrigin } from "../bench/rounds.ts";
import { ask } from "../cli/proxy-process.ts";
import { steadyLoad } from "../cli/restart-row.ts";
import { generator } from "../fuzz/random.ts";
import type { Random } from "../fuzz/random.ts";
import { until } from "../hotload/versions.ts";
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
} from "../hotload/world.ts";
import type { World } from "../hotload/world.ts";
import { residentBytes } from "./proxy.ts";

export interface ReloadOutcome {
  readonly reloads: number;
  readonly requests: number;
  /** Refused and broken connections, timeouts, answers other than 200 and from no chain that there was. */
  readonly errors: number;
  /** What went wrong first. */
  readonly firstError: string;
  /** Requests that took longer than a reload, and connections of bytes. */
  readonly slow: number;
  readonly connections: number;
  /** Instances, clusters and draining chains before the first reload, and after the last one, which goes back. */
  readonly before: Leftovers;
  readonly after: Leftovers;
  /** Of the process: once a tenth of the reloads is done, and after the last one. */
  readonly residentBytes: readonly [early: number, late: number];
}

interface Leftovers {
  readonly instances: number;
  readonly clusters: number;
  readonly draining: number;
}

/** What changes. */
interface State {
  chain: readonly string[];
  mark: string;
  /** The cluster that requests go to, and how long it may connect. */
  up: string;
  connectS: number;
  /** A cluster, a listener, a logger more. */
  extra: number;
  second: boolean;
  logged: boolean;
  /** The first cluster is named instead of addressed; the listener of bytes has other statistics, and a logger. */
  named: boolean;
  bytes: string;
  watched: boolean;
  bufferBytes: number;
}

const BASE: State = {
  chain: ["a", "b"],
  mark: "m0",
  up: "up",
  connectS: 5,
  extra: 0,
  second: false,
  logged: false,
  named: false,
  bytes: "bytes",
  watched: false,
  bufferBytes: 1_048_576,
};

const PLUGINS = ["a", "b", "c"];
/** Requests that flow between two reloads at least. */
export const RELOAD_REQUESTS = 50;

/** Throws when a reload is refused. `pauseMs`: between two reloads. */
export async function soakReloads(
  folder: string,
  { reloads, pauseMs, seed }: { readonly reloads: number; readonly pauseMs: number; readonly seed: number },
): Promise<ReloadOutcome> {
  const origin = await startOrigin(folder);
  after(() => origin.started.stop());
  const scene = await Scene.prepare(origin.port);
  const args = ["--concurrency", "2", "--drain-time-s", "1", "--log-level", "info"];
  const proxy = new WorldProxy(scene.world(BASE), args);
  await proxy.live();
  const before = await leftovers(proxy);
  const load = steadyLoad(proxy.address);
  const visitors = new Visitors(proxy.address, await proxy.addressOf("bytes"));
  visitors.start();
  const random = generator(seed);
  const state = { ...BASE };
  let early = 0;
  for (let n = 1; n <= reloads; n++) {
    for (let changes = 1 + random(3); changes > 0; changes--) change(state, random);
    // Both are right from the moment on that the first worker has it.
    visitors.admit(state.chain);
    await proxy.reload(scene.world(n === reloads ? BASE : state));
    if (n === Math.ceil(reloads / 10)) early = residentBytes(proxy.process.pid!);
    await delay(pauseMs);
    const answered = await requestsOf(proxy);
    await until(
      () => requestsOf(proxy),
      (count) => count >= answered + RELOAD_REQUESTS,
    );
  }
  load.end();
  const { requests, errors } = await load.result;
  await visitors.end();
  const late = residentBytes(proxy.process.pid!);
  const rest = await until(
    () => leftovers(proxy),
    ({ instances, draining }) => instances === before.instances && draining === 0,
  );
  return {
    reloads,
    requests: requests + visitors.requests,
    errors: errors + visitors.errors,
    firstError: visitors.firstError,
    slow: visitors.slow,
    connections: visitors.connections,
    before,
    after: rest,
    residentBytes: [early, late],
  };
}

function requestsOf(proxy: WorldProxy): Promise<number> {
  return proxy.stat("http.ingress.downstream_rq_total");
}

function change(state: State, random: Random): void {
  switch (random(12)) {
    case 0:
    case 1:
      state.chain = PLUGINS.filter(() => random(2) === 0).toSorted(() => random(3) - 1);
      break;
    case 2:
      state.mark = `m${random(9)}`;
      break;
    case 3:
      state.up = `up${random(3)}`;
      break;
    case 4:
      state.connectS = 1 + random(9);
      break;
    case 5:
      state.extra = random(4);
      break;
    case 6:
      state.second = !state.second;
      break;
    case 7:
      state.logged = !state.logged;
      break;
    case 8:
      state.named = !state.named;
      break;
    case 9:
      state.bytes = `bytes${random(3)}`;
      break;
    case 10:
      state.watched = !state.watched;
      break;
    default:
      state.bufferBytes = 65_536 + random(1000);
      break;
  }
}

/** What the configurations are about. */
class Scene {
  readonly #files: ReadonlyMap<string, string>;
  readonly #ports: { readonly fast: number; readonly slow: number; readonly echo: number };

  private constructor(files: ReadonlyMap<string, string>, ports: { fast: number; slow: number; echo: number }) {
    this.#files = files;
    this.#ports = ports;
  }

  static async prepare(fast: number): Promise<Scene> {
    const slow = await Origin.start("slow");
    const timer = setInterval(() => slow.waiting.splice(0).forEach((response) => response.end("slow")), 150);
    const echo = createServer((socket) => void socket.on("error", () => {}).pipe(socket)).listen(0, "127.0.0.1");
    await once(echo, "listening");
    after(() => {
      clearInterval(timer);
      echo.close();
    });
    const files = await Promise.all(PLUGINS.map(async (name, n) => [name, await moduleFile(n + 1)] as const));
    return new Scene(new Map(files), { fast, slow: slow.port, echo: (echo.address() as AddressInfo).port });
  }

  world(state: State): World {
    const { fast, slow, echo } = this.#ports;
    const more = { connect_timeout: `${state.connectS}s` };
    const filters = state.chain.map((name) => filter(plugin(name, this.#files.get(name)!, state.mark)));
    const log = state.logged ? { access_log: [logger(plugin("log", this.#files.get("a")!))] } : {};
    const http = manager([to("slow", "/slow"), to(state.up)], filters, log);
    const tcp = typed("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", {
      stat_prefix: state.bytes,
      cluster: "echo",
    });
    const watch = state.watched ? { access_log: [logger(plugin("watch", this.#files.get("b")!))] } : {};
    const up = cluster(state.up, [fast], state.extra % 2 === 0 ? {} : more);
    return {
      listeners: [
        listener("ingress", [http], { per_connection_buffer_limit_bytes: state.bufferBytes }),
        listener("bytes", [{ name: "tcp", typed_config: tcp }], watch),
        ...(state.second ? [listener("second", [http])] : []),
      ],
      clusters: [
        cluster("slow", [slow], more),
        state.named ? byName(up) : up,
        cluster("echo", [echo], more),
        ...Array.from({ length: state.extra }, (_, n) => cluster(`extra${n}`, [1])),
      ],
    };
  }
}

/** The same cluster, found by the name of its host. */
function byName(one: World["clusters"][number]): World["clusters"][number] {
  const dns = { ...one, type: "STRICT_DNS", dns_lookup_family: "V4_ONLY" };
  return JSON.parse(JSON.stringify(dns).replaceAll("127.0.0.1", "localhost")) as typeof one;
}

/** New connections, slow requests, and connections of bytes that live on through reloads. */
class Visitors {
  readonly #http: string;
  readonly #bytes: string;
  readonly #chains = new Set<string>();
  readonly #all: Promise<void>[] = [];
  #over = false;
  requests = 0;
  slow = 0;
  connections = 0;
  errors = 0;
  firstError = "";

  constructor(http: string, bytes: string) {
    this.#http = http;
    this.#bytes = bytes;
    this.admit(BASE.chain);
  }

  admit(chain: readonly string[]): void {
    const versions = chain.map((name) => `000${PLUGINS.indexOf(name) + 1}`).toReversed();
    this.#chains.add(versions.length === 0 ? "undefined" : versions.join(", "));
  }

  start(): void {
    for (const path of ["/", "/slow", "/slow"]) this.#all.push(this.#repeat(() => this.#ask(path)));
    this.#all.push(
      this.#repeat(() => this.#talk()),
      this.#repeat(() => this.#session()),
    );
  }

  async end(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#all);
  }

  async #repeat(visit: () => Promise<void>): Promise<void> {
    while (!this.#over) {
      await visit().catch((error: unknown) => {
        this.errors++;
        this.firstError ||= String(error);
      });
    }
  }

  async #ask(path: string): Promise<void> {
    const { status, headers } = await ask("GET", this.#http, path);
    this.requests++;
    if (path === "/slow") this.slow++;
    this.#check(path, status, headers["x-version"]);
  }

  /** HTTP/2 with prior knowledge; streams that begin before the proxy has said goodbye are answered. */
  async #session(): Promise<void> {
    const session = connectHttp2(`http://${this.#http}`);
    let goodbye = false;
    session.on("goaway", () => (goodbye = true)).on("error", () => {});
    try {
      for (let n = 0; n < 20 && !goodbye && !session.closed; n++) {
        const stream = session.request({ ":path": n % 5 === 0 ? "/slow" : "/" });
        const [headers] = (await once(stream.resume(), "response")) as [Record<string, unknown>];
        await once(stream, "close");
        this.requests++;
        this.#check("HTTP/2", headers[":status"], headers["x-version"]);
        await delay(10);
      }
    } finally {
      session.close();
    }
  }

  #check(what: string, status: unknown, version: unknown): void {
    if (status !== 200 || !this.#chains.has(String(version)))
      throw new Error(`${what}: ${String(status)} ${String(version)}`);
  }

  async #talk(): Promise<void> {
    const [host, port] = this.#bytes.split(":");
    const socket = connect(Number(port), host);
    try {
      for (let n = 0; n < 10; n++) {
        socket.write(`${n}`);
        const [data] = (await once(socket, "data")) as [Buffer];
        if (data.toString() !== `${n}`) throw new Error(`bytes: ${data.toString()} for ${n}`);
        await delay(20);
      }
      this.connections++;
    } finally {
      socket.destroy();
    }
  }
}

async function leftovers(proxy: WorldProxy): Promise<Leftovers> {
  const plugins = await proxy.plugins();
  const stats = await proxy.stats("^(wasm\\.\\w+\\.instances|listener_manager\\.total_.*_draining)$");
  const sum = (part: string): number =>
    Object.entries(stats).reduce((total, [name, value]) => (name.includes(part) ? total + value : total), 0);
  const listed = plugins.reduce((total, { instances }) => total + instances, 0);
  return {
    instances: Math.max(listed, sum(".instances")),
    clusters: await proxy.stat("cluster_manager.active_clusters"),
    draining: sum("_draining"),
  };
}
