/**
 * The listeners of one worker: one socket per address and worker (SO_REUSEPORT), accepted sockets become
 * connections with the filter chain of their listener. Life: start → (accept) → drain → close.
 */
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { createServer } from "node:net";
import type { ListenOptions, Server, Socket } from "node:net";
import type { Address, FilterChainConfig, ListenerConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { NetworkFilterFactory } from "../network/filter.ts";
import type { Counter, Gauge, Histogram, Stats } from "../observe/stats.ts";
import type { ConnectionInfo } from "../observe/stream-info.ts";
import { formatAddress, formatIpPort, plainIp } from "./address.ts";
import { DownstreamConnection } from "./connection.ts";
import type { ConnectionOwner } from "./connection.ts";

/** What listeners need from the worker. */
export interface ListenerEnvironment {
  readonly stats: Stats;
  /** Turns a configured chain into factories, terminal one last; called once per chain. */
  readonly chainFactories: (chain: FilterChainConfig, listener: ListenerConfig) => readonly NetworkFilterFactory[];
  /** Ports that another worker got for a configured port 0, by listener name and address index; `name/0`. */
  readonly boundPorts: Readonly<Record<string, number>>;
  /** A unix socket, or one without SO_REUSEPORT, can be bound once per process: worker 0 owns it. */
  readonly workerIndex: number;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/** A bound address, as told to the main thread. */
export interface BoundAddress {
  readonly name: string;
  readonly index: number;
  readonly address: string;
  readonly port: number;
}

/** envoy.config.core.v3.TrafficDirection. */
const INBOUND = 1;

let nextConnectionId = 1;

class Listener implements ConnectionOwner {
  readonly config: ListenerConfig;
  readonly #environment: ListenerEnvironment;
  readonly #chain: readonly NetworkFilterFactory[];
  readonly #chainName: string;
  readonly #servers: Server[] = [];
  readonly #connections = new Set<DownstreamConnection>();
  readonly #cxTotal: Counter;
  readonly #cxActive: Gauge;
  readonly #cxDestroy: Counter;
  readonly #cxLength: Histogram;
  readonly #startTimes = new WeakMap<DownstreamConnection, number>();
  #idle: (() => void) | null = null;

  constructor(config: ListenerConfig, environment: ListenerEnvironment) {
    this.config = config;
    this.#environment = environment;
    // Chain matching belongs to a later stage; configuration accepts exactly one chain for now.
    const chain = config.filterChains[0];
    if (chain === undefined)
      throw new ProxyError("NO_FILTER_CHAIN", "config", `listener ${config.name}: no filter chain`);
    this.#chainName = chain.name;
    this.#chain = environment.chainFactories(chain, config);
    const prefix = `listener.${config.statPrefix}.`;
    this.#cxTotal = environment.stats.counter(`${prefix}downstream_cx_total`);
    this.#cxActive = environment.stats.gauge(`${prefix}downstream_cx_active`);
    this.#cxDestroy = environment.stats.counter(`${prefix}downstream_cx_destroy`);
    this.#cxLength = environment.stats.histogram(`${prefix}downstream_cx_length_ms`);
  }

  async start(): Promise<BoundAddress[]> {
    const bound: BoundAddress[] = [];
    if (!this.config.bindToPort) return bound;
    const addresses = [this.config.address, ...this.config.additionalAddresses];
    for (const [index, address] of addresses.entries()) {
      if ((address.kind === "pipe" || !this.config.reusePort) && this.#environment.workerIndex !== 0) continue;
      const server = createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
        this.#accept(socket),
      );
      this.#servers.push(server);
      const given = this.#environment.boundPorts[`${this.config.name}/${index}`];
      await listen(server, address, given ?? 0, this.config);
      bound.push(describe(server, this.config.name, index, address));
    }
    return bound;
  }

  stopAccepting(): void {
    for (const server of this.#servers) server.close();
    this.#servers.length = 0;
  }

  /** Resolves when the last connection is gone. */
  drain(): Promise<void> {
    this.stopAccepting();
    for (const connection of this.#connections) connection.drain();
    if (this.#connections.size === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#idle = resolve));
  }

  destroy(): void {
    this.stopAccepting();
    for (const connection of this.#connections) connection.destroy();
  }

  onConnectionClosed(connection: DownstreamConnection): void {
    this.#connections.delete(connection);
    this.#cxActive.dec();
    this.#cxDestroy.inc();
    this.#cxLength.record(performance.now() - (this.#startTimes.get(connection) ?? performance.now()));
    if (this.#connections.size === 0 && this.#idle !== null) this.#idle();
  }

  #accept(socket: Socket): void {
    this.#cxTotal.inc();
    this.#cxActive.inc();
    const connection = new DownstreamConnection(
      socket,
      connectionInfo(socket, this.config, this.#chainName),
      this.config.perConnectionBufferLimitBytes,
      this,
    );
    this.#connections.add(connection);
    this.#startTimes.set(connection, performance.now());
    connection.start(this.#chain);
  }
}

/** Every listener of a worker. */
export class ListenerSet {
  readonly #listeners: Listener[];
  readonly #bound: BoundAddress[] = [];

  /** Builds chains at once, so that a chain that cannot be built throws here; binds nothing yet. */
  constructor(listeners: readonly ListenerConfig[], environment: ListenerEnvironment) {
    this.#listeners = listeners.map((config) => new Listener(config, environment));
  }

  /** Binds and accepts. Rejects with ProxyError BIND_FAILED that names listener and address. */
  async start(): Promise<void> {
    for (const listener of this.#listeners) this.#bound.push(...(await listener.start()));
  }

  get bound(): readonly BoundAddress[] {
    return this.#bound;
  }

  /** Stops accepting at once; connections live on. `inboundOnly`: only listeners of traffic direction INBOUND. */
  stopAccepting(inboundOnly: boolean): void {
    for (const listener of this.#listeners) {
      if (!inboundOnly || listener.config.trafficDirection === INBOUND) listener.stopAccepting();
    }
  }

  /** Stops accepting at once; waits for connections to finish, at most `ms`, then ends them. */
  async drain(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
    await Promise.race([Promise.all(this.#listeners.map((listener) => listener.drain())), deadline]);
    clearTimeout(timer);
    this.close();
  }

  /** Ends everything at once. */
  close(): void {
    for (const listener of this.#listeners) listener.destroy();
  }
}

function listen(server: Server, address: Address, givenPort: number, config: ListenerConfig): Promise<void> {
  const options: ListenOptions =
    address.kind === "pipe"
      ? { path: pipePath(address.path), backlog: config.backlog }
      : {
          host: address.host,
          port: address.port === 0 ? givenPort : address.port,
          backlog: config.backlog,
          reusePort: config.reusePort,
          ipv6Only: address.host.includes(":") && !address.ipv4Compat,
          exclusive: true,
        };
  return new Promise((resolve, reject) => {
    if (address.kind === "pipe") removeStaleSocket(address.path);
    server.once("error", (cause: NodeJS.ErrnoException) => {
      reject(
        new ProxyError(
          "BIND_FAILED",
          "config",
          `listener ${config.name}: cannot bind ${formatAddress(address)}: ${bindReason(cause)}`,
          cause,
        ),
      );
    });
    server.listen(options, () => {
      if (address.kind === "pipe" && address.mode > 0 && !address.path.startsWith("@"))
        chmodSync(address.path, address.mode);
      resolve();
    });
  });
}

function bindReason(cause: NodeJS.ErrnoException): string {
  if (cause.code === "EADDRINUSE") return "the address is in use (another process listens there)";
  if (cause.code === "EACCES") return "permission denied (ports below 1024 need a privilege)";
  if (cause.code === "EADDRNOTAVAIL") return "this machine has no such address";
  return cause.message;
}

/** A leading `@` names an abstract socket, which Node spells with a NUL. */
function pipePath(path: string): string {
  return path.startsWith("@") ? `\0${path.slice(1)}` : path;
}

/** A unix socket file outlives its process; only a socket is ever removed, never another file. */
function removeStaleSocket(path: string): void {
  if (path.startsWith("@")) return;
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.isSocket() === true) unlinkSync(path);
}

function describe(server: Server, name: string, index: number, address: Address): BoundAddress {
  const bound = server.address();
  if (bound === null || typeof bound === "string") return { name, index, address: formatAddress(address), port: 0 };
  return { name, index, address: formatIpPort(bound.address, bound.port), port: bound.port };
}

function connectionInfo(socket: Socket, config: ListenerConfig, filterChainName: string): ConnectionInfo {
  const pipe = socket.remoteAddress === undefined;
  const remoteIp = pipe ? "" : plainIp(socket.remoteAddress);
  return {
    id: nextConnectionId++,
    listenerName: config.name,
    direction: config.trafficDirection,
    filterChainName,
    directRemoteAddress: pipe ? formatAddress(config.address) : formatIpPort(remoteIp, socket.remotePort ?? 0),
    directRemoteIp: remoteIp,
    localAddress: pipe
      ? formatAddress(config.address)
      : formatIpPort(plainIp(socket.localAddress ?? ""), socket.localPort ?? 0),
    serverName: "",
    tls: false,
    startTimeMs: Date.now(),
  };
}
