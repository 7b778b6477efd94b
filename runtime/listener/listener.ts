/**
 * One listener of one worker: its sockets, its filter chains, and the connections they serve. An accepted
 * socket goes through the listener filters, gets the chain that matches, and becomes a connection.
 * Life: start → (accept) → drain → destroy.
 */
import type { Socket } from "node:net";
import type { Address, FilterChainConfig, ListenerConfig, Snapshot } from "../config/snapshot.ts";
import { ProxyError, ResponseFlag } from "../errors.ts";
import { TLS_HANDSHAKE_TIMEOUT_MS } from "../limits.ts";
import type { NetworkFilterFactory } from "../network/filter.ts";
import type { StreamLog } from "../observe/access-log.ts";
import type { Stats } from "../observe/stats.ts";
import { StreamInfo } from "../observe/stream-info.ts";
import type { ConnectionInfo } from "../observe/stream-info.ts";
import { DownstreamTls, type DownstreamTlsEnvironment, type HandshakeFailure } from "../tls/downstream.ts";
import type { AddressBook } from "./address-book.ts";
import { formatAddress } from "./address.ts";
import { hasOwnSocket, setMode } from "./bind.ts";
import type { BoundAddress } from "./bind.ts";
import { connectionInfo } from "./connection-info.ts";
import { DownstreamConnection } from "./connection.ts";
import type { ConnectionOwner } from "./connection.ts";
import { Departures } from "./departures.ts";
import { FilterPipeline } from "./filter-pipeline.ts";
import type { SocketOwner } from "./filter-pipeline.ts";
import { SocketFacts } from "./listener-filter.ts";
import { listenerFilters } from "./listener-filters.ts";
import { ListenerStats } from "./listener-stats.ts";
import type { Departure, ListenerDrain } from "./listener-update.ts";
import { ListeningSocket, socketKey } from "./listening-socket.ts";
import type { SocketTaker } from "./listening-socket.ts";
import { closeDescriptor } from "./native-sockets.ts";
import { unpack } from "./peers.ts";
import type { Peers, SocketParcel } from "./peers.ts";
import { askToLeave, inherit, isUnused, pluginsIn, ServedChains } from "./served-chains.ts";
import type { ServedChain } from "./served-chains.ts";
import { SocketCounts } from "./socket-counts.ts";

