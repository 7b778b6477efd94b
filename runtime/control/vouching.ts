/** Versions that were let in under other rules of trust than those in force: whether they may serve, or be brought back, under these. */
import { isAbsolute } from "node:path";
import type { PluginCode } from "../artifact/plugin-code.ts";
import { sha256Of } from "../artifact/digest-cache.ts";
import type { Evidence } from "../artifact/trust-policy.ts";
import { sameConfig } from "../config/same.ts";
import { ProxyError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { isReference } from "../registry/reference.ts";
import { readModuleFile } from "../wasm/module/module-file.ts";
import type { Placed } from "./plugin-places.ts";
import type { PluginVersions, Version } from "./plugin-versions.ts";
import type { Trials } from "./trials.ts";

const NOTHING = new Uint8Array();

export class Vouching {
  readonly #code: PluginCode;
  readonly #log: Log;
  readonly #versions: PluginVersions;
  readonly #trials: Trials;

  constructor(
    { code, log }: { readonly code: PluginCode; readonly log: Log },
    versions: PluginVersions,
    trials: Trials,
  ) {
    this.#code = code;
    this.#log = log;
    this.#versions = versions;
    this.#trials = trials;
  }

  /** All that will serve streams once a configuration is in force for which `made` was made: that, and what stays. Rejects as `vouch`. */
  serving({ order }: Pick<Placed, "order">, made: readonly Version[]): Promise<void> {
    const versions = new Set(made);
    const replaced = new Set(made.map(({ index }) => index));
    for (const index of this.#versions.order) {
      if (replaced.has(index) || !order.includes(index)) continue;
      for (const one of [this.#versions.live(index), ...(this.#trials.of([index])?.spec.versions ?? [])])
        versions.add(one);
    }
    return this.vouch(versions);
  }

  /**
   * Asks for signatures again where the rules have changed since: a registry is asked when what is known of its artifact is not
   * enough, and a file is read. Rejects with ProxyError SIGNATURE_MISSING, or why it cannot be told; what was known stays then.
   */
  async vouch(versions: Iterable<Version>): Promise<void> {
    const { rules } = this.#code;
    const found: [version: Version, evidence: Evidence | undefined][] = [];
    for (const version of versions)
      if (!sameConfig(version.rules, rules)) found.push([version, await this.#approve(version)]);
    for (const [version, evidence] of found) {
      version.rules = rules;
      version.evidence = evidence;
    }
  }

  /** What speaks for it. Under a rule that only warns nothing is refused. */
  async #approve(version: Version): Promise<Evidence | undefined> {
    const { config, module } = version;
    const asks = this.#code.asks(config.name);
    if (asks === "nothing" || module.absent === true) return version.evidence;
    try {
      return await this.#ask(version);
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      const text = `plugin ${config.name}, version ${version.number}: ${error.message.slice(error.code.length + 2)}`;
      if (asks === "signatures") throw new ProxyError(error.code, "config", text, error);
      this.#log.warning(`${text}; it goes on all the same, since the rule only warns`);
      return version.evidence;
    }
  }

  async #ask(version: Version): Promise<Evidence | undefined> {
    const { config, module, source } = version;
    if (isReference(source)) {
      const evidence = await this.#evidence(version);
      this.#code.approveOther(config.name, NOTHING, source, evidence);
      return evidence;
    }
    const bytes = isAbsolute(source) ? readModuleFile(source) : NOTHING;
    if (isAbsolute(source) && sha256Of(bytes) !== module.sha256)
      throw wrong(`${source} is another module by now than the one that serves; load it first`);
    this.#code.approveOther(config.name, bytes, source, undefined);
    return undefined;
  }

  /** What is known, or, when that is not enough, what the registry says now. */
  async #evidence({ config: { name, code }, module, source, evidence }: Version): Promise<Evidence> {
    const configured = code.kind === "remote" && code.uri === source ? code : undefined;
    const known = evidence ?? (configured && this.#code.evidence(configured));
    if (known?.module === module.sha256 && this.#code.accepts(name, known)) return known;
    const { evidence: fresh } = await this.#code.oci.pull(configured ?? { uri: source, sha256: "" });
    if (fresh.module === module.sha256) return fresh;
    throw wrong(`${source} stands for another module by now than the one that serves; load it first`);
  }
}

function wrong(why: string): ProxyError {
  return new ProxyError("SIGNATURE_MISSING", "config", why);
}
