/** A connection through a network filter, both of its ends played by a test. */
import { settled } from "./clock.ts";
import type { MemoryConnection } from "./memory-connection.ts";

/** `end`: nothing follows in this direction. */
export interface Sending {
  readonly end?: boolean;
}

export class TestConnection {
  readonly #connection: MemoryConnection;
  readonly #busy: () => boolean;
  readonly #afterwards: () => void;

  /** `busy`: answers to calls are on their way. `afterwards` throws when the guest has failed meanwhile. */
  constructor(connection: MemoryConnection, busy: () => boolean, afterwards: () => void) {
    this.#connection = connection;
    this.#busy = busy;
    this.#afterwards = afterwards;
  }

  /** Sends bytes as downstream, in one piece. */
  async send(data: string | Uint8Array, { end = false }: Sending = {}): Promise<void> {
    this.#connection.data(bytesOf(data), end);
    await this.#settle();
  }

  /** Sends bytes as upstream. */
  async answer(data: string | Uint8Array, { end = false }: Sending = {}): Promise<void> {
    this.#connection.answer(bytesOf(data), end);
    await this.#settle();
  }

  /** The connection ends: by downstream, unless the filter has closed it. */
  async close(): Promise<void> {
    this.#connection.finish();
    await this.#settle();
  }

  /** What upstream has got so far. */
  get upstream(): Buffer {
    return Buffer.from(this.#connection.upstream, "latin1");
  }
  /** What downstream has got so far. */
  get downstream(): Buffer {
    return Buffer.from(this.#connection.downstream, "latin1");
  }
  /** The filter has let the new connection through to what stands behind it. */
  get accepted(): boolean {
    return this.#connection.known;
  }
  /** Closed by the filter. */
  get closed(): boolean {
    return this.#connection.closed;
  }
  /** Dynamic metadata of the connection now, by namespace. */
  get metadata(): Readonly<Record<string, unknown>> {
    return Object.fromEntries(this.#connection.stream.dynamicMetadata ?? []);
  }

  async #settle(): Promise<void> {
    await settled();
    for (let turns = 0; this.#busy() && turns < MAX_TURNS; turns++) await settled();
    this.#afterwards();
  }
}

/** Turns of the event loop that are waited for answers; one that takes longer comes when it comes. */
const MAX_TURNS = 1000;

function bytesOf(data: string | Uint8Array): Uint8Array {
  return typeof data === "string" ? Buffer.from(data, "utf8") : data;
}
