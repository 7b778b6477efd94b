/**
 * envoy.filters.http.local_ratelimit: a token bucket of this process, or one per descriptor or connection. Over
 * the limit: 429 with the body `local_rate_limited`. Configuration: LocalRateLimit, for the filter and per route.
 */
import * as Action from "../../abi/action.ts";
import * as GrpcStatus from "../../abi/grpc-status.ts";
import * as ResponseFlag from "../../abi/response-flag.ts";
import { Filter, RootContext, StreamContext } from "../sdk/context.ts";
import { register } from "../sdk/contexts.ts";
import { routeConfiguration, routeConfigurationId, setResponseFlag, skipResponse } from "../sdk/extensions.ts";
import { HeaderOption } from "../sdk/header-option.ts";
import { requestHeaders, responseHeaders } from "../sdk/headers.ts";
import * as log from "../sdk/log.ts";
import { Text } from "../sdk/memory.ts";
import { Pairs } from "../sdk/pairs.ts";
import { Property } from "../sdk/property.ts";
import { sendLocalResponse } from "../sdk/stream.ts";
import { Bucket } from "./bucket.ts";
import { LocalRateLimit } from "./local_ratelimit.pb.ts";
import { Settings } from "./settings.ts";

const DETAILS = "local_rate_limited";
const BODY = new Text(DETAILS);
const LIMIT = new Text("x-ratelimit-limit");
const REMAINING = new Text("x-ratelimit-remaining");
const RESET = new Text("x-ratelimit-reset");

class LocalRateLimitRoot extends RootContext {
  private name: string = "";
  private own: Settings | null = null;
  private readonly routes: Map<u32, Settings> = new Map<u32, Settings>();

  override onConfigure(configuration: ArrayBuffer): bool {
    const message = LocalRateLimit.decode(configuration);
    if (message === null || !supported(message)) return false;
    const name = new Property("plugin_name").text();
    this.name = "local_ratelimit/" + (name === null ? "" : name);
    this.own = new Settings(message, this.name);
    return true;
  }

  override createFilter(): StreamContext {
    return new LocalRateLimitFilter(this);
  }

  /** What counts for the current stream: its route's configuration, else the filter's. */
  settings(): Settings | null {
    const id = routeConfigurationId();
    if (id == 0) return this.own;
    if (this.routes.has(id)) return this.routes.get(id);
    const bytes = routeConfiguration(id);
    if (bytes === null) return this.own;
    const message = LocalRateLimit.decode(bytes);
    if (message === null || !supported(message)) return this.own;
    const settings = new Settings(message, this.name + "/" + id.toString());
    this.routes.set(id, settings);
    return settings;
  }
}

class LocalRateLimitFilter extends Filter {
  private readonly root: LocalRateLimitRoot;
  private decider: Bucket | null = null;
  private remaining: u32 = 0;
  private resetMs: u32 = 0;

  constructor(root: LocalRateLimitRoot) {
    super();
    this.root = root;
  }

  override onRequestHeaders(_headers: u32, _endOfStream: bool): i32 {
    const settings = this.root.settings();
    if (settings === null || !settings.filterEnabled.holds()) {
      skipResponse();
      return Action.CONTINUE;
    }
    if (!settings.limitHeaders) skipResponse();
    settings.enabled.increment();
    const allowed = settings.limiter.allows();
    const decider = settings.limiter.decider;
    if (settings.limitHeaders && decider !== null) {
      this.decider = decider;
      this.remaining = decider.remaining;
      this.resetMs = decider.resetMs;
    }
    if (allowed && !settings.limiter.shadowed) {
      settings.ok.increment();
      return Action.CONTINUE;
    }
    settings.rateLimited.increment();
    if (allowed || !settings.filterEnforced.holds()) {
      const headers = settings.requestHeadersWhenNotEnforced;
      for (let i = 0; i < headers.length; i++) headers[i].apply(requestHeaders);
      return Action.CONTINUE;
    }
    settings.enforced.increment();
    setResponseFlag(ResponseFlag.RL);
    const status = settings.resourceExhausted ? GrpcStatus.RESOURCE_EXHAUSTED : GrpcStatus.NONE;
    sendLocalResponse<Text>(settings.status, BODY, DETAILS, replyHeaders(settings.responseHeaders), status);
    return Action.PAUSE;
  }

  /** Local responses of this filter come by here too. */
  override onResponseHeaders(_headers: u32, _endOfStream: bool): i32 {
    const decider = this.decider;
    if (decider === null) return Action.CONTINUE;
    responseHeaders.replace<Text, string>(LIMIT, decider.size.maxTokens.toString());
    responseHeaders.replace<Text, string>(REMAINING, this.remaining.toString());
    responseHeaders.replace<Text, string>(RESET, ((this.resetMs + 999) / 1000).toString());
    return Action.CONTINUE;
  }
}

/** A field that would limit something else than it says is refused, not ignored. */
function supported(message: LocalRateLimit): bool {
  if (message.localClusterRateLimit === null) return true;
  log.error("local_cluster_rate_limit: not supported");
  return false;
}

function replyHeaders(options: Array<HeaderOption>): Pairs | null {
  if (options.length == 0) return null;
  const pairs = new Pairs();
  for (let i = 0; i < options.length; i++) options[i].applyTo(pairs);
  return pairs;
}

register((): RootContext => new LocalRateLimitRoot());
