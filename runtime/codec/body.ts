/** A message body, or the part of one that a filter holds: chunks with a length, editable in place. */
import { copyOf, noteCopied } from "./copies.ts";

const EMPTY = Buffer.alloc(0);

export class BodyBuffer {
  #chunks: Buffer[] = [];
  #length = 0;
  /** Whose bytes are lent; null: all are the body's own. */
  #lender: ArrayBufferLike | null = null;
  /** True once `splice` changed what came from the wire: a content-length sent ahead may be wrong. */
  edited = false;

  /** Bytes held. */
  get length(): number {
    return this.#length;
  }

  /** Held in one piece: `bytes` has nothing to copy. */
  get joined(): boolean {
    return this.#chunks.length <= 1;
  }

  append(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** The same for bytes that are there only until the call returns that brought them; see {@link own}. */
  lend(chunk: Buffer): void {
    this.#lender = chunk.buffer;
    this.append(chunk);
  }

  /** What is held stays, and must not be somebody else's. */
  own(): void {
    const lender = this.#lender;
    if (lender === null) return;
    this.#lender = null;
    this.#chunks = this.#chunks.map((chunk) => (chunk.buffer === lender ? copyOf(chunk) : chunk));
  }

  /** All bytes as one Buffer, joined at most once. Callers must not write into it. */
  bytes(): Buffer {
    if (this.#chunks.length === 1) return this.#chunks[0]!;
    if (this.#chunks.length === 0) return EMPTY;
    noteCopied(this.#length);
    const joined = Buffer.concat(this.#chunks, this.#length);
    this.#chunks = [joined];
    return joined;
  }

  /**
   * Replaces `length` bytes from `start` with `data`; both are clamped to what is held, so `(0, 0)`
   * prepends, `(length, 0)` appends and `(0, length)` replaces everything.
   */
  splice(start: number, length: number, data: Buffer): void {
    this.edited = true;
    // At the ends nothing has to be joined, however often that is done.
    if (start >= this.#length) {
      this.append(data);
      return;
    }
    if (start === 0 && length === 0) {
      if (data.length > 0) this.#chunks.unshift(data);
      this.#length += data.length;
      return;
    }
    const held = this.bytes();
    const from = Math.min(start, held.length);
    const to = Math.min(from + length, held.length);
    const parts: Buffer[] = [];
    if (from > 0) parts.push(held.subarray(0, from));
    if (data.length > 0) parts.push(data);
    if (to < held.length) parts.push(held.subarray(to));
    this.#chunks = parts;
    this.#length = from + data.length + (held.length - to);
  }

  /** Hands over everything held and is empty afterwards. */
  take(): Buffer {
    const all = this.bytes();
    this.#chunks = [];
    this.#length = 0;
    return all;
  }
}
