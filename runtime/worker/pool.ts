/**
 * All worker threads of the process, kept by the main thread. Threads are spawned at once, so that they
 * load their code while the configuration is still being read; `start` hands it to them. From then on a
 * worker that dies or hangs is replaced with the same state, and the others go on.
 */
import { INBOUND } from "../config/listener-snapshot.ts";
import { ProxyError } from "../errors.ts";
import { DRAIN_GRACE_MS, LEND_MS, PLUGIN_STEP_MS, WORKER_ANSWER_MS, WORKER_WATCH_MS } from "../limits.ts";
import type { BoundAddress } from "../listener/bind.ts";
import type { LentSocket } from "../listener/listening-socket.ts";
import { connectionLimitKeys } from "../network/connection-limit.ts";
import type { Log } from "../observe/log.ts";
import type { TlsContextStatus } from "../tls/certificate-status.ts";
import type { StatsAnnouncement } from "../observe/stats.ts";
import { mergeClusterStatuses } from "../upstream/cluster-status.ts";
import type { ClusterStatus } from "../upstream/cluster-status.ts";
import { mergePluginStatuses } from "../wasm/plugin-status.ts";
import type { PluginStatus } from "../wasm/plugin-status.ts";
import type { SharedHandle } from "../wasm/shared.ts";
import type { DrainReason } from "./draining.ts";
import type { FromWorker, LogLevels, ToWorker, WorkerSetup } from "./messages.ts";
import { linkPeers } from "./peer-links.ts";
import { Place } from "./place.ts";
import type { WorkerReport } from "./place.ts";
import type { PluginChange } from "./plugin-change.ts";
import { ProcessSockets } from "./process-sockets.ts";
import { Questions } from "./questions.ts";
import { WorkerThread } from "./thread.ts";

/** Where the pool's news go. */
export interface PoolOwner {
  onStats(thread: number, announcement: StatsAnnouncement): void;
  /** The thread's statistics are final. */
  onThreadGone(thread: number): void;
  /** A worker died or hung while it should have served, and is being replaced. */
  onWorkerLost(index: number, hung: boolean): void;
  /** Versions of plugins that are on trial, under this number, fail too often. */
  onPluginsFailing(id: number): void;
}

/** What every worker is set up with; `shared` makes a handle for each thread and cleans up after it. */
export interface PoolSetup extends Omit<WorkerSetup, "shared"> {
  readonly shared: { handle(): SharedHandle; recover(owner: number): boolean };
}

export interface PoolOptions {
  readonly concurrency: number;
  readonly owner: PoolOwner;
  readonly log: Log;
  /** The module that worker threads run; default worker.ts beside this file. */
  readonly code?: URL | undefined;
  /** Default WORKER_WATCH_MS. */
  readonly watchMs?: number | undefined;
}

export class WorkerPool {
  readonly #owner: PoolOwner;
  readonly #log: Log;
  readonly #code: URL;
  readonly #watchMs: number;
  readonly #beats: Int32Array;
  readonly #places: Place[] = [];
  #bound: readonly BoundAddress[] = [];
  readonly #sockets: ProcessSockets;
  #setup: PoolSetup | null = null;
  /** Thread to the owner number of its handle. */
  readonly #owners = new Map<number, number>();
  #watch: NodeJS.Timeout | null = null;
  /** Serving: lost workers are replaced. */
  #serving = false;
  readonly #drains = new Map<DrainReason, { readonly fromMs: number; readonly overMs: number }>();
  #inboundStopped = false;
  #linked = false;
  readonly #questions = new Questions();
  /** Replacements that are being set up, and the change of plugins that is under way: neither may meet the other half done. */
  readonly #restarting = new Set<Promise<void>>();
  #change: Promise<void> | null = null;
  /** What a replaced worker is told before it accepts: trials that are running. */
  #standing: readonly ToWorker[] = [];

  /** Spawns the threads. */
  constructor({ concurrency, owner, log, code, watchMs }: PoolOptions) {
    this.#owner = owner;
    this.#log = log;
    this.#code = code ?? new URL("./worker.ts", import.meta.url);
    this.#watchMs = watchMs ?? WORKER_WATCH_MS;
    this.#sockets = new ProcessSockets(concurrency, log);
    const beats = new SharedArrayBuffer(concurrency * Int32Array.BYTES_PER_ELEMENT);
    this.#beats = new Int32Array(beats);
    for (let index = 0; index < concurrency; index++) {
      this.#places.push(new Place(this.#spawn(index)));
    }
  }

