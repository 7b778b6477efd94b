/**
 * Whether the answers of a worker ask downstream to close its connection. A failed health check asks with every
 * answer; a drain asks with a share of them that grows from none to all over its time (Envoy:
 * `--drain-strategy gradual`), or with every one when it has no time.
 */
import { INBOUND } from "../config/listener-snapshot.ts";
import type { ListenerConfig } from "../config/snapshot.ts";
import type { DrainState } from "../http/connection-manager.ts";
import { DrainRamp } from "../http/drain-ramp.ts";

/**
 * Why answers ask. Listeners of the drain type MODIFY_ONLY ignore a failed health check; the last is one of
 * listeners of the traffic direction INBOUND alone.
 */
export type DrainReason = "health_check" | "drain" | "drain_inbound";

export class Draining {
  readonly #ramps = new Map<DrainReason, DrainRamp>();
  readonly #random: () => number;

  /** `random` gives numbers from 0 to 1, as `Math.random` does. */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** Begins to drain for a reason, since `elapsedMs` already; it takes `overMs` until every answer asks. */
  begin(reason: DrainReason, overMs: number, elapsedMs: number): void {
    if (!this.#ramps.has(reason)) this.#ramps.set(reason, new DrainRamp(overMs, elapsedMs, this.#random));
  }

  end(reason: DrainReason): void {
    this.#ramps.delete(reason);
  }

  /** What holds for connections of a listener. */
  of({ drainsOnHealthCheckFail, trafficDirection }: ListenerConfig): DrainState {
    const reasons: DrainReason[] = ["drain"];
    if (trafficDirection === INBOUND) reasons.push("drain_inbound");
    if (drainsOnHealthCheckFail) reasons.push("health_check");
    return { asks: () => this.#ramps.size > 0 && reasons.some((reason) => this.#ramps.get(reason)?.asks() === true) };
  }
}
