/**
 * The other workers of the process, as far as accepted sockets are given to them. Node cannot move a socket to
 * another thread, but threads share their descriptors: the giver duplicates the descriptor, closes its own socket
 * and sends the number; the taker makes a socket of it. What a worker that is lost did not take comes back.
 */
import { Socket } from "node:net";
import type { MessagePort } from "node:worker_threads";
import type { SocketFacts } from "./listener-filter.ts";
import { descriptorOf, duplicate } from "./native-sockets.ts";
import { stopReading } from "./read-buffer.ts";

/** A socket on its way: plain data. */
export interface SocketParcel {
  /** Name of the listener that is to serve it. */
  readonly listener: string;
  readonly descriptor: number;
  /** Bytes that were read already. */
  readonly early: Uint8Array | null;
  /** What listener filters of another listener found; null: nothing yet. */
  readonly facts: Partial<SocketFacts> | null;
}

/** One side of the way between two workers. */
export interface PeerLink {
  readonly worker: number;
  readonly port: MessagePort;
  /** Two Int32: what the worker of the lower number has taken of the other's, and the other way round. */
  readonly taken: SharedArrayBuffer;
}

/** Whose sockets they are. */
export interface ParcelOwner {
  /** Another worker gives a socket. */
  receive(parcel: SocketParcel): void;
  /** A socket comes back: the worker that it was given to is lost. */
  takeBack(parcel: SocketParcel): void;
}

interface Peer {
  readonly port: MessagePort;
  /** Parcels that it may not have taken yet, from number `base` on. */
  sent: SocketParcel[];
  base: number;
  readonly taken: Int32Array;
}

export class Peers {
  readonly #worker: number;
  readonly #owner: ParcelOwner;
  readonly #peers = new Map<number, Peer>();
  readonly reachable = (worker: number): boolean => this.#peers.has(worker);

  constructor(worker: number, owner: ParcelOwner) {
    this.#worker = worker;
    this.#owner = owner;
  }

  /** From now on the worker is reachable; a later link to the same worker replaces the first. */
  connect({ worker, port, taken }: PeerLink): void {
    const cells = new Int32Array(taken);
    const theirs = worker < this.#worker ? 0 : 1;
    const peer: Peer = { port, sent: [], base: 0, taken: cells.subarray(theirs, theirs + 1) };
    port.on("message", (parcel: SocketParcel) => {
      Atomics.add(cells, 1 - theirs, 1);
      this.#owner.receive(parcel);
    });
    port.on("close", () => this.#onLost(worker, peer));
    port.unref();
    this.#peers.set(worker, peer);
  }

  /** Gives a socket away, which is not used here any more. Throws ProxyError NATIVE_SOCKETS; then it is still here. */
  give(worker: number, listener: string, socket: Socket, facts: SocketFacts | null): void {
    const peer = this.#peers.get(worker)!;
    const descriptor = duplicate(descriptorOf(socket));
    stopReading(socket);
    const early = socket.readableLength === 0 ? null : (socket.read() as Buffer);
    socket.destroy();
    const parcel: SocketParcel = { listener, descriptor, early, facts };
    const { taken } = peer;
    const done = Atomics.load(taken, 0) - peer.base;
    if (done > 0) {
      peer.sent.splice(0, done);
      peer.base += done;
    }
    peer.sent.push(parcel);
    peer.port.postMessage(parcel);
  }

  #onLost(worker: number, peer: Peer): void {
    if (this.#peers.get(worker) === peer) this.#peers.delete(worker);
    for (const parcel of peer.sent.slice(Atomics.load(peer.taken, 0) - peer.base)) this.#owner.takeBack(parcel);
  }
}

/** The socket of a parcel, not reading yet. Throws what `net` says of a descriptor that is none. */
export function unpack({ descriptor, early }: SocketParcel): Socket {
  // `pauseOnCreate` is what `pauseOnConnect` of a server gives to its sockets; the published type leaves it out.
  const options = { fd: descriptor, allowHalfOpen: true, pauseOnCreate: true };
  const socket = new Socket(options).setNoDelay();
  if (early !== null) socket.unshift(Buffer.from(early));
  return socket;
}
