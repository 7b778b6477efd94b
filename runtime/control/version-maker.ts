/** Versions of plugins that are to be put in force: of a module that somebody brings, of a configuration, or kept ones. */
import type { PluginCode } from "../artifact/plugin-code.ts";
import type { Schema } from "../config/schema/schema.ts";
import type { PluginConfig, Snapshot } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { LoadedModule } from "../wasm/module/module.ts";
import { compileFor, loadModules } from "../worker/modules.ts";
import { schemaIn } from "./configuration.ts";
import type { Configuration } from "./configuration.ts";
import { isConfiguredWith } from "./load-request.ts";
import type { LoadRequest, Target } from "./load-request.ts";
import type { Placed } from "./plugin-places.ts";
import type { Ingredients, PluginVersions, Version } from "./plugin-versions.ts";

/** The bound of its memory is part of a module once it is compiled. */
function needsCode(live: PluginConfig, config: PluginConfig): boolean {
  return JSON.stringify(config.code) !== JSON.stringify(live.code) || config.memoryBytes !== live.memoryBytes;
}

export class VersionMaker {
  readonly #versions: PluginVersions;
  readonly #code: PluginCode;
  readonly #configuration: Configuration;
  readonly #log: Log;

  constructor(
    versions: PluginVersions,
    {
      code,
      configuration,
      log,
    }: { readonly code: PluginCode; readonly configuration: Configuration; readonly log: Log },
  ) {
    this.#versions = versions;
    this.#code = code;
    this.#configuration = configuration;
    this.#log = log;
  }

  /** Which plugins a module is for. Throws ProxyError PLUGIN_UNKNOWN. */
  find(target: Target, { plugins }: Snapshot): number[] {
    if ("name" in target) return this.#versions.named(target.name);
    if ("missing" in target) return this.#versions.waiting(target.missing);
    return this.#versions.order.filter((_, n) => isConfiguredWith(target, plugins[n]!));
  }

  /** With a module that somebody brings. Throws ProxyError: it is not allowed, does not compile, or its types do not fit the configuration. */
  brought(indices: readonly number[], { bytes, source, evidence }: LoadRequest): Version[] {
    for (const index of indices)
      this.#code.approveOther(this.#versions.live(index).config.name, bytes, source, evidence);
    const schema = schemaIn(bytes, source);
    const schemas = this.schemas();
    for (const index of indices) schemas.set(this.#versions.live(index).config.name, schema);
    const { plugins } = this.#configuration.withModules(schemas);
    const configOf = (index: number): PluginConfig => plugins[this.#versions.order.indexOf(index)]!;
    const modules = new Map<number, LoadedModule>();
    for (const index of indices) {
      const { memoryBytes } = configOf(index);
      if (modules.has(memoryBytes)) continue;
      const module = compileFor(memoryBytes, bytes, source);
      for (const one of module.warnings) this.#log.warning(`${source} ${one}`);
      modules.set(memoryBytes, module);
    }
    return this.#versions.make(indices, (index) => {
      const config = configOf(index);
      return { config, module: modules.get(config.memoryBytes)!, source, schema, evidence, rules: this.#code.rules };
    });
  }

  /**
   * A candidate once more, for all places that its plugin has now. Throws ProxyError: it does not fit the configuration, or
   * PLUGIN_VERSION where a place has another bound of memory.
   */
  again(before: readonly Version[]): Version[] {
    const { config, module, source, schema, evidence, rules } = before[0]!;
    const left = before.map(({ index }) => index).filter((index) => this.#versions.order.includes(index));
    const indices = this.#versions.together(left);
    const schemas = this.schemas();
    if (schema !== null) schemas.set(config.name, schema);
    const { plugins } = this.#configuration.withModules(schemas);
    const configOf = (index: number): PluginConfig => plugins[this.#versions.order.indexOf(index)]!;
    if (indices.some((index) => configOf(index).memoryBytes !== config.memoryBytes))
      throw new ProxyError("PLUGIN_VERSION", "config", "its memory is another one in another place; load it again");
    return this.#versions.make(indices, (index) => ({
      config: configOf(index),
      module,
      source,
      schema,
      evidence,
      rules,
    }));
  }

  /**
   * As a configuration has them: with the module that serves under the name, unless another one is configured. Rejects with
   * ProxyError: code that cannot be had, is not allowed, or does not compile.
   */
  async configured({ snapshot, order }: Placed, indices: readonly number[]): Promise<Version[]> {
    const configs = new Map(indices.map((index) => [index, snapshot.plugins[order.indexOf(index)]!]));
    const bases = new Map(indices.map((index) => [index, this.#base(index, configs.get(index)!)]));
    const needing = indices.filter((index) => bases.get(index) === undefined).map((index) => configs.get(index)!);
    const fetched = await this.#code.fetchAll(needing);
    const { modules, moduleOfPlugin } = loadModules(needing, fetched, (plugin, bytes) =>
      this.#code.approve(plugin, bytes),
    );
    return this.#versions.make(indices, (index): Ingredients => {
      const config = configs.get(index)!;
      const base = bases.get(index);
      if (base !== undefined) return { ...base, config };
      const module = modules[moduleOfPlugin[needing.indexOf(config)]!]!;
      const evidence = config.code.kind === "remote" ? this.#code.evidence(config.code) : undefined;
      return { config, module, source: module.name, schema: null, evidence, rules: this.#code.rules };
    });
  }

  /** What a plugin can go on with; one that is new, with what others of its name have. */
  #base(index: number, config: PluginConfig): Version | undefined {
    const { order } = this.#versions;
    const live = (place: number): Version => this.#versions.live(place);
    const own = order.includes(index) ? live(index) : order.map(live).find((one) => one.config.name === config.name);
    return own === undefined || needsCode(own.config, config) ? undefined : own;
  }

  /** A version that is kept; `number` undefined: the one before. Throws ProxyError PLUGIN_VERSION. */
  kept(name: string, named: readonly number[], number: number | undefined): Version[] {
    const indices = this.#versions.together(named);
    // One that came later than others of its name knows fewer.
    const candidates = named.map((index) =>
      number === undefined
        ? this.#versions.previous(index)
        : this.#versions.kept(index).find((one) => one.number === number),
    );
    const wanted = candidates.find((one) => one !== undefined);
    const first = wanted?.index ?? named[0]!;
    const live = this.#versions.live(first);
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

  /** Of modules that are not the configured ones. */
  schemas(): Map<string, Schema | undefined> {
    const schemas = new Map<string, Schema | undefined>();
    for (const index of this.#versions.order) {
      const { schema, config } = this.#versions.live(index);
      if (schema !== null) schemas.set(config.name, schema);
    }
    return schemas;
  }
}
