/**
 * What is known about one connection and one stream: filled by the HTTP engine and the router, read by
 * access logs, header formats and guests (properties).
 */
import type { HeaderMap } from "../codec/headers.ts";
import type { ClusterConfig, RouteConfigEntry, VirtualHostConfig } from "../config/snapshot.ts";

/** A certificate of one side, read when somebody asks. */
export interface CertificateFacts {
  readonly subject: string;
  readonly issuer: string;
  /** Lower-case hexadecimal, as the digests are. */
  readonly serial: string;
  readonly sha256: string;
  readonly sha1: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly pem: string;
  /** Alternative names of one kind: EMAIL, DNS, URI, IP_ADDRESS, OTHER_NAME. */
  namesOf(type: SanKind): readonly string[];
}
export type SanKind = "EMAIL" | "DNS" | "URI" | "IP_ADDRESS" | "OTHER_NAME";

/** TLS of one connection. */
export interface SecureFacts {
  /** `TLSv1.3`. */
  readonly version: string;
  /** OpenSSL's name. */
  readonly cipher: string;
  /** Hexadecimal, "" when there is none. */
  readonly sessionId: string;
  /** The protocol agreed on with ALPN, "" for none. */
  readonly alpn: string;
  readonly serverName: string;
  readonly local: CertificateFacts | null;
  /** Null: the other side showed no certificate. */
  readonly peer: CertificateFacts | null;
  /** PEM of what the other side showed, its certificate first. */
  readonly peerChainPem: string;
  /** The peer's certificate has passed a validation context. */
  readonly peerValidated: boolean;
}

/** A type-length-value field of the PROXY protocol. */
export interface ProxyField {
  readonly type: number;
  readonly value: Uint8Array;
}

/** Facts about a downstream connection; one object per connection. */
export interface ConnectionInfo {
  readonly id: number;
  readonly listenerName: string;
  /** envoy.config.core.v3.TrafficDirection: 0 unspecified, 1 inbound, 2 outbound. */
  readonly direction: number;
  readonly filterChainName: string;
  /** Physical peer, `ip:port`, `[v6]:port` or the pipe's path. */
  readonly directRemoteAddress: string;
  readonly directRemoteIp: string;
  /** The peer that a listener filter restored (PROXY protocol), else the physical one. */
  readonly remoteAddress: string;
  readonly remoteIp: string;
  /** The address of the socket. */
  readonly directLocalAddress: string;
  /** The destination that a listener filter restored, else the address of the socket. */
  readonly localAddress: string;
  /** `localAddress` was restored: it is where downstream wanted to go. */
  readonly localAddressRestored: boolean;
  /** What listener filters found: `raw_buffer` or `tls`. */
  readonly transportProtocol: string;
  /** What downstream offers (ALPN), or speaks as far as its first bytes tell; its own order. */
  readonly applicationProtocols: readonly string[];
  /** Fingerprints of a TLS hello, "" when none was made. */
  readonly ja3: string;
  readonly ja4: string;
  /** What listener filters left for access logs and filters: namespace to plain JSON value. */
  readonly metadata: ReadonlyMap<string, Record<string, unknown>> | null;
  /** Fields of downstream's PROXY header that hosts may be told, too; absent: none. */
  readonly proxyFields?: readonly ProxyField[];
  /** Requested server name of TLS, "" when none. */
  readonly serverName: string;
  readonly tls: boolean;
  /** What TLS of the connection says; absent: plain, or not known yet. */
  readonly secure?: SecureFacts | undefined;
  readonly startTimeMs: number;
  /** Filter state of the connection: its network filters and all streams on it share it. */
  filterState?: Map<string, Uint8Array>;
  /** The connection as a stream of bytes, once somebody has asked for it. */
  stream?: StreamInfo;
  /** Called once each when the connection has closed and its streams are over. */
  closers?: (() => void)[];
}

