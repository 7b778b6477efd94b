/**
 * Modules that a configuration names by URI and digest (envoy.config.core.v3.RemoteDataSource): from the cache, else
 * from the network, tried again as the configuration says. What comes is checked by its digest before anybody sees it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ClusterConfig, RemoteCode } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { MAX_MODULE_BYTES } from "../limits.ts";
import type { Log } from "../observe/log.ts";
import type { Counter, Stats } from "../observe/stats.ts";
import type { ConnectorEnvironment } from "./cluster-connector.ts";
import { sha256Of } from "./digest-cache.ts";
import type { DigestCache } from "./digest-cache.ts";
import { download } from "./download.ts";
import type { OciCodeSource } from "./oci-code.ts";
import type { Evidence } from "./trust-policy.ts";

const NEVER = new AbortController().signal;

export class RemoteCodeSource {
  #clusters: ReadonlyMap<string, ClusterConfig> = new Map();
  readonly #cache: DigestCache;
  readonly #log: Log;
  readonly #environment: ConnectorEnvironment;
  readonly #hits: Counter;
  readonly #misses: Counter;
  readonly #successes: Counter;
  readonly #failures: Counter;
  /** Fetches under way, by digest and place. */
  readonly #open = new Map<string, Promise<Buffer>>();
  readonly #oci: OciCodeSource;
  /** What speaks for code from registries, by its reference: the same code may be signed in one place and not in another. */
  readonly #evidence = new Map<string, Evidence>();

  constructor(clusters: readonly ClusterConfig[], cache: DigestCache, oci: OciCodeSource, stats: Stats, log: Log) {
    this.#oci = oci;
    this.reach(clusters);
    this.#cache = cache;
    this.#log = log;
    this.#environment = { stats, log };
    // Envoy's names.
    this.#hits = stats.counter("wasm.remote_load_cache_hits");
    this.#misses = stats.counter("wasm.remote_load_cache_misses");
    this.#successes = stats.counter("wasm.remote_load_fetch_successes");
    this.#failures = stats.counter("wasm.remote_load_fetch_failures");
  }

  /** From now on code comes over these clusters. */
  reach(clusters: readonly ClusterConfig[]): void {
    this.#clusters = new Map(clusters.map((cluster) => [cluster.name, cluster]));
  }

  /**
   * The code, from the cache or fetched in as many attempts as it may take. Rejects with the last attempt's ProxyError:
   * DOWNLOAD_DIGEST when the bytes are others, else what `download` says.
   */
  get(code: RemoteCode, signal = NEVER): Promise<Buffer> {
    if (code.oci !== undefined) return this.#artifact(code, signal);
    const cached = this.#cache.get(code.sha256);
    if (cached !== undefined) {
      this.#hits.inc();
      return Promise.resolve(cached);
    }
    const key = [code.sha256, code.uri, code.cluster].join("\n");
    const open = this.#open.get(key);
    if (open !== undefined) return open;
    this.#misses.inc();
    const fetched = this.#fetch(code, signal).finally(() => this.#open.delete(key));
    this.#open.set(key, fetched);
    return fetched;
  }

  /** What speaks for code that was got from a registry. */
  evidence({ uri }: RemoteCode): Evidence | undefined {
    return this.#evidence.get(uri);
  }

  async #artifact(code: RemoteCode, signal: AbortSignal): Promise<Buffer> {
    for (let attempt = 0; ; attempt++) {
      try {
        const { bytes, evidence } = await this.#oci.get(code);
        this.#evidence.set(code.uri, evidence);
        this.#successes.inc();
        return bytes;
      } catch (error) {
        await this.#retry(code, attempt, error, signal);
      }
    }
  }

  async #fetch(code: RemoteCode, signal: AbortSignal): Promise<Buffer> {
    const cluster = this.#clusters.get(code.cluster);
    if (cluster === undefined)
      throw new ProxyError("DOWNLOAD_UNREACHABLE", "config", `${code.uri}: there is no cluster ${code.cluster}`);
    const { uri, timeoutMs, sha256 } = code;
    for (let attempt = 0; ; attempt++) {
      try {
        const bytes = await download(
          { uri, cluster, timeoutMs, maxBytes: MAX_MODULE_BYTES, signal, environment: this.#environment },
          attempt,
        );
        const found = sha256Of(bytes);
        if (found !== sha256)
          throw new ProxyError("DOWNLOAD_DIGEST", "upstream", `${uri}: the sha256 is ${found}, not ${sha256}`);
        this.#successes.inc();
        this.#log.info(`${uri}: ${bytes.length} bytes, sha256 ${sha256}`);
        this.#cache.put(sha256, bytes);
        return bytes;
      } catch (error) {
        await this.#retry(code, attempt, error, signal);
      }
    }
  }

  /** Waits before the next attempt; rejects with the error when there is none. */
  async #retry(code: RemoteCode, attempt: number, error: unknown, signal: AbortSignal): Promise<void> {
    if (!(error instanceof ProxyError)) throw error;
    this.#failures.inc();
    if (attempt >= code.retries || signal.aborted) throw error;
    const waitMs = backOff(code, attempt);
    this.#log.warning(`${error.message}; next try in ${waitMs} ms`);
    await sleep(waitMs, undefined, { signal }).catch(() => {
      throw new ProxyError("DOWNLOAD_GIVEN_UP", "internal", `${code.uri}: given up`);
    });
  }
}

/** Milliseconds before the next attempt: at random up to a bound that doubles, as Envoy's JitteredExponentialBackOffStrategy. */
function backOff({ retryBaseIntervalMs, retryMaxIntervalMs }: RemoteCode, attempt: number): number {
  const bound = Math.min(retryBaseIntervalMs * 2 ** attempt, retryMaxIntervalMs);
  return Math.ceil(Math.random() * bound);
}
