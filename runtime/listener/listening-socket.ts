/**
 * One listening socket, or several with the same address that came from a process with more workers. Listeners come
 * and go with configurations, the socket stays: whoever owns it gets what is accepted.
 * Life: bind → give → (give to the next) → close. Before it has an owner it keeps what it accepts.
 */
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import type { Address, ListenerConfig } from "../config/snapshot.ts";
import { ACCEPT_ERROR_LOG_MS } from "../limits.ts";
import { describe, hasOwnSocket, listen, removeSocketFile, socketFile } from "./bind.ts";
import type { BindOptions, BoundAddress } from "./bind.ts";
import { descriptorOf, duplicate } from "./native-sockets.ts";

/** A listening socket on its way to a process that takes over: plain data. */
export interface LentSocket {
  /** Sockets of the same key can stand for each other in both processes; see {@link handOverKey}. */
  readonly key: string;
  /** 0 for a unix socket. */
  readonly port: number;
  /** Whoever gets it closes it. */
  readonly descriptor: number;
}

/** Where accepted sockets go. */
export interface SocketTaker {
  onAccepted(socket: Socket): void;
}

export class ListeningSocket {
  /** Two sockets of the same key can stand for each other. */
  readonly key: string;
  readonly #handOverKey: string;
  readonly #servers: Server[] = [];
  readonly #address: Address;
  /** Of a unix socket. */
  #file: number | undefined;
  #place: BoundAddress | null = null;
  #owner: SocketTaker | null = null;
  #held: Socket[] = [];
  readonly #log: BindOptions["log"];
  #failureLoggedMs = -Infinity;

  private constructor(config: ListenerConfig, address: Address, { index, log }: BindOptions) {
    this.key = socketKey(config, index);
    this.#handOverKey = handOverKey(config, index);
    this.#address = address;
    this.#log = log;
  }

  /** Rejects with ProxyError BIND_FAILED that names listener and address. */
  static async bind(address: Address, config: ListenerConfig, options: BindOptions): Promise<ListeningSocket> {
    const { index } = options;
    const socket = new ListeningSocket(config, address, options);
    await socket.#listen(config, options);
    socket.#file = socketFile(address);
    socket.#place = describe(socket.#servers[0]!, index, address, config);
    return socket;
  }

  /** Accepts on another one of the process before this one, too. Rejects as {@link bind} does. */
  async join(config: ListenerConfig, options: BindOptions): Promise<void> {
    await this.#listen(config, options);
  }

  async #listen(config: ListenerConfig, options: BindOptions): Promise<void> {
    const server = this.#newServer();
    await listen(server, this.#address, config, options);
    server.on("error", (error) => this.#onAcceptFailed(config.name, error));
  }

  /** The connection waits, or is lost; those that are there, and the next ones, have nothing to do with it. */
  #onAcceptFailed(name: string, error: Error): void {
    const nowMs = performance.now();
    if (nowMs - this.#failureLoggedMs < ACCEPT_ERROR_LOG_MS) return;
    this.#failureLoggedMs = nowMs;
    this.#log("warn", `listener ${name}: a connection cannot be accepted: ${error.message}`);
  }

  #newServer(): Server {
    const server = createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      if (this.#owner === null) this.#held.push(socket);
      else this.#owner.onAccepted(socket);
    });
    this.#servers.push(server);
    return server;
  }

  /** Further descriptors of it, for another process. Throws ProxyError NATIVE_SOCKETS. */
  lend(): LentSocket[] {
    const { port } = this.#place!;
    return this.#servers.map((server) => ({
      key: this.#handOverKey,
      port,
      descriptor: duplicate(descriptorOf(server)),
    }));
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

  /** Another process has it: closing leaves the file of a unix socket alone. */
  handOver(): void {
    this.#file = undefined;
  }

  /** Accepts nothing any more. */
  close(): void {
    for (const server of this.#servers) server.close();
    removeSocketFile(this.#address, this.#file);
    for (const socket of this.#held.splice(0)) socket.destroy();
  }
}

/**
 * What makes the socket of an address what it is. Without a port of its own it belongs to one listener's address. A
 * path belongs to one socket at a time, which goes on with another mode and with the backlog that it has.
 */
export function socketKey(config: ListenerConfig, index: number): string {
  const address = [config.address, ...config.additionalAddresses][index];
  if (address?.kind === "pipe") return `unix ${address.path}`;
  const { options, ...settings } = config.socket;
  const owner = address?.kind === "ip" && address.port === 0 ? `${config.name}/${index}` : "";
  const parts = [owner, address, config.reusePort, config.backlog, settings, options[index] ?? []];
  return JSON.stringify(parts, (_key, value: unknown) => (value instanceof Uint8Array ? [...value] : value));
}

/**
 * What two processes know the sockets of an address by: less than {@link socketKey}, since a socket keeps the options
 * that it was made with whoever has it.
 */
export function handOverKey(config: ListenerConfig, index: number): string {
  const address = [config.address, ...config.additionalAddresses][index]!;
  if (address.kind === "pipe") return `unix ${address.path}`;
  const port = address.port === 0 ? `of ${config.name}/${index}` : address.port;
  return `${hasOwnSocket(config, address) ? "own" : "shared"} ${address.host} ${String(address.ipv4Compat)} ${port}`;
}
