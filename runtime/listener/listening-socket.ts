/**
 * One listening socket. Listeners come and go with configurations, the socket stays: whoever owns it gets what is
 * accepted. Life: bind → give → (give to the next) → close. Before it has an owner it keeps what it accepts.
 */
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import type { Address, ListenerConfig } from "../config/snapshot.ts";
import { describe, listen, removeSocketFile, socketFile } from "./bind.ts";
import type { BindOptions, BoundAddress } from "./bind.ts";

/** Where accepted sockets go. */
export interface SocketTaker {
  onAccepted(socket: Socket): void;
}

export class ListeningSocket {
  /** Two sockets of the same key can stand for each other. */
  readonly key: string;
  readonly #server: Server;
  readonly #address: Address;
  /** Of a unix socket. */
  #file: number | undefined;
  #place: BoundAddress | null = null;
  #owner: SocketTaker | null = null;
  #held: Socket[] = [];

  private constructor(key: string, address: Address) {
    this.key = key;
    this.#address = address;
    this.#server = createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      if (this.#owner === null) this.#held.push(socket);
      else this.#owner.onAccepted(socket);
    });
  }

  /** Rejects with ProxyError BIND_FAILED that names listener and address. */
  static async bind(address: Address, config: ListenerConfig, options: BindOptions): Promise<ListeningSocket> {
    const socket = new ListeningSocket(socketKey(config, options.index), address);
    await listen(socket.#server, address, config, options);
    socket.#file = socketFile(address);
    socket.#place = describe(socket.#server, options.index, address, config);
    return socket;
  }

  /** Where it is bound, in the name of a listener. */
  place(name: string, index: number): BoundAddress {
    return { ...this.#place!, name, index };
  }

  /** From now on `owner` gets what is accepted. */
  give(owner: SocketTaker): void {
    this.#owner = owner;
    for (const socket of this.#held.splice(0)) owner.onAccepted(socket);
  }

  /** Accepts nothing any more. */
  close(): void {
    this.#server.close();
    removeSocketFile(this.#address, this.#file);
    for (const socket of this.#held.splice(0)) socket.destroy();
  }
}

/** What makes the socket of an address what it is. Without a port of its own it belongs to one listener's address. */
export function socketKey(config: ListenerConfig, index: number): string {
  const address = [config.address, ...config.additionalAddresses][index];
  const { options, ...settings } = config.socket;
  const owner = address?.kind === "ip" && address.port === 0 ? `${config.name}/${index}` : "";
  const parts = [owner, address, config.reusePort, config.backlog, settings, options[index] ?? []];
  return JSON.stringify(parts, (_key, value: unknown) => (value instanceof Uint8Array ? [...value] : value));
}
