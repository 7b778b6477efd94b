/**
 * Connections to a host that is told who downstream is: each carries requests of one downstream connection alone, and
 * ends with it. Calls that belong to no stream share connections of their own.
 */
import type { Socket } from "node:net";
import type { UpstreamProxyProtocol } from "../config/cluster-snapshot.ts";
import type { Counter, Stats } from "../observe/stats.ts";
import type { ConnectionInfo, StreamInfo } from "../observe/stream-info.ts";
import type { HostPool } from "./host.ts";
import { proxyHeader } from "./proxy-header.ts";
import type { UpstreamHandler, UpstreamRequest } from "./request.ts";

/** What the hosts of a cluster are told. */
export class ProxyHeaders {
  readonly #config: UpstreamProxyProtocol;
  readonly #exceeded: Counter;

  /** `prefix` is `cluster.<name>.`. */
  constructor(config: UpstreamProxyProtocol, stats: Stats, prefix: string) {
    this.#config = config;
    this.#exceeded = stats.counter(`${prefix}upstream_proxy_protocol.v2_tlvs_exceed_max_length`);
  }

  /** The first bytes of a connection that has just been made. */
  first(downstream: ConnectionInfo | null, socket: Socket): Buffer {
    const { bytes, exceeded } = proxyHeader(this.#config, downstream, socket);
    if (exceeded) this.#exceeded.inc();
    return bytes;
  }
}

export class ProxiedPools implements HostPool {
  readonly #create: (downstream: ConnectionInfo | null) => HostPool;
  readonly #pools = new Map<ConnectionInfo | null, HostPool>();
  #draining = false;

  constructor(create: (downstream: ConnectionInfo | null) => HostPool) {
    this.#create = create;
  }

  request(handler: UpstreamHandler, stream?: StreamInfo): UpstreamRequest {
    const downstream = stream?.connection ?? null;
    let pool = this.#pools.get(downstream);
    if (pool === undefined) {
      pool = this.#create(downstream);
      this.#pools.set(downstream, pool);
      if (this.#draining) pool.drain();
      if (downstream !== null) (downstream.closers ??= []).push(() => this.#end(downstream));
    }
    return pool.request(handler);
  }

  drain(): void {
    this.#draining = true;
    for (const pool of this.#pools.values()) pool.drain();
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.close();
    this.#pools.clear();
  }

  #end(downstream: ConnectionInfo): void {
    this.#pools.get(downstream)?.drain();
    this.#pools.delete(downstream);
  }
}
