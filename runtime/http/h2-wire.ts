/**
 * A downstream connection as the stream that `node:http2` wants: bytes in, bytes out, back-pressure both ways. Where
 * nothing stands between the connection and HTTP/2, TLS neither, bytes go straight from Node's own stream to its frames and back, for
 * two thirds of what they cost through here, and it is only opened and closed through this one.
 */
import { Duplex } from "node:stream";
import { copyOf, noteCopied } from "../codec/copies.ts";
import type { ConnectionView, NativeStream } from "../network/filter.ts";
import type { Counter } from "../observe/stats.ts";

/** How often bytes are copied on their way between here and the frames of `node:http2`. */
const NODE_COPIES = 2;

interface WireOptions {
  readonly closeMs: number;
  readonly received: Counter;
  readonly sent: Counter;
}

export class H2Wire extends Duplex {
  readonly #connection: ConnectionView;
  readonly #closeMs: number;
  readonly #sent: Counter;
  readonly #received: Counter;
  /** Null: all bytes go through here. The name is that under which `node:http2` looks for a native stream. */
  readonly _handle: NativeStream | null;
  #countedIn = 0;
  #countedOut = 0;
  #paused = false;
  #blocked: ((error?: Error | null) => void) | null = null;

  /** `closeMs`: how long the peer may take to end its side once ours has ended. `received` and `sent` count bytes. */
  constructor(connection: ConnectionView, { closeMs, received, sent }: WireOptions) {
    super({ allowHalfOpen: false });
    this.#connection = connection;
    this.#closeMs = closeMs;
    this.#received = received;
    this.#sent = sent;
    this._handle = connection.takeStream?.() ?? null;
  }

  /** Bytes from downstream, which are lent. */
  deliver(data: Buffer): void {
    if (this._handle !== null) {
      // What came before Node took the stream over: it looks for that here, once.
      if (!this.destroyed) this.push(copyOf(data));
      return;
    }
    this.#received.add(data.length);
    noteCopied(data.length * NODE_COPIES);
    if (this.destroyed || this.push(copyOf(data)) || this.#paused) return;
    this.#paused = true;
    this.#connection.pauseReading();
  }

  /** Counts what has gone past this one. */
  count(): void {
    const { bytesRead = 0, bytesWritten = 0 } = this._handle ?? {};
    if (bytesRead > this.#countedIn) {
      this.#received.add(bytesRead - this.#countedIn);
      // Node makes a buffer of its own for each read.
      noteCopied(bytesRead - this.#countedIn);
      this.#countedIn = bytesRead;
    }
    if (bytesWritten > this.#countedOut) {
      this.#sent.add(bytesWritten - this.#countedOut);
      this.#countedOut = bytesWritten;
    }
  }

  /** Downstream takes bytes again. */
  goOn(): void {
    const done = this.#blocked;
    this.#blocked = null;
    done?.();
  }

  override _read(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#connection.resumeReading();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#send(chunk, done);
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#connection.close(this.#closeMs);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#connection.closed) this.#connection.close(this.#closeMs);
    this.goOn();
    done(error);
  }

  #send(bytes: Buffer, done: (error?: Error | null) => void): void {
    this.#sent.add(bytes.length);
    noteCopied(bytes.length * NODE_COPIES);
    if (this.#connection.write(bytes) || this.#connection.closed) done();
    else this.#blocked = done;
  }
}
