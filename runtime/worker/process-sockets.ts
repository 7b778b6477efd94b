/**
 * What the process knows of its listening sockets, so that workers that start later take part in them. A socket
 * that all workers share is held here as well: it lives on when the worker that bound it is lost.
 */
import { ProxyError } from "../errors.ts";
import type { BoundAddress } from "../listener/bind.ts";
import { ALL_LISTENERS } from "../listener/listener.ts";
import { closeDescriptor, duplicate } from "../listener/native-sockets.ts";
import { SocketCounts } from "../listener/socket-counts.ts";
import type { Log } from "../observe/log.ts";
import type { KnownSockets } from "./messages.ts";

export class ProcessSockets {
  readonly #ports: Record<string, number> = {};
  readonly #shared: Record<string, number> = {};
  readonly #counts: Record<string, SharedArrayBuffer>;
  readonly #workers: number;
  readonly #log: Log;

  constructor(workers: number, log: Log) {
    this.#workers = workers;
    this.#log = log;
    this.#counts = { [ALL_LISTENERS]: SocketCounts.room(workers) };
  }

  get known(): KnownSockets {
    return { boundPorts: this.#ports, sharedSockets: this.#shared, counts: this.#counts };
  }

  /** Makes room for counts of listeners and of their filters; what is counted already stays. */
  count(names: readonly string[]): void {
    for (const name of names) this.#counts[name] ??= SocketCounts.room(this.#workers);
  }

  /**
   * What workers that prepare a change of listeners join: not the sockets of those that are `leaving`, but what worker 0,
   * which is alive, has just `bound` for the change.
   */
  knownFor(leaving: readonly string[], bound: readonly BoundAddress[]): KnownSockets {
    const staying = <T>(entries: Record<string, T>): Record<string, T> =>
      Object.fromEntries(Object.entries(entries).filter(([key]) => !leaving.includes(listenerOf(key))));
    const boundPorts = staying(this.#ports);
    const sharedSockets = staying(this.#shared);
    for (const { name, index, port, descriptor } of bound) {
      if (port !== 0) boundPorts[`${name}/${index}`] = port;
      if (descriptor >= 0) sharedSockets[`${name}/${index}`] = descriptor;
    }
    return { boundPorts, sharedSockets, counts: this.#counts };
  }

  /** The change is in force. */
  settle(leaving: readonly string[], bound: readonly BoundAddress[]): void {
    this.close(leaving);
    for (const key of Object.keys(this.#ports)) if (leaving.includes(listenerOf(key))) delete this.#ports[key];
    for (const one of bound) this.note(one);
  }

  /** A worker is lost, and all its sockets with it. */
  forget(worker: number): void {
    for (const buffer of Object.values(this.#counts)) Atomics.store(new Int32Array(buffer), worker, 0);
  }

  /** Takes note of what a worker, which is alive, has bound. */
  note({ name, index, port, address, descriptor }: BoundAddress): void {
    const key = `${name}/${index}`;
    if (port !== 0) this.#ports[key] = port;
    if (descriptor < 0 || this.#workers === 1 || Object.hasOwn(this.#shared, key)) return;
    try {
      this.#shared[key] = duplicate(descriptor);
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      this.#log.warning(`one worker serves ${address} alone: ${error.message}`);
    }
  }

  /** Lets go of the shared sockets of some listeners: once the workers do too, nothing is accepted any more. */
  close(listeners: readonly string[]): void {
    for (const [key, descriptor] of Object.entries(this.#shared)) {
      if (!listeners.includes(listenerOf(key))) continue;
      delete this.#shared[key];
      closeDescriptor(descriptor);
    }
  }
}

/** The listener's name in a key `name/index`. */
function listenerOf(key: string): string {
  return key.slice(0, key.lastIndexOf("/"));
}
