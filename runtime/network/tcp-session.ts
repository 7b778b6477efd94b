/**
 * One downstream connection that is carried to a host of a cluster byte for byte: waiting for a host →
 * connecting → open → (flushing what downstream left) → over. Either side may end its direction first.
 *
 * The deadline of the base class is the idle timeout. It stays armed while bytes come and go and looks, when it
 * fires, how long the connection has really been idle.
 */
import { ResetReason, ResponseFlag } from "../errors.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { BodyBuffer } from "../codec/body.ts";
import { copyOf } from "../codec/copies.ts";
import { Alarm, Deadline, now } from "../timers.ts";
import type { Hash64 } from "../upstream/hash64.ts";
import type { MetadataMatch } from "../upstream/metadata-match.ts";
import { hashOfConnection, type PickContext, wantedMetadata } from "../upstream/pick.ts";
import type { ByteStream, TcpHandler } from "../upstream/tcp-connection.ts";
import type { ConnectionView, TerminalFilter } from "./filter.ts";
import type { TcpProxy } from "./tcp-proxy.ts";

/** Envoy's words of DOWNSTREAM_LOCAL_CLOSE_REASON. */
const CloseReason = {
  NOT_CONNECTED: "tcp_initializion_failure:",
  IDLE: "tcp_session_idle_timeout",
  MAX_DURATION: "max_connection_duration_reached",
} as const;
/** Number of Envoy's UpstreamFailureReason behind NOT_CONNECTED. */
const Failure = { CONNECT_FAILED: 0, NO_HEALTHY_UPSTREAM: 1, RESOURCE_LIMIT: 2, NO_ROUTE: 3 } as const;

export class TcpSession extends Deadline implements TerminalFilter, TcpHandler, PickContext {
  readonly #proxy: TcpProxy;
  readonly #connection: ConnectionView;
  #upstream: ByteStream | null = null;
  #connected = false;
  /** Downstream is gone; what it sent last is still on its way to the host. */
  #flushing = false;
  #over = false;
  /** Bytes and the end of downstream that came before there was a host. */
  #early: BodyBuffer | null = null;
  #ended = false;
  #readingPaused = true;
  #upstreamPaused = false;
  #metadataMatch: MetadataMatch | null = null;
  #attempts = 0;
  #idleTimeoutMs = 0;
  #lastActiveMs = 0;
  #unsentBytes = 0;
  #durationAlarm: Alarm | null = null;
  #backoffAlarm: Alarm | null = null;
  #recordAlarm: Alarm | null = null;

  constructor(proxy: TcpProxy, connection: ConnectionView) {
    super();
    this.#proxy = proxy;
    this.#connection = connection;
  }

  // ---- downstream -----------------------------------------------------------------------------

