/**
 * An HTTP/2 connection from downstream, by ALPN or with prior knowledge: the terminal network filter that turns it
 * into streams, many at a time. Frames and flow control are `node:http2`'s; bytes come and go through the
 * connection's network filters like those of HTTP/1.
 *
 * The deadline of the base class is the connection's idle timeout; it looks, when it fires, how long the
 * connection has really been without a stream.
 */
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import { H2Error } from "../codec/h2-codes.ts";
import {
  H2_DOWNSTREAM_STREAMS,
  H2_SLOW_STREAM_BYTES,
  H2_CONNECTION_WINDOW_BYTES,
  H2_RESET_BURST,
  H2_RESETS_PER_SECOND,
  H2_SESSION_MB,
  H2_STREAM_WINDOW_BYTES,
} from "../limits.ts";
import type { ConnectionView, TerminalFilter } from "../network/filter.ts";
import { Alarm, Deadline } from "../timers.ts";
import type { ConnectionManager } from "./connection-manager.ts";
import { H2Stream } from "./h2-stream.ts";
import { H2Wire } from "./h2-wire.ts";

/** RFC 9113 section 6.8: a GOAWAY that refuses nothing yet. */
const LAST_STREAM_ID = 2 ** 31 - 1;
/** `:method`, `:scheme`, `:authority` and `:path`: RFC 9113 section 8.3.1. */
const REQUEST_PSEUDO_FIELDS = 4;

export class H2Session extends Deadline implements TerminalFilter {
  /** Of the newest stream; a configuration that has come since has another one. */
  manager: ConnectionManager;
  readonly connection: ConnectionView;
  readonly #wire: H2Wire;
  readonly #session: ServerHttp2Session;
  readonly #streams = new Set<H2Stream>();
  #requests = 0;
  #lastActiveMs = performance.now();
  #draining = false;
  #drainAlarm: Alarm | null = null;
  #closeAlarm: Alarm | null = null;
  #durationAlarm: Alarm | null = null;

