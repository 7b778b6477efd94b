/**
 * Deadlines for the data path. A request arms several of them and nearly none ever fires, so arming
 * and cancelling must cost next to nothing: the waiting object is itself the node of a doubly linked
 * list, there is one list per duration, appended at its end, and one Node timer per list.
 */

import { MAX_TIMER_MS } from "./limits.ts";

/** Time of the socket event that is being handled, 0 outside of one. */
let eventMs = 0;

/** Monotonic milliseconds. The same for all of one socket event: a request asks a dozen times while it passes through. */
export function now(): number {
  return eventMs === 0 ? performance.now() : eventMs;
}

/** A socket event begins: `now` stands still until `endEvent`. */
export function beginEvent(): void {
  eventMs = performance.now();
}

export function endEvent(): void {
  eventMs = 0;
}

/** Something that waits for one deadline at a time. Extend it; `onDeadline` runs when time is up. */
export abstract class Deadline {
  /** @internal links of {@link DeadlineList} */
  previous: Deadline | null = null;
  /** @internal */
  next: Deadline | null = null;
  /** @internal */
  list: DeadlineList | null = null;
  /** @internal milliseconds on the monotonic clock */
  expiresAt = 0;

  /** (Re-)arms the deadline `ms` from now. */
  arm(ms: number): void {
    if (this.list !== null) this.list.remove(this);
    listFor(ms).append(this);
  }

  /** Does nothing when not armed. */
  disarm(): void {
    if (this.list !== null) this.list.remove(this);
  }

  get armed(): boolean {
    return this.list !== null;
  }

  abstract onDeadline(): void;
}

/** A deadline that calls a function: for owners that need more than one. */
export class Alarm extends Deadline {
  readonly #run: () => void;
  constructor(run: () => void) {
    super();
    this.#run = run;
  }
  onDeadline(): void {
    this.#run();
  }
}

class DeadlineList {
  readonly #ms: number;
  #first: Deadline | null = null;
  #last: Deadline | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(ms: number) {
    this.#ms = ms;
  }

  append(node: Deadline): void {
    node.expiresAt = now() + this.#ms;
    node.list = this;
    node.previous = this.#last;
    node.next = null;
    if (this.#last === null) this.#first = node;
    else this.#last.next = node;
    this.#last = node;
    if (this.#timer === null) this.#start(this.#ms);
  }

  remove(node: Deadline): void {
    if (node.previous === null) this.#first = node.next;
    else node.previous.next = node.next;
    if (node.next === null) this.#last = node.previous;
    else node.next.previous = node.previous;
    node.previous = node.next = node.list = null;
  }

  #start(ms: number): void {
    this.#timer = setTimeout(() => this.#fire(), Math.min(MAX_TIMER_MS, Math.max(1, Math.ceil(ms))));
    this.#timer.unref();
  }

  #fire(): void {
    // The spent timer stays in place meanwhile, so that arming from onDeadline starts no second one.
    const firedMs = performance.now();
    for (;;) {
      const node = this.#first;
      if (node === null) break;
      if (node.expiresAt > firedMs) {
        this.#start(node.expiresAt - firedMs);
        return;
      }
      this.remove(node);
      node.onDeadline();
    }
    this.#timer = null;
    // An empty list whose duration is not one of the few configured ones would pile up: forget it.
    if (lists.size > MAX_IDLE_LISTS) lists.delete(this.#ms);
  }
}

/** Lists kept although nothing waits in them: configured durations are few, header-given ones are not. */
const MAX_IDLE_LISTS = 64;
const lists = new Map<number, DeadlineList>();

function listFor(ms: number): DeadlineList {
  let list = lists.get(ms);
  if (list === undefined) lists.set(ms, (list = new DeadlineList(ms)));
  return list;
}
