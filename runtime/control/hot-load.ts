/**
 * Changes of plugins while traffic flows. Every change takes the same way: check against the configuration, compile,
 * rehearse (wasm/rehearsal.ts), build beside the old version on every worker; only when all are ready does it serve, or is
 * tried. When anything fails the old version stays, nothing of the new one is left, and the reason is told.
 */
import type { PluginCode } from "../artifact/plugin-code.ts";
import type { PluginConfig, Snapshot } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { Stats } from "../observe/stats.ts";
import type { PluginStatus } from "../wasm/plugin-status.ts";
import { rehearse } from "../wasm/rehearsal.ts";
import type { PluginChange, PluginsInForce } from "../worker/plugin-change.ts";
import type { WorkerPool } from "../worker/pool.ts";
import type { Reply } from "../worker/questions.ts";
import type { Configuration } from "./configuration.ts";
import { ClusterChange } from "./cluster-change.ts";
import type { PluginNote } from "./hand-over-protocol.ts";
import { ListenerChange } from "./listener-change.ts";
import { planOf } from "./load-request.ts";
import type { LoadRequest, Plan, Target } from "./load-request.ts";
import { MemoryRest } from "./memory-rest.ts";
import { namesOf, outcomeOf, outcomeText, versionName } from "./outcome.ts";
import type { Outcome, StepTimes } from "./outcome.ts";
import { placePlugins } from "./plugin-places.ts";
import type { Placed } from "./plugin-places.ts";
import { bare, PluginVersions } from "./plugin-versions.ts";
import type { Version } from "./plugin-versions.ts";
import { changesOf, reloadLines, settingsLines } from "./reload.ts";
import type { Batch, Changes, Reload } from "./reload.ts";
import { TrialRun } from "./trial-run.ts";
import { VersionMaker } from "./version-maker.ts";
import { Vouching } from "./vouching.ts";
import { Trials } from "./trials.ts";

export interface HotLoadSetup {
  readonly pool: WorkerPool;
  readonly configuration: Configuration;
  readonly stats: Stats;
  readonly log: Log;
  readonly concurrency: number;
  readonly startedAt: Date;
  /** Until all answers of replaced listeners ask downstream to leave. */
  readonly drainOverMs: number;
  /** Where code comes from that is not on this machine, and what lets code in. */
  readonly code: PluginCode;
  /** Another snapshot is in force. */
  readonly onSnapshot: (snapshot: Snapshot) => Promise<void>;
}

/** A plugin for people: what workers say of it, its versions, and its trial. */
export interface PluginReport {
  readonly status: PluginStatus;
  readonly kept: readonly Version[];
  readonly previous: Version | undefined;
  readonly trial: TrialRun | undefined;
}

export class HotLoad {
  readonly #setup: HotLoadSetup;
  readonly #versions: PluginVersions;
  readonly #maker: VersionMaker;
  readonly #trials: Trials;
  readonly #vouching: Vouching;
  #snapshot: Snapshot;
  readonly #rest: MemoryRest;
  /** One change after the other. */
  #last: Promise<unknown> = Promise.resolve();

  /** `inForce` is what the process has started with. */
  constructor(inForce: PluginsInForce, setup: HotLoadSetup) {
    this.#setup = setup;
    this.#snapshot = inForce.snapshot;
    this.#versions = new PluginVersions(inForce, setup.startedAt);
    this.#maker = new VersionMaker(this.#versions, setup);
    this.#trials = new Trials(this.#versions);
    this.#vouching = new Vouching(setup, this.#versions, this.#trials);
    this.#rest = new MemoryRest(setup.log);
    for (const { name } of this.#snapshot.plugins) this.#setup.stats.gauge(`wasm.${name}.version`).set(1);
  }

  /**
   * Brings a module in. Resolves once it serves on every worker, or is tried there. Rejects with ProxyError: what is wrong
   * with the module or the plugin's configuration, what the guest said, or which worker could not.
   */
  load(target: Target, request: LoadRequest): Promise<Outcome> {
    return this.#inTurn(async () => {
      const from = performance.now();
      const found = this.#maker.find(target, this.#snapshot);
      // What waits for code is alone, or with others that wait for the same.
      const indices = "missing" in target ? found : this.#versions.together(found);
      if (indices.length === 0) return outcomeOf([], "unchanged", from);
      const configs = indices.map((index) => this.#versions.live(index).config);
      const plan = planOf(this.#snapshot.hotLoad, configs, request);
      try {
        const versions = this.#maker.brought(indices, request);
        return await this.#bring(versions, plan, from);
      } catch (error) {
        this.#count(indices, "swap_failures");
        throw error;
      }
    });
  }

  /** The candidate serves all streams. Rejects with PLUGIN_NO_CANDIDATE when there is none. */
  promote(name: string): Promise<Outcome> {
    return this.#inTurn(async () => {
      const from = performance.now();
      const trial = this.#trials.of(this.#versions.named(name));
      if (trial === undefined || trial.kind === "probation")
        throw new ProxyError("PLUGIN_NO_CANDIDATE", "config", `no version of ${name} is on trial`);
      const plan = { routing: undefined, bounds: this.#snapshot.hotLoad.bounds, rehearse: false };
      // A shadow acts on nothing, and cannot begin to: it is built anew.
      if (trial.kind === "shadow") return this.#bring(trial.spec.versions, plan, from);
      const { id, versions } = trial.spec;
      const swapMs = await this.#setup.pool.changePlugins((change) => this.#commit(change, { id, versions, plan }));
      return this.#told(versions, outcomeOf(versions, "live", from, { prepareMs: 0, swapMs }));
    });
  }

