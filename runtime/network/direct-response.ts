/** `envoy.filters.network.direct_response`: sends the same bytes to everybody and closes. */
import { DELAYED_CLOSE_TIMEOUT_MS } from "../limits.ts";
import type { ConnectionView, TerminalFilter, TerminalFilterFactory } from "./filter.ts";

export function directResponse(name: string, response: Buffer): TerminalFilterFactory {
  return { name, terminal: true, create: (connection) => new DirectResponse(connection, response) };
}

class DirectResponse implements TerminalFilter {
  readonly #connection: ConnectionView;
  readonly #response: Buffer;

  constructor(connection: ConnectionView, response: Buffer) {
    this.#connection = connection;
    this.#response = response;
  }

  onNewConnection(): void {
    if (this.#response.length > 0) this.#connection.writeLent(this.#response);
    // What downstream sends unasked is read away: a reset could overtake the response.
    this.#connection.close(DELAYED_CLOSE_TIMEOUT_MS, "direct_response");
  }

  onData(): void {}
  onWritable(): void {}
  onDraining(): void {}
  onClose(): void {}
}
