/** One `HTTPFault` message, of the filter or of a route, made ready; answers what happens to the current request. */
import { runtimeNumber } from "../sdk/extensions.ts";
import { requestHeaders } from "../sdk/headers.ts";
import { Text } from "../sdk/memory.ts";
import { Property } from "../sdk/property.ts";
import { Abort } from "./abort.ts";
import { FaultAbort, FaultDelay, FaultRateLimit, HTTPFault } from "./fault.pb.ts";
import { HeaderMatch } from "./header-match.ts";
import { Percent } from "./percent.ts";

const DELAY = new Text("x-envoy-fault-delay-request");
const DELAY_PERCENT = new Text("x-envoy-fault-delay-request-percentage");
const ABORT = new Text("x-envoy-fault-abort-request");
const ABORT_GRPC = new Text("x-envoy-fault-abort-grpc-request");
const ABORT_PERCENT = new Text("x-envoy-fault-abort-request-percentage");
const RATE = new Text("x-envoy-fault-throughput-response");
const RATE_PERCENT = new Text("x-envoy-fault-throughput-response-percentage");
const DOWNSTREAM_NODE = new Text("x-envoy-downstream-service-node");
const CLUSTER_NAME = new Property("xds.cluster_name");

const NO_NUMBER: i64 = -1;
const MAX_DELAY_MS: i64 = 86400000;
const BYTES_PER_KIB: i64 = 1024;
/** Bytes per second past which pacing would not be felt; also keeps the number in 31 bits. */
const MAX_RATE: i64 = 0x7fffffff;

export class Settings {
  readonly limitsActive: bool;
  readonly noClusterStats: bool;
  private readonly maxActiveFaults: i32;
  private readonly maxActiveKey: Text;
  private readonly upstreamCluster: string;
  private readonly nodes: Array<Text> = [];
  private readonly headers: Array<HeaderMatch> = [];
  private readonly delayMessage: FaultDelay | null;
  private readonly delayPercent: Percent;
  private readonly delayKey: Text;
  private readonly abortMessage: FaultAbort | null;
  private readonly abortPercent: Percent;
  private readonly abortHttpKey: Text;
  private readonly abortGrpcKey: Text;
  private readonly rateMessage: FaultRateLimit | null;
  private readonly ratePercent: Percent;

  constructor(message: HTTPFault) {
    const max = message.maxActiveFaults;
    const delay = message.delay;
    const abort = message.abort;
    const rate = message.responseRateLimit;
    const maxKey = key(message.maxActiveFaultsRuntime, "fault.http.max_active_faults");
    this.maxActiveFaults = max === null ? i32.MAX_VALUE : <i32>min<u32>(max.value, i32.MAX_VALUE);
    this.maxActiveKey = maxKey;
    this.limitsActive = max !== null || runtimeNumber<Text>(maxKey, -1) >= 0;
    this.noClusterStats = message.disableDownstreamClusterStats;
    this.upstreamCluster = message.upstreamCluster;
    this.delayMessage = delay;
    this.delayPercent = new Percent(
      delay === null ? null : delay.percentage,
      key(message.delayPercentRuntime, "fault.http.delay.fixed_delay_percent"),
    );
    this.delayKey = key(message.delayDurationRuntime, "fault.http.delay.fixed_duration_ms");
    this.abortMessage = abort;
    this.abortPercent = new Percent(
      abort === null ? null : abort.percentage,
      key(message.abortPercentRuntime, "fault.http.abort.abort_percent"),
    );
    this.abortHttpKey = key(message.abortHttpStatusRuntime, "fault.http.abort.http_status");
    this.abortGrpcKey = key(message.abortGrpcStatusRuntime, "fault.http.abort.grpc_status");
    this.rateMessage = rate;
    this.ratePercent = new Percent(
      rate === null ? null : rate.percentage,
      key(message.responseRateLimitPercentRuntime, "fault.http.rate_limit.response_percent"),
    );
    for (let i = 0; i < message.downstreamNodes.length; i++) this.nodes.push(new Text(message.downstreamNodes[i]));
    for (let i = 0; i < message.headers.length; i++) this.headers.push(new HeaderMatch(message.headers[i]));
  }

