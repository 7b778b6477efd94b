/**
 * The terminal filter: route → cluster → host → upstream request, and its events back up to the stream.
 * The request is sent again from here and from nowhere else: the filters in front run once, whatever happens upstream.
 * The deadline of the base class is the route's timeout, which covers all attempts.
 */
import type { HeaderMap } from "../codec/headers.ts";
import type { HostSelection } from "../config/snapshot.ts";
import { ResetReason, ResponseFlag } from "../errors.ts";
import { MAX_DEAD_CONNECTION_RETRIES, REPLAY_BODY_BYTES } from "../limits.ts";
import { Deadline, now } from "../timers.ts";
import type { SecureFacts, StreamInfo } from "../observe/stream-info.ts";
import type { Hash64 } from "../upstream/hash64.ts";
import type { Host } from "../upstream/host.ts";
import { choosesByHash } from "../upstream/load-balancer.ts";
import type { MetadataMatch } from "../upstream/metadata-match.ts";
import { type PickContext, wantedMetadata } from "../upstream/pick.ts";
import type { UpstreamHandler, UpstreamRequest } from "../upstream/request.ts";
import type { ConnectionManager } from "./connection-manager.ts";
import type { HashPolicy } from "./hash-policy.ts";
import { reply, REPLIES, resetFlag, upstreamResetReply } from "./local-reply.ts";
import { ReplayBody } from "./replay-body.ts";
import { RetryCourse, type RetryOwner } from "./retry-course.ts";
import { refusesHost, RetryState } from "./retry.ts";
import { redirectReply, routeAnswer, tlsRedirectLocation } from "./route-answer.ts";
import { chooseTimeout, finalizeRequestHeaders, finalizeResponseHeaders, rewriteHost } from "./route-apply.ts";
import type { ResolvedRoute } from "./route-table.ts";
import type { RoutedCluster } from "./routed-cluster.ts";
import type { Stream } from "./stream.ts";

export class Router extends Deadline implements UpstreamHandler, RetryOwner, PickContext {
  readonly #stream: Stream;
  readonly #manager: ConnectionManager;
  readonly #limitBytes: number;
  #route: ResolvedRoute | null = null;
  #cluster: RoutedCluster | null = null;
  #upstream: UpstreamRequest | null = null;
  #headers: HeaderMap | null = null;
  #trailers: HeaderMap | null = null;
  #requestEnded = false;
  #timeoutMs = 0;
  /** Null: the request has no retry policy. */
  #retries: RetryCourse | null = null;
  /** Null: the request has no body. */
  #body: ReplayBody | null = null;
  #responseStarted = false;
  #done = false;
  #requestPaused = false;
  #readingPaused = false;
  #deadConnections = 0;
  #hash: Hash64 | null = null;
  #hostSelection: HostSelection | undefined = undefined;
  /** Addresses of the hosts of earlier attempts, where the policy looks at them. */
  #tried: string[] | null = null;
  /** `set-cookie` fields that the hash policy wants in the response. */
  #cookies: string[] | null = null;

  constructor(stream: Stream, manager: ConnectionManager, limitBytes: number) {
    super();
    this.#stream = stream;
    this.#manager = manager;
    this.#limitBytes = limitBytes;
  }

  // ---- request --------------------------------------------------------------------------------

  onRequestHeaders(headers: HeaderMap, endStream: boolean): void {
    const stream = this.#stream;
    const stats = this.#manager.stats;
    stats.rqTotal.inc();
    const route = stream.route();
    if (route === null) {
      stats.noRoute.inc();
      stream.sendLocalReply(REPLIES.noRoute);
      return;
    }
    this.#route = route;
    const location = tlsRedirectLocation(route, headers);
    if (location !== null) {
      stream.sendLocalReply(redirectReply(301, location));
      return;
    }
    if (route.action.kind === "route") this.#forward(route, headers, endStream);
    else {
      stats.rqDirectResponse.inc();
      if (route.action.kind === "redirect") stats.rqRedirect.inc();
      stream.sendLocalReply(routeAnswer(route, headers));
    }
  }

