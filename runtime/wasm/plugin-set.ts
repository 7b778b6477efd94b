/**
 * All plugins of one worker's configuration, and their versions. A new version comes in two steps: `prepare` builds it
 * beside the old one, started and configured; then `commit` makes it live, or `tryOut` lets some streams have it, or
 * `drop` ends it. Streams finish on the version they began with.
 */
import type { PluginConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { HttpFilterFactory } from "../http/filter.ts";
import { MAX_HELD_GENERATIONS } from "../limits.ts";
import type { PassingFilterFactory } from "../network/filter.ts";
import type { StreamLogger } from "../observe/access-log.ts";
import type { WasmEnvironment } from "./environment.ts";
import type { LoadedModule } from "./module/module.ts";
import { Plugin } from "./plugin.ts";
import { PluginFilterFactory, PluginLogger } from "./plugin-factory.ts";
import { PluginNetworkFactory } from "./plugin-network.ts";
import { addVersions } from "./plugin-status.ts";
import type { PluginStatus, VersionRole, VersionStatus } from "./plugin-status.ts";
import type { Routing } from "./routing.ts";
import type { Answers } from "./shadow/answers.ts";
import { shadowWorld } from "./shadow/shadow-environment.ts";
import type { ShadowWorld } from "./shadow/shadow-environment.ts";
import { Trial } from "./trial.ts";
import type { TrialPlan } from "./trial.ts";
import { Vm } from "./vm.ts";
import { vmKey } from "./vm-key.ts";
import { refreshRegularly } from "./vm-stats.ts";

/** A version of the plugin at `index` of the snapshot. */
export interface PluginVersion {
  readonly index: number;
  readonly config: PluginConfig;
  readonly module: LoadedModule;
  /** Counts the versions of the plugin in this process. */
  readonly number: number;
}

/** Versions that were made together and are put in force together. */
interface Generation {
  readonly plugins: readonly { readonly index: number; readonly plugin: Plugin }[];
  readonly vms: readonly Vm[];
  /** Numbers of plugins that there were none of before. */
  readonly fresh: readonly number[];
  /** Of shadows. */
  readonly world: ShadowWorld | null;
}

/** Resolves when no chain is left that is not in force and has the plugin of this number. */
export type PluginGone = (index: number) => Promise<void>;

interface Held {
  readonly index: number;
  readonly place: PluginFilterFactory;
  readonly plugin: Plugin;
}

/** What a set of plugins begins with, if not with the first version of each. */
export interface PluginNumbers {
  /** Of their versions; default 1. */
  readonly numbers?: readonly number[] | undefined;
  /** What listeners and messages call them by; default: their index. */
  readonly places?: readonly number[] | undefined;
}

export class PluginSet {
  readonly #environment: WasmEnvironment;
  /** By number: those of the configuration, those that are prepared, and those whose last streams have not ended. */
  readonly #places = new Map<number, PluginFilterFactory>();
  /** Those of the configuration, in its order. */
  #order: readonly number[];
  /** Everything that has instances: live, prepared, on trial, finishing. */
  readonly #vms = new Set<Vm>();
  /** Prepared or on trial, by the number that the main thread gave. */
  readonly #prepared = new Map<number, Generation>();
  /** Lets go of versions that wait for streams of former routes, the oldest first. */
  readonly #held = new Set<() => void>();
  #stopRefreshing = (): void => {};

  /** `modules[n]` is the loaded code of `plugins[n]`; the same module may stand there more than once. */
  constructor(
    plugins: readonly PluginConfig[],
    modules: readonly LoadedModule[],
    environment: WasmEnvironment,
    { numbers, places }: PluginNumbers = {},
  ) {
    this.#environment = environment;
    const versions = plugins.map((config, n): PluginVersion => {
      const module = modules[n];
      if (module === undefined)
        throw new ProxyError("PLUGIN_MODULE", "internal", `plugin ${config.name} has no module`);
      return { index: places?.[n] ?? n, config, module, number: numbers?.[n] ?? 1 };
    });
    this.#order = versions.map(({ index }) => index);
    this.#make(versions, environment);
  }

  /** Starts every VM and configures every plugin. Throws ProxyError naming the plugin and the reason; nothing stays started then. */
  start(): void {
    try {
      for (const vm of this.#vms) vm.start();
      this.#stopRefreshing = refreshRegularly(() => this.#vms.values().map(({ stats }) => stats));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The factory of plugin `index` of the snapshot. */
  httpFilter(index: number): HttpFilterFactory {
    return this.#place(index);
  }

  /** The same for connections. */
  networkFilter(index: number): PassingFilterFactory {
    return new PluginNetworkFactory(this.#place(index));
  }

  /**
   * Builds versions beside the live ones: instantiated, started, configured. `silent` ones act on nothing outside of them.
   * Throws ProxyError naming the plugin and the reason; nothing of them is left then.
   */
  prepare(id: number, versions: readonly PluginVersion[], silent: boolean): void {
    const generation = this.#make(versions, this.#environment, silent ? shadowWorld(this.#environment) : null);
    try {
      for (const vm of generation.vms) vm.start();
    } catch (error) {
      for (const index of generation.fresh) this.#places.delete(index);
      this.#end(generation, 0);
      throw error;
    }
    this.#prepared.set(id, generation);
  }

  /** Lets some streams have prepared versions, or shows them copies. `onBad`: see {@link Trial}. */
  tryOut(id: number, routing: Routing, plan: TrialPlan, onBad: () => void): void {
    const generation = this.#prepared.get(id);
    if (generation === undefined) return;
    const candidates = generation.plugins.map(({ plugin }) => plugin);
    const trial = this.#watch(candidates, plan, () => {
      for (const { index } of generation.plugins) this.#place(index).endTrial();
      onBad();
    });
    for (const { index, plugin } of generation.plugins) {
      const place = this.#place(index);
      setTrial(place.live, trial);
      setAnswers(place.live, generation.world?.answers ?? null);
      place.tryOut(plugin, routing);
    }
  }

  /**
   * New streams have the prepared versions from now on; the old ones end with their last stream, at the latest in `drainMs`.
   * `gone`, when routes change as well: resolves when no stream can have those any more that the plugin was configured for
   * before; until then the old ones wait. Throws ProxyError PLUGIN_NOT_PREPARED.
   */
  commit(
    id: number,
    drainMs: number,
    { trial: plan, onBad }: { readonly trial: TrialPlan | undefined; readonly onBad: () => void },
    gone?: PluginGone,
  ): void {
    const generation = this.#prepared.get(id);
    if (generation === undefined)
      throw new ProxyError("PLUGIN_NOT_PREPARED", "internal", `there is nothing prepared under ${id}`);
    this.#prepared.delete(id);
    const plugins = generation.plugins.map(({ plugin }) => plugin);
    const trial = plan === undefined ? null : this.#watch(plugins, plan, onBad);
    if (trial === null) for (const plugin of plugins) setTrial(plugin, null);
    const old = new Set<Vm>();
    const held: Held[] = [];
    for (const { index, plugin } of generation.plugins) {
      const place = this.#place(index);
      if (place.live === plugin) continue;
      for (const { vm } of place.live.all()) old.add(vm);
      held.push({ index, place, plugin: place.live });
      trial?.followed(place.live);
      setTrial(place.live, null);
      place.replace(plugin, gone !== undefined);
    }
    const letGo = (): void => {
      for (const { place, plugin } of held) place.letGo(plugin);
      for (const vm of old) this.#retire(vm, drainMs);
    };
    if (gone === undefined) letGo();
    else this.#hold(letGo, Promise.all(held.map(({ index }) => gone(index))));
  }

  /** Calls `letGo` after `gone`, or when too many wait for that. */
  #hold(letGo: () => void, gone: Promise<unknown>): void {
    const once = (): void => {
      if (!this.#held.delete(once)) return;
      letGo();
    };
    this.#held.add(once);
    const [oldest] = this.#held;
    if (this.#held.size > MAX_HELD_GENERATIONS) oldest!();
    void gone.then(once);
  }

  /** The versions in force, which this worker has begun with, are watched as after a commit. `onBad`: see {@link Trial}. */
  watch(indices: readonly number[], plan: TrialPlan, onBad: () => void): void {
    const plugins = indices.flatMap((index) => this.#places.get(index)?.live ?? []);
    this.#watch(plugins, plan, onBad);
  }

  /** Prepared versions are not wanted; streams that they have finish. */
  drop(id: number, drainMs: number): void {
    const generation = this.#prepared.get(id);
    if (generation === undefined) return;
    this.#prepared.delete(id);
    for (const { index, plugin } of generation.plugins) {
      const place = this.#place(index);
      if (place.candidate === plugin) place.endTrial();
      setTrial(place.live, null);
      setAnswers(place.live, null);
      setTrial(plugin, null);
    }
    for (const index of generation.fresh) this.#places.delete(index);
    this.#end(generation, drainMs);
  }

  /** The versions in force have stood their trial. */
  endTrials(indices: readonly number[]): void {
    for (const index of indices) {
      const place = this.#places.get(index);
      if (place !== undefined && place.candidate === null) setTrial(place.live, null);
    }
  }

  /** The access logger that plugin `index` of the snapshot is. */
  accessLogger(index: number): StreamLogger {
    return new PluginLogger(this.#place(index));
  }

  /**
   * The configuration has these plugins, in this order. Others end with their last stream once no chain can give them
   * another one, `drainMs` after that at the latest.
   */
  arrange(order: readonly number[], gone: PluginGone, drainMs: number): void {
    const leaving = this.#order.filter((index) => !order.includes(index));
    this.#order = order;
    if (leaving.length > 0) void Promise.all(leaving.map(gone)).then(() => this.#leave(leaving, drainMs));
  }

  #leave(leaving: readonly number[], drainMs: number): void {
    for (const index of leaving) {
      const place = this.#places.get(index);
      if (place === undefined) continue;
      this.#places.delete(index);
      for (const vm of new Set(place.live.all().map((one) => one.vm))) {
        // Others in its VM stay.
        if (vm.plugins.some(({ chooser }) => chooser !== null && chooser !== place && this.#isThere(chooser))) continue;
        this.#retire(vm, drainMs);
      }
    }
  }

  #isThere(place: PluginFilterFactory): boolean {
    return this.#places.values().some((one) => one === place);
  }

  /** For the admin interface, in the order of the snapshot. */
  statuses(): PluginStatus[] {
    const prepared = new Set<Plugin>();
    for (const { plugins } of this.#prepared.values()) for (const { plugin } of plugins) prepared.add(plugin);
    return this.#order.map((index) => {
      const place = this.#place(index);
      const { live, candidate, examples } = place;
      const mains = new Set<Plugin>([live]);
      for (const vm of this.#vms) for (const one of vm.plugins) if (one.chooser === place) mains.add(one.main ?? one);
      const versions = [...mains].map((one) => {
        const draining = prepared.has(one) ? "prepared" : "draining";
        return versionStatus(one, one === live ? "live" : one === candidate ? "candidate" : draining);
      });
      const facts = live.facts();
      const { instances, memory } = versions[0]!;
      return { ...facts, index, instances, memory, number: live.number, versions: addVersions([], versions), examples };
    });
  }

  /** Ends the plugins: on_done and on_delete of each root context. Streams still open finish first in their instances. */
  close(): void {
    this.#stopRefreshing();
    for (const vm of this.#vms) vm.close();
  }

  #place(index: number): PluginFilterFactory {
    const place = this.#places.get(index);
    if (place === undefined) throw new ProxyError("PLUGIN_INDEX", "internal", `there is no plugin ${index}`);
    return place;
  }

  #make(versions: readonly PluginVersion[], real: WasmEnvironment, world: ShadowWorld | null = null): Generation {
    const environment = world?.environment ?? real;
    const vms = new Map<string, Vm>();
    const vmOf = (key: string, { config, module }: PluginVersion): Vm => {
      let vm = vms.get(key);
      if (vm === undefined) vms.set(key, (vm = new Vm(config, module, environment)));
      return vm;
    };
    const { stats, workerIndex } = environment;
    const fresh: number[] = [];
    const plugins = versions.map((version) => {
      const { index, config, module, number } = version;
      const key = vmKey(config, module, index);
      const plugin = new Plugin(config, vmOf(key, version), stats, { number });
      plugin.vm.plugins.push(plugin);
      const routes = new Map<number, Plugin>();
      // A module that asks for its routes' configurations knows what to do with them; to any other each is another
      // plugin of the same VM, which is what plugins that share one are to every host: another root context.
      for (const { id, bytes } of module.asksForRoutes ? [] : (config.routeConfigurations ?? [])) {
        const vm = config.ownRouteVms === true ? vmOf(`${key}/${id}`, version) : plugin.vm;
        const route = new Plugin({ ...config, configuration: bytes }, vm, stats, { main: plugin, number });
        vm.plugins.push(route);
        routes.set(id, route);
      }
      if (routes.size > 0) plugin.routes = routes;
      const place = this.#places.get(index);
      if (place === undefined) {
        fresh.push(index);
        this.#places.set(index, new PluginFilterFactory(plugin, plugin.vm.phases));
      } else for (const one of plugin.all()) one.chooser = place;
      return { index, plugin };
    });
    // What runs once in the process runs here: with upstreams at hand, and watched; a replaced worker takes it over.
    const running = [...vms.values()].filter((vm) => vm.service !== "process" || workerIndex === 0);
    for (const vm of running) this.#vms.add(vm);
    return { plugins, vms: running, fresh, world };
  }

  #watch(plugins: readonly Plugin[], plan: TrialPlan, onBad: () => void): Trial {
    const fresh = new Set(plugins.flatMap((plugin) => plugin.all()));
    const trial = new Trial(plan, this.#environment.workerIndex, (plugin) => fresh.has(plugin), onBad);
    for (const plugin of fresh) plugin.trial = trial;
    return trial;
  }

  #end({ vms, world }: Generation, drainMs: number): void {
    world?.environment.shared.close();
    for (const vm of vms) this.#retire(vm, drainMs);
  }

  #retire(vm: Vm, drainMs: number): void {
    vm.retire(drainMs, () => this.#vms.delete(vm));
  }
}

/** Shadows hear what its calls are answered. */
function setAnswers(plugin: Plugin, answers: Answers | null): void {
  for (const one of plugin.all()) one.answers = answers;
}

function setTrial(plugin: Plugin, trial: Trial | null): void {
  for (const one of plugin.all()) one.trial = trial;
}

/** Of a plugin with what stands in for it on some routes, which may have VMs of their own. */
function versionStatus(plugin: Plugin, role: VersionRole): VersionStatus {
  const all = plugin.all();
  const statuses = [...new Set(all.map(({ vm }) => vm))].map((vm) => vm.status());
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);
  return {
    number: plugin.number,
    role,
    streams: sum(all.map(({ streams }) => streams)),
    instances: sum(statuses.map(({ instances }) => instances)),
    memory: sum(statuses.map(({ memory }) => memory)),
    sha256: statuses[0]!.sha256,
    version: statuses[0]!.version,
  };
}