  /** Gives a candidate up, or brings version `number` (default: the one before) back. Rejects with PLUGIN_VERSION when there is none. */
  rollback(name: string, number?: number): Promise<Outcome> {
    return this.#inTurn(async () => {
      const from = performance.now();
      const named = this.#versions.named(name);
      const trial = this.#trials.of(named);
      if (number === undefined && trial !== undefined && trial.kind !== "probation") {
        await this.#takeBack(trial, "given up by the operator", "info");
        return outcomeOf(trial.spec.versions, "dropped", from);
      }
      const outcome = await this.#goBack(this.#maker.kept(name, named, number), from);
      this.#count(named, "rollbacks");
      return outcome;
    });
  }

  /**
   * Reads the configuration anew and puts it in force: clusters, listeners and plugins that it changes, brings or drops.
   * Rejects with ProxyError and changes nothing otherwise.
   */
  reload(): Promise<Outcome> {
    return this.#inTurn(async () => {
      const from = performance.now();
      const { configuration, code } = this.#setup;
      try {
        const { snapshot: read, accept } = await configuration.rereadWithTypes(this.#maker.schemas(), code);
        const { order, free } = this.#versions;
        const config = (place: number): PluginConfig => this.#versions.live(place).config;
        const placed = placePlugins(read, { order, free, config, listeners: this.#snapshot.listeners });
        const changes = changesOf(this.#snapshot, placed, this.#versions);
        const moved = this.#trials.movedBy(changes);
        if (changes.none) await this.#vouching.serving(placed, []);
        const outcome = changes.none
          ? outcomeOf([], "unchanged", from)
          : await this.#reconfigure(placed, changes, from);
        await this.#accept(placed.snapshot, accept);
        for (const trial of moved) await this.#renew(trial);
        const settings = settingsLines(changes);
        if (settings.length === 0) return outcome;
        for (const line of settings) this.#setup.log.info(line);
        return {
          ...outcome,
          state: changes.none ? "live" : outcome.state,
          changes: [...(outcome.changes ?? []), ...settings],
        };
      } catch (error) {
        code.follow(this.#snapshot);
        throw error;
      }
    });
  }

  async #reconfigure(placed: Placed, changes: Changes, from: number): Promise<Outcome> {
    const { snapshot } = placed;
    const { pool, stats } = this.#setup;
    const before = this.#snapshot;
    const plan = { routing: undefined, bounds: snapshot.hotLoad.bounds, rehearse: true };
    for (const index of changes.added) this.#versions.open(index);
    const batches: Batch[] = [];
    try {
      // With what is new there is nothing to go back to.
      for (const indices of [changes.changed, [...changes.companions, ...changes.added]]) {
        if (indices.length === 0) continue;
        batches.push({ id: pool.newChangeId(), versions: await this.#maker.configured(placed, indices), plan });
      }
      const made = batches.flatMap(({ versions }) => versions);
      await this.#vouching.serving(placed, made);
      for (const { versions } of batches) rehearse(versions, snapshot);
      const reload: Reload = {
        placed,
        batches,
        removed: changes.removed,
        clusters: changes.clusters
          ? new ClusterChange(pool.newChangeId(), before.clusters, snapshot.clusters, stats)
          : undefined,
        listeners: changes.listeners
          ? new ListenerChange(pool.newChangeId(), before.listeners, snapshot.listeners)
          : undefined,
      };
      const times = await pool.changePlugins((change) => this.#replaceAll(change, reload));
      const told = batches.map(({ versions }) => this.#told(versions, outcomeOf(versions, "live", from, times)));
      const lines = reloadLines(reload);
      for (const line of lines) this.#setup.log.info(line);
      for (const { name } of changes.removed) {
        if (!snapshot.plugins.some((one) => one.name === name)) stats.gauge(`wasm.${name}.version`).set(0);
      }
      const all = batches.flatMap(({ versions }) => versions);
      return { ...outcomeOf(all, told[0]?.state ?? "live", from, times), changes: lines };
    } catch (error) {
      for (const { versions } of batches) this.#versions.forget(versions);
      this.#versions.arrange(this.#versions.order);
      this.#count([...changes.changed, ...changes.companions], "swap_failures");
      throw error;
    }
  }

  /** Everything is made ready on all workers, or nothing; then nothing can be refused any more. */
  async #replaceAll(
    change: PluginChange,
    { placed, batches, removed, clusters, listeners }: Reload,
  ): Promise<StepTimes> {
    const { drainMs } = placed.snapshot.hotLoad;
    let prepareMs = 0;
    try {
      await clusters?.prepare(change);
      for (const { id, versions } of batches) prepareMs += await this.#prepare(change, id, versions, false);
      await listeners?.prepare(change);
    } catch (error) {
      for (const { id } of batches) change.post({ kind: "drop_plugins", id, drainMs: 0 });
      clusters?.drop(change);
      throw error;
    }
    this.#trials.end(change, removed, drainMs);
    const trials = batches.map((batch) => this.#enforce(change, batch));
    this.#versions.arrange(placed.order);
    // Before the answers: a worker that dies now comes back with it.
    change.settled(this.#versions.inForce(placed.snapshot), this.#trials.standing());
    clusters?.settle();
    listeners?.settle(change);
    const { drainOverMs } = this.#setup;
    const replies = await change.ask({
      kind: "commit_reload",
      id: this.#setup.pool.newChangeId(),
      clusters: clusters?.id,
      listeners: listeners?.id,
      plugins: batches.map(({ id }, n) => ({ id, trial: trials[n]?.plan })),
      order: placed.order,
      drain: { overMs: drainOverMs, endMs: Math.max(drainOverMs, drainMs) },
      drainMs,
    });
    const versions = batches.flatMap((batch) => batch.versions);
    return { prepareMs, swapMs: this.#swapped(versions, replies) };
  }

  /** What the workers say, with what is known here, in the order of the configuration. */
  async reports(): Promise<PluginReport[]> {
    const statuses = await this.#setup.pool.plugins();
    // A reload may have ended while they answered.
    const known = statuses.filter(({ index }) => this.#versions.order.includes(index));
    return known.map((status) => ({
      status,
      kept: this.#versions.kept(status.index),
      previous: this.#versions.previous(status.index),
      trial: this.#trials.of([status.index]),
    }));
  }

  /** Files that plugins are configured with, and the SHA-256 of what serves in their place. */
  files(): ReadonlyMap<string, string> {
    const files = new Map<string, string>();
    for (const [n, index] of this.#versions.order.entries()) {
      const { code } = this.#snapshot.plugins[n]!;
      if (code.kind === "file") files.set(code.path, this.#versions.live(index).module.sha256);
    }
    return files;
  }

  /** For a process that takes over: plugins that do not run as they began. */
  notes(): PluginNote[] {
    return this.#versions.order.flatMap((index) => {
      const live = this.#versions.live(index);
      const { name } = live.config;
      const trial = this.#trials.of([index]);
      const candidate = trial?.kind === "probation" ? undefined : trial?.spec.versions[0];
      if (live.number === 1 && candidate === undefined) return [];
      return [{ name, sha256: live.module.sha256, candidate: candidate?.module.sha256 ?? "" }];
    });
  }

  /** A worker says that versions on trial fail. */
  onFailing(id: number): void {
    this.#trials.failing(id);
  }

  stop(): void {
    this.#trials.stop();
    this.#rest.stop();
  }

  // ---- how it is changed ----------------------------------------------------------------------

  /** Everything up to the point where it serves, or is tried. */
  async #bring(versions: readonly Version[], plan: Plan, from: number): Promise<Outcome> {
    const { pool } = this.#setup;
    const id = pool.newChangeId();
    try {
      if (plan.rehearse) rehearse(versions, this.#snapshot);
      const silent = plan.routing?.kind === "shadow";
      const times = await pool.changePlugins(async (change) => {
        const prepareMs = await this.#prepare(change, id, versions, silent);
        if (plan.routing !== undefined) {
          this.#tryOut(change, id, versions, plan);
          return { prepareMs, swapMs: 0 };
        }
        const swapMs = await this.#commit(change, { id, versions, plan });
        return { prepareMs, swapMs };
      });
      return this.#told(versions, outcomeOf(versions, plan.routing?.kind ?? "live", from, times));
    } catch (error) {
      // One that has served can be brought back later, and one on trial stays there.
      if (this.#trials.of(indicesOf(versions))?.spec.versions !== versions) this.#versions.forget(versions);
      throw error;
    }
  }

  /** Builds it everywhere, or nowhere. Resolves with the longest time of a worker. */
  async #prepare(change: PluginChange, id: number, versions: readonly Version[], silent: boolean): Promise<number> {
    const replies = await change.ask({ kind: "prepare_plugins", id, versions: versions.map(bare), silent });
    let longest = 0;
    for (const { index, answer } of replies) {
      if (typeof answer !== "string" && answer.kind === "plugins_changed" && answer.error === undefined) {
        longest = Math.max(longest, answer.ms);
        continue;
      }
      change.post({ kind: "drop_plugins", id, drainMs: 0 });
      if (answer === "gone")
        throw new ProxyError("WORKER_FAILED", "internal", `worker ${index} died while it built it`);
      if (answer === "silent")
        throw new ProxyError("WORKER_FAILED", "internal", `worker ${index} did not build it in time`);
      const { code, message } =
        answer.kind === "plugins_changed" ? answer.error! : { code: "WORKER_FAILED", message: "" };
      throw new ProxyError(code, "guest", message.slice(code.length + 2));
    }
    return longest;
  }

  #tryOut(change: PluginChange, id: number, versions: readonly Version[], plan: Plan): void {
    this.#trials.end(change, versions, this.#snapshot.hotLoad.drainMs);
    const trial = this.#watch(id, versions, plan);
    change.post(trial.message());
    change.settled(this.#versions.inForce(this.#snapshot), this.#trials.standing());
  }

  /** Resolves with the longest time of a worker. */
  #commit(change: PluginChange, batch: Batch): Promise<number> {
    const trial = this.#enforce(change, batch);
    // Before the answers: a worker that dies now comes back with it.
    change.settled(this.#versions.inForce(this.#snapshot), this.#trials.standing());
    return this.#swap(change, batch, trial);
  }

  /** As far as this thread is concerned. */
  #enforce(change: PluginChange, { id, versions, plan }: Batch): TrialRun | undefined {
    this.#trials.end(change, versions, this.#snapshot.hotLoad.drainMs, id);
    this.#versions.committed(versions);
    const previous = versions.every(({ index }) => this.#versions.previous(index) !== undefined);
    // Without a version to go back to there is nothing to watch for.
    return previous && plan.bounds !== undefined ? this.#watch(id, versions, plan) : undefined;
  }

  /** On the workers. */
  async #swap(change: PluginChange, { id, versions }: Batch, trial: TrialRun | undefined): Promise<number> {
    const { drainMs } = this.#snapshot.hotLoad;
    const replies = await change.ask({ kind: "commit_plugins", id, drainMs, trial: trial?.plan });
    return this.#swapped(versions, replies);
  }

  /** Workers have answered; returns the longest time of one. */
  #swapped(versions: readonly Version[], replies: readonly Reply[]): number {
    // One that was replaced meanwhile, and could not build it, comes up with it when it is replaced once more.
    for (const { index, answer } of replies) {
      if (typeof answer === "string" || answer.kind !== "plugins_changed" || answer.error !== undefined)
        this.#setup.pool.replace(index);
    }
    for (const { config, number } of versions) this.#setup.stats.gauge(`wasm.${config.name}.version`).set(number);
    this.#count(indicesOf(versions), "swaps");
    return Math.max(
      0,
      ...replies.map(({ answer }) => (typeof answer === "string" || answer.kind !== "plugins_changed" ? 0 : answer.ms)),
    );
  }

  async #goBack(versions: readonly Version[], from: number): Promise<Outcome> {
    await this.#vouching.vouch(versions);
    return this.#bring(versions, { routing: undefined, bounds: undefined, rehearse: false }, from);
  }

  // ---- trials ---------------------------------------------------------------------------------

  #watch(id: number, versions: readonly Version[], { routing, bounds }: Plan): TrialRun {
    const { concurrency, stats } = this.#setup;
    const limits = bounds ?? { ...this.#snapshot.hotLoad.bounds, maxFailures: 0, maxAddedLatencyMs: undefined };
    const trial = new TrialRun(
      { id, versions, routing, bounds: limits, concurrency },
      {
        onTrialFailed: (failed, reason) => this.#later(() => this.#takeBack(failed, reason)),
        onTrialWindow: (one) => this.#later(() => this.#nextWindow(one)),
      },
      stats,
    );
    this.#trials.add(trial);
    return trial;
  }

  /** The new version is not wanted: the old one serves all streams again. `level`: how the log tells it of a candidate. */
  async #takeBack(trial: TrialRun, reason: string, level: "info" | "error" = "error"): Promise<void> {
    const { versions } = trial.spec;
    if (!this.#trials.runs(trial)) return;
    const { log, pool } = this.#setup;
    const name = namesOf(versions);
    this.#versions.failed(versions, reason);
    this.#count(indicesOf(versions), "rollbacks");
    if (trial.kind !== "probation") {
      await pool.changePlugins((change) => {
        this.#trials.end(change, versions, this.#snapshot.hotLoad.drainMs);
        change.settled(this.#versions.inForce(this.#snapshot), this.#trials.standing());
        return Promise.resolve();
      });
      log[level](`plugin ${name}: ${versionName(versions)} was taken back: ${reason}`);
      return;
    }
    const before = versions.map(({ index }) => this.#versions.previous(index) ?? this.#versions.live(index));
    log.error(`plugin ${name}: ${versionName(versions)} is taken back for ${versionName(before)}: ${reason}`);
    await this.#goBack(before, performance.now());
  }

  /** A trial whose plugins have other places now begins anew in all of them. */
  async #renew({ spec: { versions, routing, bounds } }: TrialRun): Promise<void> {
    try {
      await this.#vouching.vouch(versions);
      await this.#bring(this.#maker.again(versions), { routing, bounds, rehearse: false }, performance.now());
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      const what = `plugin ${namesOf(versions)}: ${versionName(versions)}`;
      this.#setup.log.error(`${what} is on trial no more since the reload: ${error.message}`);
    }
  }

  async #nextWindow(trial: TrialRun): Promise<void> {
    if (!this.#trials.runs(trial)) return;
    const { pool, log } = this.#setup;
    const { versions } = trial.spec;
    await pool.changePlugins((change) => {
      if (trial.kind === "probation") {
        this.#trials.end(change, versions, this.#snapshot.hotLoad.drainMs);
        log.info(`plugin ${namesOf(versions)}: ${versionName(versions)} has stood its probation`);
      } else change.post(trial.message());
      change.settled(this.#versions.inForce(this.#snapshot), this.#trials.standing());
      return Promise.resolve();
    });
  }

  // ---- the rest -------------------------------------------------------------------------------

  async #accept(snapshot: Snapshot, accept: () => void): Promise<void> {
    accept();
    this.#snapshot = snapshot;
    this.#versions.keep = snapshot.hotLoad.keepVersions;
    await this.#setup.onSnapshot(snapshot);
  }

  #told(versions: readonly Version[], outcome: Outcome): Outcome {
    this.#setup.log.info(outcomeText(versions, outcome));
    return outcome;
  }

  #count(indices: readonly number[], what: string): void {
    const names = new Set(indices.map((index) => this.#versions.live(index).config.name));
    for (const name of names) this.#setup.stats.counter(`wasm.${name}.${what}`).inc();
  }

  /** Work that nobody waits for. */
  #later(work: () => Promise<void>): void {
    this.#inTurn(work).catch((error: unknown) => {
      if (!(error instanceof ProxyError)) throw error;
      this.#setup.log.error(`hot load: ${error.message}`);
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    const over = (): void => this.#rest.later();
    this.#last = result.then(over, over);
    return result;
  }
}

function indicesOf(versions: readonly Version[]): number[] {
  return versions.map(({ index }) => index);
}
