/** Which tests a file holds. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../../..");
const read = new Map<string, string>();
const TITLE = /\b(?:test|it|describe)\(\s*("(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`)/g;
/** Titles that come from data: `test(name, …`. */
const FROM_DATA = /\b(?:test|it)\(\s*[a-z]\w*\s*,/;

/**
 * Whether `file`, from the repository's root on, has a test or a group of that title. Titles with holes are written as they
 * stand there, `${…}` and all. Throws when there is no such file.
 */
export function hasTest(file: string, title: string): boolean {
  let text = read.get(file);
  if (text === undefined) read.set(file, (text = readFileSync(join(ROOT, file), "utf8")));
  for (const [, quoted] of text.matchAll(TITLE)) {
    if (quoted!.slice(1, -1).replaceAll(/\\(.)/g, "$1") === title) return true;
  }
  return FROM_DATA.test(text) && text.includes(JSON.stringify(title));
}
