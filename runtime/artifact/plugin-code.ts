/**
 * The code of all plugins that have it elsewhere. Before anything listens each is waited for, through all its attempts;
 * what cannot be had then is tried for in the background for as long as the process lives.
 */
import type { PluginConfig, RemoteCode, Snapshot } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { CODE_REFETCH_MIN_MS } from "../limits.ts";
import type { Log } from "../observe/log.ts";
import type { Stats } from "../observe/stats.ts";
import { DigestCache } from "./digest-cache.ts";
import { OciCodeSource } from "./oci-code.ts";
import { RemoteCodeSource } from "./remote-code.ts";
import { TrustPolicy } from "./trust-policy.ts";
import type { Evidence } from "./trust-policy.ts";

/** Takes code that came late. Rejects with ProxyError when the plugins cannot be brought in. */
export type LateCodeTaker = (code: RemoteCode, bytes: Buffer) => Promise<void>;

/** The code of plugins that is fetched over these clusters and kept in this cache. */
export function pluginCode(
  { clusters, registries, trust, codeCache }: Pick<Snapshot, "clusters" | "registries" | "trust" | "codeCache">,
  stats: Stats,
  log: Log,
): PluginCode {
  const { path, maxBytes } = codeCache;
  const cache = new DigestCache(path, maxBytes, log);
  const policy = new TrustPolicy(trust, log);
  const end = new AbortController();
  const oci = new OciCodeSource({ config: registries, cache, folder: path, trust: policy, log, end: end.signal });
  return new PluginCode(new RemoteCodeSource(clusters, cache, oci, stats, log), oci, policy, log, end);
}

export class PluginCode {
  /** Modules from registries, configured or not. */
  readonly oci: OciCodeSource;
  readonly #source: RemoteCodeSource;
  readonly #trust: TrustPolicy;
  readonly #log: Log;
  /** Of different digests or places. */
  readonly #missing = new Set<RemoteCode>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #end: AbortController;

  /** `end` is aborted when it stops. */
  constructor(source: RemoteCodeSource, oci: OciCodeSource, trust: TrustPolicy, log: Log, end: AbortController) {
    this.#end = end;
    this.#trust = trust;
    this.#source = source;
    this.oci = oci;
    this.#log = log;
  }

  /** From now on code comes over these clusters and from registries that are reached so, and is let in by these rules. */
  follow({ clusters, registries, trust }: Pick<Snapshot, "clusters" | "registries" | "trust">): void {
    this.#source.reach(clusters);
    this.oci.follow(registries);
    this.#trust.follow(trust);
  }

  /** Those that let code in. */
  get rules(): Snapshot["trust"] {
    return this.#trust.rules;
  }

  /** What is asked of a plugin's module: see {@link TrustPolicy}. */
  asks(plugin: string): ReturnType<TrustPolicy["asksOf"]> {
    return this.#trust.asksOf(plugin);
  }

  accepts(plugin: string, evidence: Evidence): boolean {
    return this.#trust.acceptsFor(plugin, evidence);
  }

  /**
   * Code by SHA-256, all that can be had. Rejects with ProxyError CODE_MISSING when a plugin wants to be refused without
   * its code (`nack_on_code_cache_miss`).
   */
  fetch(plugins: readonly PluginConfig[]): Promise<ReadonlyMap<string, Uint8Array>> {
    return this.#fetch(plugins, ({ name, failurePolicy }, code, error) => {
      if (code.nackOnCacheMiss) throw missing(name, error);
      this.#missing.add(code);
      this.#log.error(`plugin ${name} has no code, its streams get ${failurePolicy}: ${error.message}`);
    });
  }

  /** The same for plugins that have something else to go on with: rejects with CODE_MISSING when any code cannot be had. */
  fetchAll(plugins: readonly PluginConfig[]): Promise<ReadonlyMap<string, Uint8Array>> {
    return this.#fetch(plugins, ({ name }, _code, error) => {
      throw missing(name, error);
    });
  }

  async #fetch(
    plugins: readonly PluginConfig[],
    onMissing: (plugin: PluginConfig, code: RemoteCode, error: ProxyError) => void,
  ): Promise<ReadonlyMap<string, Uint8Array>> {
    const fetched = new Map<string, Uint8Array>();
    await Promise.all(
      plugins.map(async (plugin) => {
        const { code } = plugin;
        if (code.kind !== "remote") return;
        try {
          fetched.set(code.sha256, await this.#source.get(code, this.#end.signal));
        } catch (error) {
          // At the end of the process nothing is missing: the start must not go on.
          if (!(error instanceof ProxyError) || this.#end.signal.aborted) throw error;
          onMissing(plugin, code, error);
        }
      }),
    );
    for (const code of this.#missing) if (fetched.has(code.sha256)) this.#missing.delete(code);
    return fetched;
  }

  /** What references of these plugins stood for when their code was taken. */
  digests(plugins: readonly PluginConfig[]): ReadonlyMap<string, string> {
    const digests = new Map<string, string>();
    for (const { code } of plugins) {
      if (code.kind !== "remote") continue;
      const evidence = this.#source.evidence(code);
      if (evidence !== undefined) digests.set(code.uri, evidence.digest);
    }
    return digests;
  }

  /** What speaks for code that was fetched; undefined when it comes from no registry. */
  evidence(code: RemoteCode): Evidence | undefined {
    return this.#source.evidence(code);
  }

  /** Lets a plugin have its configured code. Throws ProxyError SIGNATURE_MISSING. */
  approve({ name, code }: PluginConfig, bytes: Uint8Array): void {
    switch (code.kind) {
      case "file":
        return this.#trust.approve(name, bytes, code.path, undefined);
      case "inline":
        return this.#trust.approve(name, bytes, "inline code", undefined);
      case "remote":
        return this.#trust.approve(name, bytes, code.uri, this.#source.evidence(code));
    }
  }

  /** The same for code that somebody brings in; `source`: the file it was read from, or where else it comes from. */
  approveOther(plugin: string, bytes: Uint8Array, source: string, evidence: Evidence | undefined): void {
    this.#trust.approve(plugin, bytes, source, evidence);
  }

  /** Goes on trying for what is missing, and hands it over once it comes. */
  pursue(take: LateCodeTaker): void {
    for (const code of this.#missing) this.#tryLater(code, take);
  }

  stop(): void {
    this.#end.abort();
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #tryLater(code: RemoteCode, take: LateCodeTaker): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#tryNow(code, take);
    }, refetchMs(code));
    timer.unref();
    this.#timers.add(timer);
  }

  async #tryNow(code: RemoteCode, take: LateCodeTaker): Promise<void> {
    try {
      const bytes = await this.#source.get(code, this.#end.signal);
      await take(code, bytes);
      this.#missing.delete(code);
    } catch (error) {
      if (this.#end.signal.aborted) return;
      if (!(error instanceof ProxyError)) throw error;
      // The same bytes would fail again, but the failure may be the moment's: a worker that is being replaced.
      this.#log.error(`no code from ${code.uri} yet, next try in ${refetchMs(code)} ms: ${error.message}`);
      this.#tryLater(code, take);
    }
  }
}

function missing(plugin: string, error: ProxyError): ProxyError {
  return new ProxyError("CODE_MISSING", "config", `plugin ${plugin}: ${error.message}`, error);
}

function refetchMs({ retryMaxIntervalMs }: RemoteCode): number {
  return Math.max(retryMaxIntervalMs, CODE_REFETCH_MIN_MS);
}
