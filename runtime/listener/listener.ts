/**
 * One listener of one worker: its sockets, its filter chains, and the connections they serve. An accepted
 * socket goes through the listener filters, gets the chain that matches, and becomes a connection.
 * Life: start → (accept) → drain → destroy.
 */
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { FilterChainTree } from "../config/filter-chain-tree.ts";
import type { FilterChainConfig, ListenerConfig, Snapshot } from "../config/snapshot.ts";
import { ProxyError, ResponseFlag } from "../errors.ts";
import { TLS_HANDSHAKE_TIMEOUT_MS } from "../limits.ts";
import type { NetworkFilterFactory } from "../network/filter.ts";
import type { StreamLog } from "../observe/access-log.ts";
import type { Stats } from "../observe/stats.ts";
import { StreamInfo } from "../observe/stream-info.ts";
import type { ConnectionInfo } from "../observe/stream-info.ts";
import { DownstreamTls, type HandshakeFailure } from "../tls/downstream.ts";
import type { AddressBook } from "./address-book.ts";
import { describe, hasOwnSocket, listen } from "./bind.ts";
import type { BoundAddress } from "./bind.ts";
import { connectionInfo } from "./connection-info.ts";
import { DownstreamConnection } from "./connection.ts";
import type { ConnectionOwner } from "./connection.ts";
import { FilterPipeline } from "./filter-pipeline.ts";
import type { SocketOwner } from "./filter-pipeline.ts";
import { SocketFacts } from "./listener-filter.ts";
import { listenerFilters } from "./listener-filters.ts";
import { ListenerStats } from "./listener-stats.ts";
import { closeDescriptor } from "./native-sockets.ts";
import { unpack } from "./peers.ts";
import type { Peers, SocketParcel } from "./peers.ts";
import { SocketCounts } from "./socket-counts.ts";

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
  /** Where sockets are counted across workers: by name of listener, and for {@link ALL_LISTENERS}. */
  readonly counts: Readonly<Record<string, SharedArrayBuffer>>;
  /** Where other workers are reached. */
  readonly peers: Peers;
  /** Downstream connections of the process at most; Infinity: any number. */
  readonly maxConnections: number;
  readonly runtime: Snapshot["runtime"];
  readonly log: (level: "debug" | "info" | "warn" | "error", message: string) => void;
}

/** The key of all listeners' counts; a listener's name is never empty. */
export const ALL_LISTENERS = "";

/** A filter chain with what it makes. */
interface ServedChain {
  readonly config: FilterChainConfig;
  readonly factories: readonly NetworkFilterFactory[];
  /** Null: plain bytes. */
  readonly tls: DownstreamTls | null;
}

export class Listener implements ConnectionOwner, SocketOwner {
  readonly config: ListenerConfig;
  readonly #environment: ListenerEnvironment;
  readonly #chains = new FilterChainTree<ServedChain>();
  readonly #defaultChain: ServedChain | null;
  readonly #pipeline: FilterPipeline;
  #accessLog: StreamLog | undefined;
  readonly #servers: Server[] = [];
  readonly #connections = new Set<DownstreamConnection>();
  readonly #stats: ListenerStats;
  readonly #secured: DownstreamTls[] = [];
  readonly #book: AddressBook<Listener>;
  readonly #connectionLimit: number;
  /** Sockets of this listener and of all; shared with the other workers from `start` on. */
  #counts: SocketCounts;
  #allCounts: SocketCounts;
  readonly #startTimes = new WeakMap<DownstreamConnection, number>();
  #idle: (() => void) | null = null;
  #destroyed = false;

