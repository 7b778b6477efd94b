/** Files that others may read at any moment, or write at the same time: the old one or the new one is there, never a part. */
import { randomBytes } from "node:crypto";
import { renameSync, rmSync, writeFileSync } from "node:fs";

/** `flush`: it has reached the disk before it takes the old one's place, for what cannot be had again. Throws what node:fs throws. */
export function writeWhole(path: string, content: string | Uint8Array, mode: number, flush = false): void {
  // A name that nobody can guess, and a file that was not there: no link leads it elsewhere.
  const part = `${path}.${randomBytes(6).toString("hex")}.part`;
  try {
    writeFileSync(part, content, { mode, flag: "wx", flush });
    renameSync(part, path);
  } catch (error) {
    rmSync(part, { force: true });
    throw error;
  }
}
