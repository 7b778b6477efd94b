/** The compiler's mistakes as an author reads them: their place, names as they were written, and the way to write it instead. */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join, posix, relative } from "node:path";
import type { DiagnosticMessage } from "assemblyscript/asc";
import type { Program } from "assemblyscript/dist/assemblyscript.js";
import { adviceFor } from "./advice.ts";
import { nearest } from "./nearest.ts";
import { readSource, sourcePath } from "./read-source.ts";
import type { FilterSource } from "./source.ts";

interface Told {
  /** `file:line:column`, or the file alone. */
  readonly place: string;
  readonly text: string;
  readonly advice: string | undefined;
}

/** Follows from other mistakes more often than not: what could not be compiled has no type and no value. */
const CONSEQUENCE = /^A function whose declared type is not 'void' must return a value|does not exist on type 'auto'/;
/** The reader has lost its way in a file, and says so at each of the following tokens. */
const LOST =
  /(?:^|['}>)] )(?:Type|Identifier|Expression|Declaration)? ?expected\.$|^Unexpected token|^A 'return' statement can only/;
/** Members of a class that are listed when one is missing: more would not be read. */
const LISTED_MEMBERS = 14;
/** CommonFlags.Private and Protected of the compiler. */
const HIDDEN = 512 | 1024;

export class Mistakes {
  readonly #filter: FilterSource;
  readonly #repository: string;
  readonly #told: Told[] = [];
  /** What the compiler knows, once it has read the sources. */
  program: Program | undefined;

  constructor(filter: FilterSource, repository: string) {
    this.#filter = filter;
    this.#repository = repository;
  }

  add({ message, range }: DiagnosticMessage): void {
    const source = range?.source?.normalizedPath;
    if (range === null || source === undefined) {
      this.#told.push({ place: this.#shown(this.#filter.entry), text: plainNames(message), advice: undefined });
      return;
    }
    const text = readSource(source, this.#filter, this.#repository) ?? "";
    const lines = text.slice(0, range.start).split("\n");
    const line = lines.length;
    const before = lines.pop() ?? "";
    const end = text.indexOf("\n", range.start);
    const after = text.slice(range.start, end < 0 ? text.length : end);
    const advice = adviceFor({ message, before, after }) ?? this.#fromProgram(message, after, text);
    // The standard library is no file of the author's: it lies in the compiler.
    const file = source.startsWith("~lib/") ? source : this.#shown(sourcePath(source, this.#filter, this.#repository));
    this.#told.push({ place: `${file}:${line}:${before.length + 1}`, text: plainNames(message), advice });
  }

  get none(): boolean {
    return this.#told.length === 0;
  }

  /** A mistake that the compiler does not see. */
  addOwn(
    place: { readonly source: string; readonly line: number; readonly column: number } | null,
    text: string,
  ): void {
    const entry = this.#shown(this.#filter.entry);
    const shown =
      place === null
        ? entry
        : `${this.#shown(sourcePath(place.source, this.#filter, this.#repository))}:${place.line}:${place.column}`;
    this.#told.push({ place: shown, text, advice: undefined });
  }

  /** The same, where the author's sources have this text. */
  addFound(program: Program, pattern: RegExp, text: string): void {
    for (const file of program.filesByName.keys()) {
      if (!file.startsWith(`${this.#filter.mount}/`)) continue;
      const source = readSource(`${file}.ts`, this.#filter, this.#repository) ?? "";
      const start = source.search(pattern);
      if (start < 0) continue;
      this.add({ message: text, category: 3, range: { start, source: { normalizedPath: `${file}.ts` } } });
      return;
    }
    this.addOwn(null, text);
  }

  /** One `file:line:column: text` line per mistake, with its advice below; "" when there is none. */
  toString(): string {
    return this.#worthTelling()
      .map(({ place, text, advice }) => `${place}: ${text}${advice === undefined ? "" : `\n    ${advice}`}`)
      .join("\n");
  }

  /** One per place if that has advice, none inside the library beside others, and no consequences of others. */
  #worthTelling(): Told[] {
    const advised = new Set<string>();
    const all = this.#told.filter((one) => {
      if (advised.has(one.place)) return false;
      const best = this.#told.find(({ place, advice }) => place === one.place && advice !== undefined);
      if (best !== undefined) advised.add(one.place);
      return true;
    });
    const chosen = all.map(
      (one) => this.#told.find(({ place, advice }) => place === one.place && advice !== undefined) ?? one,
    );
    const files = new Set<string>();
    const causes = chosen.filter(({ place, text, advice }) => {
      const file = place.replace(/:\d+:\d+$/, "");
      const lost = advice === undefined && LOST.test(text) && files.has(file);
      files.add(file);
      return !lost && !place.startsWith("~lib/") && !CONSEQUENCE.test(text);
    });
    return causes.length > 0 ? causes : chosen;
  }

  #shown(path: string): string {
    return relative(process.cwd(), path);
  }

  // ---- what only the program and the SDK know ---------------------------------------------------

  #fromProgram(message: string, after: string, text: string): string | undefined {
    const [, property, type] = /^Property '(\w+)' does not exist on type '([^'<]+)/.exec(message) ?? [];
    if (property !== undefined && type !== undefined) return this.#members(property, type);
    const [, name] = /^Cannot find name '(\w+)'/.exec(message) ?? [];
    if (name !== undefined) return this.#home(name) ?? misspeltName(name, text);
    if (message.startsWith("This member cannot have an 'override' modifier")) {
      const meant = nearest(/^\w+/.exec(after)?.[0] ?? "", this.#contextMethods());
      return meant === undefined
        ? "There is no such callback; sluice/filters/sdk/context.ts has all of them."
        : `There is no such callback; did you mean \`${meant}\`?`;
    }
    return undefined;
  }

  #members(property: string, type: string): string | undefined {
    const members: string[] = [];
    const seen = new Set<ClassElement>();
    for (let element = classNamed(this.program, type); element && !seen.has(element); element = element.basePrototype) {
      seen.add(element);
      for (const [name, { flags }] of element.instanceMembers ?? [])
        if ((flags & HIDDEN) === 0 && /^[a-z]/.test(name) && name !== "constructor") members.push(name);
    }
    if (members.length === 0 || members.includes(property)) return undefined;
    if (members.length <= LISTED_MEMBERS) return `It has ${members.map((one) => `\`${one}\``).join(", ")}.`;
    const meant = nearest(property, members);
    return meant === undefined ? undefined : `Did you mean \`${meant}\`?`;
  }

  #contextMethods(): string[] {
    return ["StreamContext", "RootContext", "Context"].flatMap((name) => [
      ...(classNamed(this.program, `filters/sdk/context/${name}`)?.instanceMembers?.keys() ?? []),
    ]);
  }

  /** Where the SDK declares a name that was not imported. */
  #home(name: string): string | undefined {
    for (const folder of ["filters/sdk", "abi"]) {
      for (const file of readdirSync(join(this.#repository, folder)).sort()) {
        if (!file.endsWith(".ts") || file.endsWith(".d.ts")) continue;
        if (basename(file, ".ts") === name)
          return `Import it: \`import * as ${name} from "sluice/${folder}/${file}";\`.`;
        const text = readFileSync(join(this.#repository, folder, file), "utf8");
        const declared = new RegExp(
          `^export (?:abstract )?(?:class|interface|function|const|let|type) ${name}\\b`,
          "m",
        );
        if (declared.test(text)) return `Import it: \`import { ${name} } from "sluice/${folder}/${file}";\`.`;
      }
    }
    return undefined;
  }
}

/** Names that a source has elsewhere: a short one is near to too many. */
function misspeltName(name: string, text: string): string | undefined {
  if (name.length < 4) return undefined;
  const others = new Set(text.match(/\b[A-Za-z_]\w{2,}\b/g));
  others.delete(name);
  const meant = nearest(name, others);
  return meant === undefined ? undefined : `Did you mean \`${meant}\`?`;
}

interface ClassElement {
  readonly basePrototype?: ClassElement | null;
  readonly instanceMembers?: ReadonlyMap<string, { readonly flags: number }> | null;
}

function classNamed(program: Program | undefined, name: string): ClassElement | null | undefined {
  return program?.elementsByName.get(name) as ClassElement | undefined;
}

/** The compiler names everything by file and class; an author by what stands in the source. */
export function plainNames(message: string): string {
  return message
    .replace(/^Module '([^']+)'/, (_all, module: string) => `Module '${importPath(`${module}.ts`)}'`)
    .replaceAll(/~?[\w.-]+(?:\/[\w.:@-]+)+(?:[#~]\w+)*/g, (path) =>
      path.endsWith(".ts") ? importPath(path) : short(path),
    );
}

/** As one would write it in an `import`. */
function importPath(path: string): string {
  if (path.startsWith("~lib/")) return path.slice("~lib/".length).replace(/\.ts$/, "");
  if (path.startsWith("sluice/")) return path;
  if (/^(?:filters\/sdk|abi)\//.test(path)) return `sluice/${path}`;
  return `./${posix.basename(path)}`;
}

/** `a/b/Class#method~local` is `local`, `a/b/Class#method` is `Class.method`. */
function short(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (path === "~lib/string/String") return "string";
  return name.includes("~") ? name.slice(name.lastIndexOf("~") + 1) : name.replace("#", ".");
}
