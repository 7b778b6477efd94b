/** `sluice test --coverage`: which lines and functions of a filter its tests have run, as a table and as lcov. */
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import colors from "picocolors";
import { MAX_SHOWN_FUNCTIONS } from "../limits.ts";
import { shownText } from "../observe/wire-text.ts";
import type { CoverageCounts } from "../testkit/coverage.ts";
import { coverageOf } from "../wasm/module/coverage.ts";
import type { CoveredFunction } from "../wasm/module/coverage.ts";
import { loadModule } from "../wasm/module/module.ts";
import { filesBeside } from "../wasm/module/symbols-beside.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** One source file of the filter, or a module that names none. */
interface FileCoverage {
  /** As it is shown. */
  readonly name: string;
  /** Absolute; "" for a module without sources. */
  readonly path: string;
  readonly lines: Map<number, number>;
  /** By place and name: a function with type parameters is compiled once for each of them. */
  readonly functions: Map<string, CoveredFunction>;
}

/**
 * Reads what the processes of a test have left in `from`, prints a table, and writes lcov to `to`. `folder` is the
 * filter's: only its own sources count. Returns lines for people.
 */
export function reportCoverage(from: string, folder: string, to: string): string[] {
  const files = new Map<string, FileCoverage>();
  const notes: string[] = [];
  for (const counts of readCounts(from)) notes.push(...addModule(files, folder, counts));
  const all = [...files.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  if (all.length === 0) return [...notes, "coverage: no test has loaded a module"];
  mkdirSync(dirname(to), { recursive: true });
  writeFileSync(to, lcov(all));
  return [...table(all), ...new Set(notes), `lcov: ${shownPath(to)}`];
}

/** Counts of all processes, added up by module. */
function readCounts(from: string): CoverageCounts[] {
  const sums = new Map<string, CoverageCounts & { readonly counts: number[] }>();
  for (const file of globSync("*.json", { cwd: from }).sort()) {
    for (const one of JSON.parse(readFileSync(join(from, file), "utf8")) as CoverageCounts[]) {
      const key = `${one.sha256} ${one.memoryPages}`;
      const sum = sums.get(key);
      if (sum === undefined) sums.set(key, { ...one, counts: [...one.counts] });
      else for (const [n, count] of one.counts.entries()) sum.counts[n]! += count;
    }
  }
  return [...sums.values()];
}

/** Adds one module's counts; answers what could not be told. */
function addModule(files: Map<string, FileCoverage>, folder: string, one: CoverageCounts): string[] {
  const { module: path, memoryPages, counts, sha256, uncounted } = one;
  const notes = uncounted === 0 ? [] : [`${shownPath(path)}: ${uncounted} instances were too many to count`];
  if (!existsSync(path)) return [...notes, `${shownPath(path)}: it is not there any more`];
  const loaded = loadModule(readFileSync(path), path, { memoryPages, coverage: true }, filesBeside(path));
  if (loaded.sha256 !== sha256) return [...notes, `${shownPath(path)}: it has changed while the tests ran`];
  const { lines, functions } = coverageOf(loaded, counts);
  const known = new Map<string, string | undefined>();
  const own = (file: string): string | undefined => {
    if (!known.has(file)) known.set(file, ownSource(file, folder));
    return known.get(file);
  };
  for (const [file, counted] of lines) {
    const source = own(file);
    if (source === undefined) continue;
    const entry = entryOf(files, relative(folder, source), source);
    for (const [line, count] of counted) entry.lines.set(line, Math.max(entry.lines.get(line) ?? 0, count));
  }
  const sources = functions.filter(({ file }) => own(file) !== undefined);
  for (const one of sources) {
    const source = own(one.file)!;
    addFunction(entryOf(files, relative(folder, source), source), one);
  }
  if (sources.length > 0) return notes;
  const entry = entryOf(files, shownPath(path), "");
  for (const [n, one] of functions.entries()) addFunction(entry, { ...one, line: n });
  return [
    ...notes,
    `${shownPath(path)}: it names no lines of sources in ${shownPath(folder)}; its functions are told by name`,
  ];
}

function entryOf(files: Map<string, FileCoverage>, name: string, path: string): FileCoverage {
  let entry = files.get(name);
  if (entry === undefined) files.set(name, (entry = { name, path, lines: new Map(), functions: new Map() }));
  return entry;
}

function addFunction({ functions }: FileCoverage, one: CoveredFunction): void {
  const name = shownText(shortName(one.name), MOST_NAME);
  const key = `${one.line} ${name}`;
  functions.set(key, { ...one, name, count: one.count + (functions.get(key)?.count ?? 0) });
}

/** Characters of a function's name. */
const MOST_NAME = 120;

/** AssemblyScript names functions by file; types that they are compiled for tell nothing about the source. */
function shortName(name: string): string {
  if (name.startsWith("start:")) return name.includes("~") ? name.slice(name.lastIndexOf("~") + 1) : "(top level)";
  if (!/^[\w./~-]*\/[\w~]/.test(name)) return name;
  return name.replace(/<.*>/, "").replace(/^.*\//, "").replace("#", ".");
}

/** The file of the filter's folder that a module means; undefined for libraries, and for what is generated. */
function ownSource(file: string, folder: string): string | undefined {
  if (file === "" || file.startsWith("~lib/") || file.endsWith(".pb.ts")) return undefined;
  // AssemblyScript's paths begin with the folder's name, or here; other compilers' with where they ran, or from there.
  const bases = [dirname(folder), ROOT, folder, process.cwd()];
  const places = isAbsolute(file) ? [file] : bases.map((base) => resolve(base, file));
  return places.find((path) => {
    const within = relative(folder, path);
    return !within.startsWith("..") && !/^(?:node_modules|build)[/\\]/.test(within) && existsSync(path);
  });
}

// ---- what is printed ----------------------------------------------------------------------------

function table(files: readonly FileCoverage[]): string[] {
  const { bold, dim, green, yellow, red } = colors.createColors(process.stdout.isTTY && colors.isColorSupported);
  const width = Math.max(...files.map(({ name }) => name.length), "all files".length);
  const room = Math.max((process.stdout.columns ?? 120) - width - 48, 20);
  const sum: { readonly lines: [number, number]; readonly functions: [number, number] } = {
    lines: [0, 0],
    functions: [0, 0],
  };
  const rows = files.map((file) => {
    const lines = covered(file.lines.values());
    const functions = covered([...file.functions.values()].map(({ count }) => count));
    for (const n of [0, 1] as const) {
      sum.lines[n] += lines[n];
      sum.functions[n] += functions[n];
    }
    const missing = file.path === "" ? missingFunctions(file) : ranges(file.lines);
    return {
      name: file.name,
      lines,
      functions,
      missing: missing.length > room ? `${missing.slice(0, room - 1)}…` : missing,
    };
  });
  const cell = ([hit, found]: readonly [number, number]): string => {
    if (found === 0) return "–".padStart(20);
    const percent = (hit * 100) / found;
    const text = `${`${hit}/${found}`.padStart(11)}${`${percent.toFixed(1)} %`.padStart(9)}`;
    return percent >= GOOD ? green(text) : percent >= FAIR ? yellow(text) : red(text);
  };
  return [
    bold(`${"coverage".padEnd(width)}${"lines".padStart(20)}${"functions".padStart(20)}   not covered`),
    ...rows.map(({ name, lines, functions, missing }) =>
      `${name.padEnd(width)}${cell(lines)}${cell(functions)}   ${dim(missing)}`.trimEnd(),
    ),
    ...(rows.length > 1 ? [`${"all files".padEnd(width)}${cell(sum.lines)}${cell(sum.functions)}`] : []),
  ];
}

/** Shares, in percent, from which a number is green or yellow. */
const GOOD = 90;
const FAIR = 60;

function covered(counts: Iterable<number>): [hit: number, found: number] {
  let [hit, found] = [0, 0];
  for (const count of counts) {
    found++;
    if (count > 0) hit++;
  }
  return [hit, found];
}

/** Lines that have not run: `3, 7-9`. Lines without code in between do not split a range. */
function ranges(lines: ReadonlyMap<number, number>): string {
  const parts: string[] = [];
  let [first, last] = [0, 0];
  const close = (): void => {
    if (first > 0) parts.push(first === last ? String(first) : `${first}-${last}`);
    first = 0;
  };
  for (const [line, count] of [...lines].sort(([a], [b]) => a - b)) {
    if (count > 0) close();
    else {
      if (first === 0) first = line;
      last = line;
    }
  }
  close();
  return parts.join(", ");
}

function missingFunctions({ functions }: FileCoverage): string {
  const names = [...functions.values()].filter(({ count }) => count === 0).map(({ name }) => name);
  const more = names.length - MAX_SHOWN_FUNCTIONS;
  return names.slice(0, MAX_SHOWN_FUNCTIONS).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** lcov's trace format (geninfo(1)), as editors and services read it. */
function lcov(files: readonly FileCoverage[]): string {
  const out: string[] = [];
  for (const { name, path, lines, functions } of files) {
    out.push("TN:", `SF:${path === "" ? name : path}`);
    for (const { line, name: called } of functions.values()) out.push(`FN:${line},${called}`);
    for (const { count, name: called } of functions.values()) out.push(`FNDA:${count},${called}`);
    const [functionHit, functionFound] = covered([...functions.values()].map(({ count }) => count));
    out.push(`FNF:${functionFound}`, `FNH:${functionHit}`);
    for (const [line, count] of [...lines].sort(([a], [b]) => a - b)) out.push(`DA:${line},${count}`);
    const [lineHit, lineFound] = covered(lines.values());
    out.push(`LF:${lineFound}`, `LH:${lineHit}`, "end_of_record");
  }
  return `${out.join("\n")}\n`;
}

function shownPath(path: string): string {
  const shown = relative(process.cwd(), path);
  return shown.startsWith("..") || shown === "" ? path : shown;
}
