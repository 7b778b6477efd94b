/** Listeners for tests: configurations, filters that answer at once, and short ways to talk to them. */
import { once } from "node:events";
import { connect } from "node:net";
import type { NetConnectOpts, Socket } from "node:net";
import type { TestContext } from "node:test";
import { readSecrets } from "../../runtime/config/secret-reader.ts";
import type { FilterChainMatch } from "../../runtime/config/listener-snapshot.ts";
import type { Address, FilterChainConfig, ListenerConfig } from "../../runtime/config/snapshot.ts";
import { ListenerSet } from "../../runtime/listener/listener-set.ts";
import { Peers } from "../../runtime/listener/peers.ts";
import type { ListenerEnvironment } from "../../runtime/listener/environment.ts";
import type { ConnectionView, NetworkFilterFactory, TerminalFilter } from "../../runtime/network/filter.ts";
import { AccessLog } from "../../runtime/observe/access-log.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";

/** Sends back what comes; ends when told to drain. */
export class Echo implements TerminalFilter {
  readonly #connection: ConnectionView;
  constructor(connection: ConnectionView) {
    this.#connection = connection;
  }
  onNewConnection(): void {}
  onData(data: Buffer, endStream: boolean): void {
    if (endStream) this.#connection.close(100);
    else if (data.toString() === "who") this.#connection.write(JSON.stringify(this.#connection.info));
    else if (data.toString() === "reset") this.#connection.reset();
    else this.#connection.write(Buffer.from(data));
  }
  onWritable(): void {}
  onDraining(): void {
    this.#connection.close(100);
  }
  onClose(): void {}
}

export const echo: NetworkFilterFactory = {
  name: "echo",
  terminal: true,
  create: (connection) => new Echo(connection),
};
export const ip = (host: string, port = 0, ipv4Compat = false): Address => ({ kind: "ip", host, port, ipv4Compat });

/** A filter chain for what `match` says, by default for everything. */
export function chain(name: string, match: Partial<FilterChainMatch> = {}): FilterChainConfig {
  return {
    name,
    match: {
      destinationPort: 0,
      prefixRanges: [],
      serverNames: [],
      transportProtocol: "",
      applicationProtocols: [],
      directSourcePrefixRanges: [],
      sourceType: "ANY",
      sourcePrefixRanges: [],
      sourcePorts: [],
      ...match,
    },
    filters: [],
  };
}

/** A listener of one chain that takes everything. */
export function config(address: Address, more: Partial<ListenerConfig> = {}): ListenerConfig {
  return {
    name: "l",
    address,
    additionalAddresses: [],
    statPrefix: "l",
    bindToPort: true,
    reusePort: true,
    backlog: 128,
    socket: { transparent: undefined, freebind: undefined, tcpFastOpenQueueLength: undefined, options: [] },
    connectionBalance: "none",
    useOriginalDst: false,
    ignoreGlobalConnectionLimit: false,
    drainsOnHealthCheckFail: true,
    perConnectionBufferLimitBytes: 1024,
    trafficDirection: 1,
    listenerFilters: [],
    listenerFiltersTimeoutMs: 15_000,
    continueOnListenerFiltersTimeout: false,
    filterChains: [chain("chain")],
    defaultFilterChain: undefined,
    accessLogs: [],
    ...more,
  };
}

/** What a worker would give its listeners. */
export function environment(
  stats: StatsStore,
  chainFactories: ListenerEnvironment["chainFactories"],
  more: Partial<ListenerEnvironment> = {},
): ListenerEnvironment {
  return {
    stats,
    chainFactories,
    accessLog: (configs) => (configs.length === 0 ? undefined : new AccessLog(configs, stats)),
    boundPorts: {},
    sharedSockets: {},
    inheritedSockets: {},
    workerIndex: 0,
    counts: {},
    peers: new Peers(0, { receive: () => {}, takeBack: () => {} }),
    maxConnections: Infinity,
    runtime: {},
    readSecrets,
    log: () => {},
    ...more,
  };
}

/** Starts listeners whose chains all have the filters given. */
export async function start(
  t: TestContext,
  listeners: readonly ListenerConfig[],
  factories: readonly NetworkFilterFactory[] = [echo],
  workerIndex = 0,
  stats = new StatsStore(() => {}),
  sharedSockets: ListenerEnvironment["sharedSockets"] = {},
): Promise<{ set: ListenerSet; stats: StatsStore }> {
  const set = new ListenerSet(
    listeners,
    environment(stats, () => factories, { workerIndex, sharedSockets }),
  );
  t.after(() => set.close());
  await set.start();
  return { set, stats };
}

/** The first bytes that come back. */
export async function say(options: NetConnectOpts, text: string): Promise<string> {
  const socket = await open(options);
  socket.write(text);
  const [data] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  return data.toString();
}

/** Resolves when the socket is closed, be it by an end or by a reset. */
export function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.on("error", () => {});
    if (socket.closed) resolve();
    else socket.once("close", () => resolve());
  });
}

export async function open(options: NetConnectOpts): Promise<Socket> {
  const socket = connect(options);
  await once(socket, "connect");
  return socket;
}
