/** Looks at tags in registries now and then; a tag that stands for another artifact is loaded as `sluice load` would. */
import type { OciCodeSource, OciModule } from "../artifact/oci-code.ts";
import type { PluginConfig, RemoteCode } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { RegularLook } from "./regular-look.ts";

export interface WatchedPlugins {
  /** The configuration in force. */
  readonly plugins: () => readonly PluginConfig[];
  /** Brings a module in for all plugins that are configured with this reference. */
  readonly load: (reference: string, module: OciModule) => Promise<void>;
}

export class RegistryWatch {
  readonly #source: OciCodeSource;
  readonly #watched: WatchedPlugins;
  readonly #log: Log;
  /** Milliseconds between looks. */
  readonly everyMs: number;
  /** What each reference stood for at the last look. */
  readonly #seen = new Map<string, string>();
  readonly #looks: RegularLook;

  constructor(source: OciCodeSource, watched: WatchedPlugins, everyMs: number, log: Log) {
    this.#source = source;
    this.#watched = watched;
    this.#looks = new RegularLook(() => this.#look(), everyMs);
    this.everyMs = everyMs;
    this.#log = log;
  }

  /** What each reference stood for at the last look. */
  get seen(): ReadonlyMap<string, string> {
    return this.#seen;
  }

  /** `digests`: what references stood for when their code was taken. */
  start(digests: ReadonlyMap<string, string>): void {
    for (const [uri, digest] of digests) this.#seen.set(uri, digest);
    this.#looks.start();
  }

  stop(): void {
    this.#looks.stop();
  }

  async #look(): Promise<void> {
    for (const code of movingReferences(this.#watched.plugins())) {
      if (this.#looks.stopped) return;
      try {
        await this.#lookAt(code);
      } catch (error) {
        if (!(error instanceof ProxyError)) throw error;
        this.#log.error(`${code.uri}: ${error.message}`);
      }
    }
  }

  async #lookAt(code: RemoteCode): Promise<void> {
    const { uri } = code;
    const digest = await this.#source.digest(uri);
    if (this.#looks.stopped || digest === this.#seen.get(uri)) return;
    this.#log.info(`${uri} is ${digest} now`);
    // Until it is here it is news: a registry may be out of reach for a while.
    const module = await this.#source.pull(code);
    // From now on it is none, whatever becomes of it: what was refused once would be refused at each look. The tag may
    // have moved once more between the two questions.
    this.#seen.set(uri, module.evidence.digest);
    if (!this.#looks.stopped) await this.#watched.load(uri, module);
  }
}

/** References whose tags may move, each once, however many plugins have it. */
function movingReferences(plugins: readonly PluginConfig[]): Iterable<RemoteCode> {
  const found = new Map<string, RemoteCode>();
  for (const { code } of plugins) {
    if (code.kind !== "remote" || code.oci === undefined || code.oci.pinned || code.uri.includes("@")) continue;
    if (!found.has(code.uri)) found.set(code.uri, code);
  }
  return found.values();
}
