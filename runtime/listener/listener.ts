/**
 * One listener of one worker: its sockets, its filter chains, and the connections they serve. An accepted
 * socket goes through the listener filters, gets the chain that matches, and becomes a connection.
 * Life: start → (accept) → drain → destroy.
 */
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { FilterChainTree } from "../config/filter-chain-tree.ts";
import type { FilterChainConfig, ListenerConfig } from "../config/snapshot.ts";
import { ResponseFlag } from "../errors.ts";
import type { NetworkFilterFactory } from "../network/filter.ts";
import type { StreamLog } from "../observe/access-log.ts";
import type { Counter, Gauge, Histogram, Stats } from "../observe/stats.ts";
import { StreamInfo } from "../observe/stream-info.ts";
import type { ConnectionInfo } from "../observe/stream-info.ts";
import { describe, hasOwnSocket, listen } from "./bind.ts";
import type { BoundAddress } from "./bind.ts";
import { connectionInfo } from "./connection-info.ts";
import { DownstreamConnection } from "./connection.ts";
import type { ConnectionOwner } from "./connection.ts";
import { FilterPipeline } from "./filter-pipeline.ts";
import { SocketFacts } from "./listener-filter.ts";
import { listenerFilters } from "./listener-filters.ts";

/** What listeners need from the worker. */
export interface ListenerEnvironment {
  readonly stats: Stats;
  /** Turns a configured chain into factories, terminal one last; called once per chain. */
  readonly chainFactories: (chain: FilterChainConfig, listener: ListenerConfig) => readonly NetworkFilterFactory[];
  /** The access logs of a listener; undefined when it has none. */
  readonly accessLog: (configs: ListenerConfig["accessLogs"]) => StreamLog | undefined;
  /** Ports that another worker got for a configured port 0, by listener name and address index; `name/0`. */
  readonly boundPorts: Readonly<Record<string, number>>;
  /**
   * A unix socket, or one without SO_REUSEPORT, can be bound once per process: worker 0 does it, and all others
   * share it. Their descriptors, by the same names.
   */
  readonly sharedSockets: Readonly<Record<string, number>>;
  readonly workerIndex: number;
  readonly log: (level: "debug" | "info" | "warn" | "error", message: string) => void;
}

/** A filter chain with what it makes. */
interface ServedChain {
  readonly config: FilterChainConfig;
  readonly factories: readonly NetworkFilterFactory[];
}

export class Listener implements ConnectionOwner {
  readonly config: ListenerConfig;
  readonly #environment: ListenerEnvironment;
  readonly #chains = new FilterChainTree<ServedChain>();
  readonly #defaultChain: ServedChain | null;
  readonly #pipeline: FilterPipeline;
  #accessLog: StreamLog | undefined;
  readonly #servers: Server[] = [];
  readonly #connections = new Set<DownstreamConnection>();
  readonly #cxTotal: Counter;
  readonly #cxActive: Gauge;
  readonly #cxDestroy: Counter;
  readonly #cxLength: Histogram;
  readonly #noChain: Counter;
  readonly #startTimes = new WeakMap<DownstreamConnection, number>();
  readonly #onFiltered = (socket: Socket, facts: SocketFacts): void => this.#choose(socket, facts);
  #idle: (() => void) | null = null;
  #destroyed = false;

