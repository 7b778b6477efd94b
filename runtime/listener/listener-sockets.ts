/**
 * The listening sockets of one listener in one worker, one per address: found, inherited or made, then accepting.
 * Life: bind → inherit → start → close, or bind → abandon.
 */
import type { Address, ListenerConfig } from "../config/snapshot.ts";
import { addressText } from "../observe/address-text.ts";
import { hasOwnSocket, setMode } from "./bind.ts";
import type { BoundAddress } from "./bind.ts";
import type { ListenerEnvironment } from "./environment.ts";
import { ListeningSocket, socketKey } from "./listening-socket.ts";
import type { SocketTaker } from "./listening-socket.ts";

type SocketsEnvironment = Pick<
  ListenerEnvironment,
  "boundPorts" | "sharedSockets" | "inheritedSockets" | "workerIndex" | "log"
>;

export class ListenerSockets {
  readonly #config: ListenerConfig;
  readonly #environment: SocketsEnvironment;
  readonly #addresses: readonly Address[];
  #open: ListeningSocket[] = [];
  readonly #bound: BoundAddress[] = [];
  /** Bound for this listener, or taken over from another one, but not in use yet: by number of the address. */
  readonly #pending = new Map<number, ListeningSocket>();

  constructor(config: ListenerConfig, environment: SocketsEnvironment) {
    this.#config = config;
    this.#environment = environment;
    this.#addresses = [config.address, ...config.additionalAddresses];
  }

  /** What accepts: another listener may take it over, once this one retires. */
  get open(): readonly ListeningSocket[] {
    return this.#open;
  }

  /** Where it accepts, or accepted. */
  get bound(): readonly BoundAddress[] {
    return this.#bound;
  }

  /** What `bind` found or made, by number of the address. */
  get pending(): ReadonlyMap<number, ListeningSocket> {
    return this.#pending;
  }

  /**
   * Binds what it does not find among `existing` sockets, by key, but for what the process before this one had;
   * nothing is accepted yet. Rejects with ProxyError BIND_FAILED that names listener and address.
   */
  async bind(existing: ReadonlyMap<string, ListeningSocket>): Promise<void> {
    const { boundPorts, sharedSockets, inheritedSockets, workerIndex, log } = this.#environment;
    if (!this.#config.bindToPort) return;
    for (const [index, address] of this.#addresses.entries()) {
      const name = this.#name(index);
      if (inheritedSockets[name] !== undefined) continue;
      const known = existing.get(socketKey(this.#config, index));
      const shared = sharedSockets[name];
      if (known !== undefined) this.#pending.set(index, known);
      else if (shared !== undefined || hasOwnSocket(this.#config, address) || workerIndex === 0) {
        const options = { index, givenPort: boundPorts[name] ?? 0, shared, log };
        this.#pending.set(index, await ListeningSocket.bind(address, this.#config, options));
      }
    }
  }

  /** Takes what the process before this one had, and leaves connections waiting in it; rejects as {@link bind} does. */
  async inherit(): Promise<void> {
    const { inheritedSockets, log } = this.#environment;
    for (const [index, address] of this.#addresses.entries()) {
      const name = this.#name(index);
      const [inherited, ...more] = inheritedSockets[name] ?? [];
      if (inherited === undefined) continue;
      delete inheritedSockets[name];
      const options = { index, givenPort: 0, shared: undefined, log };
      const socket = await ListeningSocket.bind(address, this.#config, { ...options, inherited });
      this.#pending.set(index, socket);
      for (const one of more) await socket.join(this.#config, { ...options, inherited: one });
    }
  }

  /**
   * Lets `taker` have what is accepted on what was bound. `atPlace` is told of each address where connections may come
   * from, before the first of them does: those that are not bound are reached by hand-off.
   */
  start(taker: SocketTaker, atPlace: (address: Address, port: number) => void): void {
    for (const [index, address] of this.#addresses.entries()) {
      const socket = this.#pending.get(index);
      if (socket === undefined) {
        if (!this.#config.bindToPort) atPlace(address, address.kind === "ip" ? address.port : 0);
        continue;
      }
      const place = socket.place(this.#config.name, index);
      this.#bound.push(place);
      atPlace(address, place.port);
      this.#open.push(socket);
      this.#setMode(address);
      socket.give(taker);
    }
    this.#pending.clear();
  }

  /** A socket that is taken over may have had another one. */
  #setMode(address: Address): void {
    try {
      setMode(address);
    } catch (error) {
      const { name } = this.#config;
      this.#environment.log("warn", `listener ${name}: ${addressText(address)} keeps its mode: ${String(error)}`);
    }
  }

  /** Gives up what was bound and not started, but for sockets that others have. */
  abandon(existing: ReadonlyMap<string, ListeningSocket>): void {
    for (const socket of this.#pending.values()) if (existing.get(socket.key) !== socket) socket.close();
  }

  /** Accepts nothing any more. Sockets of `kept` stay open: another listener has them. */
  close(kept?: ReadonlySet<ListeningSocket>): void {
    for (const socket of this.#open) if (kept?.has(socket) !== true) socket.close();
    this.#open = [];
  }

  /** Another process has the sockets and goes on accepting: files of unix sockets stay. */
  handOver(): void {
    for (const socket of this.#open) socket.handOver();
    this.close();
  }

  /** What the sockets of an address are known by across workers. */
  #name(index: number): string {
    return `${this.#config.name}/${index}`;
  }
}
