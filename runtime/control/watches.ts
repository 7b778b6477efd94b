/**
 * What the process takes up by itself: changes of the configuration's file, of modules' files, and of tags in registries.
 * Each is brought in as the operator would; what comes of it is logged. The code that looks is loaded when there is
 * something to look at.
 */
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import type { OciModule } from "../artifact/oci-code.ts";
import type { PluginCode } from "../artifact/plugin-code.ts";
import type { Snapshot } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { FileWatch } from "./file-watch.ts";
import type { HotLoad } from "./hot-load.ts";
import type { RegistryWatch } from "./registry-watch.ts";

/** What watches need of the server. */
export interface WatchedServer {
  /** The configuration in force. */
  readonly snapshot: Snapshot;
  hotLoad(): Promise<HotLoad>;
  /** The text of the configuration is another one than that in force. */
  configurationIsNews(): boolean;
  /** Reads the configuration anew; never rejects with ProxyError. `why` is for the log. */
  reload(why: string): Promise<void>;
}

/** Makes a change that nobody waits for: why it could not be made is logged. */
export async function logged(log: Log, change: () => Promise<void>): Promise<void> {
  try {
    await change();
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    log.error(`nothing was changed: ${error.message}`);
  }
}

export class Watches {
  readonly #server: WatchedServer;
  readonly #log: Log;
  #files: FileWatch | null = null;
  #registries: RegistryWatch | null = null;

  constructor(server: WatchedServer, log: Log) {
    this.#server = server;
    this.#log = log;
  }

  /** From now on changes of the configuration's file and of the modules that it names are taken up. */
  async watchFiles(configPath: string | undefined): Promise<void> {
    const [hotLoad, { FileWatch: Watch }, { readModuleFile }] = await Promise.all([
      this.#server.hotLoad(),
      import("./file-watch.ts"),
      import("../wasm/module/module-file.ts"),
    ]);
    const configFile = configPath === undefined ? [] : [resolve(configPath)];
    // A signature may come after the module that it is for, which was refused until then.
    const signed = (): boolean => this.#server.snapshot.trust.length > 0;
    const takeUp = async (changed: string): Promise<void> => {
      const path = signed() ? changed.replace(/\.sig$/, "") : changed;
      if (configFile.includes(path)) {
        if (this.#server.configurationIsNews()) await this.#server.reload(`${path} has changed`);
        return;
      }
      const bytes = readModuleFile(path);
      if (createHash("sha256").update(bytes).digest("hex") === hotLoad.files().get(path)) return;
      this.#log.info(`${path} has changed`);
      await hotLoad.load({ path }, { bytes, source: path, how: "configured", rehearse: true, watched: true });
    };
    this.#files = new Watch(
      () => {
        const modules = [...hotLoad.files().keys()];
        return [...configFile, ...modules, ...(signed() ? modules.map((path) => `${path}.sig`) : [])];
      },
      (path) => logged(this.#log, () => takeUp(path)),
    );
    this.#files.start();
  }

  /** The same for tags that modules are configured with, as often as the configuration wants them to be looked at now. */
  async watchRegistries(code: () => Promise<PluginCode>): Promise<void> {
    const { registries, plugins } = this.#server.snapshot;
    const before = this.#registries;
    if (registries.pollMs === (before?.everyMs ?? 0)) return;
    before?.stop();
    this.#registries = null;
    if (registries.pollMs === 0) return;
    const [{ RegistryWatch: Watch }, source] = await Promise.all([import("./registry-watch.ts"), code()]);
    const watched = {
      plugins: () => this.#server.snapshot.plugins,
      load: async (reference: string, { bytes, evidence }: OciModule) => {
        const hotLoad = await this.#server.hotLoad();
        const how = { how: "configured", rehearse: true, watched: true } as const;
        await hotLoad.load({ reference }, { bytes, source: reference, evidence, ...how });
      },
    };
    this.#registries = new Watch(source.oci, watched, registries.pollMs, this.#log);
    this.#registries.start(new Map([...source.digests(plugins), ...(before?.seen ?? [])]));
  }

  stop(): void {
    this.#files?.stop();
    this.#registries?.stop();
  }
}
