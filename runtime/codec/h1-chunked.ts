/**
 * Lines between the chunks of a chunked body (RFC 9112 section 7.1), as a machine that takes one byte at
 * a time and so can stop anywhere. Extensions are checked against the grammar and dropped.
 *
 * API: `reset()` before a body; `feed(bytes, at, end)` → index after what it took. Then `state` is
 * CHUNK_DATA (`size` > 0 bytes follow), CHUNK_LAST (trailers follow), CHUNK_FAILED (`error`), or
 * anything else: more is needed. After the data the caller calls `dataDone()`.
 */
import { MAX_CHUNK_EXTENSION_BYTES, MAX_CHUNK_LINE_BYTES } from "../limits.ts";
import { HEX, LINE, TOKEN } from "./h1-chars.ts";
import { H1Errors, type H1Error } from "./h1-errors.ts";

export const CHUNK_DATA = 1;
export const CHUNK_LAST = 2;
export const CHUNK_FAILED = 3;
const SIZE_START = 4;
const SIZE = 5;
const SIZE_LF = 6;
const DATA_CR = 7;
const DATA_LF = 8;
const EXTENSION_START = 9;
const EXTENSION_NAME = 10;
const VALUE_START = 11;
const VALUE_TOKEN = 12;
const QUOTED = 13;
const QUOTED_PAIR = 14;
const QUOTED_END = 15;

export class ChunkLines {
  state: number = SIZE_START;
  /** Bytes of the chunk that follows. */
  size = 0;
  error: H1Error | null = null;
  #lineBytes = 0;
  #extensionBytes = 0;

  reset(): void {
    this.state = SIZE_START;
    this.size = 0;
    this.error = null;
    this.#lineBytes = 0;
    this.#extensionBytes = 0;
  }

  dataDone(): void {
    this.state = DATA_CR;
  }

  feed(bytes: Uint8Array, at: number, end: number): number {
    let i = at;
    while (i < end && this.state > CHUNK_FAILED) this.#take(bytes[i++]!);
    return i;
  }

  #fail(error: H1Error): void {
    this.state = CHUNK_FAILED;
    this.error = error;
  }

  #take(byte: number): void {
    switch (this.state) {
      case DATA_CR:
        if (byte !== 13) return this.#fail(H1Errors.CHUNK_END);
        this.state = DATA_LF;
        return;
      case DATA_LF:
        if (byte !== 10) return this.#fail(H1Errors.CHUNK_END);
        this.state = SIZE_START;
        return;
      case SIZE_START:
        this.#lineBytes = 0;
        this.size = HEX[byte]!;
        if (this.size === 255) return this.#fail(H1Errors.CHUNK_SIZE);
        this.state = SIZE;
        return;
      case SIZE:
        return this.#size(byte);
      case SIZE_LF:
        if (byte !== 10) return this.#fail(H1Errors.LINE_TERMINATOR);
        this.state = this.size === 0 ? CHUNK_LAST : CHUNK_DATA;
        return;
      default:
        return this.#extension(byte);
    }
  }

  #size(byte: number): void {
    if (++this.#lineBytes > MAX_CHUNK_LINE_BYTES) return this.#fail(H1Errors.CHUNK_SIZE);
    if (byte === 13) {
      this.state = SIZE_LF;
    } else if (byte === 0x3b) {
      this.state = EXTENSION_START;
    } else {
      const digit = HEX[byte]!;
      this.size = this.size * 16 + digit;
      if (digit === 255 || this.size > Number.MAX_SAFE_INTEGER) this.#fail(H1Errors.CHUNK_SIZE);
    }
  }

  #extension(byte: number): void {
    if (++this.#lineBytes > MAX_CHUNK_LINE_BYTES || ++this.#extensionBytes > MAX_CHUNK_EXTENSION_BYTES) {
      return this.#fail(H1Errors.CHUNK_EXTENSION);
    }
    const next = this.#next(byte);
    if (next < 0) this.#fail(H1Errors.CHUNK_EXTENSION);
    else this.state = next;
  }

  /** The state after one byte of an extension, or -1. */
  #next(byte: number): number {
    const token = TOKEN[byte] !== 0;
    switch (this.state) {
      case EXTENSION_START:
        return token ? EXTENSION_NAME : -1;
      case EXTENSION_NAME:
        if (token) return EXTENSION_NAME;
        return byte === 0x3d ? VALUE_START : afterValue(byte);
      case VALUE_START:
        if (byte === 0x22) return QUOTED;
        return token ? VALUE_TOKEN : -1;
      case VALUE_TOKEN:
        return token ? VALUE_TOKEN : afterValue(byte);
      case QUOTED:
        if (byte === 0x22) return QUOTED_END;
        if (byte === 0x5c) return QUOTED_PAIR;
        return LINE[byte] === 1 ? QUOTED : -1;
      case QUOTED_PAIR:
        return LINE[byte] === 1 ? QUOTED : -1;
      default:
        return afterValue(byte);
    }
  }
}

function afterValue(byte: number): number {
  if (byte === 0x3b) return EXTENSION_START;
  return byte === 13 ? SIZE_LF : -1;
}
