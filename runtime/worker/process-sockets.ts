/**
 * What the process knows of its listening sockets, so that workers that start later take part in them. A socket
 * that all workers share is held here as well: it lives on when the worker that bound it is lost. What a process
 * before this one had is given out among the workers.
 */
import type { ListenerConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { hasOwnSocket } from "../listener/bind.ts";
import type { BoundAddress } from "../listener/bind.ts";
import { handOverKey } from "../listener/listening-socket.ts";
import type { LentSocket } from "../listener/listening-socket.ts";
import { closeDescriptor, duplicate } from "../listener/native-sockets.ts";
import { ALL_LISTENERS, SocketCounts } from "../listener/socket-counts.ts";
import type { Log } from "../observe/log.ts";
import type { KnownSockets } from "./messages.ts";

export class ProcessSockets {
  readonly #ports: Record<string, number> = {};
  readonly #shared: Record<string, number> = {};
  readonly #counts: Record<string, SharedArrayBuffer>;
  /** By worker: what it is to take when it first listens. */
  readonly #inherited = new Map<number, Record<string, number[]>>();
  readonly #workers: number;
  readonly #log: Log;

  constructor(workers: number, log: Log) {
    this.#workers = workers;
    this.#log = log;
    this.#counts = { [ALL_LISTENERS]: SocketCounts.room(workers) };
  }

  /**
   * For a worker that is about to listen, and has no sockets yet: others may have counted some for the one before it
   * after that was lost. What it inherits is given out once.
   */
  known(worker: number): KnownSockets {
    this.forget(worker);
    const inheritedSockets = this.#inherited.get(worker) ?? {};
    this.#inherited.delete(worker);
    return { boundPorts: this.#ports, sharedSockets: this.#shared, inheritedSockets, counts: this.#counts };
  }

  /**
   * Gives the sockets of the process before this one out: one to each worker, and round again when there are more,
   * for connections wait in every one of them. What no listener has a use for is closed.
   */
  inherit(listeners: readonly ListenerConfig[], lent: readonly LentSocket[]): void {
    const left = new Set(lent);
    for (const config of listeners) {
      if (!config.bindToPort) continue;
      for (const [index, address] of [config.address, ...config.additionalAddresses].entries()) {
        const name = `${config.name}/${index}`;
        const key = handOverKey(config, index);
        const sockets = [...left].filter((socket) => socket.key === key);
        if (sockets.length === 0) continue;
        if (sockets[0]!.port !== 0) this.#ports[name] = sockets[0]!.port;
        const own = hasOwnSocket(config, address);
        // All descriptors of a shared one are the same socket.
        if (!own) this.#shared[name] = sockets[0]!.descriptor;
        for (const [at, socket] of (own ? sockets : sockets.slice(0, 1)).entries()) {
          left.delete(socket);
          if (own) this.#giveOut(at % this.#workers, name, socket.descriptor);
        }
      }
    }
    for (const { descriptor } of left) closeDescriptor(descriptor);
  }

  #giveOut(worker: number, name: string, descriptor: number): void {
    const given = this.#inherited.get(worker) ?? {};
    this.#inherited.set(worker, given);
    (given[name] ??= []).push(descriptor);
  }

  /** Sockets that listeners of all workers have at the moment. */
  get open(): number {
    const cells = new Int32Array(this.#counts[ALL_LISTENERS]!);
    return cells.reduce((sum, count) => sum + count, 0);
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
    return { boundPorts, sharedSockets, inheritedSockets: {}, counts: this.#counts };
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
