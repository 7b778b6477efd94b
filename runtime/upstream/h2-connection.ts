/** One HTTP/2 connection to a host, over TLS, or with prior knowledge over TCP or a unix socket, carried by `node:http2`. */
import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { H2Error } from "../codec/h2-codes.ts";
import { wireFields } from "../codec/h2-fields.ts";
import { keepSession } from "../codec/h2-lifetime.ts";
import type { HeaderMap } from "../codec/headers.ts";
import { ResetReason } from "../errors.ts";
import {
  H2_CONCURRENT_STREAMS,
  H2_CONNECTION_WINDOW_BYTES,
  H2_STREAM_WINDOW_BYTES,
  MAX_HEAD_BYTES,
  MAX_HEADERS,
} from "../limits.ts";
import type { SecureFacts } from "../observe/stream-info.ts";
import { Deadline } from "../timers.ts";
import { dial, dialedEvent, dialedFacts, dialFailure, dialRefusal, localAddressOf } from "./dial.ts";
import { H2Request } from "./h2-request.ts";
import type { Pool, PoolConnection, PoolProtocol } from "./pool.ts";
import type { ConnectFailure } from "./transport-failure.ts";

type Http2 = typeof import("node:http2");

/**
 * Many requests at a time on few connections. To be called when a cluster is made: the module behind it takes
 * 30 ms to load, too much for the first request and for the start of workers that have no such cluster.
 */
export function http2(): PoolProtocol<H2Request> {
  const module = process.getBuiltinModule("node:http2");
  return {
    createRequest: (handler, pool) => new H2Request(handler, pool),
    connect: (pool) => new H2Connection(pool, module),
    requestsPerConnection: H2_CONCURRENT_STREAMS,
  };
}

/** For ALPN. */
const PROTOCOLS = ["h2"];

export class H2Connection extends Deadline implements PoolConnection<H2Request> {
  readonly #pool: Pool<H2Request>;
  readonly #socket: Socket;
  readonly #session: ClientHttp2Session;
  ready = false;
  readonly address: string;
  readonly #startMs = performance.now();
  readonly #requests = new Set<H2Request>();
  #localAddress = "";
  #secure: SecureFacts | null = null;
  #served = 0;
  #connected = false;
  #closed = false;
  #retired = false;
  #bytesRead = 0;

