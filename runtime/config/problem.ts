/**
 * What is wrong with a configuration and where. Every step of the load (text, fields, rules, cross checks)
 * reports into one list, so that one run shows all problems.
 */
import { MAX_PROBLEMS } from "../limits.ts";

/** A piece of configuration text, and the folder that relative file names in it start from. */
export interface Source {
  readonly name: string;
  readonly text: string;
  /** Absolute folder. */
  readonly base: string;
}

/** A place in a source; line and column are worked out only when a problem is shown. */
export interface Spot {
  readonly source: Source;
  readonly offset: number;
}

/** One finding about the configuration. Errors refuse the whole file, warnings do not. */
export interface Problem {
  readonly severity: "error" | "warning";
  readonly file: string;
  /** Both start at 1; 0 when the finding has no place in a text. */
  readonly line: number;
  readonly column: number;
  /** Field path from the bootstrap, in snake_case. */
  readonly path: string;
  /** Stable kebab-case name of what failed, e.g. `unknown-field`, `string.min_len`. */
  readonly rule: string;
  /** What is wrong and what to do. */
  readonly message: string;
}

/** The collector that the steps of one load share. */
export class Problems {
  readonly errors: Problem[] = [];
  readonly warnings: Problem[] = [];

  error(at: Spot | undefined, path: string, rule: string, message: string): void {
    if (this.errors.length < MAX_PROBLEMS) this.errors.push(problem("error", at, { path, rule, message }));
  }

  warn(at: Spot | undefined, path: string, rule: string, message: string): void {
    if (this.warnings.length < MAX_PROBLEMS) this.warnings.push(problem("warning", at, { path, rule, message }));
  }

  /** Errors and warnings in the order of the text, without repetitions. */
  sort(): void {
    sortInPlace(this.errors);
    sortInPlace(this.warnings);
  }
}

/** `file:line:col: error: path: message [rule]`. */
export function formatProblem(p: Problem): string {
  const place = p.line === 0 ? p.file : `${p.file}:${p.line}:${p.column}`;
  const path = p.path === "" ? "" : `${p.path}: `;
  return `${place === "" ? "" : `${place}: `}${p.severity}: ${path}${p.message} [${p.rule}]`;
}

/** Line and column, both from 1, of an offset in a text. */
export function lineAndColumn(text: string, offset: number): { line: number; column: number } {
  let line = 1;
  let start = 0;
  for (let at = text.indexOf("\n"); at !== -1 && at < offset; at = text.indexOf("\n", at + 1)) {
    line += 1;
    start = at + 1;
  }
  return { line, column: offset - start + 1 };
}

function problem(
  severity: Problem["severity"],
  at: Spot | undefined,
  what: Pick<Problem, "path" | "rule" | "message">,
): Problem {
  const { line, column } = at === undefined ? { line: 0, column: 0 } : lineAndColumn(at.source.text, at.offset);
  return { severity, file: at?.source.name ?? "", line, column, ...what };
}

function sortInPlace(list: Problem[]): void {
  list.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column));
  let kept = 0;
  for (const p of list) {
    const before = list[kept - 1];
    const same =
      before?.line === p.line && before.column === p.column && before.message === p.message && before.path === p.path;
    if (!same) list[kept++] = p;
  }
  list.length = kept;
}
