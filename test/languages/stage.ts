/**
 * Real guests behind real sockets: one plugin in the HTTP engine, an upstream that tells what it got, and a side
 * cluster over HTTP and gRPC that guests may call.
 */
import { once } from "node:events";
import { createServer, request } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage, Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Server as GrpcServer, ServerCredentials, status } from "@grpc/grpc-js";
import type { sendUnaryData, ServerUnaryCall } from "@grpc/grpc-js";
import type { PluginConfig } from "../../runtime/config/snapshot.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import type { LoadedModule } from "../../runtime/wasm/module/module.ts";
import { PluginSet } from "../../runtime/wasm/plugin-set.ts";
import { SharedStore } from "../../runtime/wasm/shared.ts";
import { cluster, Engine, forward, route } from "../http/engine.ts";
import { environmentFor, pluginConfig, RecordingLog, RecordingStats } from "../wasm/stage.ts";

/** A request as the upstream saw it. */
export interface Arrived {
  /** Names in lower case; values of a repeated field are a list. */
  readonly headers: Readonly<Record<string, string[]>>;
  readonly body: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** What the upstream got; undefined when the request did not come through. */
  readonly arrived: Arrived | undefined;
  /** Port that the request came from. */
  readonly port: number;
}

/** An HTTP server: what it answers, and what it saw. */
async function serve(answer: (path: string, arrived: Arrived) => string): Promise<Server> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const headers: Record<string, string[]> = {};
      for (let n = 0; n < request.rawHeaders.length; n += 2) {
        (headers[request.rawHeaders[n]!.toLowerCase()] ??= []).push(request.rawHeaders[n + 1]!);
      }
      response.setHeader("x-secret", "from upstream");
      response.setHeader("x-server", ["old", "older"]);
      response.end(answer(request.url ?? "", { headers, body: Buffer.concat(chunks).toString() }));
    });
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

async function serveGrpc(): Promise<{ server: GrpcServer; port: number }> {
  const server = new GrpcServer();
  const raw = (bytes: Buffer): Buffer => bytes;
  const shape = {
    requestStream: false,
    responseStream: false,
    requestDeserialize: raw,
    requestSerialize: raw,
    responseDeserialize: raw,
    responseSerialize: raw,
  };
  type Call = ServerUnaryCall<Buffer, Buffer>;
  server.addService(
    { ask: { path: "/errand.Side/Ask", ...shape }, fail: { path: "/errand.Side/Fail", ...shape } },
    {
      ask: (call: Call, done: sendUnaryData<Buffer>) => done(null, Buffer.from(`answer to ${call.request.toString()}`)),
      fail: (_call: Call, done: sendUnaryData<Buffer>) => done({ code: status.NOT_FOUND, details: "nothing there" }),
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, got) => {
      if (error === null) resolve(got);
      else reject(error);
    });
  });
  return { server, port };
}

/** The servers around the proxy; one set serves many guests. */
export class Surroundings {
  readonly upstreams: ClusterSet;
  readonly upstream: Server;
  /** By the request header `x-number`. */
  readonly arrived: ReadonlyMap<string, Arrived>;
  readonly #side: Server;
  readonly #grpc: GrpcServer;

  private constructor(
    upstream: Server,
    side: Server,
    grpc: GrpcServer,
    upstreams: ClusterSet,
    arrived: ReadonlyMap<string, Arrived>,
  ) {
    this.upstream = upstream;
    this.arrived = arrived;
    this.#side = side;
    this.#grpc = grpc;
    this.upstreams = upstreams;
  }

  static async start(): Promise<Surroundings> {
    const seen = new Map<string, Arrived>();
    const upstream = await serve((_path, arrived) => {
      seen.set(arrived.headers["x-number"]?.[0] ?? "", arrived);
      return "from upstream";
    });
    const side = await serve((path, { body }) => `${path}:${body}`);
    const grpc = await serveGrpc();
    const clusters = [cluster("side", [portOf(side)]), cluster("side-grpc", [grpc.port], { protocol: "HTTP2" })];
    const upstreams = new ClusterSet(clusters, new RecordingStats());
    await upstreams.start();
    return new Surroundings(upstream, side, grpc.server, upstreams, seen);
  }

  close(): void {
    this.upstreams.close();
    for (const server of [this.upstream, this.#side]) {
      server.closeAllConnections();
      server.close();
    }
    this.#grpc.forceShutdown();
  }
}

let numbers = 0;

/** One guest in the engine. */
export class GuestStage {
  readonly engine: Engine;
  readonly log: RecordingLog;
  readonly stats: RecordingStats;
  readonly shared: SharedStore;
  readonly #plugins: PluginSet;
  readonly #surroundings: Surroundings;

  private constructor(engine: Engine, plugins: PluginSet, surroundings: Surroundings, more: Recorded) {
    this.engine = engine;
    this.#plugins = plugins;
    this.#surroundings = surroundings;
    this.log = more.log;
    this.stats = more.stats;
    this.shared = more.shared;
  }

  /**
   * Starts the plugin and the engine; each of its configurations for routes has the route `/routeID`.
   * Throws ProxyError when the guest is refused or refuses.
   */
  static async start(
    guest: Uint8Array | LoadedModule,
    surroundings: Surroundings,
    config: Partial<PluginConfig> = {},
  ): Promise<GuestStage> {
    const recorded = { log: new RecordingLog(), stats: new RecordingStats(), shared: SharedStore.create() };
    const module = guest instanceof Uint8Array ? loadModule(guest, "guest") : guest;
    const { log, stats, shared } = recorded;
    const environment = environmentFor({ upstreams: surroundings.upstreams, shared }, log, stats);
    const plugin = pluginConfig({ name: "guest", ...config });
    const plugins = new PluginSet([plugin], [module], environment);
    plugins.start();
    const own = (plugin.routeConfigurations ?? []).map(({ id, bytes }) =>
      route(`/route${id}`, forward("up"), { perFilter: { [plugin.filterName]: { disabled: false, id, bytes } } }),
    );
    try {
      const engine = await Engine.start({
        routes: [...own, route("/", forward("up"))],
        clusters: [cluster("up", [portOf(surroundings.upstream)])],
        filters: [plugins.httpFilter(0)],
        manager: { enableTrailers: true },
      });
      return new GuestStage(engine, plugins, surroundings, recorded);
    } catch (error) {
      plugins.close();
      throw error;
    }
  }

  /** Sends a POST over a connection of its own; the body goes in the given pieces. */
  async send(path: string, fields: readonly (readonly [string, string])[], pieces: readonly string[]): Promise<Answer> {
    const number = String(++numbers);
    const headers = ["host", "errand", "x-number", number, ...fields.flat()];
    const whole = pieces.join("");
    // A body in one piece has a length, one in several is chunked.
    headers.push(...(pieces.length > 1 ? ["transfer-encoding", "chunked"] : ["content-length", String(whole.length)]));
    const sent = request({ port: this.engine.port, host: "127.0.0.1", method: "POST", path, headers, agent: false });
    for (const piece of pieces) {
      sent.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    sent.end();
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    const port = response.socket.localPort ?? 0;
    let body = "";
    for await (const chunk of response.setEncoding("utf8")) body += chunk as string;
    const arrived = this.#surroundings.arrived.get(number);
    return { status: response.statusCode ?? 0, headers: response.headers, body, arrived, port };
  }

  close(): void {
    this.engine.close();
    this.#plugins.close();
  }
}

interface Recorded {
  readonly log: RecordingLog;
  readonly stats: RecordingStats;
  readonly shared: SharedStore;
}