  constructor(pool: Pool<H2Request>, module: Http2) {
    super();
    this.#pool = pool;
    const { host, downstream } = pool;
    this.address = host.address;
    const socket = dial(host, { protocols: PROTOCOLS, downstream });
    // Before the session, which takes the same event for its own beginning.
    socket.on(dialedEvent(host), () => this.#onDialed());
    this.#socket = socket;
    const session = module.connect(host.tls === null ? "http://upstream" : "https://upstream", {
      createConnection: () => socket,
      // `:status` counts as well.
      maxHeaderListPairs: MAX_HEADERS + 1,
      settings: {
        enablePush: false,
        initialWindowSize: H2_STREAM_WINDOW_BYTES,
        maxHeaderListSize: MAX_HEAD_BYTES,
      },
    });
    this.#session = session;
    session.on("connect", () => this.#onConnect());
    session.on("goaway", () => this.#retire());
    session.on("remoteSettings", () => this.#onSettings());
    session.on("error", (error: NodeJS.ErrnoException) => this.#onError(error));
    session.on("close", () => this.#close(false, ResetReason.CONNECTION_TERMINATION));
    this.arm(pool.resources.config.connectTimeoutMs);
    pool.resources.stats.cxHttp2Total.inc();
  }

  /** The host takes extended CONNECT; undefined until it has said what it takes. */
  takesProtocols: boolean | undefined = undefined;

  get connected(): boolean {
    return this.#connected;
  }
  get closed(): boolean {
    return this.#closed || this.#session.destroyed || this.#socket.destroyed;
  }
  get active(): number {
    return this.#requests.size;
  }
  get room(): number {
    if (this.closed || this.wornOut) return 0;
    const allowed = Math.min(H2_CONCURRENT_STREAMS, this.#session.remoteSettings.maxConcurrentStreams ?? Infinity);
    return Math.max(0, allowed - this.#requests.size);
  }
  get wornOut(): boolean {
    const most = this.#pool.resources.config.maxRequestsPerConnection;
    return this.#retired || (most !== 0 && this.#served >= most);
  }

  attach(request: H2Request): void {
    this.#requests.add(request);
    this.#served++;
    request.connection = this;
    const { resources, host } = this.#pool;
    resources.requestBegun(host);
    host.monitor?.connected(false);
    if (this.wornOut) resources.stats.cxMaxRequests.inc();
    request.begin();
  }

  announce(request: H2Request): void {
    request.handler.onUpstreamReady(this.address, this.#localAddress, this.#secure);
  }

  /** Sends the head. Null when it cannot be sent; the request's reset then comes from a later task. */
  open(
    request: H2Request,
    headers: HeaderMap,
    options: { endStream: boolean; waitForTrailers: boolean },
  ): ClientHttp2Stream | null {
    const fields = wireFields(headers);
    try {
      const stream = this.#session.request(fields, options);
      keepSession(stream);
      let bytes = 0;
      for (const text of fields) bytes += text.length;
      this.#pool.resources.stats.cxTxBytes.add(bytes);
      return stream;
    } catch (error) {
      const dead = this.closed || (error as NodeJS.ErrnoException).code === "ERR_HTTP2_GOAWAY_SESSION";
      // Anything else is about these headers: the same request would fail on any connection.
      const reason = dead ? ResetReason.CONNECTION_TERMINATION : ResetReason.LOCAL_RESET;
      if (dead) this.#retire();
      setImmediate(failLater, request, reason, dead);
      return null;
    }
  }

  /** The request has ended, this way or another. */
  over(request: H2Request): void {
    if (!this.#requests.delete(request)) return;
    this.#countRead();
    const { resources, host } = this.#pool;
    resources.requestOver(host);
    if (this.#closed) return;
    this.#pool.release(this);
  }

  close(): void {
    this.#close(true, ResetReason.LOCAL_RESET);
  }

  onDeadline(): void {
    const { stats } = this.#pool.resources;
    if (this.#connected) stats.cxIdleTimeout.inc();
    else {
      stats.cxConnectTimeout.inc();
      this.#pool.connectFailed(this, ResetReason.CONNECTION_TIMEOUT, "");
    }
    this.#close(true, ResetReason.CONNECTION_TIMEOUT);
  }

  /** The socket is there; what it leads to may be somebody else. */
  #onDialed(): void {
    const refusal = dialRefusal(this.#pool.host, this.#socket);
    if (refusal !== null && !this.#closed) this.#fail(refusal);
  }

  #onConnect(): void {
    if (this.#closed) return;
    this.#connected = true;
    this.disarm();
    this.#secure = dialedFacts(this.#pool.host, this.#socket);
    this.#localAddress = localAddressOf(this.#socket);
    this.#session.setLocalWindowSize(H2_CONNECTION_WINDOW_BYTES);
    this.#pool.resources.stats.cxConnectMs.record(performance.now() - this.#startMs);
    this.#pool.onConnected(this);
  }

  /** The host's limit on streams is known now: more may wait, or fewer may go. */
  #onSettings(): void {
    const first = this.takesProtocols === undefined;
    this.takesProtocols = this.#session.remoteSettings.enableConnectProtocol === true;
    if (first) for (const request of [...this.#requests]) request.onSettings();
    if (this.#connected && !this.#closed) this.#pool.release(this);
  }

  /** GOAWAY: no new request, those under way may end. */
  #retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#pool.resources.stats.cxCloseNotify.inc();
    if (this.#connected && !this.#closed) this.#pool.release(this);
  }

  #onError(error: NodeJS.ErrnoException): void {
    if (this.#closed) return;
    if (this.#connected) {
      const broken = error.code === "ERR_HTTP2_ERROR";
      if (broken) this.#pool.resources.stats.cxProtocolError.inc();
      this.#close(broken, broken ? ResetReason.PROTOCOL_ERROR : ResetReason.CONNECTION_TERMINATION);
      return;
    }
    this.#fail(dialFailure(this.#pool.host, error));
  }

  /** The connection could not be made. */
  #fail({ reason, text }: ConnectFailure): void {
    this.#pool.connectFailed(this, reason, text);
    this.#close(false, reason);
  }

  #close(local: boolean, reason: ResetReason): void {
    if (this.#closed) return;
    this.#closed = true;
    this.disarm();
    this.#countRead();
    if (this.#connected) {
      this.#pool.resources.connectionClosed(local, this.#requests.size > 0, performance.now() - this.#startMs);
    }
    for (const request of [...this.#requests]) request.fail(reason, false);
    this.#session.destroy(undefined, H2Error.NO_ERROR);
    this.#socket.destroy();
    this.#pool.onClosed(this);
  }

  #countRead(): void {
    const { bytesRead } = this.#socket;
    this.#pool.resources.stats.cxRxBytes.add(bytesRead - this.#bytesRead);
    this.#bytesRead = bytesRead;
  }
}

function failLater(request: H2Request, reason: ResetReason, unsent: boolean): void {
  request.fail(reason, unsent);
}
