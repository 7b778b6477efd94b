/** The versions of each plugin that the process has had: which one serves, which ones can be brought back. */
import type { Evidence } from "../artifact/trust-policy.ts";
import type { PluginConfig, RemoteCode, Snapshot, TrustRuleConfig } from "../config/snapshot.ts";
import { didYouMean } from "../config/document/suggest.ts";
import type { Schema } from "../config/schema/schema.ts";
import { ProxyError } from "../errors.ts";
import type { LoadedModule } from "../wasm/module/module.ts";
import type { PluginVersion } from "../wasm/plugin-set.ts";
import { vmKey } from "../wasm/vm-key.ts";
import type { PluginsInForce } from "../worker/plugin-change.ts";

export interface Version extends PluginVersion {
  /** File, or whoever posted it. */
  readonly source: string;
  readonly loadedAt: Date;
  /** The module's own schema of its configuration; null: as the configured module has it. */
  readonly schema: Schema | undefined | null;
  /** What speaks for it, as far as that is known: of artifacts in registries. */
  evidence: Evidence | undefined;
  /** The rules of trust that have let it in. */
  rules: readonly TrustRuleConfig[];
  /** Why it was taken back; "" when it was not. */
  failure: string;
  hasServed: boolean;
}

/** What a version is made of. */
export type Ingredients = Pick<Version, "config" | "module" | "source" | "schema" | "evidence" | "rules">;

interface Place {
  /** The order in which versions were put in force; the last one is. */
  readonly served: Version[];
  readonly kept: Version[];
  next: number;
}

export class PluginVersions {
  /** By number, which a plugin keeps for as long as configurations have it. */
  readonly #places = new Map<number, Place>();
  /** How many versions of a plugin are kept. */
  keep: number;
  #order: readonly number[];
  #free: number;

  constructor({ snapshot, modules, moduleOfPlugin }: PluginsInForce, startedAt: Date) {
    this.keep = snapshot.hotLoad.keepVersions;
    const letIn = { evidence: undefined, rules: snapshot.trust };
    snapshot.plugins.forEach((config, index) => {
      const module = modules[moduleOfPlugin[index]!]!;
      const first = { index, config, module, number: 1, source: module.name, loadedAt: startedAt, schema: null };
      const version: Version = { ...first, ...letIn, failure: "", hasServed: true };
      this.#places.set(index, { served: [version], kept: [version], next: 2 });
    });
    this.#order = [...this.#places.keys()];
    this.#free = this.#order.length;
  }

  /** The plugins in force, in the order of the configuration. */
  get order(): readonly number[] {
    return this.#order;
  }

  /** A number that no plugin has had. */
  get free(): number {
    return this.#free;
  }

  /** Makes room for a plugin that is new. */
  open(index: number): void {
    this.#places.set(index, { served: [], kept: [], next: 1 });
    this.#free = Math.max(this.#free, index + 1);
  }

  /** These plugins, in this order, and no others are in force. */
  arrange(order: readonly number[]): void {
    for (const index of this.#places.keys()) if (!order.includes(index)) this.#places.delete(index);
    this.#order = order;
  }

  live(index: number): Version {
    return this.#place(index).served.at(-1)!;
  }

  /** Those that can be put in force, oldest first. */
  kept(index: number): readonly Version[] {
    return this.#place(index).kept;
  }

  /** What served before the live one; undefined when nothing did, or it is not kept any more. */
  previous(index: number): Version | undefined {
    const { served, kept } = this.#place(index);
    return served.slice(0, -1).findLast((one) => kept.includes(one));
  }

  /** The plugins of that name, or of the HTTP filters of that name. Throws ProxyError PLUGIN_UNKNOWN. */
  named(name: string): number[] {
    for (const key of ["name", "filterName"] as const) {
      const found = this.#order.filter((index) => this.live(index).config[key] === name);
      if (found.length > 0) return found;
    }
    const names = new Set(this.#order.map((index) => this.live(index).config.name));
    const there = `; there ${names.size === 0 ? "are none" : `is ${[...names].join(", ")}`}`;
    throw new ProxyError(
      "PLUGIN_UNKNOWN",
      "config",
      `no plugin has the name "${name}"${didYouMean(name, names) || there}`,
    );
  }

  /** The plugins that have no code yet and wait for this. */
  waiting({ sha256 }: RemoteCode): number[] {
    return this.#order.filter((index) => {
      const { module } = this.live(index);
      return module.absent === true && module.sha256 === sha256;
    });
  }

