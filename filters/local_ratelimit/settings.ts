/** One `LocalRateLimit` message, of the filter or of a route, made ready. */
import { HeaderOption, OVERWRITE_IF_EXISTS_OR_ADD } from "../sdk/header-option.ts";
import { Counter } from "../sdk/metric.ts";
import { Share } from "../sdk/share.ts";
import { Limiter } from "./limiter.ts";
import { HeaderValueOption, LocalRateLimit, RuntimeFractionalPercent } from "./local_ratelimit.pb.ts";

const TOO_MANY_REQUESTS: i32 = 429;

export class Settings {
  readonly status: i32;
  readonly resourceExhausted: bool;
  readonly limitHeaders: bool;
  readonly filterEnabled: Share;
  readonly filterEnforced: Share;
  readonly responseHeaders: Array<HeaderOption>;
  readonly requestHeadersWhenNotEnforced: Array<HeaderOption>;
  readonly limiter: Limiter;
  readonly enabled: Counter;
  readonly ok: Counter;
  readonly rateLimited: Counter;
  readonly enforced: Counter;

  constructor(message: LocalRateLimit, key: string) {
    const status = message.status;
    this.status = status === null || status.code < 400 ? TOO_MANY_REQUESTS : status.code;
    this.resourceExhausted = message.rateLimitedAsResourceExhausted;
    this.limitHeaders = message.enableXRatelimitHeaders != 0;
    this.filterEnabled = share(message.filterEnabled);
    this.filterEnforced = share(message.filterEnforced);
    this.responseHeaders = options(message.responseHeadersToAdd);
    this.requestHeadersWhenNotEnforced = options(message.requestHeadersToAddWhenNotEnforced);
    this.limiter = new Limiter(message, key);
    const prefix = message.statPrefix + ".http_local_rate_limit.";
    this.enabled = new Counter(prefix + "enabled");
    this.ok = new Counter(prefix + "ok");
    this.rateLimited = new Counter(prefix + "rate_limited");
    this.enforced = new Counter(prefix + "enforced");
  }
}

/** Unset is never. */
function share(message: RuntimeFractionalPercent | null): Share {
  if (message === null) return new Share(0, 0);
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
    const raw = header.rawValue;
    const value = raw.byteLength > 0 ? String.UTF8.decode(raw) : header.value;
    if (value.length == 0 && !message.keepEmptyValue) continue;
    const append = message.append;
    const action = append !== null && !append.value ? OVERWRITE_IF_EXISTS_OR_ADD : message.appendAction;
    list.push(new HeaderOption(header.key, value, action));
  }
  return list;
}
