/**
 * The extension point between accept and the choice of a filter chain. A listener filter sees an accepted
 * socket before anything else does, may look at its first bytes, and writes down what it finds in the facts.
 */
import type { Socket } from "node:net";
import type { ChainFacts } from "../config/filter-chain-tree.ts";
import type { ProxyField } from "../observe/stream-info.ts";
import { type IpPort, plainIp } from "../observe/address-text.ts";

/** What a listener filter answers. */
export const Verdict = {
  /** It is done with this socket. */
  CONTINUE: 0,
  /** It wants more bytes, `maxReadBytes` in all at most. */
  NEED_MORE: 1,
  /** The socket is to be closed; `facts.failure` says why. */
  CLOSE: 2,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** What is known of an accepted socket; listener filters change it, and the filter chain is chosen by it. */
export class SocketFacts implements ChainFacts {
  /** A unix socket: addresses are "", ports 0. */
  readonly pipe: boolean;
  /** The peer has reset the connection: the system has forgotten who it was, though not what it sent. */
  readonly nameless: boolean;
  /** The physical peer, and the address of the socket itself. */
  readonly directRemoteIp: string;
  readonly directRemotePort: number;
  readonly directLocalIp: string;
  readonly directLocalPort: number;
  remoteIp: string;
  remotePort: number;
  localIp: string;
  localPort: number;
  /** `localIp` and `localPort` are where downstream wanted to go, not where the socket is. */
  localRestored = false;
  /** Another listener handed the socket over by its restored destination; that happens once. */
  handedOver = false;
  /** `tls` or `raw_buffer`; "" until a filter knows, which counts as `raw_buffer` in the end. */
  transportProtocol = "";
  /** Lower case. */
  serverName = "";
  applicationProtocols: readonly string[] = NOTHING;
  ja3 = "";
  ja4 = "";
  /** Namespace to plain JSON value, for access logs and filters; null: nothing. */
  metadata: Map<string, Record<string, unknown>> | null = null;
  /** Fields of a PROXY header that hosts may be told; null: none. */
  proxyFields: readonly ProxyField[] | null = null;
  /** Why a filter closes the socket: a word for the log, like `proxy_protocol_error`. */
  failure = "";
  #consumed = 0;

  constructor(socket: Socket) {
    const { remoteAddress, localAddress } = socket;
    this.pipe = localAddress === undefined;
    this.nameless = !this.pipe && remoteAddress === undefined;
    this.directRemoteIp = plainIp(remoteAddress ?? "");
    this.directRemotePort = socket.remotePort ?? 0;
    this.directLocalIp = this.pipe ? "" : plainIp(localAddress ?? "");
    this.directLocalPort = socket.localPort ?? 0;
    this.remoteIp = this.directRemoteIp;
    this.remotePort = this.directRemotePort;
    this.localIp = this.directLocalIp;
    this.localPort = this.directLocalPort;
  }

  /** Downstream wanted to go where the socket is. */
  get unmoved(): boolean {
    return this.localPort === this.directLocalPort && this.localIp === this.directLocalIp;
  }

  /** Downstream wanted to go there. When that is where the socket is nothing was redirected, so nothing is restored. */
  restoreDestination({ ip, port }: IpPort): void {
    const plain = plainIp(ip);
    if (plain === this.localIp && port === this.localPort) return;
    this.localIp = plain;
    this.localPort = port;
    this.localRestored = true;
  }

  /** Takes the first `count` bytes away, so that nobody after this filter sees them (a PROXY header). */
  consume(count: number): void {
    this.#consumed += count;
  }

  /** What `consume` was told since the last call. */
  takeConsumed(): number {
    const consumed = this.#consumed;
    this.#consumed = 0;
    return consumed;
  }
}

/** One filter's work on one socket. */
export interface ListenerFilter {
  /** Bytes that it looks at most; 0: it reads none, and `onData` is never called. */
  readonly maxReadBytes: number;
  /** First call. NEED_MORE: `onData` follows. */
  onAccept(facts: SocketFacts, socket: Socket): Verdict;
  /**
   * All bytes that came so far, less those consumed; called again when there are more. They may be more than
   * `maxReadBytes`; a filter that has that many and still needs more is overruled: the socket is closed.
   */
  onData(facts: SocketFacts, bytes: Buffer): Verdict;
  /** The peer or the timeout ended the waiting; there is no other call after it. */
  onAbort?(facts: SocketFacts): void;
}

/** Makes the filter of each socket; a filter without state may be the same for all. */
export interface ListenerFilterFactory {
  readonly name: string;
  create(): ListenerFilter;
}

const NOTHING: readonly string[] = [];