  /**
   * Sets all workers up, then binds: worker 0 first, since the others join the ports it got.
   * Rejects with the first worker's failure; the caller stops the pool then. `lent`: listening sockets of the
   * process before this one.
   */
  async start(setup: PoolSetup, lent: readonly LentSocket[] = []): Promise<void> {
    this.#setup = setup;
    const { listeners } = setup.snapshot;
    this.#sockets.inherit(listeners, lent);
    this.#sockets.count([...listeners.map(({ name }) => name), ...connectionLimitKeys(listeners)]);
    const [first, ...others] = this.#places;
    const ready = this.#places.map((place) => this.#setUp(place.thread, setup));
    // One failure must not leave the others' rejections without a listener.
    await Promise.all(ready);
    this.#noteBound(await first!.thread.listen(this.#sockets.known(0)));
    await Promise.all(others.map((place) => place.thread.listen(this.#sockets.known(place.index))));
    this.#linkWorkers();
    this.#serving = true;
    this.#watchBeats();
  }

  /** A method of its own: what the timer calls would else hold all that `start` was given, the first modules among it. */
  #watchBeats(): void {
    this.#watch = setInterval(() => this.#checkBeats(), this.#watchMs);
    this.#watch.unref();
  }

  get bound(): readonly BoundAddress[] {
    return this.#bound;
  }

  workers(): WorkerReport[] {
    return this.#places.map((place) => place.report());
  }

  /** Ends one worker at once and lets it be replaced; false when it is not serving. */
  replace(index: number): boolean {
    const place = this.#places[index];
    if (!this.#serving || place?.thread.state !== "listening") return false;
    place.thread.terminate("ended by the operator");
    return true;
  }

  /** Resolves when the workers log so. */
  setLogLevels(logLevels: LogLevels): Promise<void> {
    if (this.#setup !== null) this.#setup = { ...this.#setup, logLevels };
    return this.#tellAll({ kind: "log_levels", logLevels });
  }

  /**
   * Responses ask downstream to close their connection, the more of them the more of `overMs` is over; or no longer.
   * A worker that starts later follows. Resolves when all workers do so.
   */
  setDrainClose(reason: DrainReason, on: boolean, overMs = 0): Promise<void> {
    if (!on) this.#drains.delete(reason);
    else if (!this.#drains.has(reason)) this.#drains.set(reason, { fromMs: performance.now(), overMs });
    return this.#tellAll({ kind: "drain_close", reason, on, overMs, elapsedMs: 0 });
  }

  /** Descriptors of all listening sockets, for a process that takes over; the caller closes them. */
  async lend(): Promise<readonly LentSocket[]> {
    while (this.#change !== null) await this.#change;
    const answers = await this.#ask("lend_sockets", LEND_MS);
    const silent = this.#servingThreads().length - answers.length;
    if (silent > 0)
      this.#log.warning(`${silent} workers did not lend their sockets: connections that wait there are lost`);
    return answers.flatMap((one) => (one.kind === "sockets_lent" ? one.sockets : []));
  }

  /** Another process accepts from now on. Connections live on; a worker that is lost is not replaced. */
  async handOver(): Promise<void> {
    this.#endService();
    await this.#ask("hand_over");
  }

  /** Connections that are open downstream, those in listener filters included. */
  get openSockets(): number {
    return this.#sockets.open;
  }

  /** For good; after a stop of all listeners a worker that is lost from now on is not replaced. Resolves when nobody accepts any more. */
  stopAccepting(inboundOnly: boolean): Promise<void> {
    if (inboundOnly) this.#inboundStopped = true;
    else this.#endService();
    const stopped = this.#setup?.snapshot.listeners.filter((one) => !inboundOnly || one.trafficDirection === INBOUND);
    this.#sockets.close(stopped?.map(({ name }) => name) ?? []);
    return this.#tellAll({ kind: "stop_accepting", inboundOnly });
  }

  /** Resolves when the next line of each worker goes to the new files. */
  reopenLogs(): Promise<void> {
    return this.#tellAll({ kind: "reopen_logs" });
  }

  /** Clusters and hosts as the workers see them, added up; workers that do not answer in time are left out. */
  async clusters(): Promise<readonly ClusterStatus[]> {
    const answers = await this.#ask("describe_clusters");
    return mergeClusterStatuses(answers.flatMap((one) => (one.kind === "clusters" ? [one.clusters] : [])));
  }

  /** TLS contexts as one worker has them: all have the same files. */
  async certificates(): Promise<readonly TlsContextStatus[]> {
    const answers = await this.#ask("describe_certificates");
    return answers.flatMap((one) => (one.kind === "certificates" ? [one.contexts] : []))[0] ?? [];
  }

  /** The same of plugins. */
  async plugins(): Promise<readonly PluginStatus[]> {
    const answers = await this.#ask("describe_plugins");
    return mergePluginStatuses(answers.flatMap((one) => (one.kind === "plugins" ? [one.plugins] : [])));
  }

  /**
   * Changes plugins while no replacement of a worker is half set up; one change at a time. Rejects with what `steps` rejects with.
   */
  async changePlugins<T>(steps: (change: PluginChange) => Promise<T>): Promise<T> {
    while (this.#change !== null) await this.#change;
    let release = (): void => {};
    this.#change = new Promise((resolve) => (release = resolve));
    try {
      await Promise.all(this.#restarting);
      return await steps({
        ask: (message, which = "all") => this.#questions.ask(this.#threads(which), message, PLUGIN_STEP_MS),
        post: (message) => this.#postAll(message),
        settled: (plugins, standing) => {
          this.#setup = { ...this.#setup!, ...plugins };
          this.#linkWorkers();
          this.#standing = standing;
        },
        socketsFor: (names, leaving, bound) => {
          this.#sockets.count(names);
          return this.#sockets.knownFor(leaving, bound);
        },
        listenersSettled: (leaving, bound) => {
          this.#sockets.settle(leaving, bound);
          const fresh = new Set(bound.map(({ name }) => name));
          const staying = this.#bound.filter(({ name }) => !leaving.includes(name) && !fresh.has(name));
          this.#bound = [...staying, ...bound];
        },
      });
    } finally {
      this.#change = null;
      release();
    }
  }

  /** For the messages of one change. */
  newChangeId(): number {
    return this.#questions.newId();
  }

  async #ask(
    kind:
      | "describe_clusters"
      | "describe_certificates"
      | "describe_plugins"
      | "lend_sockets"
      | "hand_over"
      | "acknowledge",
    timeoutMs = WORKER_ANSWER_MS,
  ): Promise<readonly FromWorker[]> {
    const id = this.#questions.newId();
    const replies = await this.#questions.ask(this.#servingThreads(), { kind, id }, timeoutMs);
    return replies.map(({ answer }) => answer).filter((answer) => typeof answer !== "string");
  }

  #threads(which: "all" | "first" | "others"): readonly WorkerThread[] {
    const [first, ...others] = this.#servingThreads();
    if (first === undefined) return [];
    return which === "all" ? [first, ...others] : which === "first" ? [first] : others;
  }

  #servingThreads(): readonly WorkerThread[] {
    return this.#places
      .map(({ thread }) => thread)
      .filter(({ state }) => state === "listening" || state === "draining");
  }

  /** No worker accepts any more; resolves when streams are finished or `ms` are over, with how many connections were cut. */
  async drain(ms: number): Promise<number> {
    this.#endService();
    const cut = await Promise.all(this.#places.map(({ thread }) => thread.drain(ms, DRAIN_GRACE_MS)));
    return cut.reduce((sum, one) => sum + one, 0);
  }

  /** Ends all threads. */
  async stop(): Promise<void> {
    this.#endService();
    await Promise.all(this.#places.map(({ thread }) => thread.stop(DRAIN_GRACE_MS)));
  }

  #endService(): void {
    this.#serving = false;
    this.#sockets.close(this.#bound.map(({ name }) => name));
    if (this.#watch !== null) clearInterval(this.#watch);
    for (const place of this.#places) place.cancelRestart();
  }

  #setUp(thread: WorkerThread, setup: PoolSetup): Promise<void> {
    const shared = setup.shared.handle();
    this.#owners.set(thread.id, shared.owner);
    return thread.setUp({ ...setup, shared });
  }

  #postAll(message: ToWorker): void {
    for (const { thread } of this.#places) thread.post(message);
  }

  /** Resolves when whatever the workers were at has been counted: a client may have its answer before its worker has. */
  async caughtUp(): Promise<void> {
    await this.#ask("acknowledge");
  }

  /** Resolves when all serving workers have acted on it, but for those that hang: they are replaced, and begin with what is in force then. */
  async #tellAll(message: ToWorker): Promise<void> {
    this.#postAll(message);
    await this.caughtUp();
  }

  #spawn(index: number): WorkerThread {
    const birth = { index, beats: this.#beats.buffer as SharedArrayBuffer };
    return new WorkerThread(this.#code, birth, {
      onMessage: (thread, message) => this.#onMessage(thread, message),
      onGone: (thread, why) => this.#onGone(thread, why),
    });
  }

  #onMessage(thread: WorkerThread, message: FromWorker): void {
    if (message.kind === "stats") {
      this.#owner.onStats(thread.id, message.announcement);
    } else if ("id" in message && message.kind !== "plugins_failing") {
      // A late answer: nobody waits for it any more, and who changes plugins has drawn the consequence.
      this.#questions.answered(thread, message);
    } else if (message.kind === "plugins_failing") {
      this.#owner.onPluginsFailing(message.id);
    } else {
      this.#log.warning(`worker ${thread.index}: ${message.kind} came too late`);
    }
  }

  #onGone(thread: WorkerThread, why: string): void {
    this.#questions.threadGone(thread);
    this.#recover(thread.id);
    this.#sockets.forget(thread.index);
    this.#owner.onThreadGone(thread.id);
    const place = this.#places[thread.index];
    if (!this.#serving || place?.thread !== thread) return;
    const waitMs = place.restartLater(() => void this.#restart(place));
    this.#log.error(`worker ${thread.index} is gone, replaced in ${waitMs} ms: ${why}`);
    this.#owner.onWorkerLost(thread.index, place.hangs);
  }

  /** A thread may have died with the lock of the shared store in its hand. */
  #recover(thread: number): void {
    const owner = this.#owners.get(thread);
    this.#owners.delete(thread);
    if (owner !== undefined && this.#setup!.shared.recover(owner))
      this.#log.warning("freed a lock that a lost worker held");
  }

  async #restart(place: Place): Promise<void> {
    while (this.#change !== null) await this.#change;
    if (!this.#serving) return;
    const restart = this.#replaceThread(place);
    this.#restarting.add(restart);
    await restart;
    this.#restarting.delete(restart);
  }

  async #replaceThread(place: Place): Promise<void> {
    const thread = this.#spawn(place.index);
    place.replace(thread);
    try {
      await this.#setUp(thread, this.#setup!);
      for (const [reason, { fromMs, overMs }] of this.#drains)
        thread.post({ kind: "drain_close", reason, on: true, overMs, elapsedMs: performance.now() - fromMs });
      for (const message of this.#standing) thread.post(message);
      await thread.listen(this.#sockets.known(place.index));
      if (this.#linked) this.#link(thread, this.#places);
      if (this.#inboundStopped) thread.post({ kind: "stop_accepting", inboundOnly: true });
      this.#log.info(`worker ${place.index} is back`);
    } catch (error) {
      // The thread tells why in #onGone, which tries again.
      thread.terminate(error instanceof ProxyError ? error.message : String(error));
    }
  }

  /** Workers reach each other from the first configuration on that balances connections among them. */
  #linkWorkers(): void {
    const balanced = this.#setup!.snapshot.listeners.some(({ connectionBalance }) => connectionBalance === "exact");
    if (this.#linked || !balanced) return;
    this.#linked = true;
    this.#places.forEach(({ thread }, at) => this.#link(thread, this.#places.slice(0, at)));
  }

  #link(thread: WorkerThread, places: readonly Place[]): void {
    const others = places.map((place) => place.thread);
    linkPeers(
      thread,
      others.filter((other) => other !== thread && other.state === "listening"),
    );
  }

  #noteBound(bound: readonly BoundAddress[]): void {
    this.#bound = [...this.#bound, ...bound];
    for (const one of bound) this.#sockets.note(one);
  }

  #checkBeats(): void {
    for (const place of this.#places) place.look(Atomics.load(this.#beats, place.index));
  }
}
