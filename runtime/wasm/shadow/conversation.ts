/**
 * A stream of a live version and the same one of its shadow, which nobody serves: for as long as both send the same, the shadow
 * gets copies of what the live one is answered, each once it has sent as much as the live one had. What they send otherwise
 * ends the shadow's.
 */
import { ResetReason } from "../../errors.ts";
import { SHADOW_ANSWER_BYTES, SHADOW_STREAM_MESSAGES } from "../../limits.ts";
import type { UpstreamHandler } from "../../upstream/request.ts";

/** Who hears the answers; null: it has given its stream up. */
export interface Listener {
  handler: UpstreamHandler | null;
}

interface HeldAnswer {
  /** How much the live one had sent by then. */
  readonly after: number;
  readonly tell: (handler: UpstreamHandler) => void;
}

export class Conversation {
  readonly #shadow: Listener;
  /** Messages, and the end of each as one more. */
  #liveSent = 0;
  #shadowSent = 0;
  /** Digests of what one of them has sent and the other one not yet. */
  readonly #ahead: string[] = [];
  #held: HeldAnswer[] = [];
  #heldBytes = 0;
  #over = false;

  constructor(shadow: Listener, live: readonly string[], shadowParts: readonly string[]) {
    this.#shadow = shadow;
    for (const part of live) this.liveSaid(part);
    for (const part of shadowParts) this.shadowSaid(part);
  }

  liveSaid(part: string): void {
    const behind = this.#liveSent++ < this.#shadowSent;
    this.#compare(part, behind);
  }

  shadowSaid(part: string): void {
    const behind = this.#shadowSent++ < this.#liveSent;
    this.#compare(part, behind);
    // From a later task: this one is the guest's.
    if (this.#held.length > 0) setImmediate(() => this.#tellHeld());
  }

  /** Something comes back to the live one; `tell` works on copies, of so many bytes. */
  answer(bytes: number, tell: (handler: UpstreamHandler) => void): void {
    const { handler } = this.#shadow;
    if (this.#over || handler === null) return;
    if (this.#held.length === 0 && this.#shadowSent >= this.#liveSent) {
      tell(handler);
      return;
    }
    this.#heldBytes += bytes;
    if (this.#heldBytes > SHADOW_ANSWER_BYTES) this.end();
    else this.#held.push({ after: this.#liveSent, tell });
  }

  /** Nothing more comes: to the shadow as if its host were gone, from a later task. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#held = [];
    this.#ahead.length = 0;
    setImmediate(() => {
      const { handler } = this.#shadow;
      this.#shadow.handler = null;
      handler?.onUpstreamReset(ResetReason.CONNECTION_TERMINATION, "", false);
    });
  }

  #compare(part: string, behind: boolean): void {
    if (this.#over) return;
    if (behind) {
      if (this.#ahead.shift() !== part) this.end();
    } else if (this.#ahead.push(part) > SHADOW_STREAM_MESSAGES) this.end();
  }

  #tellHeld(): void {
    while (this.#held.length > 0 && this.#shadowSent >= this.#held[0]!.after) {
      const { handler } = this.#shadow;
      if (handler === null) this.#held = [];
      else this.#held.shift()!.tell(handler);
    }
    if (this.#held.length === 0) this.#heldBytes = 0;
  }
}
