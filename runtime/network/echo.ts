/** `envoy.filters.network.echo`: sends back what comes. */
import type { ConnectionView, TerminalFilter, TerminalFilterFactory } from "./filter.ts";

export function echo(name: string): TerminalFilterFactory {
  return { name, terminal: true, create: (connection) => new Echo(connection) };
}

class Echo implements TerminalFilter {
  readonly #connection: ConnectionView;
  #paused = false;

  constructor(connection: ConnectionView) {
    this.#connection = connection;
  }

  onNewConnection(): void {}

  onData(data: Buffer, endStream: boolean): void {
    if (data.length > 0 && !this.#connection.writeLent(data) && !this.#paused) {
      this.#paused = true;
      this.#connection.pauseReading();
    }
    if (endStream) this.#connection.endWrite();
  }

  onWritable(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#connection.resumeReading();
  }

  onDraining(): void {}
  onClose(): void {}
}