  onNewConnection(): void {
    const { config, stats } = this.#proxy;
    stats.cxTotal.inc();
    // Nothing is read before there is somebody to send it to, unless the configuration says so.
    this.#readingPaused = config.maxEarlyDataBytes === 0 && !config.connectOnData;
    if (this.#readingPaused) this.#connection.pauseReading();
    if (config.maxConnectionDurationMs > 0) {
      const jitter = 1 + (Math.random() * config.maxConnectionDurationJitterPercent) / 100;
      this.#durationAlarm = new Alarm(() => this.#onMaxDuration());
      this.#durationAlarm.arm(config.maxConnectionDurationMs * jitter);
    }
    if (config.accessLogOnStart) this.#proxy.log(this.#connection.stream, "TcpConnectionStart");
    if (config.accessLogFlushIntervalMs > 0) this.#recordLater();
    if (config.connectOnData) this.#watchIdle();
    else this.#connect();
  }

  onData(data: Buffer, endStream: boolean): void {
    // Filters may inject something behind the end, which has no place any more.
    if (this.#over || this.#ended) return;
    const { stats } = this.#proxy;
    stats.cxRxBytes.add(data.length);
    this.#lastActiveMs = now();
    if (endStream) this.#ended = true;
    const upstream = this.#upstream;
    if (!this.#connected || upstream === null) {
      this.#onEarlyData(data);
      return;
    }
    if (data.length > 0 && !upstream.write(data)) this.#pauseDownstream();
    if (endStream) upstream.endWrite();
  }

  #onEarlyData(data: Buffer): void {
    const { config } = this.#proxy;
    this.#keepEarly(data);
    if (!this.#readingPaused && (this.#early?.length ?? 0) >= config.maxEarlyDataBytes) {
      this.#readingPaused = true;
      this.#connection.pauseReading();
    }
    if (!config.connectOnData || this.#attempts > 0 || this.#over) return;
    if (this.#early === null) this.#leave();
    else this.#connect();
  }

  /** Downstream left without a word, so that no host has to hear of it. */
  #leave(): void {
    this.#over = true;
    this.#connection.close(0);
  }

  onWritable(): void {
    this.#lastActiveMs = now();
    this.#countUnsent();
    if (!this.#upstreamPaused) return;
    this.#upstreamPaused = false;
    this.#upstream?.resumeReading();
  }

  /** As in Envoy, connections live until the drain time is over. */
  onDraining(): void {}

  onClose(local: boolean): void {
    this.#countUnsent(0);
    this.#durationAlarm?.disarm();
    this.#backoffAlarm?.disarm();
    this.#recordAlarm?.disarm();
    this.#dropEarly();
    this.#proxy.log(this.#connection.stream, "TcpConnectionEnd");
    const upstream = this.#upstream;
    if (upstream === null || this.#over) this.#finish();
    else if (!this.#connected || (local && !this.#ended)) this.#giveUp(() => upstream.close());
    else if (this.#connection.resetByPeer) this.#giveUp(() => upstream.reset());
    else if (upstream.unsentBytes === 0) this.#giveUp(() => upstream.close());
    else this.#flush(upstream);
  }

  // ---- upstream -------------------------------------------------------------------------------

  onTcpConnected(): void {
    const upstream = this.#upstream!;
    const { stream } = this.#connection;
    this.#connected = true;
    stream.upstreamLocalAddress = upstream.localAddress;
    stream.upstreamSecure = upstream.secure;
    this.#watchIdle();
    if (this.#proxy.config.accessLogOnConnected) this.#proxy.log(stream, "TcpUpstreamConnected");
    const early = this.#dropEarly();
    const room = early === null || upstream.write(early);
    if (this.#ended) upstream.endWrite();
    if (room) this.#resumeDownstream();
    else this.#proxy.stats.flowPausedReading.inc();
  }

  onTcpData(data: Buffer): void {
    if (this.#flushing) {
      // Nobody is left to take it: what the system does to a closed socket.
      this.#giveUp(() => this.#upstream!.close());
      return;
    }
    const { stats } = this.#proxy;
    const { stream } = this.#connection;
    if (stream.upstreamFirstByteMs < 0) stream.upstreamFirstByteMs = now();
    this.#lastActiveMs = now();
    stats.cxTxBytes.add(data.length);
    const room = this.#connection.writeLent(data);
    this.#countUnsent();
    if (room || this.#upstreamPaused) return;
    this.#upstreamPaused = true;
    this.#upstream!.pauseReading();
  }

  onTcpEnd(): void {
    this.#lastActiveMs = now();
    if (!this.#flushing) this.#connection.endWrite();
  }

  onTcpDrain(): void {
    this.#lastActiveMs = now();
    if (this.#readingPaused) this.#proxy.stats.flowResumedReading.inc();
    this.#resumeDownstream();
  }

  onTcpClosed(reason: ResetReason, transportFailure: string): void {
    const connection = this.#connection;
    this.#upstream = null;
    if (this.#flushing) {
      this.#finish();
      return;
    }
    if (connection.closed) return;
    if (this.#connected) {
      this.#over = true;
      if (reason === ResetReason.REMOTE_RESET) {
        connection.stream.setFlag(ResponseFlag.UC);
        connection.reset();
      } else connection.close(0);
      return;
    }
    // What a tunnel finds out only when it asks its cluster for a request.
    if (reason === ResetReason.NO_HEALTHY_UPSTREAM) this.#refuse(ResponseFlag.UH, Failure.NO_HEALTHY_UPSTREAM);
    if (reason === ResetReason.OVERFLOW) this.#refuse(ResponseFlag.UO, Failure.RESOURCE_LIMIT);
    if (this.#over) return;
    connection.stream.setFlag(ResponseFlag.UF);
    connection.stream.upstreamTransportFailure = transportFailure;
    this.#retry();
  }

  // ---- what the cluster may pick the host by --------------------------------------------------

  get info(): StreamInfo {
    return this.#connection.stream;
  }

  metadataMatch(): MetadataMatch | null {
    return wantedMetadata(this.#metadataMatch, this.info);
  }

  hash(into: Hash64): boolean {
    const { hashPolicy } = this.#proxy.config;
    return hashPolicy !== undefined && hashOfConnection(hashPolicy, this.info, this.info.connection.remoteIp, into);
  }

  readonly moreHosts = 0;

  refuses(): boolean {
    return false;
  }

  // ---- timers ---------------------------------------------------------------------------------

  onDeadline(): void {
    const left = this.#idleTimeoutMs - (performance.now() - this.#lastActiveMs);
    if (left > 1) {
      this.arm(Math.ceil(left));
      return;
    }
    this.#proxy.stats.idleTimeout.inc();
    if (this.#flushing) this.#giveUp(() => this.#upstream!.close());
    else this.#connection.closeNow(CloseReason.IDLE);
  }

  #watchIdle(): void {
    this.#idleTimeoutMs = this.#proxy.idleTimeoutMs(this.#connection.stream);
    this.#lastActiveMs = now();
    if (this.#idleTimeoutMs > 0) this.arm(this.#idleTimeoutMs);
  }

  #onMaxDuration(): void {
    this.#proxy.stats.maxConnectionDuration.inc();
    this.#connection.stream.setFlag(ResponseFlag.DT);
    this.#connection.closeNow(CloseReason.MAX_DURATION);
  }

  #recordLater(): void {
    this.#recordAlarm ??= new Alarm(() => {
      this.#proxy.log(this.#connection.stream, "TcpPeriodic");
      this.#recordLater();
    });
    this.#recordAlarm.arm(this.#proxy.config.accessLogFlushIntervalMs);
  }

  // ---- inside ---------------------------------------------------------------------------------

  #connect(): void {
    const { stats, config } = this.#proxy;
    const { stream } = this.#connection;
    const { upstream: cluster, metadataMatch } = this.#proxy.pickTarget(stream);
    this.#metadataMatch = metadataMatch;
    if (cluster === undefined) {
      stats.cxNoRoute.inc();
      this.#refuse(ResponseFlag.NC, Failure.NO_ROUTE);
      return;
    }
    stream.cluster = cluster.config;
    if (this.#attempts >= config.maxConnectAttempts) {
      cluster.giveUpConnecting();
      this.#refuse(ResponseFlag.URX, Failure.CONNECT_FAILED);
      return;
    }
    this.#attempts++;
    const tunnel = this.#proxy.tunnelHead(stream);
    const upstream = tunnel === null ? cluster.connect(this, this) : cluster.tunnel(this, tunnel, this);
    if (upstream === ResetReason.OVERFLOW) this.#refuse(ResponseFlag.UO, Failure.RESOURCE_LIMIT);
    else if (typeof upstream === "string") this.#refuse(ResponseFlag.UH, Failure.NO_HEALTHY_UPSTREAM);
    else {
      this.#upstream = upstream;
      stream.upstreamAttempts = this.#attempts;
      stream.upstreamHost = upstream.address;
    }
  }

  #retry(): void {
    const { backoff, maxConnectAttempts } = this.#proxy.config;
    if (backoff === undefined || this.#attempts >= maxConnectAttempts) {
      this.#connect();
      return;
    }
    this.#backoffAlarm ??= new Alarm(() => this.#connect());
    this.#backoffAlarm.arm(Math.random() * Math.min((2 ** this.#attempts - 1) * backoff.baseMs, backoff.maxMs));
  }

  #refuse(flag: ResponseFlag, failure: number): void {
    this.#over = true;
    this.#connection.stream.setFlag(flag);
    this.#connection.closeNow(`${CloseReason.NOT_CONNECTED}${failure}`);
  }

  #flush(upstream: ByteStream): void {
    this.#flushing = true;
    const { stats } = this.#proxy;
    stats.upstreamFlushTotal.inc();
    stats.upstreamFlushActive.inc();
    if (this.#upstreamPaused) upstream.resumeReading();
    upstream.finish();
  }

  /** Ends the upstream connection from this side: no event of it follows. */
  #giveUp(end: () => void): void {
    end();
    this.#upstream = null;
    this.#finish();
  }

  #finish(): void {
    this.#over = true;
    this.disarm();
    if (!this.#flushing) return;
    this.#flushing = false;
    this.#proxy.stats.upstreamFlushActive.dec();
  }

  #keepEarly(data: Buffer): void {
    if (data.length === 0) return;
    this.#proxy.stats.earlyDataReceived.inc();
    this.#proxy.stats.cxRxBytesBuffered.add(data.length);
    this.#early ??= new BodyBuffer();
    this.#early.append(copyOf(data));
  }

  #dropEarly(): Buffer | null {
    const early = this.#early;
    if (early === null) return null;
    this.#early = null;
    this.#proxy.stats.cxRxBytesBuffered.add(-early.length);
    return early.take();
  }

  #pauseDownstream(): void {
    if (this.#readingPaused) return;
    this.#readingPaused = true;
    this.#proxy.stats.flowPausedReading.inc();
    this.#connection.pauseReading();
  }

  #resumeDownstream(): void {
    if (!this.#readingPaused) return;
    this.#readingPaused = false;
    this.#connection.resumeReading();
  }

  #countUnsent(bytes = this.#connection.unsentBytes): void {
    if (bytes === this.#unsentBytes) return;
    this.#proxy.stats.cxTxBytesBuffered.add(bytes - this.#unsentBytes);
    this.#unsentBytes = bytes;
  }
}
