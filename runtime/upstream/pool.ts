/**
 * The HTTP/1 connections of one worker to one host. The connection used last is used next, so that
 * surplus ones grow old and are closed; requests that find none wait in order of arrival.
 */
import { ResetReason } from "../errors.ts";
import type { ClusterResources } from "./cluster-resources.ts";
import { H1Connection } from "./connection.ts";
import { FailedRequest } from "./failed-request.ts";
import { H1Request, RequestQueue } from "./h1-request.ts";
import type { Host, HostPool } from "./host.ts";
import type { UpstreamHandler, UpstreamRequest } from "./request.ts";

export class H1Pool implements HostPool {
  readonly host: Host;
  readonly resources: ClusterResources;
  readonly bufferLimitBytes: number;
  readonly #all = new Set<H1Connection>();
  readonly #idle: H1Connection[] = [];
  readonly #pending = new RequestQueue();
  #connecting = 0;
  #draining = false;

  constructor(host: Host, resources: ClusterResources) {
    this.host = host;
    this.resources = resources;
    this.bufferLimitBytes = resources.config.perConnectionBufferLimitBytes;
  }

  request(handler: UpstreamHandler): UpstreamRequest {
    const connection = this.#idle.pop();
    if (connection !== undefined) {
      if (!this.resources.canRequest) {
        this.#idle.push(connection);
        return this.#overflow(handler);
      }
      const request = new H1Request(handler, this);
      connection.attach(request);
      return request;
    }
    if (!this.resources.canQueue) return this.#overflow(handler);
    const request = new H1Request(handler, this);
    this.#queue(request);
    this.#connectIfNeeded();
    return request;
  }

  /** A waiting request is given up. */
  cancel(request: H1Request): void {
    if (!request.queued) return;
    this.#pending.remove(request);
    this.#leftQueue();
    this.resources.stats.rqCancelled.inc();
  }

  /** The connection has no request any more and can take another. */
  release(connection: H1Connection): void {
    if (connection.wornOut) {
      this.resources.stats.cxMaxRequests.inc();
      connection.close();
      return;
    }
    const next = this.#takePending();
    if (next !== null) {
      connection.attach(next);
      return;
    }
    if (this.#draining) {
      connection.close();
      return;
    }
    this.#idle.push(connection);
    const { idleTimeoutMs } = this.resources.config;
    if (idleTimeoutMs !== 0) connection.arm(idleTimeoutMs);
  }

  onConnected(connection: H1Connection): void {
    this.#connecting--;
    this.release(connection);
  }

  /**
   * Every waiting request fails with the connection that could not be made: a host that does not answer
   * would keep them until their own timeouts otherwise.
   */
  connectFailed(connection: H1Connection, reason: ResetReason, text: string): void {
    this.host.cxConnectFail++;
    const { stats } = this.resources;
    stats.cxConnectFail.inc();
    this.#forget(connection);
    // Handlers may ask for another request at once; that one waits for a new connection.
    for (let left = this.#pending.length; left > 0; left--) {
      const request = this.#pending.shift();
      if (request === null) break;
      this.#leftQueue();
      stats.rqPendingFailureEject.inc();
      this.host.rqError++;
      request.done = true;
      request.handler.onUpstreamReset(reason, text, true);
    }
  }

  onClosed(connection: H1Connection): void {
    if (!this.#forget(connection)) return;
    const at = this.#idle.indexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
    this.#connectIfNeeded();
  }

  drain(): void {
    this.#draining = true;
    for (const connection of this.#idle.slice()) connection.close();
  }

  close(): void {
    this.#draining = true;
    for (let request = this.#pending.shift(); request !== null; request = this.#pending.shift()) {
      this.#leftQueue();
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

  #queue(request: H1Request): void {
    this.#pending.push(request);
    this.resources.pendingRequests++;
    this.resources.stats.rqPendingTotal.inc();
    this.resources.stats.rqPendingActive.inc();
  }

  #leftQueue(): void {
    this.resources.pendingRequests--;
    this.resources.stats.rqPendingActive.dec();
  }

  /** The first waiting request that the circuit breaker for requests lets through. */
  #takePending(): H1Request | null {
    for (;;) {
      const request = this.#pending.shift();
      if (request === null) return null;
      this.#leftQueue();
      if (this.resources.canRequest) return request;
      this.resources.stats.rqPendingOverflow.inc();
      request.done = true;
      request.handler.onUpstreamReset(ResetReason.OVERFLOW, "", true);
    }
  }

  /** As many connections are under way as requests wait; over the limit they wait for one to come free. */
  #connectIfNeeded(): void {
    while (this.#pending.length > this.#connecting) {
      if (!this.resources.canConnect) {
        this.resources.stats.cxOverflow.inc();
        // One is always allowed, or requests to this host would wait for connections of other hosts.
        if (this.#all.size > 0) return;
      }
      this.#connect();
    }
  }

  #connect(): void {
    this.#connecting++;
    this.resources.connections++;
    this.host.cxTotal++;
    this.host.cxActive++;
    const { stats } = this.resources;
    stats.cxTotal.inc();
    stats.cxHttp1Total.inc();
    stats.cxActive.inc();
    this.#all.add(new H1Connection(this));
  }

  /** False when it was forgotten before. */
  #forget(connection: H1Connection): boolean {
    if (!this.#all.delete(connection)) return false;
    if (!connection.connected) this.#connecting--;
    this.resources.connections--;
    this.host.cxActive--;
    this.resources.stats.cxActive.dec();
    return true;
  }
}
