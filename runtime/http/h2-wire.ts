/** A downstream connection as the stream that `node:http2` wants: bytes in, bytes out, back-pressure both ways. */
import { Duplex } from "node:stream";
import { copyOf, noteCopied } from "../codec/copies.ts";
import type { ConnectionView } from "../network/filter.ts";
import type { Counter } from "../observe/stats.ts";

/** How often bytes are copied on their way between here and the frames of `node:http2`. */
const NODE_COPIES = 2;

export class H2Wire extends Duplex {
  readonly #connection: ConnectionView;
  readonly #closeMs: number;
  readonly #sent: Counter;
  #paused = false;
  #blocked: ((error?: Error | null) => void) | null = null;

  /** `closeMs`: how long the peer may take to end its side once ours has ended. `sent` counts bytes. */
  constructor(connection: ConnectionView, { closeMs, sent }: { readonly closeMs: number; readonly sent: Counter }) {
    super({ allowHalfOpen: false });
    this.#connection = connection;
    this.#closeMs = closeMs;
    this.#sent = sent;
  }

  /** Bytes from downstream, which are lent. */
  deliver(data: Buffer): void {
    noteCopied(data.length * NODE_COPIES);
    if (this.destroyed || this.push(copyOf(data)) || this.#paused) return;
    this.#paused = true;
    this.#connection.pauseReading();
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
