/**
 * `envoy.filters.network.rbac`: connections that rules refuse are closed. Rules look at the first bytes, or, with
 * CONTINUOUS enforcement, at every piece, since filters before this one may learn something with each.
 */
import type { NetworkRbacConfig } from "../config/network-snapshot.ts";
import type { Counter, Stats } from "../observe/stats.ts";
import { Deadline } from "../timers.ts";
import { NetworkStatus } from "./filter.ts";
import type { FilterView, NetworkFilter, PassingFilterFactory } from "./filter.ts";
import { compileRules, type Verdict } from "./rbac-match.ts";

/** Where verdicts stand in dynamic metadata. */
const NAMESPACE = "envoy.filters.network.rbac";
const LOG_NAMESPACE = "envoy.common";
const CLOSE_REASON = "rbac_deny_close";

type Engine = ReturnType<typeof compileRules>;

export class NetworkRbac implements PassingFilterFactory {
  readonly name: string;
  readonly terminal = false;
  readonly reads = true;
  readonly writes = false;
  readonly config: NetworkRbacConfig;
  readonly engine: Engine | null;
  readonly shadow: Engine | null;
  readonly allowed: Counter;
  readonly denied: Counter;
  readonly shadowAllowed: Counter;
  readonly shadowDenied: Counter;

  constructor(name: string, config: NetworkRbacConfig, stats: Stats) {
    this.name = name;
    this.config = config;
    this.engine = config.rules === undefined ? null : compileRules(config.rules);
    this.shadow = config.shadowRules === undefined ? null : compileRules(config.shadowRules);
    const prefix = `${config.statPrefix}${config.statPrefix.endsWith(".") ? "" : "."}rbac.`;
    this.allowed = stats.counter(`${prefix}allowed`);
    this.denied = stats.counter(`${prefix}denied`);
    this.shadowAllowed = stats.counter(`${prefix}${config.shadowStatPrefix}shadow_allowed`);
    this.shadowDenied = stats.counter(`${prefix}${config.shadowStatPrefix}shadow_denied`);
  }

  create(connection: FilterView): NetworkFilter {
    return new Guard(this, connection);
  }
}

/** The rules on one connection. Its deadline is the end of the delay before a refused one is closed. */
class Guard extends Deadline implements NetworkFilter {
  readonly #rbac: NetworkRbac;
  readonly #connection: FilterView;
  #decided = false;
  #refused = false;

  constructor(rbac: NetworkRbac, connection: FilterView) {
    super();
    this.#rbac = rbac;
    this.#connection = connection;
  }

  onNewConnection(): number {
    return NetworkStatus.CONTINUE;
  }

  onData(): number {
    if (this.#refused) return NetworkStatus.STOP;
    if (this.#decided && !this.#rbac.config.continuous) return NetworkStatus.CONTINUE;
    this.#decided = true;
    this.#runShadow();
    const verdict = this.#run();
    if (verdict === null || verdict.allowed) return NetworkStatus.CONTINUE;
    this.#refuse(verdict);
    return NetworkStatus.STOP;
  }

  onWrite(): number {
    return NetworkStatus.CONTINUE;
  }

  onDeadline(): void {
    this.#connection.closeNow(CLOSE_REASON);
  }

  onClose(): void {
    this.disarm();
  }

  #runShadow(): void {
    const { shadow, config } = this.#rbac;
    if (shadow === null) return;
    const { allowed, policy } = shadow(this.#connection.stream);
    (allowed ? this.#rbac.shadowAllowed : this.#rbac.shadowDenied).inc();
    const prefix = config.shadowStatPrefix;
    this.#tell(NAMESPACE, {
      [`${prefix}shadow_engine_result`]: allowed ? "allowed" : "denied",
      ...(policy === "" ? {} : { [`${prefix}shadow_effective_policy_id`]: policy }),
    });
  }

  #run(): Verdict | null {
    const { engine, config } = this.#rbac;
    if (engine === null) return null;
    const verdict = engine(this.#connection.stream);
    (verdict.allowed ? this.#rbac.allowed : this.#rbac.denied).inc();
    if (config.rules?.action === "LOG") this.#tell(LOG_NAMESPACE, { access_log_hint: verdict.policy !== "" });
    return verdict;
  }

  #tell(namespace: string, values: Record<string, unknown>): void {
    const { stream } = this.#connection;
    stream.dynamicMetadata ??= new Map();
    stream.dynamicMetadata.set(namespace, { ...stream.dynamicMetadata.get(namespace), ...values });
  }

  #refuse({ policy }: Verdict): void {
    this.#refused = true;
    const named = policy === "" ? "none" : policy;
    this.#connection.stream.connectionTerminationDetails = `rbac_access_denied_matched_policy[${named}]`;
    const { delayDenyMs } = this.#rbac.config;
    if (delayDenyMs > 0) this.arm(delayDenyMs);
    else this.#connection.closeNow(CLOSE_REASON);
  }
}
