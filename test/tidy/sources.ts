/** The repository's own files as the tidy test sees them: names, texts, imports. */
import { execFileSync } from "node:child_process";
import { lstatSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

/** Absolute path of the repository. */
export const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));

/** One file of the repository. */
export interface SourceFile {
  /** Relative to the repository, with forward slashes. */
  readonly path: string;
  readonly lines: readonly string[];
}

/** One import of a file of ours, static or dynamic, or a file named by `new URL(…, import.meta.url)`. */
export interface LocalImport {
  /** Of the importing line, from 1. */
  readonly line: number;
  /** Of the imported file, relative to the repository. */
  readonly target: string;
}

const BINARY = /\.(wasm|png|jpg|gz|tar|der|p12)$/;
const SPECIFIERS = [
  /\b(?:from|import)\s*\(?\s*["'](\.{1,2}\/[^"']+)["']/g,
  /\bnew URL\(\s*["'](\.{1,2}\/[^"']+)["'],\s*import\.meta\.url\s*\)/g,
];

/** Every text file that is, or is about to be, in version control. Throws where there is no git or no repository. */
export function readSources(): SourceFile[] {
  const files: SourceFile[] = [];
  for (const path of listed()) {
    const isFile = lstatSync(join(REPOSITORY, path), { throwIfNoEntry: false })?.isFile() === true;
    if (BINARY.test(path) || !isFile) continue;
    files.push({ path, lines: readFileSync(join(REPOSITORY, path), "utf8").split("\n") });
  }
  return files;
}

/** Symbolic links that are, or are about to be, in version control. */
export function readLinks(): string[] {
  return listed().filter((path) => lstatSync(join(REPOSITORY, path), { throwIfNoEntry: false })?.isSymbolicLink());
}

function listed(): string[] {
  const names = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"], {
    cwd: REPOSITORY,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  return [...new Set(names.split("\0"))].filter((path) => path !== "");
}

/** Imports of files of ours; packages and built-in modules are left out. AssemblyScript leaves out the file's ending. */
export function localImports(file: SourceFile): LocalImport[] {
  const found: LocalImport[] = [];
  for (const [index, line] of file.lines.entries()) {
    if (/^\s*(\*|\/\/|\/\*)/.test(line)) continue;
    for (const pattern of SPECIFIERS) {
      for (const match of line.matchAll(pattern)) {
        const target = normalize(join(dirname(file.path), match[1]!)).replaceAll("\\", "/");
        found.push({ line: index + 1, target: /\.\w+$/.test(target) ? target : `${target}.ts` });
      }
    }
  }
  return found;
}