/** envoy.data.accesslog.v3.AccessLogType, as far as records are written. */
export type RecordType =
  | "NotSet"
  | "DownstreamEnd"
  | "TcpConnectionStart"
  | "TcpUpstreamConnected"
  | "TcpPeriodic"
  | "TcpConnectionEnd";

export class StreamInfo {
  readonly connection: ConnectionInfo;
  /** Wall clock, milliseconds since the epoch, at the first byte of the request. */
  readonly startTimeMs: number;
  /** Monotonic clock (performance.now) at the same moment; the moments below are on the same clock, -1 until they come. */
  readonly startMs: number;
  requestCompleteMs = -1;
  upstreamFirstByteMs = -1;
  upstreamLastByteMs = -1;
  responseFirstByteMs = -1;
  completeMs = -1;
  /** "" for a connection that is no HTTP to us. */
  protocol: "HTTP/1.0" | "HTTP/1.1" | "HTTP/2" | "" = "HTTP/1.1";
  /** 0 until a response code is known (and for ever when the peer left first). */
  responseCode = 0;
  responseCodeDetails = "";
  /** Bit set over errors.ts ResponseFlag. */
  flags = 0;
  /** Body bytes. */
  bytesReceived = 0;
  bytesSent = 0;
  virtualHost: VirtualHostConfig | null = null;
  route: RouteConfigEntry | null = null;
  cluster: ClusterConfig | null = null;
  /** `ip:port` of the last host tried, "" before. */
  upstreamHost = "";
  upstreamLocalAddress = "";
  upstreamTransportFailure = "";
  /** TLS of the upstream connection; null: there is none. */
  upstreamSecure: SecureFacts | null = null;
  /** Why TLS with downstream could not be agreed on, in Envoy's words. */
  downstreamTransportFailure = "";
  /** Why this proxy ended the connection: Envoy's words, "" when it did not or had no reason to tell. */
  connectionTerminationDetails = "";
  localCloseReason = "";
  /** ACCESS_LOG_TYPE of the record that is being written. */
  recordType: RecordType = "DownstreamEnd";
  upstreamAttempts = 0;
  /** Trusted downstream address (after x-forwarded-for), `ip:port`, and without the port. */
  remoteAddress: string;
  remoteIp: string;
  requestHeaders: HeaderMap | null = null;
  responseHeaders: HeaderMap | null = null;
  responseTrailers: HeaderMap | null = null;
  /** Namespace to plain JSON value. */
  dynamicMetadata: Map<string, Record<string, unknown>> | null = null;
  /** Filter state, shared by all filters of the stream; raw bytes as guests set them. Read through `stateOf`. */
  filterState: Map<string, Uint8Array> | null = null;

  #random = -1;

  constructor(connection: ConnectionInfo, startTimeMs: number, startMs: number) {
    this.connection = connection;
    this.remoteAddress = connection.remoteAddress;
    this.remoteIp = connection.remoteIp;
    this.startTimeMs = startTimeMs;
    this.startMs = startMs;
  }

  /** A random number of 0 to below 1 that stays the same for the stream: route fractions, weighted clusters, sampling. */
  random(): number {
    if (this.#random < 0) this.#random = Math.random();
    return this.#random;
  }

  /** Filter state under a name: the stream's own, else its connection's. */
  stateOf(name: string): Uint8Array | undefined {
    return this.filterState?.get(name) ?? this.connection.filterState?.get(name);
  }

  /** Where filter state is written: to the stream's own, or to its connection's. */
  stateToWrite(ofConnection: boolean): Map<string, Uint8Array> {
    if (ofConnection) return (this.connection.filterState ??= new Map());
    return (this.filterState ??= new Map());
  }

  /** All that `stateOf` finds. */
  allState(): ReadonlyMap<string, Uint8Array> {
    return new Map([...(this.connection.filterState ?? []), ...(this.filterState ?? [])]);
  }

  setFlag(flag: number): void {
    this.flags |= 1 << flag;
  }
  hasFlag(flag: number): boolean {
    return (this.flags & (1 << flag)) !== 0;
  }
}
