/**
 * The code of all plugins that have it elsewhere. Before anything listens each is waited for, through all its attempts;
 * what cannot be had then is tried for in the background for as long as the process lives.
 */
import type { PluginConfig, RemoteCode } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { CODE_REFETCH_MS } from "../limits.ts";
import type { Log } from "../observe/log.ts";
import type { RemoteCodeSource } from "./remote-code.ts";

/** Takes code that came late. Rejects with ProxyError when the plugins cannot be brought in. */
export type LateCodeTaker = (code: RemoteCode, bytes: Buffer) => Promise<void>;

export class PluginCode {
  readonly #source: RemoteCodeSource;
  readonly #log: Log;
  readonly #refetchMs: number;
  readonly #missing = new Map<string, RemoteCode>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #end = new AbortController();

  constructor(source: RemoteCodeSource, log: Log, refetchMs = CODE_REFETCH_MS) {
    this.#source = source;
    this.#log = log;
    this.#refetchMs = refetchMs;
  }

  /**
   * Code by SHA-256, all that can be had. Rejects with ProxyError CODE_MISSING when a plugin wants to be refused without
   * its code (`nack_on_code_cache_miss`).
   */
  async fetch(plugins: readonly PluginConfig[]): Promise<ReadonlyMap<string, Uint8Array>> {
    const fetched = new Map<string, Uint8Array>();
    await Promise.all(
      plugins.map(async ({ name, code, failurePolicy }) => {
        if (code.kind !== "remote") return;
        try {
          fetched.set(code.sha256, await this.#source.get(code, this.#end.signal));
        } catch (error) {
          if (!(error instanceof ProxyError)) throw error;
          if (code.nackOnCacheMiss)
            throw new ProxyError("CODE_MISSING", "config", `plugin ${name}: ${error.message}`, error);
          this.#missing.set(code.sha256, code);
          this.#log.error(`plugin ${name} has no code, its streams get ${failurePolicy}: ${error.message}`);
        }
      }),
    );
    for (const sha256 of fetched.keys()) this.#missing.delete(sha256);
    return fetched;
  }

  /** Goes on trying for what is missing, and hands it over once it comes. */
  pursue(take: LateCodeTaker): void {
    for (const code of this.#missing.values()) this.#tryLater(code, take);
  }

  stop(): void {
    this.#end.abort();
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #tryLater(code: RemoteCode, take: LateCodeTaker): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#tryNow(code, take);
    }, this.#refetchMs);
    timer.unref();
    this.#timers.add(timer);
  }

  async #tryNow(code: RemoteCode, take: LateCodeTaker): Promise<void> {
    try {
      const bytes = await this.#source.get(code, this.#end.signal);
      await take(code, bytes);
      this.#missing.delete(code.sha256);
    } catch (error) {
      if (this.#end.signal.aborted) return;
      if (!(error instanceof ProxyError)) throw error;
      // The same bytes would fail again, but the failure may be the moment's: a worker that is being replaced.
      this.#log.error(`no code from ${code.uri} yet, next try in ${this.#refetchMs} ms: ${error.message}`);
      this.#tryLater(code, take);
    }
  }
}