/** What listeners need from the worker. */
export interface ListenerEnvironment extends Pick<DownstreamTlsEnvironment, "readSecrets"> {
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
  /** Listening sockets of the process before this one, by the same names; whoever binds one takes it out. */
  readonly inheritedSockets: Record<string, readonly number[]>;
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

export class Listener implements ConnectionOwner, SocketOwner, SocketTaker {
  #config: ListenerConfig;
  readonly #environment: ListenerEnvironment;
  #chains: ServedChains;
  readonly #pipeline: FilterPipeline;
  #accessLog: StreamLog | undefined;
  #sockets: ListeningSocket[] = [];
  readonly #bound: BoundAddress[] = [];
  /** Bound for this listener, or taken over from another one, but not in use yet: by number of the address. */
  readonly #pending = new Map<number, ListeningSocket>();
  readonly #connections = new Set<DownstreamConnection>();
  readonly #stats: ListenerStats;
  readonly #book: AddressBook<Listener>;
  readonly #connectionLimit: number;
  /** Sockets of this listener and of all; shared with the other workers from `start` on. */
  #counts: SocketCounts;
  #allCounts: SocketCounts;
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
    const { stats, runtime, workerIndex } = environment;
    const limit = runtime[`envoy.resource_limits.listener.${config.name}.connection_limit`];
    this.#connectionLimit = typeof limit === "number" ? limit : Infinity;
    this.#counts = new SocketCounts(SocketCounts.room(workerIndex + 1), workerIndex);
    this.#allCounts = new SocketCounts(SocketCounts.room(workerIndex + 1), workerIndex);
    this.#chains = new ServedChains(config, this.#makeChain);
    this.#pipeline = new FilterPipeline(config, stats, {
      filters: listenerFilters(config, stats),
      log: (message) => environment.log("debug", message),
    });
    this.#accessLog = environment.accessLog(config.accessLogs);
    this.#stats = new ListenerStats(config.statPrefix, workerIndex, stats);
  }

  get config(): ListenerConfig {
    return this.#config;
  }

  /** Where it accepts. */
  get bound(): readonly BoundAddress[] {
    return this.#bound;
  }

  get tls(): readonly DownstreamTls[] {
    return this.#chains.all.flatMap(({ tls }) => tls ?? []);
  }

  /** Sockets that another listener may take over, once this one retires. */
  get sockets(): readonly ListeningSocket[] {
    return this.#sockets;
  }

  /**
   * Binds what it does not find among `existing` sockets, by key, but for what the process before this one had;
   * nothing is accepted yet. Rejects with ProxyError BIND_FAILED that names listener and address.
   */
  async bind(existing: ReadonlyMap<string, ListeningSocket>): Promise<void> {
    const { boundPorts, sharedSockets, inheritedSockets, workerIndex } = this.#environment;
    for (const [index, address] of this.#addresses().entries()) {
      if (!this.#config.bindToPort) continue;
      const known = existing.get(socketKey(this.#config, index));
      const name = `${this.#config.name}/${index}`;
      const shared = sharedSockets[name];
      if (inheritedSockets[name] !== undefined) continue;
      if (known !== undefined) this.#pending.set(index, known);
      else if (shared !== undefined || hasOwnSocket(this.#config, address) || workerIndex === 0) {
        const { log } = this.#environment;
        const options = { index, givenPort: boundPorts[name] ?? 0, shared, log };
        this.#pending.set(index, await ListeningSocket.bind(address, this.#config, options));
      }
    }
  }

  /** Takes what the process before this one had, and leaves connections waiting in it; rejects as {@link bind} does. */
  async inherit(): Promise<void> {
    const { inheritedSockets, log } = this.#environment;
    for (const [index, address] of this.#addresses().entries()) {
      const name = `${this.#config.name}/${index}`;
      const [inherited, ...more] = inheritedSockets[name] ?? [];
      if (inherited === undefined) continue;
      delete inheritedSockets[name];
      const options = { index, givenPort: 0, shared: undefined, log };
      const socket = await ListeningSocket.bind(address, this.#config, { ...options, inherited });
      this.#pending.set(index, socket);
      for (const one of more) await socket.join(this.#config, { ...options, inherited: one });
    }
  }

  /** What `bind` found or made, by number of the address. */
  get pending(): ReadonlyMap<number, ListeningSocket> {
    return this.#pending;
  }

  /** Accepts on what was bound. */
  open(): void {
    this.#joinCounts();
    for (const [index, address] of this.#addresses().entries()) {
      const socket = this.#pending.get(index);
      if (socket === undefined) {
        if (!this.#config.bindToPort) this.#book.add(address, address.kind === "ip" ? address.port : 0, this);
        continue;
      }
      const place = socket.place(this.#config.name, index);
      this.#bound.push(place);
      this.#book.add(address, place.port, this);
      this.#sockets.push(socket);
      this.#setMode(address);
      socket.give(this);
    }
    this.#pending.clear();
  }

  /** A socket that is taken over may have had another one. */
  #setMode(address: Address): void {
    try {
      setMode(address);
    } catch (error) {
      const { name } = this.#config;
      this.#environment.log("warn", `listener ${name}: ${formatAddress(address)} keeps its mode: ${String(error)}`);
    }
  }

  /** Gives up what was bound and not opened, but for sockets that others have. */
  abandon(existing: ReadonlyMap<string, ListeningSocket>): void {
    for (const socket of this.#pending.values()) if (existing.get(socket.key) !== socket) socket.close();
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
    for (const socket of this.#sockets) if (!kept.has(socket)) socket.close();
    this.#sockets = [];
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
      this.#environment.log("debug", `listener ${this.#config.name}: cannot take a socket over: ${String(error)}`);
      closeDescriptor(parcel.descriptor);
      this.#counts.leave();
      return;
    }
    this.#begin(socket, Object.assign(new SocketFacts(socket), parcel.facts));
  }

  /** Another process has the sockets and goes on accepting. What is under way here may still be handed to this listener. */
  handOver(): void {
    for (const socket of this.#sockets) {
      socket.handOver();
      socket.close();
    }
    this.#sockets = [];
  }

  stopAccepting(): void {
    this.#book.remove(this);
    for (const socket of this.#sockets) socket.close();
    this.#sockets = [];
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
    if (facts.unmoved && this.#bound.some(({ port }) => port === facts.localPort)) facts.localRestored = false;
    this.#choose(socket, facts);
  }

  onRefused(): void {
    this.#letGo();
  }

  #joinCounts(): void {
    const { counts, workerIndex } = this.#environment;
    const own = counts[this.#config.name];
    const all = counts[ALL_LISTENERS];
    if (own !== undefined) this.#counts = new SocketCounts(own, workerIndex);
    if (all !== undefined) this.#allCounts = new SocketCounts(all, workerIndex);
  }

  onAccepted(socket: Socket): void {
    if (this.#isFull()) socket.destroy();
    else this.#balance(socket, null);
  }

  /** Limits hold for accepted sockets of all workers; a socket that is handed over has passed them. */
  #isFull(): boolean {
    const { maxConnections } = this.#environment;
    const limited = maxConnections < Infinity && !this.#config.ignoreGlobalConnectionLimit;
    if (limited && this.#allCounts.total() >= maxConnections) {
      this.#stats.globalCxOverflow.inc();
      return true;
    }
    if (this.#connectionLimit === Infinity || this.#counts.total() < this.#connectionLimit) return false;
    this.#stats.cxOverflow.inc();
    return true;
  }

  /** Keeps a socket, or gives it to the worker that has the fewest. */
  #balance(socket: Socket, facts: SocketFacts | null): void {
    const { peers, workerIndex } = this.#environment;
    if (this.#config.connectionBalance === "none") this.#counts.enter();
    else {
      const worker = this.#counts.enterFewest(peers.reachable);
      if (worker !== workerIndex && this.#give(worker, socket, facts)) return;
    }
    this.#begin(socket, facts ?? new SocketFacts(socket));
  }

  #begin(socket: Socket, facts: SocketFacts): void {
    this.#allCounts.enter();
    this.#cared++;
    this.#pipeline.run(socket, facts, this);
  }

  /** False when the socket cannot be given away; then it is counted here. */
  #give(worker: number, socket: Socket, facts: SocketFacts | null): boolean {
    try {
      this.#environment.peers.give(worker, this.#config.name, socket, facts);
      return true;
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      this.#environment.log("warn", `listener ${this.#config.name}: a connection stays where it is: ${error.message}`);
      this.#counts.undo(worker);
      this.#counts.enter();
      return false;
    }
  }

  #letGo(): void {
    this.#counts.leave();
    this.#allCounts.leave();
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

  #addresses(): readonly Address[] {
    return [this.#config.address, ...this.#config.additionalAddresses];
  }

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
