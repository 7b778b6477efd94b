/** The `x-ratelimit-*` fields (draft 03) that a rate limit service's answer gives. */
import { Pairs } from "../sdk/pairs.ts";
import { Text } from "../sdk/memory.ts";
import { RateLimitResponseDescriptorStatus } from "./ratelimit.pb.ts";

const LIMIT = new Text("x-ratelimit-limit");
const REMAINING = new Text("x-ratelimit-remaining");
const RESET = new Text("x-ratelimit-reset");

/** Appends the fields of the status nearest to its limit, with every status's policy; nothing when none has a limit. */
export function addLimitHeaders(statuses: Array<RateLimitResponseDescriptorStatus>, headers: Pairs): void {
  let nearest: RateLimitResponseDescriptorStatus | null = null;
  let policies = "";
  for (let i = 0; i < statuses.length; i++) {
    const status = statuses[i];
    const limit = status.currentLimit;
    if (limit === null) continue;
    if (nearest === null || status.limitRemaining < nearest.limitRemaining) nearest = status;
    const seconds = secondsIn(limit.unit);
    if (seconds == 0) continue;
    policies += ", " + limit.requestsPerUnit.toString() + ";w=" + seconds.toString();
    if (limit.name.length > 0) policies += ';name="' + limit.name + '"';
  }
  if (nearest === null) return;
  const reset = nearest.durationUntilReset;
  headers.add<Text, string>(LIMIT, nearest.currentLimit!.requestsPerUnit.toString() + policies);
  headers.add<Text, string>(REMAINING, nearest.limitRemaining.toString());
  headers.add<Text, string>(RESET, (reset === null ? <i64>0 : reset.seconds).toString());
}

/** Seconds of a `RateLimitResponse.RateLimit.Unit`; 0 for one that is not known. */
function secondsIn(unit: i32): u32 {
  switch (unit) {
    case 1:
      return 1;
    case 2:
      return 60;
    case 3:
      return 3600;
    case 4:
      return 86400;
    case 5:
      return 30 * 86400;
    case 6:
      return 365 * 86400;
    case 7:
      return 7 * 86400;
    default:
      return 0;
  }
}
