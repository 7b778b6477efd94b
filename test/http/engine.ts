/**
 * The HTTP engine in this process: a listener, a connection manager and clusters over real sockets, without
 * threads and without configuration text. Tests of single behaviours start here; whole-process tests elsewhere.
 */
import { once } from "node:events";
import { connect as connectH2 } from "node:http2";
import type { ClientHttp2Session } from "node:http2";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import type { TestContext } from "node:test";
import type {
  Address,
  ClusterConfig,
  FilterChainConfig,
  ForwardAction,
  HeaderMutation,
  HttpConnectionManagerConfig,
  ListenerConfig,
  NetworkFilterConfig,
  RouteAction,
  RouteConfigEntry,
  VirtualHostConfig,
} from "../../runtime/config/snapshot.ts";
import { ConnectionManager } from "../../runtime/http/connection-manager.ts";
import type { HttpEnvironment } from "../../runtime/http/connection-manager.ts";
import type { HeaderMap } from "../../runtime/codec/headers.ts";
import { Phase } from "../../runtime/http/filter.ts";
import type { HttpFilterFactory, StreamView } from "../../runtime/http/filter.ts";
import { NetworkStatus } from "../../runtime/network/filter.ts";
import type { PassingFilterFactory } from "../../runtime/network/filter.ts";
import { ListenerSet } from "../../runtime/listener/listener-set.ts";
import { AccessLog } from "../../runtime/observe/access-log.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import type { StreamInfo } from "../../runtime/observe/stream-info.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import { config, environment } from "../listener/fixture.ts";
import { clusterConfig, endpoint } from "../upstream/fixtures.ts";
import { forward as forwardTo, match, route as routeOf } from "./route-sample.ts";

const NO_MUTATION: HeaderMutation = { add: [], remove: [] };

/** A listening TCP server whose connections a test drives by hand. */
export interface Origin {
  readonly port: number;
  readonly server: Server;
  readonly sockets: Set<Socket>;
  close(): Promise<void>;
}

