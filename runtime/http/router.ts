/**
 * The terminal filter: route → cluster → host → upstream request, and its events back up to the stream.
 * Retries live here and nowhere else: the filters in front run once per request, whatever happens upstream.
 * The deadline of the base class is the route's timeout, which covers all attempts.
 */
import type { HeaderMap } from "../codec/headers.ts";
import type { HostSelection } from "../config/snapshot.ts";
import { ResetReason, ResponseFlag } from "../errors.ts";
import { MAX_DEAD_CONNECTION_RETRIES, REPLAY_BODY_BYTES } from "../limits.ts";
import { Alarm, Deadline, now } from "../timers.ts";
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
import { refusesHost, RetryState } from "./retry.ts";
import {
  chooseTimeout,
  finalizeRequestHeaders,
  finalizeResponseHeaders,
  redirectLocation,
  rewriteHost,
} from "./route-apply.ts";
import type { ResolvedRoute } from "./route-table.ts";
import type { RoutedCluster } from "./routed-cluster.ts";
import type { Stream } from "./stream.ts";

export class Router extends Deadline implements UpstreamHandler, PickContext {
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
  #retry: RetryState | undefined = undefined;
  /** Body sent so far, kept while the request may be sent again; null once it may not. */
  #replay: Buffer[] | null = null;
  #replayBytes = 0;
  #responseStarted = false;
  #done = false;
  #requestPaused = false;
  #readingPaused = false;
  #deadConnections = 0;
  #retried = false;
  #hash: Hash64 | null = null;
  #hostSelection: HostSelection | undefined = undefined;
  /** Addresses of the hosts of earlier attempts, where the policy looks at them. */
  #tried: string[] | null = null;
  /** `set-cookie` fields that the hash policy wants in the response. */
  #cookies: string[] | null = null;
  #backoff: Alarm | null = null;
  #perTry: Alarm | null = null;

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
    const location = this.#manager.tlsRedirect(route, headers, stream.info);
    if (location !== null) {
      this.#redirect(301, location);
      return;
    }
    if (route.action.kind === "route") this.#forward(route, headers, endStream);
    else this.#answerHere(route, headers);
  }

  onRequestData(chunk: Buffer, endStream: boolean): void {
    if (this.#done) return;
    if (this.#replay !== null) this.#remember(chunk);
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
    this.#perTry?.disarm();
    this.#cancelBackoff();
    const upstream = this.#upstream;
    this.#upstream = null;
    upstream?.reset();
    this.#replay = null;
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
    const policy = action.retryPolicy ?? route.virtualHost.retryPolicy;
    this.#hostSelection = policy?.hostSelection;
    if (policy !== undefined || headers.has("x-envoy-retry-on") || headers.has("x-envoy-retry-grpc-on")) {
      this.#retry = RetryState.of(policy, headers);
    }
    if (route.hashPolicy !== null && choosesByHash(cluster.config.lbPolicy))
      this.#hashRequest(route.hashPolicy, headers);
    finalizeRequestHeaders(route, headers, stream.info, !this.#manager.router.suppressEnvoyHeaders);
    if (!this.#manager.router.suppressEnvoyHeaders && this.#timeoutMs > 0) {
      headers.set("x-envoy-expected-rq-timeout-ms", this.#expectedTimeout());
    }
    this.#headers = headers;
    if (!endStream) this.#replay = [];
    this.#attempt(endStream);
    if (endStream) this.#requestIsComplete();
  }

  #expectedTimeout(): string {
    const perTry = this.#retry?.perTryTimeoutMs ?? 0;
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
    this.#armPerTry();
  }

  #armPerTry(): void {
    const perTryMs = this.#retry?.perTryTimeoutMs ?? 0;
    if (perTryMs === 0 || !this.#requestEnded || (this.#timeoutMs > 0 && perTryMs >= this.#timeoutMs)) return;
    this.#perTry ??= new Alarm(() => this.#onPerTryTimeout());
    this.#perTry.arm(perTryMs);
  }

  /** Keeps a chunk for another attempt, or gives that up when it becomes too much. */
  #remember(chunk: Buffer): void {
    this.#replayBytes += chunk.length;
    const limit = this.#retry === undefined ? REPLAY_BODY_BYTES : this.#limitBytes;
    if (this.#replayBytes <= limit) {
      this.#replay!.push(chunk);
      return;
    }
    this.#replay = null;
    if (this.#retry !== undefined) {
      this.#cluster!.retryOrShadowAbandoned.inc();
      if (this.#backoff?.armed === true) this.#stream.sendLocalReply(REPLIES.retryBufferExceeded);
    }
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

  // ---- answers without upstream ---------------------------------------------------------------

  #answerHere(route: ResolvedRoute, headers: HeaderMap): void {
    const action = route.action;
    this.#manager.stats.rqDirectResponse.inc();
    if (action.kind === "direct_response") {
      const body = action.body;
      this.#stream.sendLocalReply(reply(action.status, body, "direct_response"));
    } else if (action.kind === "redirect") {
      this.#manager.stats.rqRedirect.inc();
      this.#redirect(action.status, redirectLocation(route, headers, this.#stream.info));
    } else {
      this.#stream.sendLocalReply(reply(500, "", "non_forwarding_action"));
    }
  }

  #redirect(status: number, location: string): void {
    this.#stream.sendLocalReply({
      status,
      body: "",
      headers: ["location", location],
      details: "direct_response",
      flag: -1,
      grpcStatus: -1,
    });
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
    this.#perTry?.disarm();
    if (this.#retry?.wantsHeaders(status, headers) === true && this.#mayRetry()) {
      this.#cluster!.retryCodes.charge(status);
      const upstream = this.#upstream;
      this.#upstream = null;
      if (!endStream) upstream?.reset();
      this.#scheduleRetry();
      return;
    }
    this.#responseStarted = true;
    if (this.#retried) this.#cluster!.retrySuccess.inc();
    this.#replay = null;
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
    this.#perTry?.disarm();
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
    if (this.#retry?.wantsReset(reason, requestUnsent) === true && this.#mayRetry()) {
      this.#scheduleRetry();
      return;
    }
    this.#fail(reason, transportFailure);
  }

  /** A reused connection was dead already: nothing was processed, so sending again is safe for any method. */
  #retryDeadConnection(reason: ResetReason, requestUnsent: boolean): boolean {
    if (!requestUnsent || reason !== ResetReason.CONNECTION_TERMINATION || !this.#canReplay()) return false;
    if (this.#deadConnections++ >= MAX_DEAD_CONNECTION_RETRIES) return false;
    this.#replayNow();
    return true;
  }

  #canReplay(): boolean {
    return this.#replay !== null || (this.#requestEnded && this.#replayBytes === 0);
  }

  #mayRetry(): boolean {
    const retry = this.#retry!;
    if (this.#done || !this.#canReplay()) return false;
    if (retry.left <= 0) {
      if (this.#retried || retry.left === 0) {
        this.#cluster!.retryLimitExceeded.inc();
        this.#stream.info.setFlag(ResponseFlag.URX);
      }
      return false;
    }
    if (!this.#cluster!.beginRetry()) {
      this.#stream.info.setFlag(ResponseFlag.UO);
      return false;
    }
    return true;
  }

  #scheduleRetry(): void {
    this.#retried = true;
    this.#backoff ??= new Alarm(() => {
      this.#cluster!.endRetry();
      if (!this.#done) this.#replayNow();
    });
    this.#backoff.arm(this.#retry!.take());
  }

  #cancelBackoff(): void {
    if (this.#backoff?.armed !== true) return;
    this.#backoff.disarm();
    this.#cluster!.endRetry();
  }

  /** Sends the request again from its beginning, as far as it has come. */
  #replayNow(): void {
    const chunks = this.#replay;
    const bodyEnded = this.#requestEnded && this.#trailers === null;
    const empty = chunks === null || chunks.length === 0;
    this.#attempt(empty && bodyEnded);
    const upstream = this.#upstream!;
    if (chunks !== null) {
      for (let at = 0; at < chunks.length; at++) upstream.sendData(chunks[at]!, bodyEnded && at === chunks.length - 1);
    }
    if (this.#trailers !== null) upstream.sendTrailers(this.#trailers);
    upstream.flush();
    this.onUpstreamDrain();
    this.#armPerTry();
  }

  #responseIsComplete(): void {
    this.#upstream = null;
    this.#done = true;
    this.disarm();
    this.#perTry?.disarm();
    const info = this.#stream.info;
    info.upstreamLastByteMs = now();
    this.#cluster!.time.record(
      info.upstreamLastByteMs - (info.requestCompleteMs >= 0 ? info.requestCompleteMs : info.startMs),
    );
  }

  #fail(reason: ResetReason, transportFailure: string): void {
    this.disarm();
    this.#done = true;
    this.#replay = null;
    const answer = upstreamResetReply(reason, transportFailure, this.#retried);
    this.#cluster!.codes.charge(answer.status);
    this.#stream.sendLocalReply(answer);
  }

  // ---- time -----------------------------------------------------------------------------------

  onDeadline(): void {
    if (this.#done) return;
    this.#cluster!.timeout.inc();
    this.#giveUp(REPLIES.routeTimeout);
  }

  #onPerTryTimeout(): void {
    if (this.#done || this.#responseStarted) return;
    this.#cluster!.perTryTimeout.inc();
    const upstream = this.#upstream;
    this.#upstream = null;
    upstream?.reset(true);
    if (this.#retry!.wantsReset(ResetReason.LOCAL_RESET, false) && this.#mayRetry()) this.#scheduleRetry();
    else this.#giveUp(REPLIES.perTryTimeout);
  }

  #giveUp(answer: typeof REPLIES.routeTimeout): void {
    const upstream = this.#upstream;
    this.#upstream = null;
    this.#done = true;
    this.disarm();
    this.#perTry?.disarm();
    this.#cancelBackoff();
    upstream?.reset(true);
    if (!this.#responseStarted) this.#cluster!.codes.charge(answer.status);
    this.#stream.info.setFlag(ResponseFlag.UT);
    this.#stream.sendLocalReply(answer);
  }
}