  /** Builds chains at once, so that a chain that cannot be built throws here; binds nothing yet. */
  constructor(config: ListenerConfig, environment: ListenerEnvironment, book: AddressBook<Listener>) {
    this.config = config;
    this.#environment = environment;
    this.#book = book;
    const { stats, runtime, workerIndex } = environment;
    const limit = runtime[`envoy.resource_limits.listener.${config.name}.connection_limit`];
    this.#connectionLimit = typeof limit === "number" ? limit : Infinity;
    this.#counts = new SocketCounts(SocketCounts.room(workerIndex + 1), workerIndex);
    this.#allCounts = new SocketCounts(SocketCounts.room(workerIndex + 1), workerIndex);
    const serve = (chain: FilterChainConfig): ServedChain => ({
      config: chain,
      factories: environment.chainFactories(chain, config),
      tls: this.#createTls(chain),
    });
    for (const chain of config.filterChains) this.#chains.add(chain.match, serve(chain));
    this.#defaultChain = config.defaultFilterChain === undefined ? null : serve(config.defaultFilterChain);
    this.#pipeline = new FilterPipeline(config, stats, {
      filters: listenerFilters(config, stats),
      log: (message) => environment.log("debug", message),
    });
    this.#accessLog = environment.accessLog(config.accessLogs);
    this.#stats = new ListenerStats(config.statPrefix, workerIndex, stats);
  }

  /** Binds and accepts. Rejects with ProxyError BIND_FAILED that names listener and address. */
  async start(): Promise<BoundAddress[]> {
    this.#joinCounts();
    const bound: BoundAddress[] = [];
    const addresses = [this.config.address, ...this.config.additionalAddresses];
    for (const [index, address] of addresses.entries()) {
      if (!this.config.bindToPort) {
        this.#book.add(address, address.kind === "ip" ? address.port : 0, this);
        continue;
      }
      const key = `${this.config.name}/${index}`;
      const shared = this.#environment.sharedSockets[key];
      if (shared === undefined && !hasOwnSocket(this.config, address) && this.#environment.workerIndex !== 0) continue;
      const server = createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
        this.#accept(socket),
      );
      this.#servers.push(server);
      const givenPort = this.#environment.boundPorts[key] ?? 0;
      await listen(server, address, this.config, { index, givenPort, shared });
      const place = describe(server, index, address, this.config);
      bound.push(place);
      this.#book.add(address, place.port, this);
    }
    return bound;
  }

  /** A socket that another listener hands over, because its restored destination is an address of this one. */
  take(socket: Socket, facts: SocketFacts): void {
    facts.handedOver = true;
    this.#balance(socket, facts);
  }

  /** A socket that this worker gave to another, which was lost before it took it. */
  takeBack(parcel: SocketParcel): void {
    this.#counts.enter();
    this.receive(parcel);
  }

  /** A socket that another worker accepted, and counted here. */
  receive(parcel: SocketParcel): void {
    let socket: Socket;
    try {
      socket = unpack(parcel);
    } catch (error) {
      // A peer that was gone before it arrived: the descriptor can be used no more.
      this.#environment.log("debug", `listener ${this.config.name}: cannot take a socket over: ${String(error)}`);
      closeDescriptor(parcel.descriptor);
      this.#counts.leave();
      return;
    }
    this.#allCounts.enter();
    this.#pipeline.run(socket, Object.assign(new SocketFacts(socket), parcel.facts), this);
  }

  stopAccepting(): void {
    this.#book.remove(this);
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
    this.#letGo();
    const startMs = this.#startTimes.get(connection) ?? performance.now();
    this.#stats.onClosed(performance.now() - startMs);
    if (this.#accessLog !== undefined) this.#accessLog.log(connection.stream);
    if (this.#connections.size > 0) return;
    if (this.#idle !== null) this.#idle();
    if (this.#destroyed) this.#closeLog();
  }

  onFiltered(socket: Socket, facts: SocketFacts): void {
    if (this.config.useOriginalDst && facts.localRestored && !facts.handedOver) {
      const owner = this.#book.find(facts.localIp, facts.localPort);
      if (owner !== undefined && owner !== this) {
        this.#letGo();
        owner.take(socket, facts);
        return;
      }
    }
    this.#choose(socket, facts);
  }

  onRefused(): void {
    this.#letGo();
  }

  #joinCounts(): void {
    const { counts, workerIndex } = this.#environment;
    const own = counts[this.config.name];
    const all = counts[ALL_LISTENERS];
    if (own !== undefined) this.#counts = new SocketCounts(own, workerIndex);
    if (all !== undefined) this.#allCounts = new SocketCounts(all, workerIndex);
  }

  #accept(socket: Socket): void {
    if (this.#isFull()) socket.destroy();
    else this.#balance(socket, null);
  }

  /** Limits hold for accepted sockets of all workers; a socket that is handed over has passed them. */
  #isFull(): boolean {
    const { maxConnections } = this.#environment;
    if (maxConnections < Infinity && !this.config.ignoreGlobalConnectionLimit) {
      if (this.#allCounts.total() >= maxConnections) {
        this.#stats.globalCxOverflow.inc();
        return true;
      }
    }
    if (this.#connectionLimit === Infinity || this.#counts.total() < this.#connectionLimit) return false;
    this.#stats.cxOverflow.inc();
    return true;
  }

  /** Keeps a socket, or gives it to the worker that has the fewest. */
  #balance(socket: Socket, facts: SocketFacts | null): void {
    const { peers, workerIndex } = this.#environment;
    if (this.config.connectionBalance === "none") this.#counts.enter();
    else {
      const worker = this.#counts.enterFewest(peers.reachable);
      if (worker !== workerIndex && this.#give(worker, socket, facts)) return;
    }
    this.#allCounts.enter();
    this.#pipeline.run(socket, facts ?? new SocketFacts(socket), this);
  }

  /** False when the socket cannot be given away; then it is counted here. */
  #give(worker: number, socket: Socket, facts: SocketFacts | null): boolean {
    try {
      this.#environment.peers.give(worker, this.config.name, socket, facts);
      return true;
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      this.#environment.log("warn", `listener ${this.config.name}: a connection stays where it is: ${error.message}`);
      this.#counts.undo(worker);
      this.#counts.enter();
      return false;
    }
  }

  #letGo(): void {
    this.#counts.leave();
    this.#allCounts.leave();
  }

  /** Gives a socket that passed the listener filters to the chain that matches it. */
  #choose(socket: Socket, facts: SocketFacts): void {
    if (facts.transportProtocol === "") facts.transportProtocol = "raw_buffer";
    const chain = this.#chains.find(facts) ?? this.#defaultChain;
    if (chain === null) {
      this.#stats.noFilterChainMatch.inc();
      this.#letGo();
      if (this.#accessLog !== undefined)
        this.#recordRefusal(connectionInfo(facts, this.config, ""), "filter_chain_not_found");
      socket.destroy();
      return;
    }
    this.#stats.onConnection();
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
    this.#letGo();
    if (timedOut) this.#stats.handshakeTimeout.inc();
    this.#stats.onClosed(performance.now() - startMs);
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
