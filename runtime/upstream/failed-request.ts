/** The upstream request that no connection serves: its reset comes from a later task, as the contract says. */
import type { ResetReason } from "../errors.ts";
import type { UpstreamHandler, UpstreamRequest } from "./request.ts";

export class FailedRequest implements UpstreamRequest {
  readonly hostname = "";
  readonly address = "";
  readonly unsentBytes = 0;
  #handler: UpstreamHandler | null;
  readonly #reason: ResetReason;

  constructor(handler: UpstreamHandler, reason: ResetReason) {
    this.#handler = handler;
    this.#reason = reason;
    // Not a microtask or tick: a caller that tries again at once must not keep the loop from its sockets.
    setImmediate(deliver, this);
  }

  /** @internal */
  deliver(): void {
    const handler = this.#handler;
    this.#handler = null;
    handler?.onUpstreamReset(this.#reason, "", true);
  }

  sendHeaders(): void {}
  sendData(): boolean {
    return true;
  }
  sendTrailers(): void {}
  flush(): void {}
  pauseReading(): void {}
  resumeReading(): void {}
  reset(): void {
    this.#handler = null;
  }
}

function deliver(request: FailedRequest): void {
  request.deliver();
}