  onRequestData(chunk: Buffer, endStream: boolean): void {
    if (this.#done) return;
    if (this.#body !== null) this.#remember(this.#body, chunk);
    const upstream = this.#upstream;
    if (endStream) this.#requestIsComplete();
    if (upstream === null) return;
    if (!upstream.sendData(chunk, endStream) && !endStream) this.#pauseRequest();
  }

  onRequestTrailers(trailers: HeaderMap): void {
    if (this.#done) return;
    this.#trailers = trailers;
    this.#requestIsComplete();
    this.#upstream?.sendTrailers(trailers);
  }

  /** Everything read from downstream in one go has been handed over. */
  flush(): void {
    this.#upstream?.flush();
  }

  pauseReading(): void {
    this.#readingPaused = true;
    this.#upstream?.pauseReading();
  }
  resumeReading(): void {
    this.#readingPaused = false;
    this.#upstream?.resumeReading();
  }

  /** The stream needs nothing more from upstream. */
  abandon(): void {
    if (this.#done) return;
    this.#done = true;
    this.disarm();
    this.#retries?.stop();
    const upstream = this.#upstream;
    this.#upstream = null;
    upstream?.reset();
    this.#body?.drop();
  }

  #forward(route: ResolvedRoute, headers: HeaderMap, endStream: boolean): void {
    const stream = this.#stream;
    const action = route.action;
    if (action.kind !== "route") return;
    const cluster = this.#manager.cluster(route.clusterName);
    if (cluster === undefined) {
      this.#manager.stats.noCluster.inc();
      stream.sendLocalReply(reply(action.clusterNotFoundStatus, "", "cluster_not_found", ResponseFlag.NC));
      return;
    }
    this.#cluster = cluster;
    this.#timeoutMs = chooseTimeout(action.timeoutMs, headers);
    const { retryRules } = route;
    this.#hostSelection = retryRules?.policy.hostSelection;
    if (retryRules !== null || headers.has("x-envoy-retry-on") || headers.has("x-envoy-retry-grpc-on")) {
      const state = RetryState.of(retryRules, headers);
      if (state !== undefined) this.#retries = new RetryCourse(state, cluster, this, stream.info);
    }
    if (route.hashPolicy !== null && choosesByHash(cluster.config.lbPolicy))
      this.#hashRequest(route.hashPolicy, headers);
    finalizeRequestHeaders(route, headers, stream.info, !this.#manager.router.suppressEnvoyHeaders);
    if (!this.#manager.router.suppressEnvoyHeaders && this.#timeoutMs > 0) {
      headers.set("x-envoy-expected-rq-timeout-ms", this.#expectedTimeout());
    }
    this.#headers = headers;
    if (!endStream) this.#body = new ReplayBody();
    this.#attempt(endStream);
    if (endStream) this.#requestIsComplete();
  }

  #expectedTimeout(): string {
    const perTry = this.#retries?.state.perTryTimeoutMs ?? 0;
    return String(perTry > 0 && perTry < this.#timeoutMs ? perTry : this.#timeoutMs);
  }

  #attempt(endStream: boolean): void {
    const info = this.#stream.info;
    info.upstreamAttempts++;
    if (this.#route!.virtualHost.includeRequestAttemptCount) {
      this.#headers!.set("x-envoy-attempt-count", String(info.upstreamAttempts));
    }
    const { upgrade, tunnel } = this.#stream;
    const cluster = this.#cluster!.upstream;
    const upstream = this.#endsTunnel() ? cluster.raw(this, this) : cluster.request(this, this);
    this.#upstream = upstream;
    if (this.#hostSelection?.previous === true) (this.#tried ??= []).push(upstream.address);
    this.#autoHost(upstream.hostname);
    if (this.#readingPaused) upstream.pauseReading();
    // The protocol is the host's, whatever a filter has made of the field.
    if (upgrade !== "") this.#headers!.set("upgrade", upgrade);
    if (tunnel) this.#headers!.set(":method", "CONNECT");
    upstream.sendHeaders(this.#headers!, endStream, upgrade !== "");
  }

  /** RouteAction.upgrade_configs.connect_config: the tunnel ends here, upstream gets the bytes as they are. */
  #endsTunnel(): boolean {
    const { action } = this.#route!;
    if (action.kind !== "route" || action.connect === undefined) return false;
    return this.#stream.tunnel || (action.connect.allowPost && this.#headers!.get(":method") === "POST");
  }

  /** Once for all attempts, over the headers as the filters left them. */
  #hashRequest(policy: HashPolicy, headers: HeaderMap): void {
    const hash = { hi: 0, lo: 0 };
    const cookies: string[] = [];
    if (policy.hash({ headers, info: this.#stream.info, cookies }, hash)) this.#hash = hash;
    if (cookies.length > 0) this.#cookies = cookies;
  }

  // ---- what the cluster may pick the host by --------------------------------------------------

  get info(): StreamInfo {
    return this.#stream.info;
  }

  metadataMatch(): MetadataMatch | null {
    return wantedMetadata(this.#route!.metadataMatch, this.#stream.info);
  }

  hash(into: Hash64): boolean {
    const hash = this.#hash;
    if (hash === null) return false;
    into.hi = hash.hi;
    into.lo = hash.lo;
    return true;
  }

  get moreHosts(): number {
    return this.#stream.info.upstreamAttempts > 1 ? (this.#hostSelection?.more ?? 0) : 0;
  }

  refuses(host: Host): boolean {
    return refusesHost(this.#hostSelection, this.#tried, host);
  }

  /** RouteAction.auto_host_rewrite: the host is known only now, and may be another one in each attempt. */
  #autoHost(hostname: string): void {
    const action = this.#route!.action;
    if (action.kind !== "route" || action.hostRewrite.kind !== "auto" || hostname === "") return;
    const headers = this.#headers!;
    if (this.#stream.info.upstreamAttempts > 1) headers.set(":authority", hostname);
    else rewriteHost(headers, hostname, action.appendXForwardedHost, !this.#manager.router.suppressEnvoyHeaders);
  }

  #requestIsComplete(): void {
    this.#requestEnded = true;
    if (this.#timeoutMs > 0) this.arm(this.#timeoutMs);
    this.#retries?.armTry(this.#timeoutMs);
  }

  /** Keeps a chunk for another attempt, or gives that up when it becomes too much. */
  #remember(body: ReplayBody, chunk: Buffer): void {
    const retries = this.#retries;
    if (body.keep(chunk, retries === null ? REPLAY_BODY_BYTES : this.#limitBytes) || retries === null) return;
    this.#cluster!.retryOrShadowAbandoned.inc();
    if (retries.waiting) this.#stream.sendLocalReply(REPLIES.retryBufferExceeded);
  }

  #pauseRequest(): void {
    if (this.#requestPaused) return;
    this.#requestPaused = true;
    this.#stream.pauseRequest();
  }

  onUpstreamDrain(): void {
    if (!this.#requestPaused) return;
    this.#requestPaused = false;
    this.#stream.resumeRequest();
  }

  // ---- response -------------------------------------------------------------------------------

  onUpstreamReady(address: string, localAddress: string, secure: SecureFacts | null): void {
    const info = this.#stream.info;
    info.upstreamHost = address;
    info.upstreamLocalAddress = localAddress;
    info.upstreamSecure = secure;
  }

  onUpstreamInformational(): void {
    // 1xx of upstream is consumed: `Expect` was answered by us already (Envoy: proxy_100_continue is off).
  }

  onUpstreamHeaders(status: number, headers: HeaderMap, endStream: boolean): void {
    const stream = this.#stream;
    const retries = this.#retries;
    if (retries !== null) {
      retries.disarm();
      if (retries.state.wantsHeaders(status, headers) && this.#retry(retries)) {
        this.#cluster!.retryCodes.charge(status);
        const upstream = this.#upstream;
        this.#upstream = null;
        if (!endStream) upstream?.reset();
        return;
      }
      if (retries.begun) this.#cluster!.retrySuccess.inc();
    }
    this.#responseStarted = true;
    this.#body?.drop();
    if (stream.wantsSwitch) this.#onSwitchAnswer(status);
    const info = stream.info;
    info.upstreamFirstByteMs = now();
    info.responseCodeDetails = "via_upstream";
    this.#cluster!.codes.charge(status);
    if (endStream) this.#responseIsComplete();
    if (!this.#manager.router.suppressEnvoyHeaders) {
      const since = info.requestCompleteMs >= 0 ? info.requestCompleteMs : info.upstreamFirstByteMs;
      headers.set("x-envoy-upstream-service-time", String(Math.round(info.upstreamFirstByteMs - since)));
    }
    if (this.#route!.virtualHost.includeAttemptCountInResponse) {
      headers.set("x-envoy-attempt-count", String(info.upstreamAttempts));
    }
    if (this.#cookies !== null) for (const cookie of this.#cookies) headers.add("set-cookie", cookie);
    finalizeResponseHeaders(this.#route!, headers, info);
    stream.onResponseHeaders(headers, endStream);
  }

  /** The timeouts of a route are those of messages; a stream that has changed protocols has its idle timeout. */
  #onSwitchAnswer(status: number): void {
    if (this.#stream.onSwitchAnswer(status)) this.#timeoutMs = 0;
    else this.#requestIsComplete();
  }

  onUpstreamData(chunk: Buffer, endStream: boolean): void {
    if (endStream) this.#responseIsComplete();
    this.#stream.onResponseData(chunk, endStream);
  }

  onUpstreamTrailers(trailers: HeaderMap): void {
    this.#responseIsComplete();
    this.#stream.onResponseTrailers(trailers);
  }

  onUpstreamReadComplete(): void {
    this.#stream.session.flushResponse();
  }

  onUpstreamReset(reason: ResetReason, transportFailure: string, requestUnsent: boolean): void {
    this.#upstream = null;
    const retries = this.#retries;
    retries?.disarm();
    const stream = this.#stream;
    if (transportFailure !== "") stream.info.upstreamTransportFailure = transportFailure;
    if (this.#responseStarted) {
      this.disarm();
      this.#done = true;
      stream.info.setFlag(resetFlag(reason));
      stream.reset(`upstream_reset_after_response_started{${reason.replaceAll(" ", "_")}}`);
      return;
    }
    if (this.#retryDeadConnection(reason, requestUnsent)) return;
    if (retries !== null && retries.state.wantsReset(reason, requestUnsent) && this.#retry(retries)) return;
    this.#fail(reason, transportFailure);
  }

  /** A reused connection was dead already: nothing was processed, so sending again is safe for any method. */
  #retryDeadConnection(reason: ResetReason, requestUnsent: boolean): boolean {
    if (!requestUnsent || reason !== ResetReason.CONNECTION_TERMINATION || !this.#canReplay()) return false;
    if (this.#deadConnections++ >= MAX_DEAD_CONNECTION_RETRIES) return false;
    this.#replay();
    return true;
  }

  #canReplay(): boolean {
    return this.#body === null ? this.#requestEnded : this.#body.whole;
  }

  /** Whether there is another attempt; it comes with {@link onRetryDue}. */
  #retry(retries: RetryCourse): boolean {
    return !this.#done && this.#canReplay() && retries.begin();
  }

  onRetryDue(): void {
    if (!this.#done) this.#replay();
  }

  /** Sends the request again from its beginning, as far as it has come. */
  #replay(): void {
    const body = this.#body;
    const bodyEnded = this.#requestEnded && this.#trailers === null;
    this.#attempt(bodyEnded && (body === null || body.empty));
    const upstream = this.#upstream!;
    body?.sendTo(upstream, bodyEnded);
    if (this.#trailers !== null) upstream.sendTrailers(this.#trailers);
    upstream.flush();
    this.onUpstreamDrain();
    if (this.#requestEnded) this.#retries?.armTry(this.#timeoutMs);
  }

  #responseIsComplete(): void {
    this.#upstream = null;
    this.#done = true;
    this.disarm();
    this.#retries?.disarm();
    const info = this.#stream.info;
    info.upstreamLastByteMs = now();
    this.#cluster!.time.record(
      info.upstreamLastByteMs - (info.requestCompleteMs >= 0 ? info.requestCompleteMs : info.startMs),
    );
  }

  #fail(reason: ResetReason, transportFailure: string): void {
    this.disarm();
    this.#done = true;
    this.#body?.drop();
    const answer = upstreamResetReply(reason, transportFailure, this.#retries?.begun === true);
    this.#cluster!.codes.charge(answer.status);
    this.#stream.sendLocalReply(answer);
  }

  // ---- time -----------------------------------------------------------------------------------

  onDeadline(): void {
    if (this.#done) return;
    this.#cluster!.timeout.inc();
    this.#giveUp(REPLIES.routeTimeout);
  }

  onTryTimeout(): void {
    if (this.#done || this.#responseStarted) return;
    this.#cluster!.perTryTimeout.inc();
    const upstream = this.#upstream;
    this.#upstream = null;
    upstream?.reset(true);
    const retries = this.#retries!;
    if (retries.state.wantsReset(ResetReason.LOCAL_RESET, false) && this.#retry(retries)) return;
    this.#giveUp(REPLIES.perTryTimeout);
  }

  #giveUp(answer: typeof REPLIES.routeTimeout): void {
    const upstream = this.#upstream;
    this.#upstream = null;
    this.#done = true;
    this.disarm();
    this.#retries?.stop();
    upstream?.reset(true);
    if (!this.#responseStarted) this.#cluster!.codes.charge(answer.status);
    this.#stream.info.setFlag(ResponseFlag.UT);
    this.#stream.sendLocalReply(answer);
  }
}
