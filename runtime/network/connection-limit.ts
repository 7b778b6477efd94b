/**
 * `envoy.filters.network.connection_limit`: connections over a number are closed, perhaps after a while. The
 * connections of all workers count together.
 */
import type { ConnectionLimitConfig } from "../config/network-snapshot.ts";
import type { ListenerConfig } from "../config/snapshot.ts";
import { SocketCounts } from "../listener/socket-counts.ts";
import type { Counter, Gauge } from "../observe/stats.ts";
import { Deadline } from "../timers.ts";
import type { NetworkEnvironment } from "./environment.ts";
import { NetworkStatus } from "./filter.ts";
import type { FilterView, NetworkFilter, PassingFilterFactory } from "./filter.ts";

const REASON = "over_connection_limit";

export class ConnectionLimit implements PassingFilterFactory {
  readonly name: string;
  readonly terminal = false;
  readonly reads = true;
  readonly writes = false;
  readonly config: ConnectionLimitConfig;
  readonly enabled: boolean;
  readonly limited: Counter;
  readonly active: Gauge;
  readonly #environment: NetworkEnvironment;
  #counts: SocketCounts | null = null;

  constructor(name: string, config: ConnectionLimitConfig, environment: NetworkEnvironment) {
    const { stats, runtime } = environment;
    this.name = name;
    this.config = config;
    this.#environment = environment;
    const override = runtime[config.runtimeKey];
    this.enabled = typeof override === "boolean" ? override : config.enabled;
    const prefix = `connection_limit.${config.statPrefix}.`;
    this.limited = stats.counter(`${prefix}limited_connections`);
    this.active = stats.gauge(`${prefix}active_connections`);
  }

  create(connection: FilterView): NetworkFilter {
    return new Place(this, connection);
  }

  /** Counts one more connection. False: there are more than allowed now. */
  enter(): boolean {
    const { counts, workerIndex } = this.#environment;
    const { countKey, maxConnections } = this.config;
    this.#counts ??= new SocketCounts(counts[countKey] ?? SocketCounts.room(workerIndex + 1), workerIndex);
    this.active.inc();
    this.#counts.enter();
    return this.#counts.total() <= maxConnections;
  }

  leave(): void {
    this.active.dec();
    this.#counts?.leave();
  }
}

/** The keys of the counts that listeners need. */
export function connectionLimitKeys(listeners: readonly ListenerConfig[]): string[] {
  const chains = listeners.flatMap(({ filterChains, defaultFilterChain }) =>
    defaultFilterChain === undefined ? filterChains : [...filterChains, defaultFilterChain],
  );
  return chains
    .flatMap(({ filters }) => filters)
    .flatMap((filter) => (filter.kind === "connection_limit" ? [filter.limit.countKey] : []));
}

/** One connection's place among those that are counted. Its deadline is the end of the delay. */
class Place extends Deadline implements NetworkFilter {
  readonly #limit: ConnectionLimit;
  readonly #connection: FilterView;
  #refused = false;

  constructor(limit: ConnectionLimit, connection: FilterView) {
    super();
    this.#limit = limit;
    this.#connection = connection;
  }

  onNewConnection(): number {
    const limit = this.#limit;
    if (!limit.enabled) return NetworkStatus.CONTINUE;
    if (limit.enter()) return NetworkStatus.CONTINUE;
    limit.limited.inc();
    this.#refused = true;
    if (limit.config.delayMs > 0) this.arm(limit.config.delayMs);
    else this.#connection.closeNow(REASON);
    return NetworkStatus.STOP;
  }

  onData(): number {
    return this.#refused ? NetworkStatus.STOP : NetworkStatus.CONTINUE;
  }

  onWrite(): number {
    return NetworkStatus.CONTINUE;
  }

  onDeadline(): void {
    this.#connection.closeNow(REASON);
  }

  onClose(): void {
    this.disarm();
    if (this.#limit.enabled) this.#limit.leave();
  }
}
