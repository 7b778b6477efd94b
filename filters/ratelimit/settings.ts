/** One `RateLimit` message made ready, and what a route says over it (`RateLimitPerRoute`). */
import { HeaderOption, OVERWRITE_IF_EXISTS_OR_ADD } from "../sdk/header-option.ts";
import { requestHeaders } from "../sdk/headers.ts";
import { Text } from "../sdk/memory.ts";
import { Pairs } from "../sdk/pairs.ts";
import { Share } from "../sdk/share.ts";
import {
  GrpcService,
  HeaderValue,
  HeaderValueOption,
  HttpRatelimitV3RateLimit,
  RateLimitPerRoute,
  RuntimeFractionalPercent,
} from "./ratelimit.pb.ts";

const DEFAULT_TIMEOUT_MS: i64 = 20;
const TOO_MANY_REQUESTS: i32 = 429;
const INTERNAL_SERVER_ERROR: i32 = 500;
const INTERNAL_HEADER = new Text("x-envoy-internal");
const TRUE = new Text("true");

export class Settings {
  readonly domain: string;
  readonly stage: i32;
  /** The rate limits of the filter's own configuration come in place of those of routes. */
  readonly hasRateLimits: bool;
  /** 0: none. */
  readonly timeoutMs: u32;
  readonly service: ArrayBuffer;
  readonly metadata: Pairs | null;
  readonly resourceExhausted: bool;
  readonly limitHeaders: bool;
  readonly rateLimitedHeader: bool;
  readonly limitedStatus: i32;
  readonly errorStatus: i32;
  readonly responseHeaders: Array<HeaderOption>;
  readonly statPrefix: string;
  readonly enabled: Share;
  readonly enforced: Share;
  /** The share of requests that a failing service refuses. */
  readonly failureDenies: Share;
  private readonly requestType: string;

  constructor(message: HttpRatelimitV3RateLimit, service: GrpcService) {
    this.domain = message.domain;
    this.stage = <i32>message.stage;
    this.requestType = message.requestType;
    this.hasRateLimits = message.rateLimits.length > 0;
    const timeout = message.timeout;
    this.timeoutMs = timeout === null ? <u32>DEFAULT_TIMEOUT_MS : milliseconds(timeout.seconds, timeout.nanos);
    this.service = service.encode();
    this.metadata = service.initialMetadata.length == 0 ? null : headerPairs(service.initialMetadata);
    this.resourceExhausted = message.rateLimitedAsResourceExhausted;
    this.limitHeaders = message.enableXRatelimitHeaders != 0;
    this.rateLimitedHeader = !message.disableXEnvoyRatelimitedHeader;
    const limited = message.rateLimitedStatus;
    this.limitedStatus = limited === null || limited.code < 400 ? TOO_MANY_REQUESTS : limited.code;
    const error = message.statusOnError;
    this.errorStatus = error === null || error.code == 0 ? INTERNAL_SERVER_ERROR : error.code;
    this.responseHeaders = options(message.responseHeadersToAdd);
    this.statPrefix = message.statPrefix.length == 0 ? "" : message.statPrefix + ".";
    this.enabled = share(message.filterEnabled, 100, "ratelimit.http_filter_enabled");
    this.enforced = share(message.filterEnforced, 100, "ratelimit.http_filter_enforcing");
    this.failureDenies = share(message.failureModeDenyPercent, message.failureModeDeny ? 100 : 0, "");
  }

  /** True when `request_type` names the kind of the current request. */
  takesRequest(): bool {
    if (this.requestType == "internal") return requestHeaders.equals<Text, Text>(INTERNAL_HEADER, TRUE);
    if (this.requestType == "external") return !requestHeaders.equals<Text, Text>(INTERNAL_HEADER, TRUE);
    return true;
  }
}

/** What a route changes. */
export class RouteSettings {
  /** "": the filter's. */
  readonly domain: string;
  /** As `rateLimitDescriptors` (extensions.ts) takes it. */
  readonly virtualHostMode: i32;
  readonly hasRateLimits: bool;

  constructor(message: RateLimitPerRoute) {
    this.domain = message.domain;
    // DEFAULT leaves the choice to the older field, whose values are one less.
    this.virtualHostMode = message.overrideOption == 0 ? message.vhRateLimits : message.overrideOption - 1;
    this.hasRateLimits = message.rateLimits.length > 0;
  }
}

/** Fields that a service or a configuration lists, with names in lower case; `raw_value` comes before `value`. */
export function headerPairs(messages: Array<HeaderValue>): Pairs {
  const pairs = new Pairs();
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i];
    pairs.add<string, ArrayBuffer>(message.key.toLowerCase(), valueBytes(message));
  }
  return pairs;
}

function valueBytes(header: HeaderValue): ArrayBuffer {
  return header.rawValue.byteLength > 0 ? header.rawValue : String.UTF8.encode(header.value);
}

/** 0 only for a timeout of 0: a shorter one than a millisecond is no "never". */
function milliseconds(seconds: i64, nanos: i32): u32 {
  const value = seconds * 1000 + (<i64>nanos + 999999) / 1000000;
  return <u32>max<i64>(0, min<i64>(value, i32.MAX_VALUE));
}

function share(message: RuntimeFractionalPercent | null, missing: u32, missingKey: string): Share {
  if (message === null) return new Share(missing, 0, missingKey);
  const value = message.defaultValue;
  if (value === null) return new Share(0, 0, message.runtimeKey);
  return new Share(value.numerator, value.denominator, message.runtimeKey);
}

function options(messages: Array<HeaderValueOption>): Array<HeaderOption> {
  const list = new Array<HeaderOption>();
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i];
    const header = message.header;
    if (header === null) continue;
    const value = String.UTF8.decode(valueBytes(header));
    if (value.length == 0 && !message.keepEmptyValue) continue;
    const append = message.append;
    const action = append !== null && !append.value ? OVERWRITE_IF_EXISTS_OR_ADD : message.appendAction;
    list.push(new HeaderOption(header.key, value, action));
  }
  return list;
}