/** Starts an origin; `onConnection` gets each accepted socket. */
export async function origin(onConnection: (socket: Socket) => void): Promise<Origin> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => sockets.delete(socket));
    onConnection(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    server,
    sockets,
    async close(): Promise<void> {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** An origin that answers every request head with the same bytes; counts the requests. */
export async function fixedOrigin(response: string): Promise<Origin & { readonly seen: string[] }> {
  const seen: string[] = [];
  const made = await origin((socket) => {
    let text = "";
    socket.on("data", (data) => {
      text += data.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
        seen.push(text.slice(0, end + 4));
        text = text.slice(end + 4);
        socket.write(response, "latin1");
      }
    });
  });
  return Object.assign(made, { seen });
}

export function cluster(name: string, ports: readonly number[], more: Partial<ClusterConfig> = {}): ClusterConfig {
  const endpoints = ports.map((port) => endpoint(port));
  return clusterConfig(endpoints, { name, statName: name, ...more });
}

export function forward(clusterName: string, more: Partial<ForwardAction> = {}): ForwardAction {
  return forwardTo({ to: clusterName, ...more });
}

export function route(prefix: string, action: RouteAction, more: Partial<RouteConfigEntry> = {}): RouteConfigEntry {
  return routeOf({ match: match({ prefix }), action, ...more });
}

/** Sees all bytes of a connection and lets them through. */
export const SEES_ALL: PassingFilterFactory = {
  name: "sees_all",
  terminal: false,
  reads: true,
  writes: true,
  create: () => ({
    onNewConnection: () => NetworkStatus.CONTINUE,
    onData: () => NetworkStatus.CONTINUE,
    onWrite: () => NetworkStatus.CONTINUE,
    onClose: () => {},
  }),
};

export interface EngineOptions {
  readonly routes: readonly RouteConfigEntry[];
  readonly clusters?: readonly ClusterConfig[];
  readonly filters?: readonly HttpFilterFactory[];
  /** In front of the connection manager. */
  readonly networkFilters?: readonly PassingFilterFactory[];
  readonly manager?: Partial<HttpConnectionManagerConfig>;
  readonly virtualHost?: Partial<VirtualHostConfig>;
  readonly bufferLimitBytes?: number;
  readonly listener?: Partial<ListenerConfig>;
  /** Gets what listeners log. */
  readonly log?: (level: string, message: string) => void;
}

/** The engine under test: where it listens, what it counted and logged. */
export class Engine {
  readonly port: number;
  readonly stats: StatsStore;
  /** One entry per finished stream. */
  readonly finished: StreamInfo[];
  readonly #listeners: ListenerSet;
  readonly #clusters: ClusterSet;

  #options: EngineOptions;
  #config: ListenerConfig;

  private constructor(
    options: EngineOptions,
    config_: ListenerConfig,
    { listeners, clusters }: { readonly listeners: ListenerSet; readonly clusters: ClusterSet },
    { stats, finished }: { readonly stats: StatsStore; readonly finished: StreamInfo[] },
  ) {
    this.#options = options;
    this.#config = config_;
    this.#listeners = listeners;
    this.#clusters = clusters;
    this.stats = stats;
    this.finished = finished;
    this.port = listeners.bound[0]!.port;
  }

  /** Puts another listener in the place of the first, which retires. */
  async replaceListener(more: Partial<ListenerConfig>, overMs = 0): Promise<void> {
    this.#config = managed({ ...this.#config, ...more }, this.#options);
    void this.#listeners.commit(await this.#listeners.prepare([this.#config]), { overMs, endMs: 60_000 });
  }

  /** Puts another connection manager in the place of the first, in a chain that is the same otherwise. */
  replaceManager(more: Partial<EngineOptions>, overMs = 0): Promise<void> {
    this.#options = { ...this.#options, ...more };
    return this.replaceListener({}, overMs);
  }

  static async start(options: EngineOptions): Promise<Engine> {
    const stats = new StatsStore(() => {});
    const finished: StreamInfo[] = [];
    const clusterConfigs = options.clusters ?? [];
    const clusters = new ClusterSet(clusterConfigs, stats);
    await clusters.start();
    const limit = options.bufferLimitBytes ?? 1024 * 1024;
    const factories = options.filters ?? [];
    const http: HttpEnvironment = {
      stats,
      upstreams: clusters,
      clusterConfig: (name) => clusters.get(name)?.config,
      runtime: {},
      node: { id: "", cluster: "", zone: "", region: "", subZone: "", metadata: {}, serialized: new Uint8Array(0) },
      filterFactory: (config) => factories[config.plugin]!,
      accessLog: () => new Recorder(finished, stats),
    };
    const managerOf = ({ filters: [filter] }: FilterChainConfig): ConnectionManager =>
      new ConnectionManager("hcm", (filter as ManagerFilter).hcm, limit, http);
    const config_ = managed({ ...listenerConfig(limit), ...options.listener }, options);
    const listeners = new ListenerSet(
      [config_],
      environment(
        stats,
        (made) => [...(options.networkFilters ?? []), managerOf(made)],
        options.log === undefined ? {} : { log: options.log },
      ),
    );
    await listeners.start();
    return new Engine(options, config_, { listeners, clusters }, { stats, finished });
  }

  counter(name: string): number {
    return this.stats.counter(name).value;
  }

  async drain(ms: number): Promise<void> {
    await this.#listeners.drain(ms);
  }

  close(): void {
    this.#listeners.close();
    this.#clusters.close();
  }
}

/** Records streams instead of writing lines. */
class Recorder extends AccessLog {
  readonly #finished: StreamInfo[];
  constructor(finished: StreamInfo[], stats: StatsStore) {
    super([], stats);
    this.#finished = finished;
  }
  override log(info: StreamInfo): void {
    this.#finished.push(info);
  }
}

type ManagerFilter = Extract<NetworkFilterConfig, { kind: "http_connection_manager" }>;

/** With a connection manager in each chain. */
function managed(listener: ListenerConfig, options: EngineOptions): ListenerConfig {
  const hcm = managerConfig(options, options.filters ?? []);
  const filters: ManagerFilter[] = [{ kind: "http_connection_manager", name: "hcm", hcm }];
  return { ...listener, filterChains: listener.filterChains.map((one) => ({ ...one, filters })) };
}

function listenerConfig(limit: number): ListenerConfig {
  const address: Address = { kind: "ip", host: "127.0.0.1", port: 0, ipv4Compat: false };
  return config(address, {
    name: "test",
    statPrefix: "test",
    perConnectionBufferLimitBytes: limit,
    trafficDirection: 0,
  });
}

function managerConfig(options: EngineOptions, factories: readonly HttpFilterFactory[]): HttpConnectionManagerConfig {
  return {
    statPrefix: "test",
    codecType: "AUTO",
    routeConfig: {
      name: "",
      virtualHosts: [
        {
          name: "all",
          domains: ["*"],
          routes: options.routes,
          requireTls: "NONE",
          requestHeaders: NO_MUTATION,
          responseHeaders: NO_MUTATION,
          rateLimits: [],
          retryPolicy: undefined,
          includeRequestAttemptCount: false,
          includeAttemptCountInResponse: false,
          perFilter: {},
          ...options.virtualHost,
        },
      ],
      requestHeaders: NO_MUTATION,
      responseHeaders: NO_MUTATION,
      internalOnlyHeaders: [],
      mostSpecificHeaderMutationsWins: false,
      ignorePortInHostMatching: false,
      perFilter: {},
    },
    httpFilters: [
      ...factories.map((factory, plugin) => ({ kind: "wasm" as const, name: factory.name, disabled: false, plugin })),
      { kind: "router", name: "router", disabled: false, suppressEnvoyHeaders: false, respectExpectedRqTimeout: false },
    ],
    serverName: "envoy",
    serverHeaderTransformation: "OVERWRITE",
    via: "",
    useRemoteAddress: false,
    xffNumTrustedHops: 0,
    skipXffAppend: false,
    generateRequestId: true,
    preserveExternalRequestId: false,
    alwaysSetRequestIdInResponse: false,
    addUserAgent: false,
    proxy100Continue: false,
    maxRequestHeadersBytes: 60 * 1024,
    maxHeadersCount: 100,
    streamIdleTimeoutMs: 300_000,
    requestTimeoutMs: 0,
    requestHeadersTimeoutMs: 0,
    idleTimeoutMs: 3_600_000,
    maxConnectionDurationMs: 0,
    maxStreamDurationMs: 0,
    delayedCloseTimeoutMs: 1000,
    drainTimeoutMs: 5000,
    maxRequestsPerConnection: 0,
    headersWithUnderscores: "ALLOW",
    acceptHttp10: false,
    defaultHostForHttp10: "",
    enableTrailers: false,
    normalizePath: false,
    mergeSlashes: false,
    stripPort: "none",
    stripTrailingHostDot: false,
    internalCidrs: [],
    upgrades: [],
    accessLogs: [],
    ...options.manager,
  };
}

/** A raw downstream connection: sends text, collects what comes back. */
export class Downstream {
  readonly socket: Socket;
  received = "";
  closed = false;
  #waiters: (() => void)[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    const wake = (): void => {
      const waiters = this.#waiters;
      this.#waiters = [];
      for (const waiter of waiters) waiter();
    };
    socket.on("data", (data: Buffer) => {
      this.received += data.toString("latin1");
      wake();
    });
    socket.on("close", () => {
      this.closed = true;
      wake();
    });
    socket.on("error", wake);
  }

  static async open(port: number): Promise<Downstream> {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    await once(socket, "connect");
    return new Downstream(socket);
  }

  send(text: string): void {
    this.socket.write(text, "latin1");
  }

  /** Resolves when `test` holds for what was received, or the connection has ended. */
  async until(test: (received: string) => boolean): Promise<string> {
    while (!test(this.received) && !this.closed) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    return this.received;
  }

  /** Resolves when the other side has closed; `allowHalfOpen` is answered by closing too. */
  async end(): Promise<string> {
    this.socket.once("end", () => this.socket.end());
    if (this.socket.readableEnded) this.socket.end();
    await this.until(() => false);
    return this.received;
  }

  close(): void {
    this.socket.destroy();
  }
}

/** One request on a connection of its own; resolves with everything that came until the proxy closed. */
export async function exchange(port: number, text: string): Promise<string> {
  const downstream = await Downstream.open(port);
  downstream.send(text);
  const received = await downstream.end();
  downstream.close();
  return received;
}

/** An HTTP/2 client with prior knowledge. */
export function h2Client(t: TestContext, port: number): ClientHttp2Session {
  const session = connectH2(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  t.after(() => session.destroy());
  return session;
}

/** A filter of request headers alone; `onHeaders` answers with a HeadersStatus. */
export function headersFilter(
  name: string,
  onHeaders: (headers: HeaderMap, endStream: boolean, stream: StreamView) => number,
): HttpFilterFactory {
  return {
    name,
    phases: Phase.REQUEST_HEADERS,
    create: (stream) => ({
      onRequestHeaders: (headers, endStream) => onHeaders(headers, endStream, stream),
      onRequestData: () => 0,
      onRequestTrailers: () => 0,
      onResponseHeaders: () => 0,
      onResponseData: () => 0,
      onResponseTrailers: () => 0,
      onLog: () => {},
      onDestroy: () => {},
    }),
  };
}
