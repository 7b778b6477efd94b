/**
 * Modules that a configuration names by a reference to a registry. What a reference stood for is remembered beside the code
 * cache, with its signatures, so that a start needs no registry.
 */
import { readFileSync } from "node:fs";
import type { RegistriesConfig, RemoteCode } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { resolve, resolveKept } from "../registry/artifact.ts";
import type { Resolved } from "../registry/artifact.ts";
import { findCredentials } from "../registry/credentials.ts";
import { moduleLayer } from "../registry/layout.ts";
import { formatReference, parseReference } from "../registry/reference.ts";
import { Repository } from "../registry/repository.ts";
import type { Signature } from "../registry/signature.ts";
import { findSignatures } from "../registry/trust.ts";
import { unbox } from "../registry/unbox.ts";
import { sha256Of } from "./digest-cache.ts";
import type { DigestCache } from "./digest-cache.ts";
import { KeptReferences } from "./kept-references.ts";
import type { Evidence, TrustPolicy } from "./trust-policy.ts";

/** A module from a registry, and what speaks for it. */
export interface OciModule {
  readonly bytes: Buffer;
  readonly evidence: Evidence;
}

/** The part of {@link RemoteCode} that says what is wanted. `timeoutMs` is for all of it together; absent or 0: none. */
export type OciCode = Pick<RemoteCode, "uri" | "sha256" | "oci"> & Partial<Pick<RemoteCode, "timeoutMs">>;

export interface OciCodeOptions {
  /** How registries are reached at first. */
  readonly config: RegistriesConfig;
  readonly cache: DigestCache;
  /** The cache's: what references stood for lies there too. */
  readonly folder: string;
  /** Who must have signed. */
  readonly trust: TrustPolicy;
  readonly log: Log;
  /** The process ends: everything is given up. */
  readonly end: AbortSignal;
}

export class OciCodeSource {
  readonly #options: OciCodeOptions;
  #config: RegistriesConfig;
  readonly #kept: KeptReferences;

  constructor(options: OciCodeOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#kept = new KeptReferences(options.folder, options.log);
  }

  /** From now on registries are reached so. */
  follow(config: RegistriesConfig): void {
    this.#config = config;
  }

  /**
   * The module, from the cache or the registry as the pull policy says. Rejects with ProxyError ARTIFACT_… of the registry's
   * client, or DOWNLOAD_DIGEST when `sha256` is neither the module's nor the manifest's.
   */
  async get(code: OciCode): Promise<OciModule> {
    const { trust, log } = this.#options;
    const known = await this.#recall(code);
    // One that nobody trusts may have been signed meanwhile.
    if (known !== undefined && !this.#pullsAlways(code) && trust.accepts(known.evidence)) return known;
    try {
      return await this.pull(code);
    } catch (error) {
      if (known === undefined || !(error instanceof ProxyError) || error.code !== "ARTIFACT_UNREACHABLE") throw error;
      log.warning(`${error.message}; going on with ${known.evidence.digest}, which it was last`);
      return known;
    }
  }

  /** The module from the registry, whatever the cache knows of the reference. */
  pull(code: OciCode): Promise<OciModule> {
    const { trust, cache, log } = this.#options;
    const reference = parseReference(code.uri);
    const what = formatReference(reference);
    return this.#withRepository(code, async (repository) => {
      const resolved = await resolve(repository, reference);
      const layer = moduleLayer(resolved.manifest, what);
      const blob = await repository.blob(layer);
      const bytes = await unbox(blob, what);
      checkPin(code, resolved, bytes);
      const signatures = trust.asks ? await findSignatures(repository, resolved.top.digest) : undefined;
      log.info(`${what}: ${bytes.length} bytes, ${resolved.top.digest}`);
      cache.put(sha256Of(blob), blob);
      this.#kept.put(code.uri, { manifests: resolved.chain, signatures });
      return { bytes, evidence: evidenceOf(what, resolved, bytes, signatures) };
    });
  }

  /** The digest that a reference stands for now. */
  digest(uri: string): Promise<string> {
    return this.#withRepository(
      { uri },
      async (repository) => (await resolve(repository, parseReference(uri))).top.digest,
    );
  }

  async #withRepository<T>(
    { uri, timeoutMs = 0 }: Pick<OciCode, "uri" | "timeoutMs">,
    run: (repository: Repository) => Promise<T>,
  ): Promise<T> {
    const { end } = this.#options;
    const { registry, repository: name } = parseReference(uri);
    const { plainHttp, ca, dockerConfigs } = this.#config;
    const repository = new Repository(registry, name, {
      ...(plainHttp ? { plainHttp } : {}),
      ...(ca === undefined ? {} : { ca: readAuthorities(ca) }),
      credentials: (await findCredentials(registry, process.env, dockerConfigs)) ?? null,
      signal: timeoutMs === 0 ? end : AbortSignal.any([end, AbortSignal.timeout(timeoutMs)]),
    });
    try {
      return await run(repository);
    } finally {
      await repository.close();
    }
  }

  #pullsAlways(code: OciCode): boolean {
    const { tag, digest } = parseReference(code.uri);
    if (digest !== undefined || code.oci?.pinned === true) return false;
    return (this.#config.pullPolicy ?? (tag === "latest" ? "ALWAYS" : "IF_NOT_PRESENT")) === "ALWAYS";
  }

  /** What is kept of a reference, found to be whole from its digest down to the code; undefined when it is not. */
  async #recall(code: OciCode): Promise<OciModule | undefined> {
    const { trust, cache, log } = this.#options;
    const kept = this.#kept.get(code.uri);
    if (kept === undefined || (trust.asks && kept.signatures === undefined)) return undefined;
    const reference = parseReference(code.uri);
    const what = formatReference(reference);
    try {
      const resolved = await resolveKept(kept.manifests, reference);
      const blob = cache.get(moduleLayer(resolved.manifest, what).digest.slice("sha256:".length));
      if (blob === undefined) return undefined;
      const bytes = await unbox(blob, what);
      checkPin(code, resolved, bytes);
      return { bytes, evidence: evidenceOf(what, resolved, bytes, kept.signatures) };
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      log.warning(`code cache: what is kept of it is of no use, the registry is asked instead: ${error.message}`);
      return undefined;
    }
  }
}

function evidenceOf(
  what: string,
  { top }: Resolved,
  bytes: Uint8Array,
  signatures: readonly Signature[] = [],
): Evidence {
  return { what, digest: top.digest, module: sha256Of(bytes), signatures };
}

/** A pin is the module's hash, or, as Istio has it for registries, the manifest's. */
function checkPin({ uri, sha256, oci }: OciCode, resolved: Resolved, bytes: Buffer): void {
  if (oci?.pinned !== true) return;
  const module = sha256Of(bytes);
  const manifests = [resolved.top.digest, resolved.digest];
  if (sha256 === module || manifests.includes(`sha256:${sha256}`)) return;
  throw new ProxyError(
    "DOWNLOAD_DIGEST",
    "upstream",
    `${uri}: the module's sha256 is ${module}, the manifest's ${resolved.top.digest.slice("sha256:".length)}, and neither is ${sha256}`,
  );
}

/** Read each time: a mounted file may have been renewed. */
function readAuthorities(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new ProxyError("ARTIFACT_CREDENTIALS", "config", `ca_file: ${(cause as Error).message}`, cause);
  }
}
