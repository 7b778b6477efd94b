/** A filter's folder: `<name>/<name>.ts`, perhaps `<name>.proto` and `filter.json`. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { nearest } from "./nearest.ts";

/** What filter.json may say; every field is optional. */
export interface FilterDescription {
  readonly version?: string;
  readonly description?: string;
  readonly license?: string;
  /** Who should share an instance: `worker` (all streams of a thread), `connection` or `stream`. */
  readonly isolation?: string;
  /** Metrics that the filter may define: for those who read the artifact. */
  readonly metrics?: readonly string[];
  /** A name for the state of the source: a tag, a commit. */
  readonly revision?: string;
  /** Full name of the configuration message; default: the first message of `<name>.proto`. */
  readonly configuration?: string;
  /** `.proto` files to read besides `<name>.proto`, by import path. */
  readonly protos?: readonly string[];
  /** Further messages to generate classes for, by full name. */
  readonly messages?: readonly string[];
}

export interface FilterSource {
  readonly name: string;
  /** Absolute. */
  readonly folder: string;
  /** The folder as the compiler sees it, relative to the repository; folders elsewhere seem to lie in it under their own name. */
  readonly mount: string;
  /** It lies elsewhere. */
  readonly outside: boolean;
  readonly entry: string;
  readonly proto: string | undefined;
  readonly description: FilterDescription;
}

const TEXTS = new Set(["version", "description", "license", "isolation", "revision", "configuration"]);
const LISTS = new Set(["metrics", "protos", "messages"]);
const ISOLATIONS = new Set<unknown>([undefined, "worker", "connection", "stream"]);

/** Folders of the repository, which a filter elsewhere may be named like. */
const TAKEN: ReadonlySet<string> = new Set(["abi", "build", "filters", "node_modules", "runtime", "samples", "test"]);

/** The filter in a folder. Throws when its main file is missing or its filter.json is not right. */
export function readFilterFolder(path: string, repository: string): FilterSource {
  const folder = resolve(path);
  const name = basename(folder);
  const entry = join(folder, `${name}.ts`);
  if (!existsSync(entry))
    throw new Error(
      `${relative(process.cwd(), entry)}: not found: a filter's main file is named like its folder; sluice new makes one`,
    );
  const within = relative(repository, folder);
  const proto = join(folder, `${name}.proto`);
  const outside = within.startsWith("..");
  return {
    name,
    folder,
    mount: outside ? (TAKEN.has(name) ? `mounted/${name}` : name) : within,
    outside,
    entry,
    proto: existsSync(proto) ? proto : undefined,
    description: readDescription(join(folder, "filter.json")),
  };
}

/** True when a folder holds a filter. */
export function isFilterFolder(path: string): boolean {
  const folder = resolve(path);
  return existsSync(join(folder, `${basename(folder)}.ts`));
}

/** Folders below `filters/` that hold a filter, sorted. */
export function filterFolders(repository: string): string[] {
  const filters = join(repository, "filters");
  return readdirSync(filters)
    .filter((name) => isFilterFolder(join(filters, name)) && name !== "build")
    .sort()
    .map((name) => join(filters, name));
}

function readDescription(file: string): FilterDescription {
  if (!existsSync(file)) return {};
  const path = relative(process.cwd(), file);
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const [, what = message, line, column] =
      /^(.*?) in JSON at position \d+ \(line (\d+) column (\d+)\)$/.exec(message) ?? [];
    throw new Error(`${path}${line === undefined ? "" : `:${line}:${column}`}: ${what}`, { cause });
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) throw new Error(`${path}: no object`);
  for (const [field, value] of Object.entries(parsed)) {
    const list = LISTS.has(field);
    const right = list
      ? Array.isArray(value) && value.every((item) => typeof item === "string")
      : typeof value === "string";
    if (!list && !TEXTS.has(field)) {
      const meant = nearest(field, [...TEXTS, ...LISTS]);
      throw new Error(`${path}: unknown field "${field}"${meant === undefined ? "" : `; did you mean "${meant}"?`}`);
    }
    if (!right) throw new Error(`${path}: "${field}" is no ${list ? "list of strings" : "string"}`);
  }
  const { isolation } = parsed as FilterDescription;
  if (!ISOLATIONS.has(isolation)) {
    throw new Error(`${path}: "isolation" is "${isolation}", not worker, connection or stream`);
  }
  return parsed;
}
