/** Who must have signed a plugin's module before it is loaded (sluice.v1.TrustRule). Fails closed: what cannot be checked is not loaded. */
import { readFileSync } from "node:fs";
import { isAbsolute } from "node:path";
import type { TrustRuleConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { MAX_SIGNATURE_BYTES } from "../limits.ts";
import type { Log } from "../observe/log.ts";
import { fileRefusal, readPublicKey } from "../registry/signature.ts";
import type { Signature } from "../registry/signature.ts";
import { judge, requireSignature } from "../registry/trust.ts";
import type { NamedKey } from "../registry/trust.ts";

/** What speaks for an artifact from a registry. */
export interface Evidence {
  /** Reference, for people. */
  readonly what: string;
  /** Of the manifest or index that the reference stands for. */
  readonly digest: string;
  /** SHA-256 of the module that it holds. */
  readonly module: string;
  readonly signatures: readonly Signature[];
}

interface Rule {
  readonly plugins: ReadonlySet<string>;
  readonly keys: readonly NamedKey[];
  readonly enforced: boolean;
}

export class TrustPolicy {
  #configured: readonly TrustRuleConfig[] = [];
  #rules: readonly Rule[] = [];
  readonly #log: Log;

  constructor(rules: readonly TrustRuleConfig[], log: Log) {
    this.#log = log;
    this.follow(rules);
  }

  /** From now on these rules hold. Throws ProxyError SIGNATURE_KEY. */
  follow(rules: readonly TrustRuleConfig[]): void {
    this.#rules = rules.map(({ plugins, keys, enforced }) => ({
      plugins: new Set(plugins),
      keys: keys.map(({ name, pem }) => ({ name, key: readPublicKey(pem, name) })),
      enforced,
    }));
    this.#configured = rules;
  }

  get rules(): readonly TrustRuleConfig[] {
    return this.#configured;
  }

  /** Somebody asks for signatures. */
  get asks(): boolean {
    return this.#rules.length > 0;
  }

  /** What is asked of a plugin's module. */
  asksOf(plugin: string): "nothing" | "signatures" | "warnings" {
    const rule = this.#ruleOf(plugin);
    if (rule === undefined) return "nothing";
    return rule.enforced ? "signatures" : "warnings";
  }

  /** The rule that a plugin stands under is content, or there is none. */
  acceptsFor(plugin: string, { signatures, digest }: Evidence): boolean {
    const rule = this.#ruleOf(plugin);
    return rule === undefined || judge(signatures, rule.keys, digest).good.length > 0;
  }

  /** True when no rule asks, or some rule is content. Which rule a plugin stands under `approve` knows. */
  accepts({ signatures, digest }: Evidence): boolean {
    return !this.asks || this.#rules.some(({ keys }) => judge(signatures, keys, digest).good.length > 0);
  }

  /**
   * Lets a module in, or throws ProxyError SIGNATURE_MISSING with the reason. `source`: the file it was read from, or where
   * else it comes from; `evidence`: that of a registry.
   */
  approve(plugin: string, bytes: Uint8Array, source: string, evidence: Evidence | undefined): void {
    const rule = this.#ruleOf(plugin);
    if (rule === undefined) return;
    try {
      if (evidence === undefined) approveFile(rule.keys, Buffer.from(bytes), source);
      else requireSignature(judge(evidence.signatures, rule.keys, evidence.digest), rule.keys, evidence.what);
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      const text = `plugin ${plugin}: ${error.message.slice(error.code.length + 2)}`;
      if (rule.enforced) throw new ProxyError(error.code, "config", text);
      this.#log.warning(`${text}; loaded all the same, since the rule only warns`);
    }
  }

  #ruleOf(plugin: string): Rule | undefined {
    return this.#rules.find(({ plugins }) => plugins.size === 0 || plugins.has(plugin));
  }
}

function approveFile(keys: readonly NamedKey[], bytes: Buffer, source: string): void {
  const names = keys.map(({ name }) => name).join(", ");
  const missing = (why: string): ProxyError =>
    new ProxyError("SIGNATURE_MISSING", "config", `${source}: not signed by ${names}: ${why}`);
  if (!isAbsolute(source)) throw missing("only files and artifacts in registries carry signatures");
  const signature = signatureBeside(source);
  if (signature === undefined) throw missing(`there is no ${source}.sig; make one with: sluice sign`);
  const refused = keys.map(({ name, key }) => ({ name, why: fileRefusal(key, bytes, signature) }));
  if (refused.every(({ why }) => why !== undefined))
    throw missing(refused.map(({ name, why }) => `${name}: ${why}`).join("; "));
}

function signatureBeside(path: string): string | undefined {
  try {
    const text = readFileSync(`${path}.sig`, "utf8");
    return text.length > MAX_SIGNATURE_BYTES ? "" : text;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new ProxyError("SIGNATURE_MISSING", "config", `${path}.sig: ${(error as Error).message}`, error);
  }
}
