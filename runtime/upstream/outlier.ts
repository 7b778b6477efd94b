/**
 * Outlier detection: hosts that answer worse than is allowed, or than the others do, get nothing for a while. What
 * counts is what one worker has seen itself.
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
 */
import type { OutlierConfig, OutlierKind } from "../config/cluster-snapshot.ts";
import type { Counter, Gauge, Stats } from "../observe/stats.ts";
import type { Host, HostMonitor } from "./host.ts";

/** What failures that are no answers count as where they are not told apart. */
const CONNECT_FAILED = 503;
const TIMED_OUT = 504;

/** Requests since the interval began. */
interface Tally {
  total: number;
  good: number;
}

/** One host as the detector sees it. */
class Monitor implements HostMonitor {
  readonly host: Host;
  readonly #detector: OutlierDetector;
  #consecutive5xx = 0;
  #consecutiveGateway = 0;
  #consecutiveLocal = 0;
  answers: Tally = { total: 0, good: 0 };
  locals: Tally = { total: 0, good: 0 };
  /** By how many base times the next ejection lasts. */
  backoff = 0;
  ejectedAtMs = 0;
  jitterMs = 0;

  constructor(host: Host, detector: OutlierDetector) {
    this.host = host;
    this.#detector = detector;
  }

  answered(status: number): void {
    const { config } = this.#detector;
    this.answers.total++;
    if (status < 500) {
      this.answers.good++;
      this.#consecutive5xx = this.#consecutiveGateway = 0;
      return;
    }
    const gateway = status >= 502 && status <= 504;
    this.#consecutiveGateway = gateway ? this.#consecutiveGateway + 1 : 0;
    this.#consecutive5xx++;
    if (gateway && this.#consecutiveGateway === config.consecutiveGatewayFailure) {
      this.#consecutiveGateway = 0;
      this.#detector.suspect(this, "consecutive_gateway_failure");
    }
    if (this.#consecutive5xx === config.consecutive5xx) {
      this.#consecutive5xx = 0;
      this.#detector.suspect(this, "consecutive_5xx");
    }
  }

  failed(timedOut: boolean): void {
    const { config } = this.#detector;
    if (!config.split) {
      this.answered(timedOut ? TIMED_OUT : CONNECT_FAILED);
      return;
    }
    this.locals.total++;
    if (++this.#consecutiveLocal !== config.consecutiveLocalOriginFailure) return;
    this.#consecutiveLocal = 0;
    this.#detector.suspect(this, "consecutive_local_origin_failure");
  }

  connected(whole: boolean): void {
    if (this.#detector.config.split) {
      this.locals.total++;
      this.locals.good++;
      this.#consecutiveLocal = 0;
    } else if (whole) this.answered(200);
  }

  forgive(): void {
    this.#consecutive5xx = this.#consecutiveGateway = this.#consecutiveLocal = 0;
  }
}

/** `cluster.<name>.outlier_detection.` */
class OutlierStats {
  readonly active: Gauge;
  readonly enforcedTotal: Counter;
  readonly overflow: Counter;
  readonly detected: (kind: OutlierKind) => Counter;
  readonly enforced: (kind: OutlierKind) => Counter;

  constructor(stats: Stats, statName: string, kinds: readonly OutlierKind[]) {
    const prefix = `cluster.${statName}.outlier_detection.ejections_`;
    const all = (what: string): ((kind: OutlierKind) => Counter) => {
      const counters = new Map(kinds.map((kind) => [kind, stats.counter(`${prefix}${what}_${kind}`)]));
      return (kind) => counters.get(kind)!;
    };
    this.active = stats.gauge(`${prefix}active`);
    this.enforcedTotal = stats.counter(`${prefix}enforced_total`);
    this.overflow = stats.counter(`${prefix}overflow`);
    this.detected = all("detected");
    this.enforced = all("enforced");
  }
}

export interface OutlierOptions {
  readonly config: OutlierConfig;
  readonly stats: Stats;
  readonly statName: string;
  /** A host was taken out, or may take part again. */
  readonly onChange: () => void;
  /** Milliseconds that only grow. */
  readonly clock?: () => number;
}

export class OutlierDetector {
  readonly config: OutlierConfig;
  readonly #stats: OutlierStats;
  readonly #onChange: () => void;
  readonly #clock: () => number;
  #monitors: Monitor[] = [];
  #ejected = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor({ config, stats, statName, onChange, clock }: OutlierOptions) {
    this.config = config;
    this.#stats = new OutlierStats(stats, statName, Object.keys(config.enforcing) as OutlierKind[]);
    this.#onChange = onChange;
    this.#clock = clock ?? ((): number => performance.now());
  }

