/** Reads the rules of the house (test/tidy/rules.ts) against every text file of the repository. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import {
  ARROWS,
  BANNED_NAMES,
  BANNED_TEXT,
  ENTRIES,
  FACES,
  LISTS,
  MAX_LINES,
  MAX_TEST_LINES,
  COUNTED_THINGS,
  ROOMS,
  RUN_BY_HAND,
  UNIT_WORDS,
} from "./tidy/rules.ts";
import { localImports, readLinks, readSources, REPOSITORY } from "./tidy/sources.ts";
import type { SourceFile } from "./tidy/sources.ts";

const files = readSources();
const byPath = new Map(files.map((file) => [file.path, file]));
const isCode = (path: string): boolean => /\.(ts|js)$/.test(path) && !/\.(pb|d)\.ts$/.test(path);
/** This file and its rules name what they forbid. */
const isTidy = (path: string): boolean => path.startsWith("test/tidy");

function refuse(problems: readonly string[]): void {
  assert.equal(problems.length, 0, `${problems.length} broken rule(s):\n  ${problems.join("\n  ")}`);
}

function roomOf(path: string): { readonly name: string; readonly place: number } {
  const name = path.split("/")[1]!.replace(/\.ts$/, "");
  return { name, place: ROOMS.findIndex((rooms) => rooms.includes(name)) };
}

test("the files under version control were found", () => {
  assert.ok(files.length > 50, `only ${files.length} files: is this a git checkout?`);
  assert.ok(byPath.has("runtime/limits.ts") && byPath.has("package.json"));
});

test("rooms of runtime/ import leftward only", () => {
  const problems: string[] = [];
  for (const file of files) {
    if (!file.path.startsWith("runtime/") || !isCode(file.path)) continue;
    const here = roomOf(file.path);
    if (here.place < 0) problems.push(`${file.path}:1: "${here.name}" is no room of runtime/`);
    for (const { line, target } of localImports(file)) {
      if (!target.startsWith("runtime/")) continue;
      const there = roomOf(target);
      if (there.name !== here.name && there.place >= here.place && !isFree(file, line, target)) {
        problems.push(
          `${file.path}:${line}: ${here.name} imports ${there.name} (${target}), which is not to the left of it`,
        );
      }
    }
  }
  refuse(problems);
});

/** Contracts, and what another thread loads. */
function isFree(file: SourceFile, line: number, target: string): boolean {
  return FACES.includes(target) || isThreadStart(file, line);
}

/** A thread's first file is named by URL and loaded in another thread: that is no import. */
function isThreadStart(file: SourceFile, line: number): boolean {
  return /\bnew URL\(/.test(file.lines[line - 1]!);
}

test("abi, filters, runtime and samples import only what they may", () => {
  const problems: string[] = [];
  for (const file of files) {
    if (!isCode(file.path)) continue;
    const arrow = ARROWS.find(({ from }) => from.test(file.path));
    if (arrow === undefined) continue;
    for (const { line, target } of localImports(file)) {
      if (!arrow.may.test(target) && !isThreadStart(file, line))
        problems.push(`${file.path}:${line}: imports ${target}; ${arrow.why}`);
    }
  }
  refuse(problems);
});

test("imports name files that exist", () => {
  const problems: string[] = [];
  for (const file of files) {
    if (!isCode(file.path) || file.path.startsWith("test/")) continue;
    for (const { line, target } of localImports(file)) {
      const generated = target.endsWith(".pb.ts") || target.startsWith("build/") || isThreadStart(file, line);
      if (!generated && !existsSync(join(REPOSITORY, target)))
        problems.push(`${file.path}:${line}: there is no ${target}`);
    }
  }
  refuse(problems);
});

test("file names say what lives there", () => {
  const problems: string[] = [];
  for (const { path } of files) {
    const name = basename(path).replace(/(\.test)?\.(ts|js)$/, "");
    if (isCode(path) && BANNED_NAMES.includes(name)) problems.push(`${path}:1: "${name}" says nothing`);
  }
  refuse(problems);
});

test("files stay short", () => {
  const problems: string[] = [];
  for (const { path, lines } of files) {
    const bound = path.startsWith("test/") || LISTS.has(path) ? MAX_TEST_LINES : MAX_LINES;
    if (isCode(path) && lines.length - 1 > bound)
      problems.push(`${path}:${bound}: ${lines.length - 1} lines; the bound is ${bound}`);
  }
  refuse(problems);
});

test("no links, which lead somewhere else in every checkout", () => {
  refuse(readLinks().map((path) => `${path}: is a symbolic link`));
});

test("no text that does not belong in the repository", () => {
  const problems: string[] = [];
  for (const file of files) {
    if (isTidy(file.path) || file.path === ".oxlintrc.json") continue;
    const rules = BANNED_TEXT.filter(({ where }) => where.test(file.path));
    for (const [index, line] of file.lines.entries()) {
      for (const { text, unless, why } of rules) {
        const match = text.exec(line);
        if (match !== null && unless?.test(line) !== true)
          problems.push(`${file.path}:${index + 1}: "${match[0].trim()}": ${why}`);
      }
    }
  }
  refuse(problems);
});

test("every file of runtime/ is reached from the bin", () => {
  const reached = new Set<string>();
  const queue = [...ENTRIES];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    const file = byPath.get(path);
    if (file === undefined || reached.has(path)) continue;
    reached.add(path);
    for (const { target } of localImports(file)) queue.push(target);
  }
  const problems: string[] = [];
  for (const { path } of files) {
    if (!path.startsWith("runtime/") || !isCode(path) || reached.has(path)) continue;
    if (!RUN_BY_HAND.has(path)) problems.push(`${path}:1: nothing that runs imports it`);
  }
  for (const path of RUN_BY_HAND.keys())
    if (!byPath.has(path)) problems.push(`test/tidy/rules.ts: there is no ${path}`);
  refuse(problems);
});

