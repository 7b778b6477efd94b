import type { UpstreamRequest } from "../upstream/request.ts";

/** The body of a request as far as it has come, kept while the request may be sent again. */
export class ReplayBody {
  #chunks: Buffer[] | null = [];
  #bytes = 0;

  /** Keeps a chunk. False, once, when that makes the body longer than `limitBytes`: then nothing is kept any more. */
  keep(chunk: Buffer, limitBytes: number): boolean {
    if (this.#chunks === null) return true;
    this.#bytes += chunk.length;
    if (this.#bytes <= limitBytes) {
      this.#chunks.push(chunk);
      return true;
    }
    this.#chunks = null;
    return false;
  }

  /** The request is not sent again: its memory is free. */
  drop(): void {
    this.#chunks = null;
  }

  /** Nothing of it is missing, so that the request may be sent again. */
  get whole(): boolean {
    return this.#chunks !== null;
  }

  /** Nothing has come yet, not even an empty end. */
  get empty(): boolean {
    return this.#chunks === null || this.#chunks.length === 0;
  }

  /** Sends all there is; `ended`: the request ends with it. */
  sendTo(upstream: UpstreamRequest, ended: boolean): void {
    const chunks = this.#chunks;
    if (chunks === null) return;
    for (let at = 0; at < chunks.length; at++) upstream.sendData(chunks[at]!, ended && at === chunks.length - 1);
  }
}
