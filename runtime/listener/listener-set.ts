/** Every listener of a worker. Life: start → (accept) → drain → close. */
import { INBOUND } from "../config/listener-snapshot.ts";
import type { ListenerConfig } from "../config/snapshot.ts";
import type { Gauge } from "../observe/stats.ts";
import type { TlsContextStatus } from "../tls/certificate-status.ts";
import { AddressBook } from "./address-book.ts";
import type { BoundAddress } from "./bind.ts";
import type { Departure, ListenerDrain } from "./departures.ts";
import type { ListenerEnvironment } from "./environment.ts";
import { Listener } from "./listener.ts";
import { ListenerUpdate } from "./listener-update.ts";
import type { ListenerChanges } from "./listener-update.ts";
import type { LentSocket } from "./listening-socket.ts";
import { closeDescriptor } from "./native-sockets.ts";
import type { ParcelOwner, SocketParcel } from "./peers.ts";
import { SocketCounts } from "./socket-counts.ts";

export class ListenerSet implements ParcelOwner {
  #listeners: readonly Listener[];
  /** Listeners of former configurations whose connections are not over yet. */
  readonly #retired = new Set<Listener>();
  readonly #environment: ListenerEnvironment;
  readonly #book = new AddressBook<Listener>();
  readonly #active: Gauge;
  readonly #draining: Gauge;

  /** Builds chains at once, so that a chain that cannot be built throws here; binds nothing yet. */
  constructor(listeners: readonly ListenerConfig[], environment: ListenerEnvironment) {
    this.#environment = environment;
    this.#listeners = listeners.map((config) => new Listener(config, environment, this.#book));
    this.#active = environment.stats.gauge("listener_manager.total_listeners_active", "max");
    this.#draining = environment.stats.gauge("listener_manager.total_listeners_draining", "max");
  }

  /** Binds and accepts. Rejects with ProxyError BIND_FAILED that names listener and address. */
  async start(): Promise<void> {
    for (const listener of this.#listeners) await listener.sockets.bind(new Map());
    // Last: once these accept, nothing may fail any more.
    for (const listener of this.#listeners) await listener.sockets.inherit();
    for (const listener of this.#listeners) listener.open();
    this.#active.set(this.#listeners.length);
  }

  get bound(): readonly BoundAddress[] {
    return this.#listeners.flatMap(({ sockets }) => sockets.bound);
  }

  /** Certificates of all chains with TLS. */
  get certificates(): readonly TlsContextStatus[] {
    return this.#listeners.flatMap(({ tls }) => tls.map(({ status }) => status));
  }

  /** Descriptors of all listening sockets, for a process that takes over. Throws ProxyError NATIVE_SOCKETS. */
  lend(): LentSocket[] {
    return this.#listeners.flatMap(({ sockets }) => sockets.open.flatMap((socket) => socket.lend()));
  }

  /** Another process accepts from now on; connections live on. */
  handOver(): void {
    for (const listener of this.#listeners) listener.handOver();
  }

  /** Prepares another list of listeners, one at a time. Rejects as {@link ListenerUpdate.prepare} does. */
  prepare(configs: readonly ListenerConfig[]): Promise<ListenerUpdate> {
    const make = (config: ListenerConfig): Listener => new Listener(config, this.#environment, this.#book);
    return ListenerUpdate.prepare(this.#listeners, configs, make);
  }

  /** Puts a prepared list in force; what was in force before ends by and by. */
  commit(update: ListenerUpdate, drain: ListenerDrain): readonly Departure[] {
    const { listeners, departures } = update.commit(drain, {
      onRetired: (listener) => this.#retired.add(listener),
      onGone: (listener) => {
        this.#retired.delete(listener);
        this.#draining.set(this.#retired.size);
      },
    });
    this.#listeners = listeners;
    this.#active.set(listeners.length);
    this.#draining.set(this.#retired.size);
    if (this.#environment.workerIndex === 0) this.#count(update.changes);
    return departures;
  }

  /** Every worker does the same: one counts. */
  #count({ added, modified, updatedInPlace, removed }: ListenerChanges): void {
    const { stats } = this.#environment;
    stats.counter("listener_manager.listener_added").add(added.length);
    stats.counter("listener_manager.listener_modified").add(modified.length);
    stats.counter("listener_manager.listener_in_place_updated").add(updatedInPlace.length);
    stats.counter("listener_manager.listener_removed").add(removed.length);
  }

  receive(parcel: SocketParcel): void {
    const listener = this.#listenerOf(parcel);
    if (listener !== undefined) return listener.receive(parcel);
    // It was counted here when it was given.
    const { counts, workerIndex } = this.#environment;
    const own = counts[parcel.listener];
    if (own !== undefined) new SocketCounts(own, workerIndex).leave();
  }

  takeBack(parcel: SocketParcel): void {
    this.#listenerOf(parcel)?.takeBack(parcel);
  }

  /** Undefined, with the socket closed, when its listener is gone. */
  #listenerOf({ listener, descriptor }: SocketParcel): Listener | undefined {
    const found = this.#listeners.find(({ config }) => config.name === listener);
    if (found === undefined) closeDescriptor(descriptor);
    return found;
  }

  /** Stops accepting at once; connections live on. `inboundOnly`: only listeners of traffic direction INBOUND. */
  stopAccepting(inboundOnly: boolean): void {
    for (const listener of this.#listeners) {
      if (!inboundOnly || listener.config.trafficDirection === INBOUND) listener.stopAccepting();
    }
  }

  /** Stops accepting at once; waits for connections to finish, at most `ms`, then ends them: how many that were. */
  async drain(ms: number): Promise<number> {
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
    await Promise.race([Promise.all(this.#everyone().map((listener) => listener.drain())), deadline]);
    clearTimeout(timer);
    const cut = this.#everyone().reduce((sum, { openConnections }) => sum + openConnections, 0);
    this.close();
    return cut;
  }

  /** Ends everything at once. */
  close(): void {
    for (const listener of this.#everyone()) listener.destroy();
  }

  #everyone(): Listener[] {
    return [...this.#listeners, ...this.#retired];
  }
}
