/** Every listener of a worker. Life: start → (accept) → drain → close. */
import type { ListenerConfig } from "../config/snapshot.ts";
import { AddressBook } from "./address-book.ts";
import type { BoundAddress } from "./bind.ts";
import { Listener } from "./listener.ts";
import type { ListenerEnvironment } from "./listener.ts";
import { closeDescriptor } from "./native-sockets.ts";
import type { ParcelOwner, SocketParcel } from "./peers.ts";

/** envoy.config.core.v3.TrafficDirection. */
const INBOUND = 1;

export class ListenerSet implements ParcelOwner {
  readonly #listeners: Listener[];
  readonly #bound: BoundAddress[] = [];
  readonly #book = new AddressBook<Listener>();

  /** Builds chains at once, so that a chain that cannot be built throws here; binds nothing yet. */
  constructor(listeners: readonly ListenerConfig[], environment: ListenerEnvironment) {
    this.#listeners = listeners.map((config) => new Listener(config, environment, this.#book));
  }

  /** Binds and accepts. Rejects with ProxyError BIND_FAILED that names listener and address. */
  async start(): Promise<void> {
    for (const listener of this.#listeners) this.#bound.push(...(await listener.start()));
  }

  get bound(): readonly BoundAddress[] {
    return this.#bound;
  }

  receive(parcel: SocketParcel): void {
    this.#listenerOf(parcel)?.receive(parcel);
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
