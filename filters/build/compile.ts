/** One filter from source to artifact bytes, by AssemblyScript's compiler in this process. */
import { relative } from "node:path";
import * as asc from "assemblyscript/asc";
import type { Program } from "assemblyscript/dist/assemblyscript.js";
import { HOST_FUNCTIONS } from "../../abi/functions.ts";
import { exportMistakes, isUsed, keptExports, missingCalls, surveyCallbacks } from "./callbacks.ts";
import type { CallbackSurvey } from "./callbacks.ts";
import { Mistakes } from "./mistakes.ts";
import { readSource } from "./read-source.ts";
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
  const mistakes = new Mistakes(filter, repository);
  const stderr = asc.createMemoryStream();
  const entries = [`${filter.mount}/${filter.name}.ts`, "filters/sdk/exports.ts", "filters/sdk/abort.ts"];
  const args = [...entries, "--config", "asconfig.json", "--target", target, "--outFile", out, "--baseDir", repository];
  const result = await aliveAfter(filter, () =>
    asc.main(args, {
      stdout: asc.createMemoryStream(),
      stderr,
      readFile: (name: string) => readSource(name, filter, repository),
      writeFile: (name: string, content: string | Uint8Array) => void written.set(name, content),
      listFiles: () => [],
      transforms: [exportSelection(mistakes, `${filter.mount}/${filter.name}`)],
      reportDiagnostic: (diagnostic: asc.DiagnosticMessage) => {
        if (diagnostic.category === CATEGORY_ERROR) mistakes.add(diagnostic);
      },
    }),
  );
  if (result.error !== null || !mistakes.none)
    throw new CompileError(mistakes.none ? `${filter.entry}: ${result.error?.message}` : mistakes.toString());
  const wasm = written.get(out);
  if (!(wasm instanceof Uint8Array)) throw new CompileError(`${filter.entry}: the compiler wrote no module`);
  refuseUnknownImports(wasm, filter);
  return { wasm, sourceMap: leanMap(String(written.get(`${out}.map`))) };
}

/** What no proxy provides would be refused when it is loaded. */
function refuseUnknownImports(wasm: Uint8Array, { entry }: FilterSource): void {
  const known = new Set(HOST_FUNCTIONS.map(({ module, name }) => `${module}.${name}`));
  const unknown = WebAssembly.Module.imports(new WebAssembly.Module(new Uint8Array(wasm)))
    .map(({ module, name }) => `${module}.${name}`)
    .filter((name) => !known.has(name));
  if (unknown.length === 0) return;
  throw new CompileError(
    `${relative(process.cwd(), entry)}: imports ${unknown.join(", ")}, which no proxy provides: use what sluice/filters/sdk has`,
  );
}

/** What the compiler prints before it ends the process. */
const CRASH = /has crashed during[^]*?▌\s+\w*Error: ([^\n]*)/;

/**
 * A compiler that crashes prints a letter to its own authors and ends the process. Here it is a mistake of the source,
 * which nearly always it is. Throws {@link CompileError}.
 */
async function aliveAfter<T>({ entry }: FilterSource, work: () => Promise<T>): Promise<T> {
  const { exit } = process;
  const { error } = console;
  let letter = "";
  console.error = (text: unknown) => void (letter += `${String(text)}\n`);
  const crash = (why: string): CompileError =>
    new CompileError(
      `${relative(process.cwd(), entry)}: AssemblyScript's compiler cannot cope with this source (${why}). What was changed last is the likely cause: types that contain themselves without end, or very deep nesting.`,
    );
  process.exit = () => {
    throw crash(CRASH.exec(letter)?.[1] ?? "no reason given");
  };
  try {
    return await work();
  } catch (cause) {
    // The parser's own depth.
    throw cause instanceof RangeError ? crash(cause.message) : cause;
  } finally {
    process.exit = exit;
    console.error = error;
  }
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
function exportSelection(mistakes: Mistakes, entry: string): object {
  let survey: CallbackSurvey;
  let program: Program;
  return {
    afterInitialize(initialized: Program): void {
      program = mistakes.program = initialized;
      survey = surveyCallbacks(program);
      for (const { place, text } of [...survey.mistakes, ...exportMistakes(program, entry)])
        mistakes.addOwn(place, text);
    },
    afterCompile(module: BinaryenModule): void {
      // The library has the class for embedders in JavaScript: without one its methods only trap.
      if (isUsed(program, "~lib/regexp/RegExp"))
        mistakes.addFound(program, /\bnew\s+RegExp\b/, "RegExp does nothing here");
      if (mistakes.none) for (const { place, text } of missingCalls(program, survey)) mistakes.addOwn(place, text);
      const names = exportedNames(module);
      const kept = keptExports(survey.methods, importedNames(module));
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
