/** Looks at tags in registries now and then; a tag that stands for another artifact is loaded as `sluice load` would. */
import type { OciCodeSource, OciModule } from "../artifact/oci-code.ts";
import type { PluginConfig, RemoteCode } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { Log } from "../observe/log.ts";

export interface WatchedPlugins {
  /** The configuration in force. */
  readonly plugins: () => readonly PluginConfig[];
  readonly load: (plugin: string, code: RemoteCode, module: OciModule) => Promise<void>;
}

export class RegistryWatch {
  readonly #source: OciCodeSource;
  readonly #watched: WatchedPlugins;
  readonly #log: Log;
  readonly #everyMs: number;
  /** What each reference stood for at the last look. */
  readonly #seen = new Map<string, string>();
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(source: OciCodeSource, watched: WatchedPlugins, everyMs: number, log: Log) {
    this.#source = source;
    this.#watched = watched;
    this.#everyMs = everyMs;
    this.#log = log;
  }

  /** `digests`: what references stood for when their code was taken. */
  start(digests: ReadonlyMap<string, string>): void {
    for (const [uri, digest] of digests) this.#seen.set(uri, digest);
    this.#plan();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #plan(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#look().finally(() => this.#plan()), this.#everyMs);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    for (const { name, code } of this.#watched.plugins()) {
      if (code.kind !== "remote" || code.oci === undefined || code.oci.pinned || code.uri.includes("@")) continue;
      try {
        await this.#lookAt(name, code);
      } catch (error) {
        if (!(error instanceof ProxyError)) throw error;
        this.#log.error(`plugin ${name}: ${code.uri}: ${error.message}`);
      }
    }
  }

  async #lookAt(plugin: string, code: RemoteCode): Promise<void> {
    const digest = await this.#source.digest(code.uri);
    if (this.#stopped || digest === this.#seen.get(code.uri)) return;
    // Whatever becomes of it: what was refused once would be refused at each look.
    this.#seen.set(code.uri, digest);
    this.#log.info(`plugin ${plugin}: ${code.uri} is ${digest} now`);
    await this.#watched.load(plugin, code, await this.#source.pull(code));
  }
}