  /** Builds chains at once, so that a chain that cannot be built throws here; binds nothing yet. */
  constructor(config: ListenerConfig, environment: ListenerEnvironment) {
    this.config = config;
    this.#environment = environment;
    const { stats } = environment;
    const serve = (chain: FilterChainConfig): ServedChain => ({
      config: chain,
      factories: environment.chainFactories(chain, config),
    });
    for (const chain of config.filterChains) this.#chains.add(chain.match, serve(chain));
    this.#defaultChain = config.defaultFilterChain === undefined ? null : serve(config.defaultFilterChain);
    this.#pipeline = new FilterPipeline(config, stats, {
      filters: listenerFilters(config.listenerFilters, stats, `listener.${config.statPrefix}.`),
      log: (message) => environment.log("debug", message),
    });
    this.#accessLog = environment.accessLog(config.accessLogs);
    const prefix = `listener.${config.statPrefix}.`;
    this.#cxTotal = stats.counter(`${prefix}downstream_cx_total`);
    this.#cxActive = stats.gauge(`${prefix}downstream_cx_active`);
    this.#cxDestroy = stats.counter(`${prefix}downstream_cx_destroy`);
    this.#cxLength = stats.histogram(`${prefix}downstream_cx_length_ms`);
    this.#noChain = stats.counter(`${prefix}no_filter_chain_match`);
  }

  /** Binds and accepts. Rejects with ProxyError BIND_FAILED that names listener and address. */
  async start(): Promise<BoundAddress[]> {
    const bound: BoundAddress[] = [];
    if (!this.config.bindToPort) return bound;
    const addresses = [this.config.address, ...this.config.additionalAddresses];
    for (const [index, address] of addresses.entries()) {
      const key = `${this.config.name}/${index}`;
      const shared = this.#environment.sharedSockets[key];
      if (shared === undefined && !hasOwnSocket(this.config, address) && this.#environment.workerIndex !== 0) continue;
      const server = createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
        this.#accept(socket),
      );
      this.#servers.push(server);
      const givenPort = this.#environment.boundPorts[key] ?? 0;
      await listen(server, address, this.config, { index, givenPort, shared });
      bound.push(describe(server, index, address, this.config));
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
    this.#pipeline.close();
    for (const connection of this.#connections) connection.drain();
    if (this.#connections.size === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#idle = resolve));
  }

  destroy(): void {
    this.stopAccepting();
    this.#pipeline.close();
    for (const connection of this.#connections) connection.destroy();
    this.#destroyed = true;
    if (this.#connections.size === 0) this.#closeLog();
  }

  onConnectionClosed(connection: DownstreamConnection): void {
    this.#connections.delete(connection);
    this.#cxActive.dec();
    this.#cxDestroy.inc();
    const startMs = this.#startTimes.get(connection) ?? performance.now();
    this.#cxLength.record(performance.now() - startMs);
    if (this.#accessLog !== undefined) this.#accessLog.log(connection.stream);
    if (this.#connections.size > 0) return;
    if (this.#idle !== null) this.#idle();
    if (this.#destroyed) this.#closeLog();
  }

  #accept(socket: Socket): void {
    this.#pipeline.run(socket, new SocketFacts(socket), this.#onFiltered);
  }

  /** Gives a socket that passed the listener filters to the chain that matches it. */
  #choose(socket: Socket, facts: SocketFacts): void {
    if (facts.transportProtocol === "") facts.transportProtocol = "raw_buffer";
    const chain = this.#chains.find(facts) ?? this.#defaultChain;
    if (chain === null) {
      this.#noChain.inc();
      if (this.#accessLog !== undefined)
        this.#recordRefusal(connectionInfo(facts, this.config, ""), "filter_chain_not_found");
      socket.destroy();
      return;
    }
    this.#cxTotal.inc();
    this.#cxActive.inc();
    const connection = new DownstreamConnection(
      socket,
      connectionInfo(facts, this.config, chain.config.name),
      this.config.perConnectionBufferLimitBytes,
      this,
    );
    this.#connections.add(connection);
    this.#startTimes.set(connection, performance.now());
    connection.start(chain.factories);
  }

  /** Once no connection can write to it any more. */
  #closeLog(): void {
    this.#accessLog?.close();
    this.#accessLog = undefined;
  }

  /** Writes the access log of a socket that never became a connection. */
  #recordRefusal(connection: ConnectionInfo, details: string): void {
    const info = new StreamInfo(connection, connection.startTimeMs, performance.now());
    info.protocol = "";
    info.recordType = "NotSet";
    info.completeMs = info.startMs;
    info.setFlag(ResponseFlag.NR);
    info.responseCodeDetails = details;
    this.#accessLog!.log(info);
  }
}
