/**
 * Queues of guests. Items and positions are entries of the shared map. Whoever registered a queue last hears of new items:
 * enqueueing bumps a shared word that every listening thread waits for without blocking (Atomics.waitAsync).
 */
import * as Status from "../../../abi/status.ts";
import { MAX_QUEUE_ITEMS, QUEUE_TURN_MS } from "../../limits.ts";
import { KeyKind, numberKey, vmKey } from "./keys.ts";
import { MapCounter } from "./map.ts";
import type { SharedMap } from "./map.ts";

/** Bytes of the word that counts enqueues. */
export const QUEUE_BYTES = 4;
/** Called with the token, once per item, from a task of its own. */
export type QueueListener = (token: number) => void;

interface QueueState {
  /** Number of the first item, and of the next one to come. */
  readonly head: number;
  readonly tail: number;
  /** Thread that registered last. */
  readonly owner: number;
}
interface Registration {
  listener: QueueListener;
  seen: number;
}

export class SharedQueues {
  readonly #map: SharedMap;
  readonly #bell: Int32Array;
  readonly #owner: number;
  readonly #registered = new Map<number, Registration>();
  #listening = false;
  /** Another turn is under way. */
  #soon = false;
  #closed = false;

  constructor(map: SharedMap, buffer: SharedArrayBuffer, owner: number) {
    this.#map = map;
    this.#bell = new Int32Array(buffer);
    this.#owner = owner;
  }

  /** Returns the queue's token, 0 when the map is full. Registering again keeps token and content and redirects notices. */
  register(vmId: string, name: Uint8Array, listener: QueueListener): number {
    const key = vmKey(KeyKind.QUEUE, vmId, name);
    const map = this.#map;
    map.lock.acquire();
    try {
      const token = map.get(key)?.value.readUInt32LE(0) ?? map.count(MapCounter.QUEUES, 1);
      const state = this.#state(token);
      const next = { head: state?.head ?? 0, tail: state?.tail ?? 0, owner: this.#owner };
      const value = Buffer.alloc(4);
      value.writeUInt32LE(token);
      if (!map.put(key, value) || !this.#store(token, next)) return 0;
      this.#registered.set(token, { listener, seen: next.tail });
      if (!this.#listening) this.#listen();
      return token;
    } finally {
      map.lock.release();
    }
  }

  /** 0 when there is none. */
  resolve(vmId: string, name: Uint8Array): number {
    const key = vmKey(KeyKind.QUEUE, vmId, name);
    this.#map.lock.acquire();
    try {
      return this.#map.get(key)?.value.readUInt32LE(0) ?? 0;
    } finally {
      this.#map.lock.release();
    }
  }

  /** Returns a status. */
  enqueue(token: number, data: Uint8Array): number {
    const map = this.#map;
    map.lock.acquire();
    try {
      const state = this.#state(token);
      if (state === undefined) return Status.NOT_FOUND;
      if ((state.tail - state.head) >>> 0 >= MAX_QUEUE_ITEMS) return Status.INTERNAL_FAILURE;
      if (!map.put(numberKey(KeyKind.QUEUE_ITEM, token, state.tail), data)) return Status.INTERNAL_FAILURE;
      if (!this.#store(token, { ...state, tail: (state.tail + 1) >>> 0 })) return Status.INTERNAL_FAILURE;
    } finally {
      map.lock.release();
    }
    Atomics.add(this.#bell, 0, 1);
    Atomics.notify(this.#bell, 0);
    return Status.OK;
  }

  /** The first item, or a status. */
  dequeue(token: number): Buffer | number {
    const map = this.#map;
    map.lock.acquire();
    try {
      const state = this.#state(token);
      if (state === undefined) return Status.NOT_FOUND;
      if (state.head === state.tail) return Status.EMPTY;
      const key = numberKey(KeyKind.QUEUE_ITEM, token, state.head);
      const item = map.get(key)?.value;
      if (!this.#store(token, { ...state, head: (state.head + 1) >>> 0 })) return Status.INTERNAL_FAILURE;
      map.remove(key);
      return item ?? Status.EMPTY;
    } finally {
      map.lock.release();
    }
  }

  /** No listener of this thread is called any more. */
  close(): void {
    this.#closed = true;
    this.#registered.clear();
    Atomics.notify(this.#bell, 0);
  }

  #listen(): void {
    this.#listening = true;
    const wait = Atomics.waitAsync(this.#bell, 0, Atomics.load(this.#bell, 0));
    // Whatever rang between the last look and this wait is seen by looking once more.
    const woken = wait.async ? wait.value : Promise.resolve(wait.value);
    void woken.then(() => {
      if (this.#closed) return;
      this.#listen();
      this.#announce();
    });
    this.#announceSoon();
  }

  #announceSoon(): void {
    if (this.#soon) return;
    this.#soon = true;
    setImmediate(() => {
      this.#soon = false;
      if (!this.#closed) this.#announce();
    });
  }

  /** Calls listeners for a while; streams go on before the next turn, however many items there are. */
  #announce(): void {
    const endMs = performance.now() + QUEUE_TURN_MS;
    for (const [token, registration] of [...this.#registered]) {
      const state = this.#stateNow(token);
      if (state === undefined || state.owner !== this.#owner) continue;
      while (registration.seen !== state.tail && this.#registered.get(token) === registration) {
        registration.seen = (registration.seen + 1) >>> 0;
        registration.listener(token);
        if (performance.now() < endMs) continue;
        // Next time it is the others' turn first.
        if (this.#registered.delete(token)) this.#registered.set(token, registration);
        return this.#announceSoon();
      }
    }
  }

  #stateNow(token: number): QueueState | undefined {
    this.#map.lock.acquire();
    try {
      return this.#state(token);
    } finally {
      this.#map.lock.release();
    }
  }

  #state(token: number): QueueState | undefined {
    const value = this.#map.get(numberKey(KeyKind.QUEUE_STATE, token))?.value;
    if (value === undefined) return undefined;
    return { head: value.readUInt32LE(0), tail: value.readUInt32LE(4), owner: value.readUInt32LE(8) };
  }

  #store(token: number, state: QueueState): boolean {
    const value = Buffer.alloc(12);
    value.writeUInt32LE(state.head, 0);
    value.writeUInt32LE(state.tail, 4);
    value.writeUInt32LE(state.owner, 8);
    return this.#map.put(numberKey(KeyKind.QUEUE_STATE, token), value);
  }
}
