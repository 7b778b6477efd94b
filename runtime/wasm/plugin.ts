/** A configured use of a module in one worker: its configuration, its root context in the live instance, its numbers. */
import type { PluginConfig } from "../config/snapshot.ts";
import type { Counter, Stats } from "../observe/stats.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import type { FailureReason } from "./instance/failure.ts";
import type { Instance } from "./instance/instance.ts";
import type { RootContext } from "./contexts/root-context.ts";
import type { LastFailure, PluginFacts } from "./plugin-status.ts";
import { LatencyRecord } from "./latency-record.ts";
import type { PluginFilterFactory } from "./plugin-factory.ts";
import type { Answers } from "./shadow/answers.ts";
import type { Trial } from "./trial.ts";
import type { Vm } from "./vm.ts";

export interface DeclaredProperty {
  readonly readonly: boolean;
  /** Texts are strings to CEL, all else is bytes. */
  readonly text: boolean;
  /** Values stay with the connection: all streams on it see them. */
  readonly ofConnection: boolean;
  readonly instance: Instance;
}

export interface PluginOrigin {
  /** The plugin that this one stands in for on some routes; they are counted together. */
  readonly main?: Plugin;
  /** Of the version; default 1. */
  readonly number?: number;
}

export class Plugin {
  readonly config: PluginConfig;
  readonly vm: Vm;
  /** Counts the versions of a plugin that the process has had, from 1. */
  readonly number: number;
  /** The plugin that this one stands in for on some routes; null: none. */
  readonly main: Plugin | null;
  /** Failures of all kinds, and of each. */
  readonly traps: Counter;
  readonly #failures: Map<FailureReason, Counter>;
  readonly #stats: Stats;
  readonly failedStreams: Counter;
  readonly skippedStreams: Counter;
  /** What the last trap was, one line. */
  lastFailure = "";
  /** The same as it was logged, and when. */
  lastReport: LastFailure | undefined;
  /** What `declare_property` said, by name, and which instance it came from. */
  readonly declaredProperties = new Map<string, DeclaredProperty>();
  /** In the live instance; null while there is none. */
  root: RootContext | null = null;
  /** Number among the plugins of its VM, and so among the root contexts of each instance; the VM sets it. */
  place = 0;
  /** What stands in for it on routes with a configuration of their own, by its id; null: nothing does. */
  routes: ReadonlyMap<number, Plugin> | null = null;
  /** Streams that it has now. */
  streams = 0;
  /** Who chooses it for streams; null for one that stands alone. */
  chooser: PluginFilterFactory | null = null;
  /** Watches how it does beside another version; null outside of one. */
  trial: Trial | null = null;
  /** Of what stands in for it, too. */
  readonly latency: LatencyRecord;
  /** Hears what its calls are answered, for a shadow; null: there is none. */
  answers: Answers | null = null;

  constructor(config: PluginConfig, vm: Vm, stats: Stats, { main, number = 1 }: PluginOrigin = {}) {
    this.config = config;
    this.vm = vm;
    this.number = number;
    this.main = main ?? null;
    this.#failures = main === undefined ? new Map() : main.#failures;
    this.#stats = stats;
    this.latency = main?.latency ?? new LatencyRecord();
    this.traps = stats.counter(`wasm.${config.name}.traps`);
    this.failedStreams = stats.counter(`wasm.${config.name}.failed_streams`);
    this.skippedStreams = stats.counter(`wasm.${config.name}.skipped_streams`);
  }

  countFailure(reason: FailureReason): void {
    this.traps.inc();
    let counter = this.#failures.get(reason);
    if (counter === undefined) {
      this.#failures.set(reason, (counter = this.#stats.counter(`wasm.${this.config.name}.failures.${reason}`)));
    }
    counter.inc();
    this.trial?.failed(this);
  }

  /** A stream that had a context of it is over. */
  streamEnded(info: StreamInfo): void {
    this.trial?.streamEnded(this, info);
    this.latency.streamEnded(info);
    if (--this.streams === 0) this.vm.unused();
  }

  /** It, and what stands in for it. */
  all(): Plugin[] {
    return this.routes === null ? [this] : [this, ...this.routes.values()];
  }

  /** Hears of queue notices: tokens outlive versions, and a version that does not serve yet must not take them. */
  get listener(): RootContext | null {
    return (this.chooser?.live ?? this).root;
  }

  /** For the admin interface. */
  facts(): PluginFacts {
    const { name, rootId, vmId } = this.config;
    const failures: Record<string, number> = {};
    for (const [reason, counter] of this.#failures) failures[reason] = counter.value;
    return { name, rootId, vmId, ...this.vm.status(), failures, lastFailure: this.lastReport };
  }

  onRootDeleted(root: RootContext): void {
    if (this.root !== root) return;
    this.root = null;
    this.vm.rootGone();
  }
}
