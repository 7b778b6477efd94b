/**
 * envoy.filters.http.ratelimit: asks a rate limit service over gRPC about each request that has rate limit
 * descriptors. Configuration: RateLimit for the filter, RateLimitPerRoute per route.
 *
 * Life of a request: enabled? kind? cluster? descriptors? → ShouldRateLimit, headers wait → OK: headers added, on
 * it goes · OVER_LIMIT: local response · no answer: `failure_mode_deny` decides.
 */
import * as Action from "../../abi/action.ts";
import * as GrpcStatus from "../../abi/grpc-status.ts";
import * as ResponseFlag from "../../abi/response-flag.ts";
import { grpcMessage } from "../sdk/body.ts";
import { Filter, RootContext, StreamContext } from "../sdk/context.ts";
import { register } from "../sdk/contexts.ts";
import {
  rateLimitDescriptors,
  routeConfiguration,
  routeConfigurationId,
  setDynamicMetadata,
  setResponseFlag,
} from "../sdk/extensions.ts";
import { cancelGrpcCall, grpcCall, GrpcCallback } from "../sdk/grpc-call.ts";
import { requestHeaders, responseHeaders } from "../sdk/headers.ts";
import { Text } from "../sdk/memory.ts";
import { Pairs } from "../sdk/pairs.ts";
import { Property } from "../sdk/property.ts";
import { continueRequest, sendLocalResponse } from "../sdk/stream.ts";
import { Writer } from "../sdk/wire-writer.ts";
import { Counters } from "./counters.ts";
import { addLimitHeaders } from "./limit-headers.ts";
import { HttpRatelimitV3RateLimit, RateLimitPerRoute, RateLimitResponse } from "./ratelimit.pb.ts";
import { headerPairs, RouteSettings, Settings } from "./settings.ts";

const SERVICE = "envoy.service.ratelimit.v3.RateLimitService";
const METHOD = "ShouldRateLimit";
/** In statistics. */
const CLUSTER = new Property("xds.cluster_stat_name");
const RATE_LIMITED = new Text("x-envoy-ratelimited");
const CONTENT_TYPE = new Text("content-type");
/** Of dynamic metadata. */
const NAMESPACE = new Text("envoy.filters.http.ratelimit");
const TRUE = new Text("true");
const NO_BODY = new ArrayBuffer(0);

/** Values of `RateLimitResponse.Code`. */
const OK: i32 = 1;
const OVER_LIMIT: i32 = 2;
/** Tags of `RateLimitRequest`. */
const DOMAIN: u32 = 10;
const DESCRIPTORS: u32 = 18;
/** Instead of a virtual host mode: the rate limits of the filter's own configuration. */
const OWN_RATE_LIMITS: i32 = 3;

class RateLimitRoot extends RootContext {
  settings!: Settings;
  private readonly routes: Map<u32, RouteSettings> = new Map<u32, RouteSettings>();
  /** By cluster; only clusters of the configuration come here. */
  private readonly clusters: Map<string, Counters> = new Map<string, Counters>();

  override onConfigure(configuration: ArrayBuffer): bool {
    const message = HttpRatelimitV3RateLimit.decode(configuration);
    if (message === null) return false;
    const service = message.rateLimitService;
    if (service === null) return false;
    const grpcService = service.grpcService;
    if (grpcService === null) return false;
    this.settings = new Settings(message, grpcService);
    return true;
  }

  override createFilter(): StreamContext {
    return new RateLimitFilter(this);
  }

  /** What the current stream's route says; null: nothing. */
  routeSettings(): RouteSettings | null {
    const id = routeConfigurationId();
    if (id == 0) return null;
    if (this.routes.has(id)) return this.routes.get(id);
    const bytes = routeConfiguration(id);
    if (bytes === null) return null;
    const message = RateLimitPerRoute.decode(bytes);
    if (message === null) return null;
    const settings = new RouteSettings(message);
    this.routes.set(id, settings);
    return settings;
  }

  counters(cluster: string): Counters {
    if (this.clusters.has(cluster)) return this.clusters.get(cluster);
    const counters = new Counters(cluster, this.settings.statPrefix);
    this.clusters.set(cluster, counters);
    return counters;
  }
}

class RateLimitFilter extends Filter implements GrpcCallback {
  private readonly root: RateLimitRoot;
  /** Of the call that runs; 0: none. */
  private token: u32 = 0;
  private counters: Counters | null = null;
  /** For the response, whoever makes it. */
  private headers: Pairs | null = null;
  /** The response is this filter's 429. */
  private limited: bool = false;

  constructor(root: RateLimitRoot) {
    super();
    this.root = root;
  }

