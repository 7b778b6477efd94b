/**
 * Changes of plugins while traffic flows. Every change takes the same way: check against the configuration, compile,
 * rehearse (wasm/rehearsal.ts), build beside the old version on every worker; only when all are ready does it serve, or is
 * tried. When anything fails the old version stays, nothing of the new one is left, and the reason is told.
 */
import type { PluginCode } from "../artifact/plugin-code.ts";
import type { Schema } from "../config/schema/schema.ts";
import type { PluginConfig, Snapshot } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { Stats } from "../observe/stats.ts";
import type { LoadedModule } from "../wasm/module/module.ts";
import type { PluginStatus } from "../wasm/plugin-status.ts";
import { rehearse } from "../wasm/rehearsal.ts";
import { compileFor, loadModules } from "../worker/modules.ts";
import type { Approval } from "../worker/modules.ts";
import type { PluginChange, PluginsInForce, WorkerPool } from "../worker/pool.ts";
import { schemaIn } from "./configuration.ts";
import type { Configuration } from "./configuration.ts";
import type { PluginNote } from "./hand-over-protocol.ts";
import { ListenerChange } from "./listener-change.ts";
import { isConfiguredWith, planOf } from "./load-request.ts";
import type { LoadRequest, Plan, Target } from "./load-request.ts";
import { namesOf, outcomeOf, outcomeText, versionName } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { bare, PluginVersions } from "./plugin-versions.ts";
import type { Version } from "./plugin-versions.ts";
import { changesOf, needsCode } from "./reload.ts";
import { TrialRun } from "./trial-run.ts";
import { Trials } from "./trials.ts";

