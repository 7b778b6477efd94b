/**
 * The extension point of a downstream connection: bytes go through the network filters of its chain in
 * order, to the terminal one (http_connection_manager or tcp_proxy), and back through the write filters in reverse.
 */
import type { ConnectionInfo } from "../observe/stream-info.ts";

export const NetworkStatus = { CONTINUE: 0, STOP: 1 } as const;

export interface NetworkFilter {
  onNewConnection(): number;
  /** Bytes from downstream; they are the filter's only until it returns, so what it keeps it copies. */
  onData(data: Buffer, endStream: boolean): number;
  /** Bytes towards downstream. */
  onWrite(data: Buffer, endStream: boolean): number;
  /** The connection takes bytes again after `write` returned false. */
  onWritable(): void;
  /** The listener drains: finish what is under way, then close. */
  onDraining(): void;
  /** The connection is gone. `local`: closed by this proxy. */
  onClose(local: boolean): void;
}

/** Makes the filter of each connection. Terminal filters take the connection over. */
export interface NetworkFilterFactory {
  readonly name: string;
  readonly terminal: boolean;
  create(connection: ConnectionView): NetworkFilter;
}

/** A downstream connection as its filters see it. */
export interface ConnectionView {
  readonly info: ConnectionInfo;
  /** False: the socket's buffer is over its limit; `onWritable` of the terminal filter follows. */
  write(data: Buffer | string): boolean;
  pauseReading(): void;
  resumeReading(): void;
  /** Flushes what was written, then ends; the peer gets `delayedMs` to close its side. */
  close(delayedMs: number): void;
  /** Ends at once (RST). */
  reset(): void;
}
