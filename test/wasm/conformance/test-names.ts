/** The names of the tests of a file, as far as they stand there in full. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../../..");
const read = new Map<string, readonly string[]>();
const NAME = /\b(?:test|it)\(\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')/g;

/** `file`: from the repository's root on. Throws when there is none. */
export function testNames(file: string): readonly string[] {
  let names = read.get(file);
  if (names === undefined) {
    const text = readFileSync(join(ROOT, file), "utf8");
    names = Array.from(text.matchAll(NAME), ([, quoted]) => quoted!.slice(1, -1).replaceAll(/\\(.)/g, "$1"));
    read.set(file, names);
  }
  return names;
}
