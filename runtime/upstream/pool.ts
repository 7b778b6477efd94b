/**
 * The connections of one worker to one host, whatever the protocol. The connection used last is used
 * next, so that surplus ones grow old and are closed; requests that find none wait in order of arrival.
 */
import { ResetReason } from "../errors.ts";
import type { ConnectionInfo } from "../observe/stream-info.ts";
import type { Deadline } from "../timers.ts";
import type { ClusterResources } from "./cluster-resources.ts";
import { FailedRequest } from "./failed-request.ts";
import type { Host, HostPool } from "./host.ts";
import { type QueueLink, RequestQueue } from "./request-queue.ts";
import type { UpstreamHandler, UpstreamRequest } from "./request.ts";

/** A request as its pool sees it. */
export interface PoolRequest extends QueueLink, UpstreamRequest {
  readonly handler: UpstreamHandler;
  /** Over: complete, reset or failed. */
  done: boolean;
}

/** A connection as its pool sees it. Its deadline is the connect timeout first and the idle timeout later. */
export interface PoolConnection<R extends PoolRequest> extends Deadline {
  /** Stands in the pool's list of connections that can take a request; the pool sets it. */
  ready: boolean;
  readonly connected: boolean;
  /** Requests under way. */
  readonly active: number;
  /** Further requests that it can take now. */
  readonly room: number;
  /** It has served as many requests as one connection may, or the host asked to leave it. */
  readonly wornOut: boolean;
  attach(request: R): void;
  /** Closes from this side; requests under way are reset. */
  close(): void;
}

/** What makes a pool one of HTTP/1 or HTTP/2. */
export interface PoolProtocol<R extends PoolRequest> {
  createRequest(handler: UpstreamHandler, pool: Pool<R>): R;
  connect(pool: Pool<R>): PoolConnection<R>;
  /** How many waiting requests one connection under way is expected to take. */
  readonly requestsPerConnection: number;
}

export class Pool<R extends PoolRequest> implements HostPool {
  readonly host: Host;
  readonly resources: ClusterResources;
  readonly bufferLimitBytes: number;
  /** The only one whose requests it takes, where the host is told who that is; null: anybody. */
  readonly downstream: ConnectionInfo | null;
  readonly #protocol: PoolProtocol<R>;
  readonly #all = new Set<PoolConnection<R>>();
  readonly #ready: PoolConnection<R>[] = [];
  readonly #pending = new RequestQueue<R>();
  #connecting = 0;
  #draining = false;

  constructor(
    host: Host,
    resources: ClusterResources,
    protocol: PoolProtocol<R>,
    downstream: ConnectionInfo | null = null,
  ) {
    this.host = host;
    this.downstream = downstream;
    this.resources = resources;
    this.bufferLimitBytes = resources.config.perConnectionBufferLimitBytes;
    this.#protocol = protocol;
  }

  request(handler: UpstreamHandler): UpstreamRequest {
    const { resources } = this;
    const ready = this.#ready;
    const connection = ready[ready.length - 1];
    if (connection !== undefined) {
      if (!resources.canRequest) return this.#overflow(handler);
      const request = this.#protocol.createRequest(handler, this);
      connection.disarm();
      connection.attach(request);
      if (connection.room === 0) this.#unready(connection);
      return request;
    }
    if (!resources.canQueue) return this.#overflow(handler);
    const request = this.#protocol.createRequest(handler, this);
    this.#pending.push(request);
    resources.requestQueued();
    this.#connectIfNeeded();
    return request;
  }

  /** A waiting request is given up. */
  cancel(request: R): void {
    if (!request.queued) return;
    this.#pending.remove(request);
    this.resources.requestLeftQueue();
    this.resources.stats.rqCancelled.inc();
  }

