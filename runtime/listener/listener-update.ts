/**
 * A new list of listeners beside the one in force: what stays, what changes how, and the new sockets, bound but
 * not accepting. A failure leaves everything as it was. Life: prepare → commit or abort.
 */
import { sameConfig } from "../config/same.ts";
import type { ListenerConfig } from "../config/snapshot.ts";
import type { BoundAddress } from "./bind.ts";
import type { Departure, ListenerDrain } from "./departures.ts";
import type { Listener } from "./listener.ts";
import type { ListeningSocket } from "./listening-socket.ts";
import type { ServedChains } from "./served-chains.ts";

/** Names of listeners by what becomes of them; those that stay as they are stand nowhere. */
export interface ListenerChanges {
  readonly added: readonly string[];
  /** Only filter chains differ: chains that are the same keep their connections. */
  readonly updatedInPlace: readonly string[];
  readonly modified: readonly string[];
  readonly removed: readonly string[];
}

/** What becomes of one listener of the new list. */
type Step =
  | { readonly kind: "kept"; readonly listener: Listener }
  | {
      readonly kind: "in_place";
      readonly listener: Listener;
      readonly config: ListenerConfig;
      readonly chains: ServedChains;
    }
  | { readonly kind: "fresh"; readonly listener: Listener };

export class ListenerUpdate {
  readonly changes: ListenerChanges;
  readonly #steps: readonly Step[];
  readonly #leaving: readonly Listener[];
  readonly #existing: ReadonlyMap<string, ListeningSocket>;

  private constructor(current: readonly Listener[], steps: readonly Step[]) {
    const names = (kind: Step["kind"]): string[] =>
      steps.filter((step) => step.kind === kind).map(({ listener }) => listener.config.name);
    const staying = new Set(steps.filter(({ kind }) => kind !== "fresh").map(({ listener }) => listener));
    const before = new Set(current.map(({ config }) => config.name));
    const fresh = names("fresh");
    this.#steps = steps;
    this.#leaving = current.filter((listener) => !staying.has(listener));
    this.#existing = new Map(
      this.#leaving.flatMap(({ sockets }) => sockets.open.map((socket) => [socket.key, socket])),
    );
    this.changes = {
      added: fresh.filter((name) => !before.has(name)),
      updatedInPlace: names("in_place"),
      modified: fresh.filter((name) => before.has(name)),
      removed: this.#leaving.map(({ config }) => config.name).filter((name) => !fresh.includes(name)),
    };
  }

  /** Rejects with what making a listener throws, or with ProxyError BIND_FAILED; then nothing has changed. */
  static async prepare(
    current: readonly Listener[],
    configs: readonly ListenerConfig[],
    make: (config: ListenerConfig) => Listener,
  ): Promise<ListenerUpdate> {
    const byName = new Map(current.map((listener) => [listener.config.name, listener]));
    const steps: Step[] = [];
    let update: ListenerUpdate | null = null;
    try {
      for (const config of configs) steps.push(stepOf(config, byName.get(config.name), make));
      update = new ListenerUpdate(current, steps);
      for (const { kind, listener } of steps) if (kind === "fresh") await listener.sockets.bind(update.#existing);
      return update;
    } catch (error) {
      abandon(steps, update === null ? new Map() : update.#existing);
      throw error;
    }
  }

  /** Where new sockets are bound: the main thread passes on what others need to join them. */
  get bound(): BoundAddress[] {
    return this.#steps.flatMap(({ kind, listener }) =>
      kind === "fresh"
        ? [...listener.sockets.pending].map(([index, socket]) => socket.place(listener.config.name, index))
        : [],
    );
  }

  /**
   * Puts the new list in force. `onRetired` is called for each listener that leaves, and `onGone` when its last
   * connection has ended.
   */
  commit(
    drain: ListenerDrain,
    owner: { onRetired(listener: Listener): void; onGone(listener: Listener): void },
  ): { readonly listeners: Listener[]; readonly departures: readonly Departure[] } {
    const departures: Departure[] = [];
    const kept = new Set(this.#steps.flatMap(({ listener }) => [...listener.sockets.pending.values()]));
    for (const listener of this.#leaving) {
      owner.onRetired(listener);
      const { plugins, gone } = listener.retire(kept, drain);
      departures.push({ plugins, gone: gone.then(() => owner.onGone(listener)) });
    }
    for (const step of this.#steps) {
      if (step.kind === "in_place") departures.push(step.listener.replaceChains(step.config, step.chains, drain));
      else if (step.kind === "fresh") step.listener.open();
    }
    return { listeners: this.#steps.map(({ listener }) => listener), departures };
  }

  /** Gives everything up that was prepared. */
  abort(): void {
    abandon(this.#steps, this.#existing);
  }
}

function stepOf(config: ListenerConfig, old: Listener | undefined, make: (config: ListenerConfig) => Listener): Step {
  if (old === undefined) return { kind: "fresh", listener: make(config) };
  if (sameConfig(old.config, config)) return { kind: "kept", listener: old };
  const { filterChains, defaultFilterChain } = old.config;
  if (sameConfig({ ...config, filterChains, defaultFilterChain }, old.config))
    return { kind: "in_place", listener: old, config, chains: old.prepareChains(config) };
  return { kind: "fresh", listener: make(config) };
}

function abandon(steps: readonly Step[], existing: ReadonlyMap<string, ListeningSocket>): void {
  for (const step of steps) {
    if (step.kind === "fresh") step.listener.abandon(existing);
    else if (step.kind === "in_place") step.listener.abandonChains(step.chains);
  }
}
