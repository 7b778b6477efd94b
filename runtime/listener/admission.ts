/**
 * Which accepted sockets a listener takes, and which worker serves each: limits and balance, both over the counts
 * that all workers share. A socket is counted for its worker from its admission, and among all once it begins.
 */
import type { Socket } from "node:net";
import type { ListenerConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { ListenerEnvironment } from "./environment.ts";
import type { SocketFacts } from "./listener-filter.ts";
import type { ListenerStats } from "./listener-stats.ts";
import { ALL_LISTENERS, SocketCounts } from "./socket-counts.ts";

type AdmissionEnvironment = Pick<
  ListenerEnvironment,
  "counts" | "workerIndex" | "peers" | "maxConnections" | "runtime" | "log"
>;

export class Admission {
  readonly #config: ListenerConfig;
  readonly #environment: AdmissionEnvironment;
  readonly #stats: ListenerStats;
  /** Connections of this listener over all workers at most. */
  readonly #limit: number;
  /** Sockets of this listener and of all; this worker's alone until {@link join}. */
  #own: SocketCounts;
  #all: SocketCounts;

  constructor(config: ListenerConfig, environment: AdmissionEnvironment, stats: ListenerStats) {
    const { runtime, workerIndex } = environment;
    this.#config = config;
    this.#environment = environment;
    this.#stats = stats;
    const limit = runtime[`envoy.resource_limits.listener.${config.name}.connection_limit`];
    this.#limit = typeof limit === "number" ? limit : Infinity;
    this.#own = new SocketCounts(SocketCounts.room(workerIndex + 1), workerIndex);
    this.#all = new SocketCounts(SocketCounts.room(workerIndex + 1), workerIndex);
  }

  /** Counts together with the other workers from now on. */
  join(): void {
    const { counts, workerIndex } = this.#environment;
    const own = counts[this.#config.name];
    const all = counts[ALL_LISTENERS];
    if (own !== undefined) this.#own = new SocketCounts(own, workerIndex);
    if (all !== undefined) this.#all = new SocketCounts(all, workerIndex);
  }

  /** Whether a limit is reached, which is counted. Limits hold for accepted sockets; one that is handed over has passed them. */
  isFull(): boolean {
    const { maxConnections } = this.#environment;
    const limited = maxConnections < Infinity && !this.#config.ignoreGlobalConnectionLimit;
    if (limited && this.#all.total() >= maxConnections) {
      this.#stats.globalCxOverflow.inc();
      return true;
    }
    if (this.#limit === Infinity || this.#own.total() < this.#limit) return false;
    this.#stats.cxOverflow.inc();
    return true;
  }

  /** Keeps a socket, or gives it to the worker that has the fewest: then false. */
  keeps(socket: Socket, facts: SocketFacts | null): boolean {
    if (this.#config.connectionBalance === "none") {
      this.#own.enter();
      return true;
    }
    const { peers, workerIndex } = this.#environment;
    const worker = this.#own.enterFewest(peers.reachable);
    return worker === workerIndex || !this.#give(worker, socket, facts);
  }

  /** False when the socket cannot be given away; then it is counted here. */
  #give(worker: number, socket: Socket, facts: SocketFacts | null): boolean {
    try {
      this.#environment.peers.give(worker, this.#config.name, socket, facts);
      return true;
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      this.#environment.log("warn", `listener ${this.#config.name}: a connection stays where it is: ${error.message}`);
      this.#own.undo(worker);
      this.#own.enter();
      return false;
    }
  }

  /** A socket that was given away comes back. */
  takeBack(): void {
    this.#own.enter();
  }

  /** A socket that another worker gave, and counted here, cannot be used. */
  lose(): void {
    this.#own.leave();
  }

  /** A socket that was kept, or came from another worker, is served from now on. */
  begin(): void {
    this.#all.enter();
  }

  end(): void {
    this.#own.leave();
    this.#all.leave();
  }
}
