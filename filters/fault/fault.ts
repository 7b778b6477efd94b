/**
 * envoy.filters.http.fault: delays, aborts and slow responses, fixed or asked for by request headers.
 * Configuration: HTTPFault, for the filter and per route (the most specific one replaces the filter's).
 * Order, as in Envoy: active faults → cluster → nodes → headers → response rate → delay → abort.
 */
import * as Action from "../../abi/action.ts";
import * as ResponseFlag from "../../abi/response-flag.ts";
import { DecoderFilter, RootContext, StreamContext } from "../sdk/context.ts";
import { register } from "../sdk/contexts.ts";
import {
  paceResponse,
  routeConfiguration,
  routeConfigurationId,
  setResponseFlag,
  setTimer,
} from "../sdk/extensions.ts";
import { requestHeaders } from "../sdk/headers.ts";
import { Text } from "../sdk/memory.ts";
import { Counter, Gauge } from "../sdk/metric.ts";
import { Property } from "../sdk/property.ts";
import { continueRequest, sendLocalResponse } from "../sdk/stream.ts";
import { Abort } from "./abort.ts";
import { HTTPFault } from "./fault.pb.ts";
import { Settings } from "./settings.ts";

const DETAILS = "fault_filter_abort";
const BODY = new Text("fault filter abort");
const DOWNSTREAM_CLUSTER = new Text("x-envoy-downstream-service-cluster");

class FaultRoot extends RootContext {
  prefix: string = "";
  private own: Settings | null = null;
  private readonly routes: Map<u32, Settings> = new Map<u32, Settings>();
  delays!: Counter;
  aborts!: Counter;
  paced!: Counter;
  overflow!: Counter;
  active!: Gauge;

  override onConfigure(configuration: ArrayBuffer): bool {
    const message = HTTPFault.decode(configuration);
    if (message === null) return false;
    this.own = new Settings(message);
    const prefix = new Property("plugin_stat_prefix").text();
    this.prefix = (prefix === null ? "" : prefix) + "fault.";
    this.delays = new Counter(this.prefix + "delays_injected");
    this.aborts = new Counter(this.prefix + "aborts_injected");
    this.paced = new Counter(this.prefix + "response_rl_injected");
    this.overflow = new Counter(this.prefix + "faults_overflow");
    this.active = new Gauge(this.prefix + "active_faults");
    return true;
  }

  override createFilter(): StreamContext {
    return new FaultFilter(this);
  }

  /** What counts for the current stream: its route's configuration, else the filter's. */
  settings(): Settings {
    const id = routeConfigurationId();
    if (id == 0) return this.own!;
    if (this.routes.has(id)) return this.routes.get(id);
    const bytes = routeConfiguration(id);
    if (bytes === null) return this.own!;
    const message = HTTPFault.decode(bytes);
    if (message === null) return this.own!;
    const settings = new Settings(message);
    this.routes.set(id, settings);
    return settings;
  }
}

class FaultFilter extends DecoderFilter {
  private readonly root: FaultRoot;
  /** Set while a delay runs: decides about the abort that follows it. */
  private delayed: Settings | null = null;
  /** This stream counts as an active fault. */
  private counted: bool = false;

  constructor(root: FaultRoot) {
    super();
    this.root = root;
  }

  override onRequestHeaders(_headers: u32, _endOfStream: bool): i32 {
    const root = this.root;
    const settings = root.settings();
    if (!settings.mayInject()) return Action.CONTINUE;
    if (settings.limitsActive && root.active.value >= settings.maxActive()) {
      root.overflow.increment();
      return Action.CONTINUE;
    }
    if (!settings.matches()) return Action.CONTINUE;
    const rate = settings.responseRate();
    if (rate > 0) {
      root.paced.increment();
      this.count();
      paceResponse(rate);
    }
    const delay = settings.delay();
    if (delay > 0 && setTimer(delay)) {
      this.delayed = settings;
      root.delays.increment();
      this.count();
      setResponseFlag(ResponseFlag.DI);
      this.countFor(settings, "delays_injected");
      return Action.PAUSE;
    }
    return this.maybeAbort(settings) ? Action.PAUSE : Action.CONTINUE;
  }

  /** The delay is over. */
  override onTimer(): void {
    const settings = this.delayed;
    if (settings === null) return;
    this.delayed = null;
    if (!this.maybeAbort(settings)) continueRequest();
  }

  override onDelete(): void {
    if (this.counted) this.root.active.add(-1);
  }

  private maybeAbort(settings: Settings): bool {
    const abort: Abort | null = settings.abort();
    if (abort === null) return false;
    this.root.aborts.increment();
    this.count();
    setResponseFlag(ResponseFlag.FI);
    this.countFor(settings, "aborts_injected");
    sendLocalResponse<Text>(abort.httpStatus, BODY, DETAILS, null, abort.grpcStatus);
    return true;
  }

  private count(): void {
    if (this.counted) return;
    this.counted = true;
    this.root.active.add(1);
  }

  /** Counts per downstream cluster too, unless switched off. Names from a header: only of ones that a caller sends with a fault. */
  private countFor(settings: Settings, what: string): void {
    if (settings.noClusterStats) return;
    const cluster = requestHeaders.get<Text>(DOWNSTREAM_CLUSTER);
    if (cluster !== null && cluster.length > 0) new Counter(this.root.prefix + cluster + "." + what).increment();
  }
}

register((): RootContext => new FaultRoot());
