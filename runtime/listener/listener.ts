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
import { TLS_HANDSHAKE_TIMEOUT_MS } from "../limits.ts";
import type { NetworkFilterFactory } from "../network/filter.ts";
import type { StreamLog } from "../observe/access-log.ts";
import type { Counter, Gauge, Histogram, Stats } from "../observe/stats.ts";
import { StreamInfo } from "../observe/stream-info.ts";
import type { ConnectionInfo } from "../observe/stream-info.ts";
import { DownstreamTls, type HandshakeFailure } from "../tls/downstream.ts";
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
  /** Null: plain bytes. */
  readonly tls: DownstreamTls | null;
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
  readonly #handshakeTimeout: Counter;
  readonly #secured: DownstreamTls[] = [];
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
      tls: this.#createTls(chain),
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
    this.#handshakeTimeout = stats.counter(`${prefix}downstream_cx_transport_socket_connect_timeout`);
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
    for (const tls of this.#secured) tls.close();
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
    const startMs = performance.now();
    const { name } = chain.config;
    if (chain.tls === null) {
      this.#serve(socket, connectionInfo(facts, this.config, name), chain, startMs);
      return;
    }
    chain.tls.accept(socket, facts.serverName, {
      onSecure: (secured, secure) =>
        this.#serve(secured, connectionInfo(facts, this.config, name, secure), chain, startMs),
      onFailed: (failure) => this.#endHandshake(connectionInfo(facts, this.config, name), failure, startMs),
    });
  }

  #serve(socket: Socket, info: ConnectionInfo, chain: ServedChain, startMs: number): void {
    const connection = new DownstreamConnection(socket, info, this.config.perConnectionBufferLimitBytes, this);
    this.#connections.add(connection);
    this.#startTimes.set(connection, startMs);
    connection.start(chain.factories);
    // The handshake took until after the drain had begun.
    if (this.#idle !== null) connection.drain();
  }

  #createTls(chain: FilterChainConfig): DownstreamTls | null {
    if (chain.tls === undefined) return null;
    const { stats, log } = this.#environment;
    const tls = new DownstreamTls(chain.tls, {
      stats,
      statPrefix: `listener.${this.config.statPrefix}.`,
      handshakeTimeoutMs: chain.transportConnectTimeoutMs || TLS_HANDSHAKE_TIMEOUT_MS,
      log: (level, message) => log(level, `listener ${this.config.name}: ${message}`),
    });
    this.#secured.push(tls);
    return tls;
  }

  /** A connection that ended before its TLS began. */
  #endHandshake(connection: ConnectionInfo, { reason, timedOut }: HandshakeFailure, startMs: number): void {
    if (timedOut) this.#handshakeTimeout.inc();
    this.#cxActive.dec();
    this.#cxDestroy.inc();
    this.#cxLength.record(performance.now() - startMs);
    if (reason !== "") this.#environment.log("debug", `listener ${this.config.name}: TLS handshake failed: ${reason}`);
    if (this.#accessLog === undefined) return;
    const info = new StreamInfo(connection, connection.startTimeMs, startMs);
    info.protocol = "";
    info.completeMs = performance.now();
    info.downstreamTransportFailure = reason;
    this.#accessLog.log(info);
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