export interface HotLoadSetup {
  readonly pool: WorkerPool;
  readonly inForce: PluginsInForce;
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
  readonly onSnapshot: (snapshot: Snapshot) => void;
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
  readonly #trials: Trials;
  #snapshot: Snapshot;
  /** One change after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(setup: HotLoadSetup) {
    this.#setup = setup;
    this.#snapshot = setup.inForce.snapshot;
    this.#versions = new PluginVersions(setup.inForce, setup.startedAt);
    this.#trials = new Trials(this.#versions);
    for (const { name } of this.#snapshot.plugins) this.#setup.stats.gauge(`wasm.${name}.version`).set(1);
  }

  /**
   * Brings a module in. Resolves once it serves on every worker, or is tried there. Rejects with ProxyError: what is wrong
   * with the module or the plugin's configuration, what the guest said, or which worker could not.
   */
  load(target: Target, request: LoadRequest): Promise<Outcome> {
    return this.#inTurn(async () => {
      const from = performance.now();
      const found = this.#find(target);
      // What waits for code is alone, or with others that wait for the same.
      const indices = "missing" in target ? found : this.#versions.together(found);
      if (indices.length === 0) return outcomeOf([], "unchanged", from);
      try {
        const versions = this.#read(indices, request);
        return await this.#bring(
          versions,
          planOf(this.#snapshot.hotLoad, this.#versions.live(indices[0]!).config.name, request),
          from,
        );
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
        await this.#takeBack(trial, "given up by the operator");
        return outcomeOf(trial.spec.versions, "dropped", from);
      }
      const outcome = await this.#goBack(this.#wanted(name, named, number), from);
      this.#count(named, "rollbacks");
      return outcome;
    });
  }

  /** Reads the configuration anew and replaces the plugins that it changes. Rejects with ProxyError and changes nothing otherwise. */
  reload(): Promise<Outcome> {
    return this.#inTurn(async () => {
      const from = performance.now();
      const { snapshot, accept } = await this.#setup.configuration.rereadWithTypes(this.#schemas(), this.#setup.code);
      const changes = changesOf(this.#snapshot, snapshot, (index) => this.#versions.live(index).config);
      const { pool } = this.#setup;
      const listeners = changes.listeners
        ? new ListenerChange(pool.newChangeId(), this.#snapshot.listeners, snapshot.listeners)
        : undefined;
      let outcome = outcomeOf([], listeners === undefined ? "unchanged" : "live", from);
      if (changes.plugins.length > 0) {
        outcome = await this.#reconfigure(snapshot, changes.plugins, { listeners, from });
      } else if (listeners !== undefined) {
        await pool.changePlugins(async (change) => {
          await listeners.prepare(change);
          await this.#commitListeners(change, listeners, snapshot);
        });
      }
      if (listeners !== undefined) this.#setup.log.info("the listeners of the new configuration are in force");
      this.#accept(snapshot, accept);
      return outcome;
    });
  }

  async #reconfigure(
    snapshot: Snapshot,
    changed: readonly number[],
    { listeners, from }: { readonly listeners: ListenerChange | undefined; readonly from: number },
  ): Promise<Outcome> {
    const indices = this.#versions.together(changed);
    const fetched = await this.#setup.code.fetchAll(this.#newCode(snapshot, indices));
    const versions = this.#versions.make(indices, (index) => this.#configured(snapshot, index, fetched));
    try {
      const plan = { routing: undefined, bounds: snapshot.hotLoad.bounds, rehearse: true };
      return await this.#bring(versions, plan, from, { listeners, snapshot });
    } catch (error) {
      this.#count(indices, "swap_failures");
      throw error;
    }
  }

  /** After the plugins: chains refer to configurations on routes that only the new versions have. */
  async #commitListeners(change: PluginChange, listeners: ListenerChange, snapshot: Snapshot): Promise<void> {
    change.settled(this.#versions.inForce(snapshot), this.#trials.standing());
    await listeners.commit(change, this.#setup.drainOverMs, snapshot.hotLoad.drainMs);
  }

  /** What the workers say, with what is known here, in the order of the configuration. */
  async reports(): Promise<PluginReport[]> {
    const statuses = await this.#setup.pool.plugins();
    return statuses.map((status, index) => ({
      status,
      kept: this.#versions.kept(index),
      previous: this.#versions.previous(index),
      trial: this.#trials.of([index]),
    }));
  }

  /** Files that plugins are configured with, and the SHA-256 of what serves in their place. */
  files(): ReadonlyMap<string, string> {
    const served = this.#snapshot.plugins.map(({ code }, index) => [code, this.#versions.live(index)] as const);
    return new Map(served.flatMap(([code, { module }]) => (code.kind === "file" ? [[code.path, module.sha256]] : [])));
  }

  /** For a process that takes over: plugins that do not run as they began. */
  notes(): PluginNote[] {
    return this.#snapshot.plugins.flatMap(({ name }, index) => {
      const live = this.#versions.live(index);
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
  }

  // ---- what to change -------------------------------------------------------------------------

  #find(target: Target): number[] {
    if ("name" in target) return this.#versions.named(target.name);
    if ("missing" in target) return this.#versions.waiting(target.missing);
    return this.#snapshot.plugins.flatMap((plugin, index) => (isConfiguredWith(target, plugin) ? [index] : []));
  }

  #read(indices: readonly number[], { bytes, source, evidence }: LoadRequest): Version[] {
    for (const index of indices)
      this.#setup.code.approveOther(this.#versions.live(index).config.name, bytes, source, evidence);
    const schema = schemaIn(bytes, source);
    const schemas = this.#schemas();
    for (const index of indices) schemas.set(this.#versions.live(index).config.name, schema);
    const { plugins } = this.#setup.configuration.withModules(schemas);
    const modules = new Map<number, LoadedModule>();
    for (const index of indices) {
      const { memoryBytes } = plugins[index]!;
      if (modules.has(memoryBytes)) continue;
      const module = compileFor(memoryBytes, bytes, source);
      for (const one of module.warnings) this.#setup.log.warning(`${source} ${one}`);
      modules.set(memoryBytes, module);
    }
    return this.#versions.make(indices, (index) => {
      const config = plugins[index]!;
      return { config, module: modules.get(config.memoryBytes)!, source, schema };
    });
  }

  /** Of modules that are not the configured ones. */
  #schemas(): Map<string, Schema | undefined> {
    const schemas = new Map<string, Schema | undefined>();
    this.#snapshot.plugins.forEach(({ name }, index) => {
      const { schema } = this.#versions.live(index);
      if (schema !== null) schemas.set(name, schema);
    });
    return schemas;
  }

  /** The version that a new configuration asks for: with the module that serves, unless another one is named. */
  #configured(
    snapshot: Snapshot,
    index: number,
    fetched: ReadonlyMap<string, Uint8Array>,
  ): Pick<Version, "config" | "module" | "source" | "schema"> {
    const live = this.#versions.live(index);
    const config = snapshot.plugins[index]!;
    if (!needsCode(live.config, config)) return { ...live, config };
    const approve: Approval = (plugin, bytes) => this.#setup.code.approve(plugin, bytes);
    const module = loadModules([config], fetched, approve).modules[0]!;
    return { config, module, source: module.name, schema: null };
  }

  /** Plugins that do not go on with the module that serves. */
  #newCode(snapshot: Snapshot, indices: readonly number[]): PluginConfig[] {
    const configs = indices.map((index) => snapshot.plugins[index]!);
    return configs.filter((config, n) => needsCode(this.#versions.live(indices[n]!).config, config));
  }

  #wanted(name: string, named: readonly number[], number: number | undefined): Version[] {
    const indices = this.#versions.together(named);
    const first = named[0]!;
    const live = this.#versions.live(first);
    const wanted =
      number === undefined
        ? this.#versions.previous(first)
        : this.#versions.kept(first).find((one) => one.number === number);
    if (wanted === undefined) {
      const kept = this.#versions.kept(first).map((one) => one.number);
      const what = number === undefined ? "no version before that one" : `no version ${number}`;
      const text = `${name} is at version ${live.number}, and there is ${what}; kept: ${kept.join(", ")}`;
      throw new ProxyError("PLUGIN_VERSION", "config", text);
    }
    if (wanted === live)
      throw new ProxyError("PLUGIN_VERSION", "config", `${name} is at version ${wanted.number} already`);
    return indices.map(
      (index) => this.#versions.kept(index).find((one) => one.number === wanted.number) ?? this.#versions.live(index),
    );
  }

  // ---- how it is changed ----------------------------------------------------------------------

  /** Everything up to the point where it serves, or is tried. */
  async #bring(
    versions: readonly Version[],
    plan: Plan,
    from: number,
    { listeners, snapshot = this.#snapshot }: { listeners?: ListenerChange | undefined; snapshot?: Snapshot } = {},
  ): Promise<Outcome> {
    const { pool } = this.#setup;
    const id = pool.newChangeId();
    try {
      if (plan.rehearse) rehearse(versions, snapshot);
      const silent = plan.routing?.kind === "shadow";
      const times = await pool.changePlugins(async (change) => {
        const prepareMs = await this.#prepare(change, id, versions, silent);
        if (plan.routing !== undefined) {
          this.#tryOut(change, id, versions, plan);
          return { prepareMs, swapMs: 0 };
        }
        await listeners?.prepare(change).catch((error: unknown) => {
          change.post({ kind: "drop_plugins", id, drainMs: 0 });
          throw error;
        });
        const swapMs = await this.#commit(change, { id, versions, plan });
        if (listeners !== undefined) await this.#commitListeners(change, listeners, snapshot);
        return { prepareMs, swapMs };
      });
      return this.#told(versions, outcomeOf(versions, plan.routing?.kind ?? "live", from, times));
    } catch (error) {
      // One that has served can be brought back later, and one on trial stays there.
      if (this.#trials.of(versions.map(({ index }) => index))?.spec.versions !== versions)
        this.#versions.forget(versions);
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
  async #commit(
    change: PluginChange,
    { id, versions, plan }: { readonly id: number; readonly versions: readonly Version[]; readonly plan: Plan },
  ): Promise<number> {
    this.#trials.end(change, versions, this.#snapshot.hotLoad.drainMs, id);
    this.#versions.committed(versions);
    const previous = versions.every(({ index }) => this.#versions.previous(index) !== undefined);
    // Without a version to go back to there is nothing to watch for.
    const trial = previous && plan.bounds !== undefined ? this.#watch(id, versions, plan) : undefined;
    const { drainMs } = this.#snapshot.hotLoad;
    // Before the answers: a worker that dies now comes back with it.
    change.settled(this.#versions.inForce(this.#snapshot), this.#trials.standing());
    const replies = await change.ask({ kind: "commit_plugins", id, drainMs, trial: trial?.plan });
    // One that was replaced meanwhile, and could not build it, comes up with it when it is replaced once more.
    for (const { index, answer } of replies) {
      if (typeof answer === "string" || answer.kind !== "plugins_changed" || answer.error !== undefined)
        this.#setup.pool.replace(index);
    }
    for (const { config, number } of versions) this.#setup.stats.gauge(`wasm.${config.name}.version`).set(number);
    this.#count(
      versions.map(({ index }) => index),
      "swaps",
    );
    return Math.max(
      0,
      ...replies.map(({ answer }) => (typeof answer === "string" || answer.kind !== "plugins_changed" ? 0 : answer.ms)),
    );
  }

  async #goBack(versions: readonly Version[], from: number): Promise<Outcome> {
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

  /** The new version is not wanted: the old one serves all streams again. */
  async #takeBack(trial: TrialRun, reason: string): Promise<void> {
    const { versions } = trial.spec;
    if (!this.#trials.runs(trial)) return;
    const { log, pool } = this.#setup;
    const name = namesOf(versions);
    this.#versions.failed(versions, reason);
    this.#count(
      versions.map(({ index }) => index),
      "rollbacks",
    );
    if (trial.kind !== "probation") {
      await pool.changePlugins((change) => {
        this.#trials.end(change, versions, this.#snapshot.hotLoad.drainMs);
        change.settled(this.#versions.inForce(this.#snapshot), this.#trials.standing());
        return Promise.resolve();
      });
      log.error(`plugin ${name}: ${versionName(versions)} was taken back: ${reason}`);
      return;
    }
    const before = versions.map(({ index }) => this.#versions.previous(index) ?? this.#versions.live(index));
    log.error(`plugin ${name}: ${versionName(versions)} is taken back for ${versionName(before)}: ${reason}`);
    await this.#goBack(before, performance.now());
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

  #accept(snapshot: Snapshot, accept: () => void): void {
    accept();
    this.#snapshot = snapshot;
    this.#setup.onSnapshot(snapshot);
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
    this.#last = result.catch(() => {});
    return result;
  }
}