test("every bound in limits.ts says its unit, and is used", () => {
  const { lines } = byPath.get("runtime/limits.ts")!;
  const code = files.filter(({ path }) => path.startsWith("runtime/") && isCode(path) && path !== "runtime/limits.ts");
  const used = new Set(code.flatMap((file) => file.lines.flatMap((line) => line.match(/\b[A-Z][A-Z0-9_]+\b/g) ?? [])));
  for (const line of lines) {
    // A bound may be made of another one.
    if (!line.startsWith("export const")) continue;
    for (const name of line.split("=")[1]!.match(/\b[A-Z][A-Z0-9_]+\b/g) ?? []) used.add(name);
  }
  const problems: string[] = [];
  for (const [index, line] of lines.entries()) {
    const name = /^export const (\w+)/.exec(line)?.[1];
    if (name === undefined) continue;
    const comment = commentAbove(lines, index);
    if (!UNIT_WORDS.test(comment) && !COUNTED_THINGS.test(comment))
      problems.push(`runtime/limits.ts:${index + 1}: ${name} does not say its unit`);
    if (!used.has(name)) problems.push(`runtime/limits.ts:${index + 1}: ${name} bounds nothing`);
  }
  refuse(problems);
});

/** The comment of a constant; a pair of constants (least and most) may share one. */
function commentAbove(lines: readonly string[], index: number): string {
  let at = index - 1;
  while (at > index - 3 && lines[at]!.startsWith("export const")) at -= 1;
  let text = "";
  for (; at >= 0 && /^\s*(\/\*\*|\*)/.test(lines[at]!); at -= 1) text = `${lines[at]} ${text}`;
  return text;
}

test("what errors.ts exports is used", () => {
  const { lines } = byPath.get("runtime/errors.ts")!;
  const rest = files.filter(({ path }) => path.startsWith("runtime/") && isCode(path) && path !== "runtime/errors.ts");
  const text = rest.map((file) => file.lines.join("\n")).join("\n");
  const problems: string[] = [];
  for (const [index, line] of lines.entries()) {
    const name = /^export (?:const|class|function) (\w+)/.exec(line)?.[1];
    if (name !== undefined && !new RegExp(`\\b${name}\\b`).test(text))
      problems.push(`runtime/errors.ts:${index + 1}: nothing uses ${name}`);
  }
  refuse(problems);
});

test("dependencies are exact versions", () => {
  const manifest = JSON.parse(byPath.get("package.json")!.lines.join("\n")) as Record<string, Record<string, string>>;
  const problems: string[] = [];
  for (const kind of ["dependencies", "devDependencies", "optionalDependencies"]) {
    for (const [name, version] of Object.entries(manifest[kind] ?? {})) {
      if (!/^(npm:[^@]+@)?\d+\.\d+\.\d+$/.test(version))
        problems.push(`package.json:1: ${name} ${version} is not one version`);
    }
  }
  refuse(problems);
});