  override onRequestHeaders(_headers: u32, _endOfStream: bool): i32 {
    const settings = this.root.settings;
    if (!settings.enabled.holds() || !settings.takesRequest()) return Action.CONTINUE;
    const cluster = CLUSTER.text();
    if (cluster === null) return Action.CONTINUE;
    const route = this.root.routeSettings();
    const descriptors = rateLimitDescriptors(settings.stage, descriptorMode(settings, route));
    if (descriptors.length == 0) return Action.CONTINUE;
    this.counters = this.root.counters(cluster);
    const domain = route !== null && route.domain.length > 0 ? route.domain : settings.domain;
    const request = encodeRequest(domain, descriptors);
    this.token = grpcCall<ArrayBuffer>(
      settings.service,
      SERVICE,
      METHOD,
      request,
      settings.timeoutMs,
      this,
      settings.metadata,
    );
    // A body waits with the headers, and is pushed back past the buffer limit.
    return this.token != 0 || !this.fail() ? Action.STOP_ALL_AND_WATERMARK : Action.CONTINUE;
  }

  onGrpcMessage(_token: u32, _size: u32): void {
    this.token = 0;
    const bytes = grpcMessage.bytes();
    const answer = RateLimitResponse.decode(bytes === null ? NO_BODY : bytes);
    if (answer === null || (answer.overallCode != OK && answer.overallCode != OVER_LIMIT)) this.failLate();
    else this.complete(answer);
  }

  onGrpcClose(_token: u32, _status: i32): void {
    this.token = 0;
    this.failLate();
  }

  /** Local responses of this filter come by here too. */
  override onResponseHeaders(_headers: u32, _endOfStream: bool): i32 {
    const headers = this.headers;
    if (headers !== null) {
      // What the service says about the body of the local response comes before what the host says.
      if (this.limited && headers.get<Text>(CONTENT_TYPE) !== null) responseHeaders.remove<Text>(CONTENT_TYPE);
      for (let i = 0; i < headers.length; i++) {
        responseHeaders.add<string, ArrayBuffer>(headers.name(i), headers.valueBytes(i));
      }
      this.headers = null;
    }
    if (this.limited) {
      const options = this.root.settings.responseHeaders;
      for (let i = 0; i < options.length; i++) options[i].apply(responseHeaders);
    }
    return Action.CONTINUE;
  }

  override onDelete(): void {
    if (this.token != 0) cancelGrpcCall(this.token);
  }

  private complete(answer: RateLimitResponse): void {
    const settings = this.root.settings;
    const metadata = answer.dynamicMetadata;
    if (metadata !== null && metadata.fields.size > 0) setDynamicMetadata<Text>(NAMESPACE, metadata.encode());
    const headers = headerPairs(answer.responseHeadersToAdd);
    const over = answer.overallCode == OVER_LIMIT;
    if (over) {
      this.counters!.countOverLimit();
      if (settings.rateLimitedHeader) headers.add<Text, Text>(RATE_LIMITED, TRUE);
    } else {
      this.counters!.ok.increment();
    }
    if (settings.limitHeaders) addLimitHeaders(answer.statuses, headers);
    if (headers.length > 0) this.headers = headers;
    if (!over || !settings.enforced.holds()) {
      const added = headerPairs(answer.requestHeadersToAdd);
      for (let i = 0; i < added.length; i++) {
        requestHeaders.add<string, ArrayBuffer>(added.name(i), added.valueBytes(i));
      }
      continueRequest();
      return;
    }
    this.limited = true;
    setResponseFlag(ResponseFlag.RL);
    const status = settings.resourceExhausted ? GrpcStatus.RESOURCE_EXHAUSTED : GrpcStatus.UNAVAILABLE;
    sendLocalResponse<ArrayBuffer>(settings.limitedStatus, answer.rawBody, "request_rate_limited", null, status);
  }

  /** No usable answer: true lets the request go on, false has answered it. */
  private fail(): bool {
    const settings = this.root.settings;
    const counters = this.counters!;
    counters.error.increment();
    if (!settings.failureDenies.holds()) {
      counters.failureModeAllowed.increment();
      return true;
    }
    setResponseFlag(ResponseFlag.RLSE);
    sendLocalResponse<ArrayBuffer>(settings.errorStatus, NO_BODY, "rate_limiter_error");
    return false;
  }

  private failLate(): void {
    if (this.fail()) continueRequest();
  }
}

function descriptorMode(settings: Settings, route: RouteSettings | null): i32 {
  if (settings.hasRateLimits || (route !== null && route.hasRateLimits)) return OWN_RATE_LIMITS;
  return route === null ? 0 : route.virtualHostMode;
}

/** Descriptors come serialized from the host and go into the request as they are. */
function encodeRequest(domain: string, descriptors: Array<ArrayBuffer>): ArrayBuffer {
  const writer = new Writer();
  writer.tag(DOMAIN);
  writer.string(domain);
  for (let i = 0; i < descriptors.length; i++) {
    writer.tag(DESCRIPTORS);
    writer.byteString(descriptors[i]);
  }
  return writer.finish();
}

register((): RootContext => new RateLimitRoot());
