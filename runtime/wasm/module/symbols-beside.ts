/** Reads a source map that lies beside a module's file. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { MAX_SYMBOL_BYTES } from "../../limits.ts";
import type { ReadBeside } from "./symbols.ts";

/** Reads plain files in the folder of the module `path`; links, folders, pipes and files that are too large count as absent. */
export function filesBeside(path: string): ReadBeside {
  return (name) => {
    let file: number;
    try {
      // NONBLOCK: a pipe of that name must not stop the process; NOFOLLOW: a link may lead anywhere.
      file = openSync(join(dirname(path), name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch {
      return undefined;
    }
    try {
      const status = fstatSync(file);
      return status.isFile() && status.size <= MAX_SYMBOL_BYTES ? readFileSync(file) : undefined;
    } catch {
      return undefined;
    } finally {
      closeSync(file);
    }
  };
}
