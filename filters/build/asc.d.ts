/**
 * What this repository uses of AssemblyScript's compiler. The package's own declarations bring the types of
 * guest code into every file's scope (an `Array.at` that never misses, a `console` without `error`), which
 * would make the host's type check weaker; tsconfig.json maps the package to this file.
 */
export interface OutputStream {
  write(chunk: Uint8Array | string): void;
}

export interface MemoryStream extends OutputStream {
  toString(): string;
}

export interface DiagnosticMessage {
  readonly category: number;
  readonly message: string;
  readonly range: { readonly start: number; readonly source: { readonly normalizedPath: string } } | null;
}

/** An object with methods of the compiler's own naming. */
export type Transform = object;

export interface Program {
  readonly elementsByDeclaration: ReadonlyMap<unknown, unknown>;
  /** By internal name: `folder/file/Class`. */
  readonly elementsByName: ReadonlyMap<string, unknown>;
  /** By internal name: `folder/file`. */
  readonly filesByName: ReadonlyMap<string, unknown>;
}

export interface Options {
  readonly stdout?: OutputStream;
  readonly stderr?: OutputStream;
  readonly readFile?: (name: string, baseDir: string) => string | null | Promise<string | null>;
  readonly writeFile?: (name: string, contents: Uint8Array | string, baseDir: string) => void | Promise<void>;
  readonly listFiles?: (folder: string, baseDir: string) => string[] | null;
  readonly reportDiagnostic?: (diagnostic: DiagnosticMessage) => void;
  readonly transforms?: readonly Transform[];
}

export interface Result {
  readonly error: Error | null;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
}

/** Runs the compiler; mistakes of the source are reported and told in the result, not thrown. */
export function main(argv: readonly string[], options?: Options): Promise<Result>;
export function createMemoryStream(): MemoryStream;
declare const asc: { readonly main: typeof main; readonly createMemoryStream: typeof createMemoryStream };
export default asc;
