/** A change of plugins, clusters or listeners as whoever makes it sees the pool of workers. */
import type { BoundAddress } from "../listener/bind.ts";
import type { KnownSockets, ToWorker, WorkerSetup } from "./messages.ts";
import type { Reply } from "./questions.ts";

/** What a change of plugins can do to all serving workers; see messages.ts. */
export interface PluginChange {
  /** Resolves with a reply of each worker that is asked; default: all. */
  ask(message: ChangeStep, which?: "all" | "first" | "others"): Promise<readonly Reply[]>;
  post(message: ToWorker): void;
  /** Workers that start later begin with `plugins`, then hear what is `standing`. */
  settled(plugins: PluginsInForce, standing: readonly ToWorker[]): void;
  /** What is told to workers that prepare listeners of these names; see ProcessSockets.knownFor. */
  socketsFor(names: readonly string[], leaving: readonly string[], bound: readonly BoundAddress[]): KnownSockets;
  /** Workers that start later know these sockets. */
  listenersSettled(leaving: readonly string[], bound: readonly BoundAddress[]): void;
}

/** Messages that are answered by all who get them. */
export type ChangeStep = Extract<
  ToWorker,
  {
    kind: "prepare_clusters" | "prepare_plugins" | "commit_plugins" | "prepare_listeners" | "commit_reload";
  }
>;

/** The part of a setup that hot loads change. */
export type PluginsInForce = Pick<
  WorkerSetup,
  "snapshot" | "modules" | "moduleOfPlugin" | "numberOfPlugin" | "placeOfPlugin"
>;
