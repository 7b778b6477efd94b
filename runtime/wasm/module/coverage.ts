/** What of a module has run, told by its sources: from counts of its straight pieces of code to lines and functions. */
import type { LoadedModule } from "./module.ts";
import { functionNames } from "./name-section.ts";
import { DebugLines } from "./symbols-debug-line.ts";
import { demangle } from "./symbols-demangle.ts";
import type { SourceLines } from "./symbols-lines.ts";
import { SourceMapLines } from "./symbols-source-map.ts";

export interface CoveredFunction {
  readonly name: string;
  /** Where it begins; "" and 0 when the module does not say. */
  readonly file: string;
  readonly line: number;
  /** How often it was called. */
  readonly count: number;
}

export interface ModuleCoverage {
  /** By file as the module names it, then by line, from 1: how often the code of the line that ran most has run. */
  readonly lines: ReadonlyMap<string, ReadonlyMap<number, number>>;
  /** Functions of the module's own, in its order. */
  readonly functions: readonly CoveredFunction[];
}

/**
 * `counts[n]` belongs to `hardened.pieces[n]`. A line counts as run when any of its code has; code behind a call that did
 * not come back counts like the call. Throws an Error when the module's source map or line table is broken.
 */
export function coverageOf({ symbols, hardened }: LoadedModule, counts: ArrayLike<number>): ModuleCoverage {
  const { pieces } = hardened;
  const { bodies, importedFunctions } = symbols;
  if (pieces === undefined) throw new Error("its code is not counted");
  const starts: ({ readonly file: string; readonly line: number; readonly offset: number } | undefined)[] = [];
  const lines = new Map<string, Map<number, number>>();
  linesOf(symbols)?.each((offset, file, line) => {
    const own = lastUpTo(bodies, offset);
    if (own < 0) return;
    const piece = Math.max(lastUpTo(pieces, offset), firstIn(pieces, bodies[own]!));
    const known = starts[own];
    if (known === undefined || offset < known.offset) starts[own] = { file, line, offset };
    let ofFile = lines.get(file);
    if (ofFile === undefined) lines.set(file, (ofFile = new Map()));
    ofFile.set(line, Math.max(ofFile.get(line) ?? 0, counts[piece] ?? 0));
  });
  const exported = new Map(symbols.exports);
  const indices = new Set(bodies.keys().map((own) => importedFunctions + own));
  const named = symbols.names === undefined ? undefined : functionNames(symbols.names, indices);
  const functions = Array.from(bodies, (body, own): CoveredFunction => {
    const index = importedFunctions + own;
    const name = named?.get(index) ?? exported.get(index) ?? `function[${index}]`;
    const { file = "", line = 0 } = starts[own] ?? {};
    return { name: demangle(name), file, line, count: counts[firstIn(pieces, body)] ?? 0 };
  });
  return { lines, functions };
}

function linesOf({ sourceMap, lines, lineStrings, codeStart }: LoadedModule["symbols"]): SourceLines | undefined {
  if (sourceMap !== undefined) return new SourceMapLines(sourceMap);
  return lines === undefined ? undefined : new DebugLines(lines, lineStrings, codeStart);
}

/** Index of the last number up to `wanted` in an ascending list; -1 when all are above. */
function lastUpTo(list: Uint32Array, wanted: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle]! <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Index of the first number from `wanted` on. */
function firstIn(list: Uint32Array, wanted: number): number {
  return lastUpTo(list, wanted - 1) + 1;
}
