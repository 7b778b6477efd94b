/**
 * What both HTTP/1 parsers share: bytes in, one message at a time out, bodies by length, by chunks or by
 * the end of the connection, trailers, pausing, and keeping what cannot be judged yet.
 *
 * Nothing of a chunk given to `execute` is referred to after it returned, except by body subarrays that
 * the sink kept: the caller may read the next bytes into the same memory once the sink is done with them.
 */
import { MAX_HEAD_BYTES, MAX_HEADERS, MAX_TRAILER_BYTES } from "../limits.ts";
import { CHUNK_DATA, CHUNK_FAILED, CHUNK_LAST, ChunkLines } from "./h1-chunked.ts";
import { H1Errors, type H1Error } from "./h1-errors.ts";
import { fields, type Underscores } from "./h1-fields.ts";
import { Progress, Scan, scanSection } from "./h1-section.ts";
import { HeaderMap } from "./headers.ts";

/** Bounds of a parser; what is left out has Envoy's default from `limits.ts`. */
export interface ParserOptions {
  /** Bytes of a head. */
  readonly maxHeadBytes?: number;
  /** Header fields of a head, and of a trailer section. */
  readonly maxHeaders?: number;
  readonly underscores?: Underscores;
}

export const State = { HEAD: 0, LENGTH: 1, CHUNKED: 2, TRAILERS: 3, UNTIL_CLOSE: 4, DONE: 5, FAILED: 6 } as const;

const EMPTY = Buffer.alloc(0);
const LAST_CHUNK = [13, 10, 0x30, 13, 10, 13, 10];

/** Fields that mean nothing, or harm, after a body: dropped from trailers (RFC 9110 section 6.5.1). */
const NOT_IN_TRAILERS = new Set(
  (
    "content-length transfer-encoding host connection keep-alive proxy-connection te trailer upgrade expect " +
    "content-encoding content-type content-range cache-control max-forwards range authorization " +
    "proxy-authorization proxy-authenticate www-authenticate cookie set-cookie age date expires location " +
    "retry-after vary warning if-match if-none-match if-modified-since if-unmodified-since if-range"
  ).split(" "),
);

export abstract class MessageParser {
  /** Set by a sink to stop parsing at once; bytes are kept until `resume`. */
  paused = false;
  protected state: number = State.HEAD;
  protected failure: H1Error | null = null;
  protected readonly maxHeadBytes: number;
  protected readonly maxHeaders: number;
  protected readonly underscores: Underscores;
  protected readonly progress = new Progress();
  /** Bytes of the body still to come in state LENGTH. */
  protected remaining = 0;
  /** Made for the first chunked body: most connections never have one. */
  #chunks: ChunkLines | null = null;
  /** Bytes of the chunk still to come in state CHUNKED. */
  #chunkLeft = 0;
  #held: Buffer | null = null;
  #heldAt = 0;
  #heldEnd = 0;
  #running = false;

  constructor(options: ParserOptions) {
    this.maxHeadBytes = options.maxHeadBytes ?? MAX_HEAD_BYTES;
    this.maxHeaders = options.maxHeaders ?? MAX_HEADERS;
    this.underscores = options.underscores ?? "ALLOW";
  }

  /** Bytes kept: an unfinished head or trailer section, what follows a whole message, or what came while paused. */
  get pendingBytes(): number {
    return this.#heldEnd - this.#heldAt;
  }