  /** False when no fault is configured at all. */
  mayInject(): bool {
    return this.delayMessage !== null || this.abortMessage !== null || this.rateMessage !== null;
  }

  maxActive(): i64 {
    return runtimeNumber<Text>(this.maxActiveKey, this.maxActiveFaults);
  }

  /** Cluster, nodes and headers of the current request are those that the configuration names. */
  matches(): bool {
    if (this.upstreamCluster.length > 0) {
      const cluster = CLUSTER_NAME.text();
      if (cluster === null || cluster != this.upstreamCluster) return false;
    }
    if (this.nodes.length > 0 && !this.isFromNode()) return false;
    for (let i = 0; i < this.headers.length; i++) if (!this.headers[i].holds()) return false;
    return true;
  }

  private isFromNode(): bool {
    for (let i = 0; i < this.nodes.length; i++) {
      if (requestHeaders.equals<Text, Text>(DOWNSTREAM_NODE, this.nodes[i])) return true;
    }
    return false;
  }

  /** Milliseconds of delay for the current request; 0: none. */
  delay(): i32 {
    const message = this.delayMessage;
    if (message === null) return 0;
    let milliseconds: i64 = 0;
    if (message.headerDelay !== null) {
      milliseconds = numberIn(DELAY);
      if (milliseconds <= 0 || !this.delayPercent.holdsCapped(numberIn(DELAY_PERCENT))) return 0;
    } else {
      if (!this.delayPercent.holds()) return 0;
      const fixed = message.fixedDelay;
      const configured = fixed === null ? 0 : min<i64>(fixed.milliseconds(), MAX_DELAY_MS);
      milliseconds = runtimeNumber<Text>(this.delayKey, <i32>configured);
    }
    return <i32>min<i64>(milliseconds, MAX_DELAY_MS);
  }

  /** How the current request is aborted; null: it is not. */
  abort(): Abort | null {
    const message = this.abortMessage;
    if (message === null) return null;
    if (message.headerAbort !== null) return this.abortByHeader();
    if (!this.abortPercent.holds()) return null;
    if (message.errorTypeCase == 5) {
      return new Abort(200, runtimeNumber<Text>(this.abortGrpcKey, <i32>message.grpcStatus));
    }
    const status = runtimeNumber<Text>(this.abortHttpKey, <i32>message.httpStatus);
    return status >= 200 && status < 600 ? new Abort(status) : null;
  }

  private abortByHeader(): Abort | null {
    const status = numberIn(ABORT);
    if (status >= 200 && status < 600) {
      return this.abortPercent.holdsCapped(numberIn(ABORT_PERCENT)) ? new Abort(<i32>status) : null;
    }
    const grpc = numberIn(ABORT_GRPC);
    if (grpc < 0 || grpc > 16) return null;
    return this.abortPercent.holdsCapped(numberIn(ABORT_PERCENT)) ? new Abort(200, <i32>grpc) : null;
  }

  /** Bytes per second of the response to the current request; 0: as fast as it comes. */
  responseRate(): i32 {
    const message = this.rateMessage;
    if (message === null) return 0;
    let kib: i64 = 0;
    if (message.headerLimit !== null) {
      kib = numberIn(RATE);
      if (kib <= 0 || !this.ratePercent.holdsCapped(numberIn(RATE_PERCENT))) return 0;
    } else {
      if (!this.ratePercent.holds()) return 0;
      const fixed = message.fixedLimit;
      kib = fixed === null ? 0 : <i64>min<u64>(fixed.limitKbps, <u64>MAX_RATE);
    }
    return <i32>min<i64>(kib, MAX_RATE / BYTES_PER_KIB) * <i32>BYTES_PER_KIB;
  }
}

function key(configured: string, standard: string): Text {
  return new Text(configured.length > 0 ? configured : standard);
}

/** A header's decimal number; negative when it is missing or no number. */
function numberIn(name: Text): i64 {
  const text = requestHeaders.get<Text>(name);
  if (text === null || text.length == 0 || text.length > 18) return NO_NUMBER;
  let value: i64 = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return NO_NUMBER;
    value = value * 10 + digit;
  }
  return value;
}
