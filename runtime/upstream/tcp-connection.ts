/**
 * One connection to a host that carries bytes and no protocol of ours: connecting → open → closed. It is not
 * pooled: who asked for it owns it, and it counts as a request of the cluster while it lives.
 */
import type { Socket } from "node:net";
import { copyOf } from "../codec/copies.ts";
import { ResetReason } from "../errors.ts";
import type { ConnectionInfo, SecureFacts } from "../observe/stream-info.ts";
import { beginEvent, Deadline, endEvent } from "../timers.ts";
import type { ClusterResources } from "./cluster-resources.ts";
import { dial, dialedEvent, dialedFacts, dialFailure, dialRefusal, localAddressOf, resetDialed } from "./dial.ts";
import { takesDirectWrites, writeDirect } from "./direct-write.ts";
import type { Host } from "./host.ts";
import { upstreamReadBuffer } from "./read-buffer.ts";

/** What is inside of TLS is not ours to name. */
const NO_PROTOCOLS: readonly string[] = [];

/** Events of one raw connection. After `onTcpClosed`, or after `close` or `reset`, none comes. */
export interface TcpHandler {
  onTcpConnected(): void;
  /** The bytes are the handler's only until it returns. */
  onTcpData(data: Buffer): void;
  /** The host sends nothing more. */
  onTcpEnd(): void;
  /** Bytes are taken again after `write` returned false. */
  onTcpDrain(): void;
  /** Not connected (`reason` says why), or ended: CONNECTION_TERMINATION, or REMOTE_RESET by RST. */
  onTcpClosed(reason: ResetReason, transportFailure: string): void;
}

/** Where a socket keeps its connection: its listeners are the same functions for all, and none is made for each. */
const CONNECTION = Symbol("connection");
interface OwnedSocket extends Socket {
  [CONNECTION]?: TcpConnection;
}

/** A connection, or what stands for one, that carries bytes to a host and back. */
export interface ByteStream {
  /** `ip:port`; "" while the host is not known. */
  readonly address: string;
  readonly localAddress: string;
  /** TLS of the connection once it is made; null: it has none. */
  readonly secure: SecureFacts | null;
  readonly unsentBytes: number;
  /** The bytes are lent until it returns. False: more is taken, but the caller should stop until `onTcpDrain`. */
  write(data: Buffer): boolean;
  /** Ends the direction towards the host once everything is written. */
  endWrite(): void;
  pauseReading(): void;
  resumeReading(): void;
  /** Ends once everything is written, in both directions; `onTcpClosed` follows. */
  finish(): void;
  /** Ends now; what was not sent is lost. No event follows. */
  close(): void;
  /** The same, with RST where there is one. */
  reset(): void;
}

export class TcpConnection extends Deadline implements ByteStream {
  readonly host: Host;
  /** `ip:port`, also before it is connected. */
  readonly address: string;
  readonly #resources: ClusterResources;
  readonly #onGone: (connection: TcpConnection) => void;
  readonly #socket: Socket;
  readonly #startMs = performance.now();
  #handler: TcpHandler | null;
  #connected = false;
  #direct = false;
  #closed = false;
  #failure: { readonly reason: ResetReason; readonly text: string } | null = null;
  #reset = false;