  /** The connection may take another request, or may not any more. */
  release(connection: PoolConnection<R>): void {
    while (connection.room > 0) {
      const next = this.#takePending();
      if (next === null) break;
      connection.disarm();
      connection.attach(next);
    }
    if (connection.wornOut || this.#draining) {
      this.#unready(connection);
      if (connection.active === 0) connection.close();
      return;
    }
    if (connection.room === 0) this.#unready(connection);
    else if (!connection.ready && this.#all.has(connection)) {
      connection.ready = true;
      this.#ready.push(connection);
    }
    const { idleTimeoutMs } = this.resources.config;
    if (connection.ready && connection.active === 0 && idleTimeoutMs !== 0) connection.arm(idleTimeoutMs);
  }

  onConnected(connection: PoolConnection<R>): void {
    this.#connecting--;
    this.release(connection);
  }

  /**
   * Every waiting request fails with the connection that could not be made: a host that does not answer
   * would keep them until their own timeouts otherwise.
   */
  connectFailed(connection: PoolConnection<R>, reason: ResetReason, text: string): void {
    this.host.cxConnectFail++;
    const { stats } = this.resources;
    stats.cxConnectFail.inc();
    this.#forget(connection);
    // Handlers may ask for another request at once; that one waits for a new connection.
    for (let left = this.#pending.length; left > 0; left--) {
      const request = this.#pending.shift();
      if (request === null) break;
      this.resources.requestLeftQueue();
      stats.rqPendingFailureEject.inc();
      this.host.failed(reason === ResetReason.CONNECTION_TIMEOUT);
      request.done = true;
      request.handler.onUpstreamReset(reason, text, true);
    }
  }

  onClosed(connection: PoolConnection<R>): void {
    if (this.#forget(connection)) this.#connectIfNeeded();
  }

  drain(): void {
    this.#draining = true;
    for (const connection of [...this.#ready]) this.release(connection);
  }

  close(): void {
    this.#draining = true;
    for (let request = this.#pending.shift(); request !== null; request = this.#pending.shift()) {
      this.resources.requestLeftQueue();
      request.done = true;
      request.handler.onUpstreamReset(ResetReason.LOCAL_RESET, "", true);
    }
    for (const connection of [...this.#all]) connection.close();
  }

  // ---- Inside -----------------------------------------------------------------------------------------

  #overflow(handler: UpstreamHandler): UpstreamRequest {
    this.resources.stats.rqPendingOverflow.inc();
    return new FailedRequest(handler, ResetReason.OVERFLOW);
  }

  /** The first waiting request that the circuit breaker for requests lets through. */
  #takePending(): R | null {
    for (;;) {
      const request = this.#pending.shift();
      if (request === null) return null;
      this.resources.requestLeftQueue();
      if (this.resources.canRequest) return request;
      this.resources.stats.rqPendingOverflow.inc();
      request.done = true;
      request.handler.onUpstreamReset(ResetReason.OVERFLOW, "", true);
    }
  }

  /** Enough connections are under way for those that wait; over the limit they wait for one to come free. */
  #connectIfNeeded(): void {
    while (this.#pending.length > this.#connecting * this.#protocol.requestsPerConnection) {
      if (!this.resources.canConnect) {
        this.resources.stats.cxOverflow.inc();
        // One is always allowed, or requests to this host would wait for connections of other hosts.
        if (this.#all.size > 0) return;
      }
      this.#connecting++;
      this.resources.connectionOpened(this.host);
      this.#all.add(this.#protocol.connect(this));
    }
  }

  #unready(connection: PoolConnection<R>): void {
    if (!connection.ready) return;
    connection.ready = false;
    const ready = this.#ready;
    if (ready[ready.length - 1] === connection) ready.pop();
    else ready.splice(ready.indexOf(connection), 1);
  }

  /** False when it was forgotten before. */
  #forget(connection: PoolConnection<R>): boolean {
    if (!this.#all.delete(connection)) return false;
    this.#unready(connection);
    if (!connection.connected) this.#connecting--;
    this.resources.connectionGone(this.host);
    return true;
  }
}
