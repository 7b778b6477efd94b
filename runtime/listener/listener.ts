/**
 * One listener of one worker: its sockets, its filter chains, and the connections they serve. A socket is accepted
 * (`listening-socket.ts`), admitted (`admission.ts`), goes through the listener filters (`filter-pipeline.ts`), gets the
 * chain that matches (`served-chains.ts`), and becomes a connection (`connection.ts`).
 * Life: bind → open → (accept) → drain → destroy.
 */
import type { Socket } from "node:net";
import type { FilterChainConfig, ListenerConfig } from "../config/snapshot.ts";
import { ResponseFlag } from "../errors.ts";
import { TLS_HANDSHAKE_TIMEOUT_MS } from "../limits.ts";
import type { StreamLog } from "../observe/access-log.ts";
import { StreamInfo } from "../observe/stream-info.ts";
import type { ConnectionInfo } from "../observe/stream-info.ts";
import { DownstreamTls, type HandshakeFailure } from "../tls/downstream.ts";
import type { AddressBook } from "./address-book.ts";
import { Admission } from "./admission.ts";
import { connectionInfo } from "./connection-info.ts";
import { DownstreamConnection } from "./connection.ts";
import type { ConnectionOwner } from "./connection.ts";
import { Departures } from "./departures.ts";
import type { Departure, ListenerDrain } from "./departures.ts";
import type { ListenerEnvironment } from "./environment.ts";
import { FilterPipeline } from "./filter-pipeline.ts";
import type { SocketOwner } from "./filter-pipeline.ts";
import { SocketFacts } from "./listener-filter.ts";
import { listenerFilters } from "./listener-filters.ts";
import { ListenerSockets } from "./listener-sockets.ts";
import { ListenerStats } from "./listener-stats.ts";
import type { ListeningSocket, SocketTaker } from "./listening-socket.ts";
import { closeDescriptor } from "./native-sockets.ts";
import { unpack } from "./peers.ts";
import type { SocketParcel } from "./peers.ts";
import { askToLeave, inherit, isUnused, pluginsIn, ServedChains } from "./served-chains.ts";
import type { ServedChain } from "./served-chains.ts";

export class Listener implements ConnectionOwner, SocketOwner, SocketTaker {
  #config: ListenerConfig;
  readonly #environment: ListenerEnvironment;
  #chains: ServedChains;
  readonly #pipeline: FilterPipeline;
  #accessLog: StreamLog | undefined;
  readonly #sockets: ListenerSockets;
  readonly #admission: Admission;
  readonly #connections = new Set<DownstreamConnection>();
  readonly #stats: ListenerStats;
  readonly #book: AddressBook<Listener>;
  #idle: (() => void) | null = null;
  /** Sockets and connections that are this listener's to look after. */
  #cared = 0;
  readonly #departures = new Departures();
  readonly #onIdle = (): void => this.#departures.note();
  #destroyed = false;