  constructor(given: {
    host: Host;
    resources: ClusterResources;
    handler: TcpHandler;
    /** Whose bytes it carries; absent: nobody's downstream. */
    downstream?: ConnectionInfo | undefined;
    onGone: (connection: TcpConnection) => void;
  }) {
    super();
    const { host, resources } = given;
    this.host = host;
    this.address = host.address;
    this.#resources = resources;
    this.#handler = given.handler;
    this.#onGone = given.onGone;
    resources.connectionOpened(host);
    resources.requestQueued();
    const buffer = upstreamReadBuffer;
    const socket: OwnedSocket = dial(host, {
      protocols: NO_PROTOCOLS,
      downstream: given.downstream ?? null,
      allowHalfOpen: true,
      writableHighWaterMark: resources.config.perConnectionBufferLimitBytes,
      onread: {
        buffer,
        callback: (length: number): boolean => {
          this.#onRead(buffer.subarray(0, length));
          return true;
        },
      },
    });
    this.#socket = socket;
    socket[CONNECTION] = this;
    socket.on(dialedEvent(host), TcpConnection.#dialed);
    socket.on("drain", TcpConnection.#drained);
    socket.on("end", TcpConnection.#ended);
    socket.on("error", TcpConnection.#broken);
    socket.on("close", TcpConnection.#gone);
    this.arm(resources.config.connectTimeoutMs);
  }

  /** `ip:port` of this side; "" before it is connected and for pipes. */
  get localAddress(): string {
    return localAddressOf(this.#socket);
  }

  /** What TLS says of the connection once it is made; null: it has none. */
  get secure(): SecureFacts | null {
    return dialedFacts(this.host, this.#socket);
  }

  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  /** The bytes are lent until it returns. False: more is taken, but the caller should stop until `onTcpDrain`. */
  write(data: Buffer): boolean {
    const socket = this.#socket;
    const { stats } = this.#resources;
    stats.cxTxBytes.add(data.length);
    const taken = this.#direct ? writeDirect(socket, data) : 0;
    if (taken === data.length) return true;
    const room = socket.write(copyOf(taken === 0 ? data : data.subarray(taken)));
    if (!room) stats.flowBackedUp.inc();
    return room;
  }

  /** Ends the direction towards the host once everything is written. */
  endWrite(): void {
    this.#socket.end();
  }

  pauseReading(): void {
    this.#resources.stats.flowPausedReading.inc();
    this.#socket.pause();
  }

  resumeReading(): void {
    this.#resources.stats.flowResumedReading.inc();
    this.#socket.resume();
  }

  /** Ends once everything is written, in both directions; `onTcpClosed` follows. */
  finish(): void {
    this.#socket.destroySoon();
  }

  /** Ends now; what was not sent is lost. */
  close(): void {
    this.#handler = null;
    this.#socket.destroy();
    this.#conclude(true);
  }

  /** Ends now, with RST. */
  reset(): void {
    this.#handler = null;
    resetDialed(this.host, this.#socket);
    this.#conclude(true);
  }

  /** The cluster goes away: as if the host had ended the connection. */
  abandon(): void {
    this.#socket.destroy();
  }

  /** Not connected in time. */
  onDeadline(): void {
    this.#resources.stats.cxConnectTimeout.inc();
    this.#failConnect(ResetReason.CONNECTION_TIMEOUT, "");
    this.#socket.destroy();
  }

  static #dialed(this: OwnedSocket): void {
    this[CONNECTION]!.#onConnect();
  }

  static #drained(this: OwnedSocket): void {
    this[CONNECTION]!.#onDrain();
  }

  static #ended(this: OwnedSocket): void {
    this[CONNECTION]!.#onEnd();
  }

  static #broken(this: OwnedSocket, error: NodeJS.ErrnoException): void {
    this[CONNECTION]!.#onError(error);
  }

  static #gone(this: OwnedSocket): void {
    this[CONNECTION]!.#onClose();
  }

  #onConnect(): void {
    if (this.#closed) return;
    const refusal = dialRefusal(this.host, this.#socket);
    if (refusal !== null) {
      this.#failConnect(refusal.reason, refusal.text);
      this.#socket.destroy();
      return;
    }
    this.disarm();
    this.#connected = true;
    this.#direct = takesDirectWrites(this.#socket);
    this.#resources.stats.cxConnectMs.record(performance.now() - this.#startMs);
    this.#resources.requestLeftQueue();
    this.#resources.requestBegun(this.host);
    this.host.monitor?.connected(true);
    this.#handler?.onTcpConnected();
  }

  #onRead(data: Buffer): void {
    const handler = this.#handler;
    if (handler === null) return;
    beginEvent();
    this.#resources.stats.cxRxBytes.add(data.length);
    handler.onTcpData(data);
    endEvent();
  }

  #onEnd(): void {
    this.#handler?.onTcpEnd();
  }

  #onDrain(): void {
    this.#resources.stats.flowDrained.inc();
    this.#handler?.onTcpDrain();
  }

  #onError(error: NodeJS.ErrnoException): void {
    if (this.#connected) {
      this.#reset = true;
      return;
    }
    const failure = dialFailure(this.host, error);
    this.#failConnect(failure.reason, failure.text);
  }

  #failConnect(reason: ResetReason, text: string): void {
    if (this.#closed || this.#failure !== null) return;
    this.#failure = { reason, text };
    this.#resources.stats.cxConnectFail.inc();
    this.#resources.stats.rqPendingFailureEject.inc();
    this.host.cxConnectFail++;
    this.host.failed(reason === ResetReason.CONNECTION_TIMEOUT);
  }

  #onClose(): void {
    const handler = this.#handler;
    this.#handler = null;
    this.#conclude(false);
    if (this.#failure !== null) handler?.onTcpClosed(this.#failure.reason, this.#failure.text);
    else handler?.onTcpClosed(this.#reset ? ResetReason.REMOTE_RESET : ResetReason.CONNECTION_TERMINATION, "");
  }

  #conclude(local: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    this.disarm();
    if (this.#connected) {
      this.#resources.requestOver(this.host);
      this.#resources.connectionClosed(local, true, performance.now() - this.#startMs);
    } else {
      this.#resources.requestLeftQueue();
      if (this.#failure === null) this.#resources.stats.rqCancelled.inc();
    }
    this.#resources.connectionGone(this.host);
    this.#onGone(this);
  }
}