  /** `indices` and the plugins that are replaced with them: those in the same VM, and those of the same name. */
  together(indices: Iterable<number>): number[] {
    const found = new Set(indices);
    const keys = new Map(this.#order.map((index) => [index, this.#key(index)]));
    for (const index of found) {
      const { name } = this.live(index).config;
      for (const [other, key] of keys)
        if (key === keys.get(index) || (name !== "" && this.live(other).config.name === name)) found.add(other);
    }
    return [...found].sort((a, b) => a - b);
  }

  /** A version that is not in force yet. Plugins that are replaced together get the same number. */
  make(indices: readonly number[], what: (index: number) => Ingredients): Version[] {
    const number = Math.max(...indices.map((index) => this.#place(index).next));
    return indices.map((index) => {
      const place = this.#place(index);
      place.next = number + 1;
      const version = { ...what(index), index, number, loadedAt: new Date(), failure: "", hasServed: false };
      place.kept.push(version);
      return version;
    });
  }

  /** It serves now. */
  committed(versions: readonly Version[]): void {
    for (const version of versions) {
      const place = this.#place(version.index);
      version.hasServed = true;
      const known = place.served.indexOf(version);
      // Brought back: what came after it was never there, as far as the next rollback is concerned.
      if (known !== -1) place.served.length = known;
      place.served.push(version);
      // There was nothing that could be brought back.
      for (const list of [place.served, place.kept]) {
        const at = list.findIndex((one) => one.module.absent === true && one !== version);
        if (at !== -1) list.splice(at, 1);
      }
      if (!place.kept.includes(version)) place.kept.push(version);
      this.#trim(place);
    }
  }

  /** It never served, or was taken back, because of `failure`, if no other reason is known. It can be looked at, and put in force by its number. */
  failed(versions: readonly Version[], failure: string): void {
    for (const version of versions) {
      if (version.failure === "") version.failure = failure;
      this.#trim(this.#place(version.index));
    }
  }

  /** It could not even be built. Those that have served are kept: what hindered them now may be over next time. */
  forget(versions: readonly Version[]): void {
    for (const version of versions) {
      const { kept } = this.#place(version.index);
      const at = kept.indexOf(version);
      if (at !== -1 && !version.hasServed) kept.splice(at, 1);
    }
  }

  /** What workers that start from now on begin with. */
  inForce(snapshot: Snapshot): PluginsInForce {
    const live = this.#order.map((index) => this.live(index));
    const modules: LoadedModule[] = [];
    const moduleOfPlugin = live.map(({ module }) => {
      const at = modules.indexOf(module);
      return at === -1 ? modules.push(module) - 1 : at;
    });
    const plugins: PluginConfig[] = live.map(({ config }) => config);
    return {
      snapshot: { ...snapshot, plugins },
      modules,
      moduleOfPlugin,
      numberOfPlugin: live.map((one) => one.number),
      placeOfPlugin: this.#order,
    };
  }

  #trim(place: Place): void {
    const { kept, served } = place;
    while (kept.length > this.keep) {
      const live = served.at(-1);
      // Failed ones first: they are kept to be looked at.
      const last = kept.find((one) => one !== live && one.failure !== "") ?? kept.find((one) => one !== live);
      if (last === undefined) break;
      kept.splice(kept.indexOf(last), 1);
    }
    // What cannot be brought back any more needs no place in the order either.
    for (let at = served.length - 2; at >= 0; at--) if (!kept.includes(served[at]!)) served.splice(at, 1);
  }

  #key(index: number): string {
    const { config, module } = this.live(index);
    return vmKey(config, module, index);
  }

  #place(index: number): Place {
    const place = this.#places.get(index);
    if (place === undefined) throw new ProxyError("PLUGIN_INDEX", "internal", `there is no plugin ${index}`);
    return place;
  }
}

/** Without what only the main thread needs. */
export function bare({ index, config, module, number }: Version): PluginVersion {
  return { index, config, module, number };
}
