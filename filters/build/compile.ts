/** One filter from source to artifact bytes, by AssemblyScript's compiler in this process. */
import { existsSync, readFileSync } from "node:fs";
import { join, posix, relative } from "node:path";
import * as asc from "assemblyscript/asc";
import type { Program } from "assemblyscript/dist/assemblyscript.js";
import { adviceFor } from "./advice.ts";
import { CallbackMistake, keptExports, overriddenMethods } from "./callbacks.ts";
import type { FilterSource } from "./source.ts";

export interface Compiled {
  readonly wasm: Uint8Array;
  /** Source map as JSON. */
  readonly sourceMap: string;
}

/** A filter that does not compile; the message has one `file:line:column: text` line per mistake. */
export class CompileError extends Error {}

/** Compiles a filter. Throws {@link CompileError}. */
export async function compileFilter(filter: FilterSource, repository: string, target: string): Promise<Compiled> {
  const out = `${filter.name}.wasm`;
  const written = new Map<string, string | Uint8Array>();
  const mistakes: string[] = [];
  const stderr = asc.createMemoryStream();
  const entries = [`${filter.mount}/${filter.name}.ts`, "filters/sdk/exports.ts", "filters/sdk/abort.ts"];
  const result = await asc.main(
    [...entries, "--config", "asconfig.json", "--target", target, "--outFile", out, "--baseDir", repository],
    {
      stdout: asc.createMemoryStream(),
      stderr,
      readFile: (name: string) => readSource(name, filter, repository),
      writeFile: (name: string, content: string | Uint8Array) => void written.set(name, content),
      listFiles: () => [],
      transforms: [exportSelection()],
      reportDiagnostic: (diagnostic: asc.DiagnosticMessage) => {
        if (diagnostic.category === CATEGORY_ERROR) mistakes.push(describe(diagnostic, filter, repository));
      },
    },
  );
  if (result.error !== null) {
    const known = result.error instanceof CallbackMistake ? [result.error.message] : mistakes;
    throw new CompileError(known.length > 0 ? known.join("\n") : `${filter.entry}: ${result.error.message}`);
  }
  const wasm = written.get(out);
  if (!(wasm instanceof Uint8Array)) throw new CompileError(`${filter.entry}: the compiler wrote no module`);
  return { wasm, sourceMap: leanMap(String(written.get(`${out}.map`))) };
}

/** The map without the text of all sources, and with paths as authors know them. */
function leanMap(text: string): string {
  const { sources, mappings } = JSON.parse(text) as { sources: string[]; mappings: string };
  const paths = sources.map((source) => source.replace(/^mounted\//, ""));
  return JSON.stringify({ version: 3, sources: paths, names: [], mappings });
}

/** asc's DiagnosticCategory.Error. */
const CATEGORY_ERROR = 3;

/** Drops exports before the optimizer runs, so that what only they need is dropped too. */
function exportSelection(): object {
  let methods = new Set<string>();
  return {
    afterInitialize(program: Program): void {
      methods = overriddenMethods(program);
    },
    afterCompile(module: BinaryenModule): void {
      const names = exportedNames(module);
      const kept = keptExports(methods, importedNames(module));
      for (const name of names) if (!kept.has(name)) module.removeExport(name);
      module.runPasses(["remove-unused-module-elements"]);
    },
  };
}

interface BinaryenModule {
  removeExport(name: string): void;
  runPasses(passes: string[]): void;
  emitBinary(): Uint8Array;
}

function exportedNames(module: BinaryenModule): string[] {
  return WebAssembly.Module.exports(new WebAssembly.Module(asBytes(module))).map((entry) => entry.name);
}

function importedNames(module: BinaryenModule): Set<string> {
  return new Set(WebAssembly.Module.imports(new WebAssembly.Module(asBytes(module))).map((entry) => entry.name));
}

function asBytes(module: BinaryenModule): Uint8Array<ArrayBuffer> {
  return new Uint8Array(module.emitBinary());
}

/** Reads a source file for asc; null when there is none. The filter's own folder may lie outside the repository. */
function readSource(name: string, filter: FilterSource, repository: string): string | null {
  const normal = posix.normalize(name);
  const own = posix.relative(filter.mount, normal);
  const path = own.startsWith("..") ? join(repository, normal) : join(filter.folder, own);
  if (!existsSync(path)) return null;
  const text = readFileSync(path, "utf8");
  if (own.startsWith("..")) return text;
  const up = posix.relative(posix.dirname(normal), "") || ".";
  // Authors elsewhere import the SDK by its package name; asc would make a second copy of it from there.
  return text.replaceAll(/(\bfrom\s*["'])sluice\//g, (_all, lead: string) => `${lead}${up}/`);
}

function describe(diagnostic: asc.DiagnosticMessage, filter: FilterSource, repository: string): string {
  const range = diagnostic.range;
  const source = range?.source?.normalizedPath;
  if (range === null || source === undefined) return `${filter.entry}: ${diagnostic.message}`;
  const own = posix.relative(filter.mount, source);
  const path = own.startsWith("..") ? join(repository, source) : join(filter.folder, own);
  const text = readSource(source, filter, repository) ?? "";
  const lines = text.slice(0, range.start).split("\n");
  const line = lines.length;
  const before = lines.pop() ?? "";
  const end = text.indexOf("\n", range.start);
  const after = text.slice(range.start, end < 0 ? text.length : end);
  const advice = adviceFor({ message: diagnostic.message, before, after });
  const place = `${relative(process.cwd(), path)}:${line}:${before.length + 1}`;
  return `${place}: ${diagnostic.message}${advice === undefined ? "" : `\n    ${advice}`}`;
}
