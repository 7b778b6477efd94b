/**
 * Files kept by their SHA-256 in one folder, so that what was fetched once is there at the next start, network or not.
 * Several processes may share the folder: files appear whole, and each is checked against its name when it is read.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { STALE_PART_MS } from "../limits.ts";
import type { Log } from "../observe/log.ts";
import { writeWhole } from "../registry/whole-file.ts";

/** Code by its digest, and what references stood for (kept-references.ts). */
const WHOLE = /^[0-9a-f]{64}(?:\.ref)?$/;
const PART = /^[0-9a-f]{64}(?:\.ref)?\.[0-9a-f]+\.part$/;

/** Lower-case hexadecimal. */
export function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export class DigestCache {
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #log: Log;

  /** `maxBytes` for all files together. The folder is made when something is stored. */
  constructor(folder: string, maxBytes: number, log: Log) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
    this.#log = log;
  }

  /** The file with this digest; undefined when it is not there. One that was changed is thrown away. */
  get(sha256: string): Buffer | undefined {
    const path = join(this.#folder, sha256);
    let bytes: Buffer;
    try {
      const stats = statSync(path, { throwIfNoEntry: false });
      if (stats === undefined || !stats.isFile() || stats.size > this.#maxBytes) return undefined;
      bytes = readFileSync(path);
    } catch (error) {
      this.#complain(`cannot read ${path}`, error);
      return undefined;
    }
    if (sha256Of(bytes) !== sha256) {
      this.#log.warning(`code cache: ${path} is not what its name says; it is thrown away`);
      this.#remove(path);
      return undefined;
    }
    try {
      const now = new Date();
      utimesSync(path, now, now);
    } catch (error) {
      // Only its place in the order of use.
      this.#log.debug(`code cache: ${String(error)}`);
    }
    return bytes;
  }

  /** Keeps a file; the ones used longest ago make room. A folder that cannot be written is told, and changes nothing else. */
  put(sha256: string, bytes: Uint8Array): void {
    if (bytes.length > this.#maxBytes) {
      this.#log.warning(`code cache: ${sha256} has ${bytes.length} bytes, more than all of the cache; it is not kept`);
      return;
    }
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      writeWhole(join(this.#folder, sha256), bytes, 0o600);
      this.#makeRoom(sha256);
    } catch (error) {
      this.#complain(`cannot keep ${sha256} in ${this.#folder}`, error);
    }
  }

  #makeRoom(newest: string): void {
    const files: { readonly path: string; readonly size: number; readonly usedMs: number }[] = [];
    for (const name of readdirSync(this.#folder)) {
      const path = join(this.#folder, name);
      const stats = statSync(path, { throwIfNoEntry: false });
      if (stats === undefined || !stats.isFile()) continue;
      if (PART.test(name) && Date.now() - stats.mtimeMs > STALE_PART_MS) this.#remove(path);
      if (WHOLE.test(name) && name !== newest) files.push({ path, size: stats.size, usedMs: stats.mtimeMs });
    }
    files.sort((a, b) => b.usedMs - a.usedMs);
    // Another process may have made room of it already.
    let left = this.#maxBytes - (statSync(join(this.#folder, newest), { throwIfNoEntry: false })?.size ?? 0);
    for (const { path, size } of files) {
      left -= size;
      if (left < 0) this.#remove(path);
    }
  }

  #remove(path: string): void {
    try {
      rmSync(path, { force: true });
    } catch (error) {
      this.#complain(`cannot remove ${path}`, error);
    }
  }

  #complain(what: string, error: unknown): void {
    this.#log.warning(`code cache: ${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