  /** Builds chains at once, so that a chain that cannot be built throws here; binds nothing yet. */
  constructor(config: ListenerConfig, environment: ListenerEnvironment, book: AddressBook<Listener>) {
    this.#config = config;
    this.#environment = environment;
    this.#book = book;
    const { stats, workerIndex } = environment;
    this.#chains = new ServedChains(config, this.#makeChain);
    this.#pipeline = new FilterPipeline(config, stats, {
      filters: listenerFilters(config, stats),
      log: (message) => environment.log("debug", message),
    });
    this.#accessLog = environment.accessLog(config.accessLogs);
    this.#stats = new ListenerStats(config.statPrefix, workerIndex, stats);
    this.#sockets = new ListenerSockets(config, environment);
    this.#admission = new Admission(config, environment, this.#stats);
  }

  get config(): ListenerConfig {
    return this.#config;
  }

  /** Its listening sockets: another listener may take them over, once this one retires. */
  get sockets(): ListenerSockets {
    return this.#sockets;
  }

  get tls(): readonly DownstreamTls[] {
    return this.#chains.all.flatMap(({ tls }) => tls ?? []);
  }

  /** Accepts on what was bound. */
  open(): void {
    this.#admission.join();
    this.#sockets.start(this, (address, port) => this.#book.add(address, port, this));
  }

  /** Gives up what was bound and not opened, but for sockets that others have. */
  abandon(existing: ReadonlyMap<string, ListeningSocket>): void {
    this.#sockets.abandon(existing);
    this.destroy();
  }

  /** The chains of a configuration that differs in nothing else; those that are the same are taken over. May throw. */
  prepareChains(config: ListenerConfig): ServedChains {
    return new ServedChains(config, this.#makeChain, this.#chains);
  }

  /** Gives prepared chains up. */
  abandonChains(chains: ServedChains): void {
    for (const { tls } of chains.all) if (!this.#chains.has(tls)) tls?.close();
  }

  /** Puts prepared chains in force. Connections of chains that are gone go on with what replaced them, or drain. */
  replaceChains(config: ListenerConfig, chains: ServedChains, drain: ListenerDrain): Departure {
    const before = this.#chains;
    const gone = before.all.filter((chain) => !chains.all.includes(chain));
    this.#config = config;
    this.#chains = chains;
    chains.succeed(before, this.#onIdle);
    for (const connection of this.#connections) inherit(connection);
    const retired = gone.filter(({ heir }) => heir === null);
    const left = this.#drain(retired, () => gone.every(isUnused), drain).then(() => {
      for (const connection of this.#connections) if (retired.includes(connection.chain)) connection.destroy();
      for (const { tls } of gone) if (!this.#chains.has(tls)) tls?.close();
    });
    return { plugins: pluginsIn(gone, config), gone: left };
  }

  /** Another listener has its place, and its sockets as far as `kept` says. */
  retire(kept: ReadonlySet<ListeningSocket>, drain: ListenerDrain): Departure {
    this.#book.remove(this);
    this.#sockets.close(kept);
    const { all } = this.#chains;
    const left = this.#drain(all, () => this.#cared === 0, drain).then(() => this.destroy());
    return { plugins: pluginsIn(all, this.#config), gone: left };
  }

  /** Asks connections of these chains to leave; resolves once `gone` says so, or when they have taken too long. */
  async #drain(chains: readonly ServedChain[], gone: () => boolean, { overMs, endMs }: ListenerDrain): Promise<void> {
    askToLeave(chains, overMs, this.#onIdle);
    this.#stats.chainsDraining.add(chains.length);
    await this.#departures.until(gone, endMs);
    this.#stats.chainsDraining.add(-chains.length);
  }

  /** A socket that another listener hands over, because its restored destination is an address of this one. */
  take(socket: Socket, facts: SocketFacts): void {
    facts.handedOver = true;
    this.#admit(socket, facts);
  }

  /** A socket that this worker gave to another, which was lost before it took it. */
  takeBack(parcel: SocketParcel): void {
    this.#admission.takeBack();
    this.receive(parcel);
  }

  /** A socket that another worker accepted, and counted here. */
  receive(parcel: SocketParcel): void {
    let socket: Socket;
    try {
      socket = unpack(parcel);
    } catch (error) {
      // A peer that was gone before it arrived: the descriptor can be used no more.
      this.#environment.log("debug", `listener ${this.#config.name}: cannot take a socket over: ${String(error)}`);
      closeDescriptor(parcel.descriptor);
      this.#admission.lose();
      return;
    }
    this.#begin(socket, Object.assign(new SocketFacts(socket), parcel.facts));
  }

  /** Another process has the sockets and goes on accepting. What is under way here may still be handed to this listener. */
  handOver(): void {
    this.#sockets.handOver();
  }

  stopAccepting(): void {
    this.#book.remove(this);
    this.#sockets.close();
  }

  /** Resolves when the last connection is gone. */
  drain(): Promise<void> {
    this.stopAccepting();
    this.#pipeline.close();
    for (const connection of this.#connections) connection.drain();
    if (this.#connections.size === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#idle = resolve));
  }

  /** Connections that are past the listener filters. */
  get openConnections(): number {
    return this.#connections.size;
  }

  destroy(): void {
    this.stopAccepting();
    this.#pipeline.close();
    for (const { tls } of this.#chains.all) tls?.close();
    for (const connection of this.#connections) connection.destroy();
    this.#destroyed = true;
    if (this.#connections.size === 0) this.#closeLog();
  }

  onConnectionClosed(connection: DownstreamConnection): void {
    this.#connections.delete(connection);
    connection.chain.users--;
    this.#letGo();
    this.#stats.onClosed(performance.now() - connection.startMs);
    if (this.#accessLog !== undefined) this.#accessLog.log(connection.stream);
    if (this.#connections.size > 0) return;
    if (this.#idle !== null) this.#idle();
    if (this.#destroyed) this.#closeLog();
  }

  onFiltered(socket: Socket, facts: SocketFacts): void {
    if (this.#config.useOriginalDst && facts.localRestored && !facts.handedOver) {
      const owner = this.#book.find(facts.localIp, facts.localPort);
      if (owner !== undefined && owner !== this) {
        this.#letGo();
        owner.take(socket, facts);
        return;
      }
    }
    // On a transparent listener every connection looks redirected. One to its own port was not: passed on to where it
    // wanted to go it would come back here, again and again.
    if (facts.unmoved && this.#sockets.bound.some(({ port }) => port === facts.localPort)) facts.localRestored = false;
    this.#choose(socket, facts);
  }

  onRefused(): void {
    this.#letGo();
  }

  onAccepted(socket: Socket): void {
    if (this.#admission.isFull()) socket.destroy();
    else this.#admit(socket, null);
  }

  #admit(socket: Socket, facts: SocketFacts | null): void {
    if (this.#admission.keeps(socket, facts)) this.#begin(socket, facts ?? new SocketFacts(socket));
  }

  #begin(socket: Socket, facts: SocketFacts): void {
    this.#admission.begin();
    this.#cared++;
    this.#pipeline.run(socket, facts, this);
  }

  #letGo(): void {
    this.#admission.end();
    this.#cared--;
    this.#departures.note();
  }

  /** Gives a socket that passed the listener filters to the chain that matches it. */
  #choose(socket: Socket, facts: SocketFacts): void {
    if (facts.transportProtocol === "") facts.transportProtocol = "raw_buffer";
    const chain = this.#chains.find(facts);
    if (chain === null) {
      this.#stats.noFilterChainMatch.inc();
      this.#letGo();
      if (this.#accessLog !== undefined)
        this.#recordRefusal(connectionInfo(facts, this.#config, ""), "filter_chain_not_found");
      socket.destroy();
      return;
    }
    this.#stats.onConnection();
    chain.users++;
    const startMs = performance.now();
    const { name } = chain.config;
    if (chain.tls === null) {
      this.#serve(socket, connectionInfo(facts, this.#config, name), chain, startMs);
      return;
    }
    chain.tls.accept(socket, facts.serverName, {
      onSecure: (secured, secure) =>
        this.#serve(secured, connectionInfo(facts, this.#config, name, secure), chain, startMs),
      onFailed: (failure) => {
        chain.users--;
        this.#endHandshake(connectionInfo(facts, this.#config, name), failure, startMs);
      },
    });
  }

  #serve(socket: Socket, info: ConnectionInfo, chain: ServedChain, startMs: number): void {
    const { perConnectionBufferLimitBytes } = this.#config;
    const service = { owner: this, chain, startMs };
    const connection = new DownstreamConnection(socket, info, perConnectionBufferLimitBytes, service);
    // Its handshake took until another chain had taken the place of this one.
    inherit(connection);
    this.#connections.add(connection);
    connection.start();
    // The same, for a drain.
    if (this.#idle !== null) connection.drain();
  }

  readonly #makeChain = (chain: FilterChainConfig, tls: DownstreamTls | null): ServedChain => ({
    config: chain,
    factories: this.#environment.chainFactories(chain, this.#config),
    tls: tls ?? this.#createTls(chain),
    users: 0,
    heir: null,
  });

  #createTls(chain: FilterChainConfig): DownstreamTls | null {
    if (chain.tls === undefined) return null;
    const { log } = this.#environment;
    return new DownstreamTls(chain.tls, {
      ...this.#environment,
      statPrefix: `listener.${this.#config.statPrefix}.`,
      handshakeTimeoutMs: chain.transportConnectTimeoutMs || TLS_HANDSHAKE_TIMEOUT_MS,
      log: (level, message) => log(level, `listener ${this.#config.name}: ${message}`),
    });
  }

  /** A connection that ended before its TLS began. */
  #endHandshake(connection: ConnectionInfo, { reason, timedOut }: HandshakeFailure, startMs: number): void {
    this.#letGo();
    if (timedOut) this.#stats.handshakeTimeout.inc();
    this.#stats.onClosed(performance.now() - startMs);
    if (reason !== "") this.#environment.log("debug", `listener ${this.#config.name}: TLS handshake failed: ${reason}`);
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
