/** The requests that wait for a connection. The request itself is the node, so waiting costs no allocation. */

/** What a request needs to wait in a {@link RequestQueue}. */
export class QueueLink {
  /** @internal */
  previous: QueueLink | null = null;
  /** @internal */
  next: QueueLink | null = null;
  queued = false;
}

/** First in, first out; any member can leave at once. */
export class RequestQueue<T extends QueueLink> {
  #first: QueueLink | null = null;
  #last: QueueLink | null = null;
  length = 0;

  push(request: T): void {
    request.queued = true;
    request.previous = this.#last;
    if (this.#last === null) this.#first = request;
    else this.#last.next = request;
    this.#last = request;
    this.length++;
  }

  shift(): T | null {
    const request = this.#first as T | null;
    if (request !== null) this.remove(request);
    return request;
  }

  /** Does nothing for a request that does not wait. */
  remove(request: T): void {
    if (!request.queued) return;
    if (request.previous === null) this.#first = request.next;
    else request.previous.next = request.next;
    if (request.next === null) this.#last = request.previous;
    else request.next.previous = request.previous;
    request.previous = request.next = null;
    request.queued = false;
    this.length--;
  }
}
