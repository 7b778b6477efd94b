/**
 * The files behind a TLS context, and the moment they change: written in place, replaced by rename, or by the swap of
 * a symbolic link as Kubernetes does it. Folders are watched, not files, since a replaced file has another inode.
 */
import { createHash } from "node:crypto";
import { type FSWatcher, readFileSync, statSync, watch } from "node:fs";
import { dirname } from "node:path";
import type { SdsSecret, SecretReader, SecretSource } from "../config/tls-snapshot.ts";
import { MAX_SECRET_BYTES, SECRET_SETTLE_MS } from "../limits.ts";
import { Alarm } from "../timers.ts";
import { type AnyTlsConfig, withSecrets } from "./sds.ts";

/** What has to happen when files have changed. */
export interface SecretUser {
  /** Takes the files as they are now, all at once. Throws when they cannot be used; the old ones stay then. */
  readonly onChanged: () => void;
  /** The old ones stay, for this reason. */
  readonly onRefused: (reason: string) => void;
}

export class SecretFiles<C extends AnyTlsConfig> {
  #config: C;
  /** Digests of files of secrets, by path. */
  #digests: ReadonlyMap<string, string>;
  /** What the files held when it was last looked, by path. */
  #contents: ReadonlyMap<string, Uint8Array>;
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #user: SecretUser;
  readonly #readSecrets: SecretReader;
  /** Certificate and key are two files, and change one after the other. */
  readonly #settled = new Alarm(() => void this.#look());
  #looking = false;
  /** What was refused last, and why; "": nothing. It is told once, however often something else happens in the folder. */
  #refused = "";
  #closed = false;

  constructor(config: C, readSecrets: SecretReader, user: SecretUser) {
    this.#config = config;
    this.#user = user;
    this.#readSecrets = readSecrets;
    this.#contents = new Map(filesOf(config).map(({ file, bytes }) => [file, bytes]));
    this.#digests = new Map(config.sds.uses.map(({ file, digest }) => [file, digest]));
    this.#watchFolders();
    // They were read when the configuration was; what has changed since has no event any more.
    if (this.#watchers.size > 0) this.#settled.arm(SECRET_SETTLE_MS);
  }

  /** The context that counts now: the configured one, with other secrets where a file of secrets has changed. */
  get config(): C {
    return this.#config;
  }

  /** The content that counts now. */
  readonly read = (source: SecretSource): Uint8Array => this.#contents.get(source.file) ?? source.bytes;

  close(): void {
    this.#closed = true;
    this.#settled.disarm();
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #watchFolders(): void {
    const config = this.#config;
    const files = [...filesOf(config), ...config.sds.uses].map(({ file }) => dirname(file));
    for (const folder of new Set([...files, ...config.watchedDirectories]))
      if (!this.#watchers.has(folder)) this.#watch(folder);
  }

  #watch(folder: string): void {
    const blind = (error: unknown): void =>
      this.#user.onRefused(
        `changes in ${folder} are not seen: ${error instanceof Error ? error.message : String(error)}`,
      );
    try {
      const watcher = watch(folder, { persistent: false }, () => this.#noteChange());
      watcher.on("error", (error) => {
        watcher.close();
        blind(error);
      });
      this.#watchers.set(folder, watcher);
    } catch (error) {
      blind(error);
    }
  }

  /** The first change counts, so that a folder in which something always happens is looked at all the same. */
  #noteChange(): void {
    if (!this.#settled.armed) this.#settled.arm(SECRET_SETTLE_MS);
  }

  async #look(): Promise<void> {
    // What changes meanwhile is looked at afterwards.
    if (this.#looking) return this.#noteChange();
    this.#looking = true;
    const before = { config: this.#config, contents: this.#contents };
    const digests = new Map<string, string>();
    let contents: ReadonlyMap<string, Uint8Array> = new Map();
    try {
      const config = await this.#readSecretFiles(digests);
      contents = new Map(filesOf(config).map(({ file }) => [file, readSecretFile(file)]));
      if (this.#closed) return;
      if (
        config === before.config &&
        [...contents].every(([file, bytes]) => isSame(bytes, before.contents.get(file)))
      ) {
        this.#refused = "";
        return;
      }
      this.#config = config;
      this.#contents = contents;
      this.#user.onChanged();
      this.#digests = digests;
      this.#refused = "";
      this.#watchFolders();
    } catch (error) {
      this.#config = before.config;
      this.#contents = before.contents;
      if (!this.#closed) this.#refuse(error instanceof Error ? error.message : String(error), contents, digests);
    } finally {
      this.#looking = false;
    }
  }

  #refuse(reason: string, contents: ReadonlyMap<string, Uint8Array>, digests: ReadonlyMap<string, string>): void {
    const tried = createHash("sha256").update(reason);
    for (const digest of digests.values()) tried.update(digest);
    for (const bytes of contents.values()) tried.update(createHash("sha256").update(bytes).digest());
    const refused = tried.digest("hex");
    if (refused === this.#refused) return;
    this.#refused = refused;
    this.#user.onRefused(reason);
  }

  /** The context with the secrets of its files as they are now; the one in force when none has changed. Fills `digests`. */
  async #readSecretFiles(digests: Map<string, string>): Promise<C> {
    const texts = new Map<string, string>();
    for (const { file } of this.#config.sds.uses) {
      const bytes = readSecretFile(file);
      texts.set(file, Buffer.from(bytes).toString("utf8"));
      digests.set(file, createHash("sha256").update(bytes).digest("hex"));
    }
    if ([...digests].every(([file, digest]) => digest === this.#digests.get(file))) return this.#config;
    const secrets = new Map<string, ReadonlyMap<string, SdsSecret>>();
    for (const [file, text] of texts) secrets.set(file, await this.#readSecrets(file, text));
    return withSecrets(this.#config, secrets);
  }
}

function isSame(bytes: Uint8Array, before: Uint8Array | undefined): boolean {
  return before !== undefined && Buffer.compare(bytes, before) === 0;
}

/** The bytes of a secret's file. Throws when it is not there, cannot be read, or is too large. */
function readSecretFile(path: string): Uint8Array {
  const { size } = statSync(path);
  if (size > MAX_SECRET_BYTES) throw new Error(`${path} has ${size} bytes, more than ${MAX_SECRET_BYTES}`);
  return readFileSync(path);
}

/** All that comes from a file and is no file of secrets. */
function filesOf(config: AnyTlsConfig): SecretSource[] {
  const { validation, ticketKey } = config;
  const found: (SecretSource | undefined)[] = [validation?.trustedCa, validation?.crl, ticketKey?.source];
  for (const { chain, key, password, ocspStaple } of config.certificates) found.push(chain, key, password, ocspStaple);
  return found.filter((source) => source !== undefined && source.file !== "") as SecretSource[];
}
