/** What leaves a filter in one direction: the head, the body as length and digest, the trailers. */
import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";
import type { HeaderMap } from "../../codec/headers.ts";

export class Passage {
  /** The head has come to the filter. */
  begun = false;
  /** Null: the filter holds it, or it never came. */
  head: HeaderMap | null = null;
  trailers: HeaderMap | null = null;
  /** Bytes of body. */
  bytes = 0;
  /** Nothing follows. */
  ended = false;
  #hash: Hash | null = null;
  #digest: string | undefined;

  passHead(head: HeaderMap | null): void {
    this.head ??= head?.clone() ?? null;
  }

  passBody(data: Uint8Array): void {
    if (data.length === 0) return;
    this.bytes += data.length;
    this.#hash ??= createHash("sha256");
    this.#hash.update(data);
  }

  passEnd(trailers: HeaderMap | null): void {
    if (this.ended) return;
    this.ended = true;
    this.trailers = trailers?.clone() ?? null;
  }

  sameBody(other: Passage): boolean {
    return this.bytes === other.bytes && this.#sum() === other.#sum();
  }

  #sum(): string {
    return (this.#digest ??= this.#hash?.digest("hex") ?? "");
  }
}