  /** These are the hosts now; what is known of those that stay is kept. */
  watch(hosts: readonly Host[]): void {
    const known = new Map(this.#monitors.map((monitor) => [monitor.host, monitor]));
    this.#monitors = hosts.map((host) => known.get(host) ?? new Monitor(host, this));
    for (const monitor of this.#monitors) monitor.host.monitor = monitor;
    this.#setEjected(this.#monitors.filter(({ host }) => host.ejected).length);
  }

  start(): void {
    this.#timer ??= setInterval(() => this.onInterval(), this.config.intervalMs).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    // Requests under way judge nobody any more.
    this.#monitors = [];
    this.#setEjected(0);
  }

  /** A host has done what an outlier does. */
  suspect(monitor: Monitor, kind: OutlierKind): void {
    if (monitor.host.ejected || !this.#monitors.includes(monitor)) return;
    this.#stats.detected(kind).inc();
    this.#eject(monitor, kind);
  }

  /** The end of an interval: hosts come back, and are held against each other. */
  onInterval(): void {
    const now = this.#clock();
    for (const monitor of this.#monitors) this.#pardon(monitor, now);
    this.#compare((monitor) => monitor.answers, "success_rate", "failure_percentage");
    if (this.config.split)
      this.#compare((monitor) => monitor.locals, "local_origin_success_rate", "local_origin_failure_percentage");
    for (const monitor of this.#monitors) {
      monitor.answers = { total: 0, good: 0 };
      monitor.locals = { total: 0, good: 0 };
    }
  }

  #pardon(monitor: Monitor, now: number): void {
    const { baseEjectionTimeMs, maxEjectionTimeMs } = this.config;
    if (!monitor.host.ejected) {
      if (monitor.backoff > 0) monitor.backoff--;
      return;
    }
    const lasts = Math.min(baseEjectionTimeMs * monitor.backoff, maxEjectionTimeMs) + monitor.jitterMs;
    if (now - monitor.ejectedAtMs < lasts) return;
    monitor.host.ejected = false;
    monitor.forgive();
    this.#setEjected(this.#ejected - 1);
    this.#onChange();
  }

  #eject(monitor: Monitor, kind: OutlierKind): void {
    const { config } = this;
    const percent = (100 * (this.#ejected + 1)) / this.#monitors.length;
    if (percent > config.maxEjectionPercent && !(config.alwaysEjectOneHost && this.#ejected === 0)) {
      this.#stats.overflow.inc();
      return;
    }
    if (Math.random() * 100 >= config.enforcing[kind]) return;
    this.#stats.enforcedTotal.inc();
    this.#stats.enforced(kind).inc();
    monitor.host.ejected = true;
    monitor.ejectedAtMs = this.#clock();
    monitor.jitterMs = Math.random() * config.maxEjectionTimeJitterMs;
    if (monitor.backoff * config.baseEjectionTimeMs < config.maxEjectionTimeMs + config.baseEjectionTimeMs)
      monitor.backoff++;
    this.#setEjected(this.#ejected + 1);
    this.#onChange();
  }

  /** Those that had enough requests, if there are enough of them. */
  #compare(tally: (monitor: Monitor) => Tally, rateKind: OutlierKind, failureKind: OutlierKind): void {
    const { config } = this;
    const rates = (volume: number): { monitor: Monitor; rate: number }[] =>
      this.#monitors
        .filter((monitor) => !monitor.host.ejected && tally(monitor).total >= volume && tally(monitor).total > 0)
        .map((monitor) => ({ monitor, rate: (100 * tally(monitor).good) / tally(monitor).total }));
    const compared = rates(config.successRateRequestVolume);
    if (compared.length > 0 && compared.length >= config.successRateMinimumHosts) {
      const mean = compared.reduce((sum, { rate }) => sum + rate, 0) / compared.length;
      const variance = compared.reduce((sum, { rate }) => sum + (rate - mean) ** 2, 0) / compared.length;
      const least = mean - (Math.sqrt(variance) * config.successRateStdevFactor) / 1000;
      for (const { monitor, rate } of compared) if (rate < least) this.suspect(monitor, rateKind);
    }
    const counted = rates(config.failurePercentageRequestVolume);
    if (counted.length < config.failurePercentageMinimumHosts) return;
    for (const { monitor, rate } of counted)
      if (100 - rate >= config.failurePercentageThreshold) this.suspect(monitor, failureKind);
  }

  #setEjected(count: number): void {
    this.#stats.active.add(count - this.#ejected);
    this.#ejected = count;
  }
}
