/**
 * Modules that a configuration names by a reference to a registry. What a reference stood for is remembered beside the code
 * cache, with its signatures, so that a start needs no registry.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RegistriesConfig, RemoteCode } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { fetchModule, resolve } from "../registry/artifact.ts";
import type { Resolved } from "../registry/artifact.ts";
import { findCredentials } from "../registry/credentials.ts";
import { formatReference, parseReference } from "../registry/reference.ts";
import { Repository } from "../registry/repository.ts";
import { findSignatures } from "../registry/trust.ts";
import { sha256Of } from "./digest-cache.ts";
import type { DigestCache } from "./digest-cache.ts";
import type { Evidence } from "./trust-policy.ts";

/** A module from a registry, and what speaks for it. */
export interface OciModule {
  readonly bytes: Buffer;
  readonly evidence: Evidence;
}

/** The part of {@link RemoteCode} that says what is wanted. */
export type OciCode = Pick<RemoteCode, "uri" | "sha256" | "oci">;

/** What a reference stood for, as it is kept. */
interface Remembered {
  readonly uri: string;
  readonly digest: string;
  readonly module: string;
  /** Absent: they were not asked for. */
  readonly signatures?: readonly {
    readonly form: "classic" | "bundle";
    readonly payload: string;
    readonly signature: string;
  }[];
}

export class OciCodeSource {
  readonly #config: RegistriesConfig;
  readonly #cache: DigestCache;
  readonly #folder: string;
  readonly #log: Log;
  /** Somebody asks for signatures. */
  readonly #signed: boolean;

  /** `folder` is the cache's: what references stood for lies there too. */
  constructor(config: RegistriesConfig, cache: DigestCache, folder: string, signed: boolean, log: Log) {
    this.#config = config;
    this.#cache = cache;
    this.#folder = folder;
    this.#signed = signed;
    this.#log = log;
  }

  /**
   * The module, from the cache or the registry as the pull policy says. Rejects with ProxyError ARTIFACT_… of the registry's
   * client, or DOWNLOAD_DIGEST when `sha256` is neither the module's nor the manifest's.
   */
  async get(code: OciCode): Promise<OciModule> {
    const known = this.#recall(code);
    if (known !== undefined && !this.#pullsAlways(code)) return known;
    try {
      return await this.pull(code);
    } catch (error) {
      if (known === undefined || !(error instanceof ProxyError) || error.code !== "ARTIFACT_UNREACHABLE") throw error;
      this.#log.warning(`${error.message}; going on with ${known.evidence.digest}, which it was last`);
      return known;
    }
  }

  /** The module from the registry, whatever the cache knows of the reference. */
  pull(code: OciCode): Promise<OciModule> {
    const reference = parseReference(code.uri);
    const what = formatReference(reference);
    return this.#withRepository(code.uri, async (repository) => {
      const resolved = await resolve(repository, reference);
      const bytes = await fetchModule(repository, resolved, what);
      checkPin(code, resolved, bytes);
      const signatures = this.#signed ? await findSignatures(repository, resolved.top.digest) : undefined;
      this.#log.info(`${what}: ${bytes.length} bytes, ${resolved.top.digest}`);
      this.#remember(code, resolved.top.digest, bytes, signatures);
      return { bytes, evidence: { what, digest: resolved.top.digest, signatures: signatures ?? [] } };
    });
  }

  /** The digest that a reference stands for now. */
  digest(uri: string): Promise<string> {
    return this.#withRepository(uri, async (repository) => (await resolve(repository, parseReference(uri))).top.digest);
  }

  async #withRepository<T>(uri: string, run: (repository: Repository) => Promise<T>): Promise<T> {
    const { registry, repository: name } = parseReference(uri);
    const { plainHttp, ca, dockerConfig } = this.#config;
    const repository = new Repository(registry, name, {
      ...(plainHttp ? { plainHttp } : {}),
      ...(ca === undefined ? {} : { ca: readAuthorities(ca) }),
      credentials: (await findCredentials(registry, process.env, dockerConfig)) ?? null,
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

  #recall(code: OciCode): OciModule | undefined {
    const remembered = this.#readRecord(code.uri);
    if (remembered === undefined) return undefined;
    if (this.#signed && remembered.signatures === undefined) return undefined;
    const bytes = this.#cache.get(remembered.module);
    if (bytes === undefined) return undefined;
    if (code.oci?.pinned === true && code.sha256 !== remembered.module && `sha256:${code.sha256}` !== remembered.digest)
      return undefined;
    const signatures = (remembered.signatures ?? []).map(({ form, payload, signature }) => ({
      form,
      payload: Buffer.from(payload, "base64"),
      signature: Buffer.from(signature, "base64"),
    }));
    return {
      bytes,
      evidence: { what: formatReference(parseReference(code.uri)), digest: remembered.digest, signatures },
    };
  }

  #readRecord(uri: string): Remembered | undefined {
    try {
      const parsed = JSON.parse(readFileSync(this.#recordPath(uri), "utf8")) as Remembered;
      return parsed.uri === uri && /^[0-9a-f]{64}$/.test(parsed.module) ? parsed : undefined;
    } catch {
      // Never fetched, or a record that was cut short: the registry is asked.
      return undefined;
    }
  }

  #remember(code: OciCode, digest: string, bytes: Buffer, signatures: Evidence["signatures"] | undefined): void {
    const module = sha256Of(bytes);
    this.#cache.put(module, bytes);
    const record: Remembered = {
      uri: code.uri,
      digest,
      module,
      ...(signatures === undefined
        ? {}
        : {
            signatures: signatures.map(({ form, payload, signature }) => ({
              form,
              payload: payload.toString("base64"),
              signature: signature.toString("base64"),
            })),
          }),
    };
    const path = this.#recordPath(code.uri);
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      writeFileSync(`${path}.${process.pid}`, JSON.stringify(record), { mode: 0o600 });
      renameSync(`${path}.${process.pid}`, path);
    } catch (error) {
      this.#log.warning(`code cache: cannot keep what ${code.uri} stands for: ${(error as Error).message}`);
    }
  }

  #recordPath(uri: string): string {
    return join(this.#folder, `${sha256Of(Buffer.from(uri))}.ref`);
  }
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