  /** Takes bytes of the connection. Returns what is wrong with them; then every later call returns it too. */
  execute(chunk: Buffer): H1Error | null {
    if (this.failure !== null) return this.failure;
    if (this.#held !== null || this.#running) {
      this.#keep(chunk, 0);
      return this.#running ? null : this.drain();
    }
    this.#running = true;
    const used = this.#run(chunk, 0, chunk.length);
    this.#running = false;
    if (used < chunk.length || this.#held !== null) return this.#rest(chunk, used);
    return this.failure;
  }

  /** Goes on after a sink had set `paused`. Inside a sink's call it only clears `paused`. */
  resume(): H1Error | null {
    this.paused = false;
    return this.drain();
  }

  /** Hands over the bytes kept, for a connection that goes on with another protocol. */
  takePending(): Buffer {
    const bytes = this.#held === null ? EMPTY : this.#held.subarray(this.#heldAt, this.#heldEnd);
    this.#release();
    return bytes;
  }

  /** Reads a head that starts at `start`; returns the index after it, or `start` when more is needed or it failed. */
  protected abstract readHead(bytes: Buffer, start: number, end: number): number;
  protected abstract onData(chunk: Buffer, endStream: boolean): void;
  protected abstract onTrailers(trailers: HeaderMap): void;
  /** The message is whole once the sink's last call returns; `rest` bytes follow it already. */
  protected abstract onDone(rest: number): void;

  protected fail(error: H1Error): void {
    this.failure = error;
    this.state = State.FAILED;
  }

  protected startChunked(): void {
    if (this.#chunks === null) this.#chunks = new ChunkLines();
    else this.#chunks.reset();
    this.#chunkLeft = 0;
    this.state = State.CHUNKED;
  }

  /** Forgets everything, bytes kept included. */
  protected clear(): void {
    this.#release();
    this.progress.reset();
    this.failure = null;
    this.paused = false;
    this.state = State.HEAD;
  }

  /** Runs over the bytes kept. */
  protected drain(): H1Error | null {
    if (this.#running || this.#held === null || this.failure !== null) return this.failure;
    this.#running = true;
    // A sink may hand in more bytes meanwhile: go on until nothing moves.
    for (;;) {
      const from = this.#heldAt;
      const end = this.#heldEnd;
      const used = this.#run(this.#held, from, end);
      if (this.#held === null) break;
      this.#heldAt = used;
      if (used === this.#heldEnd) this.#release();
      if (this.#held === null || this.#heldEnd === end || this.failure !== null) break;
    }
    this.#running = false;
    return this.failure;
  }

  /** The index of the end of the section at `start`, or -1 when more is needed or it failed. */
  protected scan(bytes: Buffer, start: number, end: number, maxBytes: number, maxLines: number): number {
    const progress = this.progress;
    const resumed = progress.at > 0;
    const first = start + progress.at;
    if (resumed && first >= end) return -1;
    let next = scanSection(progress, bytes, start, end, maxBytes, maxLines);
    if (next >= 0) {
      if (resumed) {
        progress.reset();
        next = scanSection(progress, bytes, start, end, maxBytes, maxLines);
      }
      return next;
    }
    if (next === Scan.TERMINATOR) this.fail(H1Errors.LINE_TERMINATOR);
    else if (next === Scan.CHARACTERS) this.fail(H1Errors.INVALID_CHARACTERS);
    else if (next === Scan.TOO_LARGE) this.fail(H1Errors.HEADERS_TOO_LARGE);
    else if (next === Scan.TOO_MANY) this.fail(H1Errors.TOO_MANY_HEADERS);
    return -1;
  }

  #run(bytes: Buffer, from: number, end: number): number {
    let at = from;
    while (!this.paused) {
      const before = at;
      switch (this.state) {
        case State.HEAD:
          if (at === end) return at;
          at = this.readHead(bytes, at, end);
          if (at === before) return at;
          break;
        case State.LENGTH:
          if (at === end) return at;
          at = this.#byLength(bytes, at, end);
          break;
        case State.CHUNKED:
          if (at === end) return at;
          at = this.#chunked(bytes, at, end);
          break;
        case State.TRAILERS:
          at = this.#trailers(bytes, at, end);
          if (at === before) return at;
          break;
        case State.UNTIL_CLOSE:
          if (at === end) return at;
          this.onData(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end), false);
          return end;
        default:
          return at;
      }
    }
    return at;
  }

  #byLength(bytes: Buffer, at: number, end: number): number {
    const next = end - at < this.remaining ? end : at + this.remaining;
    this.remaining -= next - at;
    const last = this.remaining === 0;
    if (last) this.#done(end - next);
    this.onData(at === 0 && next === bytes.length ? bytes : bytes.subarray(at, next), last);
    return next;
  }

  #chunked(bytes: Buffer, at: number, end: number): number {
    const chunks = this.#chunks!;
    if (this.#chunkLeft === 0) {
      const next = chunks.feed(bytes, at, end);
      if (chunks.state === CHUNK_DATA) this.#chunkLeft = chunks.size;
      else if (chunks.state === CHUNK_LAST) this.state = State.TRAILERS;
      else if (chunks.state === CHUNK_FAILED) this.fail(chunks.error!);
      return next;
    }
    let next = end - at < this.#chunkLeft ? end : at + this.#chunkLeft;
    this.#chunkLeft -= next - at;
    const data = bytes.subarray(at, next);
    let last = false;
    if (this.#chunkLeft === 0) {
      chunks.dataDone();
      // The usual end of a body is taken together with its last data.
      last = end - next >= LAST_CHUNK.length && isLastChunk(bytes, next);
      if (last) {
        next += LAST_CHUNK.length;
        this.#done(end - next);
      }
    }
    this.onData(data, last);
    return next;
  }

  #trailers(bytes: Buffer, at: number, end: number): number {
    const next = this.scan(bytes, at, end, MAX_TRAILER_BYTES, this.maxHeaders);
    if (next < 0) return at;
    const lines = this.progress.lines;
    this.progress.reset();
    let list: string[] = [];
    if (lines > 0) {
      fields.begin(0, this.underscores);
      const error = fields.readTrailers(bytes.latin1Slice(at, next), lines, NOT_IN_TRAILERS);
      if (error !== null) {
        this.fail(error);
        return at;
      }
      list = fields.take();
    }
    this.#done(end - next);
    if (list.length > 0) this.onTrailers(new HeaderMap(list));
    else this.onData(EMPTY, true);
    return next;
  }

  #done(rest: number): void {
    this.state = State.DONE;
    this.onDone(rest);
  }

  #rest(chunk: Buffer, used: number): H1Error | null {
    // Bytes that a sink handed in while running come after those of this chunk.
    const later = this.#held === null ? EMPTY : this.takePending();
    this.#keep(chunk, used);
    if (later.length === 0) return this.failure;
    this.#keep(later, 0);
    return this.drain();
  }

  #keep(chunk: Buffer, from: number): void {
    const more = chunk.length - from;
    if (more === 0) return;
    const kept = this.#heldEnd - this.#heldAt;
    if (this.#held === null || this.#heldEnd + more > this.#held.length) {
      // Never moved in place: a sink may hold subarrays of the old memory.
      const grown = Buffer.allocUnsafeSlow(kept === 0 ? more : (kept + more) * 2);
      if (this.#held !== null) this.#held.copy(grown, 0, this.#heldAt, this.#heldEnd);
      this.#held = grown;
      this.#heldAt = 0;
      this.#heldEnd = kept;
    }
    chunk.copy(this.#held, this.#heldEnd, from);
    this.#heldEnd += more;
  }

  #release(): void {
    this.#held = null;
    this.#heldAt = 0;
    this.#heldEnd = 0;
  }
}

function isLastChunk(bytes: Buffer, at: number): boolean {
  for (let i = 0; i < LAST_CHUNK.length; i++) if (bytes[at + i] !== LAST_CHUNK[i]) return false;
  return true;
}
