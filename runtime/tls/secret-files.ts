/**
 * The files behind a TLS context, and the moment they change: written in place, replaced by rename, or by the swap of
 * a symbolic link as Kubernetes does it. Folders are watched, not files, since a replaced file has another inode.
 */
import { type FSWatcher, readFileSync, statSync, watch } from "node:fs";
import { dirname } from "node:path";
import type { DownstreamTlsConfig, SecretSource, TlsContextConfig } from "../config/tls-snapshot.ts";
import { MAX_SECRET_BYTES, SECRET_SETTLE_MS } from "../limits.ts";
import { Alarm } from "../timers.ts";

/** What has to happen when files have changed. */
export interface SecretUser {
  /** Takes the files as they are now, all at once. Throws when they cannot be used; the old ones stay then. */
  readonly onChanged: () => void;
  /** The old ones stay, for this reason. */
  readonly onRefused: (reason: string) => void;
}

export class SecretFiles {
  readonly #sources: readonly SecretSource[];
  /** What the files held when it was last looked, by path. */
  #contents = new Map<string, Uint8Array>();
  readonly #watchers: FSWatcher[] = [];
  readonly #user: SecretUser;
  /** Certificate and key are two files, and change one after the other. */
  readonly #settled = new Alarm(() => this.#look());

  constructor(config: TlsContextConfig, user: SecretUser) {
    this.#user = user;
    this.#sources = sourcesOf(config).filter((source) => source.file !== "");
    for (const { file, bytes } of this.#sources) this.#contents.set(file, bytes);
    const folders = new Set(this.#sources.map((source) => dirname(source.file)));
    for (const folder of config.watchedDirectories) folders.add(folder);
    for (const folder of folders) this.#watch(folder);
    // They were read when the configuration was; what has changed since has no event any more.
    if (folders.size > 0) this.#settled.arm(SECRET_SETTLE_MS);
  }

  /** The content that counts now. */
  readonly read = (source: SecretSource): Uint8Array => this.#contents.get(source.file) ?? source.bytes;

  close(): void {
    this.#settled.disarm();
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers.length = 0;
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
      this.#watchers.push(watcher);
    } catch (error) {
      blind(error);
    }
  }

  /** The first change counts, so that a folder in which something always happens is looked at all the same. */
  #noteChange(): void {
    if (!this.#settled.armed) this.#settled.arm(SECRET_SETTLE_MS);
  }

  #look(): void {
    const before = this.#contents;
    try {
      const now = new Map<string, Uint8Array>();
      for (const { file } of this.#sources) now.set(file, readSecretFile(file));
      if ([...now].every(([file, bytes]) => Buffer.compare(bytes, before.get(file)!) === 0)) return;
      this.#contents = now;
      this.#user.onChanged();
    } catch (error) {
      this.#contents = before;
      this.#user.onRefused(error instanceof Error ? error.message : String(error));
    }
  }
}

/** The bytes of a secret's file. Throws when it is not there, cannot be read, or is too large. */
function readSecretFile(path: string): Uint8Array {
  const { size } = statSync(path);
  if (size > MAX_SECRET_BYTES) throw new Error(`${path} has ${size} bytes, more than ${MAX_SECRET_BYTES}`);
  return readFileSync(path);
}

function sourcesOf(config: TlsContextConfig & Partial<Pick<DownstreamTlsConfig, "ticketKey">>): SecretSource[] {
  const { validation, ticketKey } = config;
  const found: (SecretSource | undefined)[] = [validation?.trustedCa, validation?.crl, ticketKey?.source];
  for (const { chain, key, password, ocspStaple } of config.certificates) found.push(chain, key, password, ocspStaple);
  return found.filter((source) => source !== undefined);
}
