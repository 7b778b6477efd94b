/**
 * The extension point of a downstream connection: bytes go through the network filters of its chain in
 * order, to the terminal one (http_connection_manager, tcp_proxy), and back through the same filters in reverse.
 *
 * Life of a filter: create → onNewConnection → onData* / onWrite* → onClose. All are created at once, but one
 * behind a filter that stopped hears of the connection, and then of its end, only if that one lets go on.
 */
import type { BodyBuffer } from "../codec/body.ts";
import type { ConnectionInfo, StreamInfo } from "../observe/stream-info.ts";

export const NetworkStatus = {
  CONTINUE: 0,
  /**
   * Nothing goes on. Bytes that are left in the buffer stay with this filter, which sees them again together with what
   * follows; over the connection's buffer limit the peer is not read any more until the filter goes on or takes them out.
   */
  STOP: 1,
} as const;

/** A filter before the terminal one. */
export interface NetworkFilter {
  onNewConnection(): number;
  /** Bytes from downstream. Edits are what goes on; what is kept beyond the call is copied. `endStream`: none follow. */
  onData(bytes: BodyBuffer, endStream: boolean): number;
  /** Bytes towards downstream. */
  onWrite(bytes: BodyBuffer, endStream: boolean): number;
  /** The connection takes bytes again, after `injectWriteData` returned false. */
  onWritable?(): void;
  /** The connection is gone. `local`: closed by this proxy. */
  onClose(local: boolean): void;
}

/** The end of a chain: it takes the connection over. */
export interface TerminalFilter {
  onNewConnection(): void;
  /** Bytes from downstream; they are the filter's only until it returns, so what it keeps it copies. */
  onData(data: Buffer, endStream: boolean): void;
  /** The connection takes bytes again after `write` returned false. */
  onWritable(): void;
  /** The listener drains: finish what is under way, then close. */
  onDraining(): void;
  onClose(local: boolean): void;
}

export interface TerminalFilterFactory {
  readonly name: string;
  readonly terminal: true;
  create(connection: ConnectionView): TerminalFilter;
  /**
   * A configuration with `next` in this one's place is in force: connections that are there begin what they begin from now
   * on with `next`. False, and nothing has changed: they cannot. `onIdle` is called whenever nothing is left that was begun before.
   */
  succeed?(next: NetworkFilterFactory, onIdle: () => void): boolean;
  /** Something is under way that was begun with it. Absent: nothing outlives its connection. */
  readonly busy?: boolean;
  /**
   * A configuration without this one is in force: connections that are there ask downstream to leave, the more often the
   * more of `overMs` is over. Those that are left later end without a word. `onIdle`: as above.
   */
  retire?(overMs: number, onIdle: () => void): void;
}

/** Makes the filter of each connection; one per entry of a chain and worker. */
export interface PassingFilterFactory {
  readonly name: string;
  readonly terminal: false;
  /** False: `onData` is never called; bytes from downstream pass by. */
  readonly reads: boolean;
  /** False: `onWrite` is never called. */
  readonly writes: boolean;
  create(connection: FilterView): NetworkFilter;
}

export type NetworkFilterFactory = TerminalFilterFactory | PassingFilterFactory;

/** What Node's own protocols read from and write to. Both counts are of all its life, and missing once it is closed. */
export interface NativeStream {
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
}

/**
 * A downstream connection as its filters see it. `reason` of the ways to close stands in access logs
 * (DOWNSTREAM_LOCAL_CLOSE_REASON); the first one given counts.
 */
export interface ConnectionView {
  readonly info: ConnectionInfo;
  /** The connection as a stream of bytes: what access logs of connections and TCP read. HTTP streams have their own. */
  readonly stream: StreamInfo;
  /** Closed, or about to be: nothing more is delivered or taken. */
  readonly closed: boolean;
  /** The peer ended the connection with RST. */
  readonly resetByPeer: boolean;
  /** Bytes that were written and that the system has not taken yet. */
  readonly unsentBytes: number;
  /**
   * The bytes are the connection's from now on. False: more is taken, but the caller should stop until `onWritable`.
   * From a filter that is not terminal: through the filters before it, see `injectWriteData`.
   */
  write(data: Buffer | string): boolean;
  /** The same with bytes that are only lent: what the system does not take at once is copied. */
  writeLent(data: Buffer): boolean;
  /**
   * The native stream below, for a protocol that Node itself speaks: from then on bytes go past the connection both ways,
   * and it hears of the end alone. Null, or absent, under TLS, when filters stand before the terminal one, or when there is no
   * such stream.
   */
  takeStream?(): NativeStream | null;
  /** Ends the direction towards downstream once everything is written; bytes may still come in. */
  endWrite(): void;
  /** Counted: as many `resumeReading` as `pauseReading` until bytes come again. */
  pauseReading(): void;
  resumeReading(): void;
  /** Flushes what was written, then ends; the peer gets `delayedMs` to close its side. */
  close(delayedMs: number, reason?: string): void;
  /** Ends now; what was not sent is lost. */
  closeNow(reason?: string): void;
  /** Ends at once (RST). */
  reset(reason?: string): void;
}

/** The same for a filter before the terminal one, which has a place in the chain. */
export interface FilterView extends ConnectionView {
  /** What is held for this filter, where edits are what goes on. */
  readonly heldData: BodyBuffer;
  readonly heldWrite: BodyBuffer;
  /** Goes on after `onNewConnection` or `onData` stopped: held bytes go to the next filter. Does nothing when nothing stopped. */
  continueReading(): void;
  /** The same after `onWrite` stopped. */
  continueWriting(): void;
  /** Hands bytes to the filters behind this one, past what is held here. */
  injectReadData(data: Buffer, endStream: boolean): void;
  /** Sends bytes through the filters before this one. False: see `write`. */
  injectWriteData(data: Buffer, endStream: boolean): boolean;
}
