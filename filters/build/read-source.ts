/** Source files as the compiler names them: the filter's own folder may lie outside the repository. */
import { existsSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import type { FilterSource } from "./source.ts";

/** Path of the file that the compiler calls `name`. */
export function sourcePath(name: string, filter: FilterSource, repository: string): string {
  const normal = posix.normalize(name);
  const own = posix.relative(filter.mount, normal);
  return own.startsWith("..") ? join(repository, normal) : join(filter.folder, own);
}

/** The text that the compiler reads; null when there is no such file. */
export function readSource(name: string, filter: FilterSource, repository: string): string | null {
  const path = sourcePath(name, filter, repository);
  if (!existsSync(path)) return null;
  const text = readFileSync(path, "utf8");
  const normal = posix.normalize(name);
  if (posix.relative(filter.mount, normal).startsWith("..")) return text;
  // asc takes the ending off in `import`, and not in `export … from`. What follows stays where it is.
  const plain = text.replaceAll(/(\bexport\b[^;"'()=]*\bfrom\s*["'][^"']+)\.ts(["'])/g, "$1$2   ");
  const up = posix.relative(posix.dirname(normal), "") || ".";
  // Authors elsewhere import the SDK by its package name; asc would make a second copy of it from there.
  return plain.replaceAll(/(\bfrom\s*["'])sluice\//g, (_all, lead: string) => `${lead}${up}/`);
}