  constructor(manager: ConnectionManager, connection: ConnectionView) {
    super();
    this.manager = manager;
    this.connection = connection;
    const { config } = manager;
    const maxConcurrentStreams = config.http2?.maxConcurrentStreams ?? H2_DOWNSTREAM_STREAMS;
    const { cxRxBytes: received, cxTxBytes: sent } = manager.stats;
    this.#wire = new H2Wire(connection, { closeMs: config.delayedCloseTimeoutMs, received, sent });
    const session = process.getBuiltinModule("node:http2").performServerHandshake(this.#wire, {
      maxSessionMemory: Math.max(H2_SESSION_MB, Math.ceil((maxConcurrentStreams * H2_SLOW_STREAM_BYTES) / 1e6)),
      streamResetBurst: H2_RESET_BURST,
      streamResetRate: H2_RESETS_PER_SECOND,
      // Pseudo-fields count there, and not in Envoy's limit.
      maxHeaderListPairs: config.maxHeadersCount + REQUEST_PSEUDO_FIELDS,
      settings: {
        maxConcurrentStreams,
        initialWindowSize: config.http2?.streamWindowBytes ?? H2_STREAM_WINDOW_BYTES,
        maxHeaderListSize: config.maxRequestHeadersBytes,
        enableConnectProtocol: config.http2?.allowConnect === true,
      },
    });
    this.#session = session;
    session.on("stream", (stream, _headers, flags, raw) => this.#onStream(stream, flags, raw));
    session.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ERR_HTTP2_ERROR" || error.code === "ERR_HTTP2_SESSION_ERROR")
        manager.stats.cxProtocolError.inc();
    });
    this.#wire.on("error", () => session.destroy());
  }

  // ---- connection -------------------------------------------------------------------------------

  onNewConnection(): void {
    const { stats } = this.manager;
    stats.cxTotal.inc();
    stats.cxActive.inc();
    this.begin();
  }

  /** The same for a connection that is counted already. */
  begin(): void {
    const { stats, config } = this.manager;
    stats.cxHttp2Total.inc();
    stats.cxHttp2Active.inc();
    this.#session.setLocalWindowSize(config.http2?.connectionWindowBytes ?? H2_CONNECTION_WINDOW_BYTES);
    if (config.idleTimeoutMs > 0) this.arm(config.idleTimeoutMs);
    if (config.maxConnectionDurationMs > 0) {
      this.#durationAlarm = new Alarm(() => this.#onMaxDuration());
      this.#durationAlarm.arm(config.maxConnectionDurationMs);
    }
  }

  onData(data: Buffer, endStream: boolean): void {
    if (data.length > 0) this.#wire.deliver(data);
    if (endStream) this.#onRemoteEnd();
  }

  /**
   * Envoy has no half-open HTTP connections: a peer that closes its side has left. Told of the end Node would end the
   * other side as well, and abort the thread when it has something to write then.
   */
  #onRemoteEnd(): void {
    if (this.#streams.size > 0) this.manager.stats.cxDestroyActiveRq.inc();
    for (const stream of [...this.#streams]) stream.onGone();
    this.#session.destroy();
    this.connection.close(this.manager.config.delayedCloseTimeoutMs);
  }

  onWritable(): void {
    this.#wire.goOn();
  }

  /** Says that no more streams are welcome, waits for those on their way, and ends with the last one. */
  onDraining(): void {
    if (this.#draining || this.#session.destroyed) return;
    this.#draining = true;
    this.#session.goaway(H2Error.NO_ERROR, LAST_STREAM_ID);
    this.#drainAlarm = new Alarm(() => this.#finish());
    this.#drainAlarm.arm(Math.max(1, this.manager.config.drainTimeoutMs));
    if (this.#streams.size === 0) this.#finish();
  }

  onClose(): void {
    this.disarm();
    this.#drainAlarm?.disarm();
    this.#closeAlarm?.disarm();
    this.#durationAlarm?.disarm();
    const { stats } = this.manager;
    stats.cxActive.dec();
    stats.cxHttp2Active.dec();
    stats.cxDestroy.inc();
    if (this.#streams.size > 0) stats.cxDestroyActiveRq.inc();
    for (const stream of [...this.#streams]) stream.onGone();
    this.#wire.count();
    // Told of that first, Node writes nothing more to its own stream, which is gone.
    if (this.#wire._handle !== null) this.#wire.destroy();
    this.#session.destroy();
    this.#wire.destroy();
  }

  onDeadline(): void {
    const idleMs = this.manager.config.idleTimeoutMs;
    const left = this.#streams.size > 0 ? idleMs : idleMs - (performance.now() - this.#lastActiveMs);
    if (left > 1) {
      this.arm(Math.ceil(left));
      return;
    }
    this.manager.stats.cxIdleTimeout.inc();
    this.#finish();
  }

  // ---- streams ----------------------------------------------------------------------------------

  /** The answer goes out while the proxy drains, or asks downstream to leave. */
  noteResponse(): void {
    if (this.#draining || !this.manager.asksToLeave()) return;
    this.manager.stats.cxDrainClose.inc();
    this.onDraining();
  }

  /** Bytes of a stream have come or gone. */
  countBytes(): void {
    this.#wire.count();
  }

  onStreamOver(stream: H2Stream): void {
    if (!this.#streams.delete(stream)) return;
    this.#lastActiveMs = performance.now();
    if ((this.#draining || this.#session.closed) && this.#streams.size === 0) setImmediate(() => this.#finish());
  }

  #onStream(wire: ServerHttp2Stream, flags: number, raw: string[]): void {
    const { stats, config } = (this.manager = this.manager.newest);
    stats.downstreamRqHttp2Total.inc();
    this.#requests++;
    const stream = new H2Stream(this, wire);
    this.#streams.add(stream);
    stream.begin(raw, flags);
    const max = config.maxRequestsPerConnection;
    if (max > 0 && this.#requests === max) {
      stats.cxMaxRequests.inc();
      this.onDraining();
    }
  }

  #onMaxDuration(): void {
    this.manager.stats.cxMaxDuration.inc();
    this.onDraining();
  }

  /** No new streams; the connection ends with those that are there. */
  #finish(): void {
    if (this.#session.destroyed) return;
    if (!this.#session.closed) this.#session.close();
    if (this.#streams.size > 0 || this.#closeAlarm !== null) return;
    // Its last frames may wait for a peer that reads nothing any more.
    const ms = this.manager.config.delayedCloseTimeoutMs;
    this.#closeAlarm = new Alarm(() => this.connection.close(ms));
    this.#closeAlarm.arm(Math.max(1, ms));
  }
}
