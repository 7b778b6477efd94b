/** Builds filters to `build/filters/<name>.wasm`: generates message classes, compiles, adds the artifact's sections, caches. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { currentArtifact, inputKey, rememberArtifact, writeWhole } from "./cache.ts";
import type { Manifest } from "./sections.ts";
import { filterFolders, type FilterSource, readFilterFolder } from "./source.ts";

const REPOSITORY = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

export interface BuildOptions {
  /**
   * "release", the default, is optimised; "debug" is not, and carries its source map inside. Both keep the names of
   * functions, and have the source map beside them.
   */
  readonly target?: "release" | "debug";
  /** Where modules go; default: `build/filters` (debug: `build/filters-debug`) for the bundled ones, `build` (`build/debug`) in its own folder for another. */
  readonly outFolder?: string;
  /** Builds although nothing has changed. */
  readonly force?: boolean;
}

export interface BuildResult {
  readonly name: string;
  /** Absolute path of the module. */
  readonly path: string;
  /** Bytes of the module. */
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** True when nothing had to be done. */
  readonly cached: boolean;
  readonly milliseconds: number;
}

/** Builds every filter of the repository in this process. Throws after the last one, with the mistakes of all that do not compile. */
export async function buildFilters(options: BuildOptions = {}): Promise<BuildResult[]> {
  const results: BuildResult[] = [];
  const mistakes: string[] = [];
  for (const folder of filterFolders(REPOSITORY)) {
    try {
      results.push(await buildFilter(folder, options));
    } catch (error) {
      mistakes.push(error instanceof Error ? error.message : String(error));
    }
  }
  if (mistakes.length > 0) throw new Error(mistakes.join("\n"));
  return results;
}

/** Builds the filter in one folder, which may lie anywhere. Throws `CompileError` with file:line:column texts, or an Error for a wrong folder or `.proto`. */
export async function buildFilter(path: string, options: BuildOptions = {}): Promise<BuildResult> {
  const started = performance.now();
  const target = options.target ?? "release";
  const filter = readFilterFolder(path, REPOSITORY);
  const outFolder = options.outFolder ?? defaultFolder(filter, target);
  const out = join(outFolder, `${filter.name}.wasm`);
  const key = inputKey(filter, REPOSITORY, target);
  const known = options.force === true || !hasMessages(filter) ? undefined : currentArtifact(out, key);
  if (known !== undefined) {
    return { name: filter.name, path: out, ...known, cached: true, milliseconds: performance.now() - started };
  }
  const bytes = await makeArtifact(filter, target, out, key);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  writeWhole(out, bytes);
  rememberArtifact(out, key, { size: bytes.length, sha256 });
  const milliseconds = performance.now() - started;
  return { name: filter.name, path: out, size: bytes.length, sha256, cached: false, milliseconds };
}

function defaultFolder({ folder }: FilterSource, target: string): string {
  if (dirname(folder) === join(REPOSITORY, "filters"))
    return join(REPOSITORY, "build", target === "debug" ? "filters-debug" : "filters");
  return target === "debug" ? join(folder, "build", "debug") : join(folder, "build");
}

/** Compiler and descriptor code are loaded only when something has to be built: a run without change stays short. */
async function makeArtifact(filter: FilterSource, target: string, out: string, source: string): Promise<Uint8Array> {
  const schema = await makeSchema(filter);
  const { compileFilter } = await import("./compile.ts");
  const { appendSection, MANIFEST_SECTION, SCHEMA_SECTION, SOURCE_MAP_SECTION } = await import("./sections.ts");
  const compiled = await compileFilter(filter, REPOSITORY, target);
  const sourceMap = Buffer.from(compiled.sourceMap);
  writeWhole(`${out}.map`, sourceMap);
  const manifest = Buffer.from(JSON.stringify(describeModule(filter, compiled.wasm, source, schema?.configuration)));
  let bytes = appendSection(compiled.wasm, MANIFEST_SECTION, manifest);
  if (schema !== undefined) bytes = appendSection(bytes, SCHEMA_SECTION, schema.descriptorSet);
  if (target === "debug") bytes = appendSection(bytes, SOURCE_MAP_SECTION, sourceMap);
  return bytes;
}

/** False when the generated classes, which the type checker and editors need, are gone. */
function hasMessages(filter: FilterSource): boolean {
  const none = filter.proto === undefined && filter.description.protos === undefined;
  return none || existsSync(join(filter.folder, `${filter.name}.pb.ts`));
}

interface Schema {
  readonly configuration: string;
  readonly descriptorSet: Uint8Array;
}

/** Writes `<name>.pb.ts` beside the filter and gives the schema of its configuration; undefined without any `.proto`. */
async function makeSchema(filter: FilterSource): Promise<Schema | undefined> {
  const files = [...(filter.proto === undefined ? [] : [`${filter.name}.proto`]), ...(filter.description.protos ?? [])];
  if (files.length === 0) return undefined;
  const { firstMessage, loadProtos, protoFolders, reachable } = await import("./proto.ts");
  const { generateMessages } = await import("./messages.ts");
  const { descriptorSet } = await import("./descriptor.ts");
  const { checkedProto, checkedNames, placedMistake, ProtoError } = await import("./proto-mistakes.ts");
  const folders = [filter.folder, ...protoFolders(REPOSITORY)];
  checkedNames(filter, folders);
  const own = files.map((file) => join(filter.folder, file)).filter((path) => existsSync(path));
  const texts = own.map((path) => checkedProto(path, folders));
  try {
    const set = loadProtos(files, folders);
    const configuration = filter.description.configuration ?? firstMessage(set, files[0]!);
    const messages = reachable(set, [configuration, ...(filter.description.messages ?? [])]);
    const sdk = filter.outside ? "sluice/filters/sdk" : relative(filter.folder, join(REPOSITORY, "filters", "sdk"));
    const schema = descriptorSet(set, reachable(set, [configuration]), files);
    const source = generateMessages(messages, files.join(", "), sdk);
    writeWhole(join(filter.folder, `${filter.name}.pb.ts`), Buffer.from(source));
    return { configuration, descriptorSet: schema };
  } catch (error) {
    throw new ProtoError(placedMistake(error instanceof Error ? error.message : String(error), texts), {
      cause: error,
    });
  }
}

function describeModule(
  filter: FilterSource,
  wasm: Uint8Array,
  source: string,
  configuration: string | undefined,
): Manifest {
  const module = new WebAssembly.Module(new Uint8Array(wasm));
  const { description } = filter;
  const callbacks = WebAssembly.Module.exports(module)
    .map((entry) => entry.name)
    .filter((name) => /^(?:proxy|sluice)_on_/.test(name) && name !== "proxy_on_memory_allocate")
    .sort();
  return {
    name: filter.name,
    version: description.version ?? "0.0.0",
    description: description.description ?? "",
    license: description.license ?? "",
    abi: "0.2.1",
    kinds: kindsOf(callbacks),
    callbacks,
    imports: WebAssembly.Module.imports(module)
      .map((entry) => `${entry.module}.${entry.name}`)
      .sort(),
    ...(configuration === undefined ? {} : { configuration }),
    ...(description.isolation === undefined ? {} : { isolation: description.isolation }),
    ...(description.metrics === undefined ? {} : { metrics: description.metrics }),
    ...(description.revision === undefined ? {} : { revision: description.revision }),
    source,
    compiler: `assemblyscript ${compilerVersion()}`,
  };
}

/** Read off the callbacks, as a host does. */
function kindsOf(callbacks: readonly string[]): Manifest["kinds"] {
  const has = (pattern: RegExp): boolean => callbacks.some((name) => pattern.test(name));
  return [
    ...(has(/_on_(?:request|response)_/) ? (["http"] as const) : []),
    ...(has(/_on_(?:new_connection|(?:down|up)stream_)/) ? (["network"] as const) : []),
  ];
}

function compilerVersion(): string {
  const path = join(REPOSITORY, "node_modules", "assemblyscript", "package.json");
  return (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
}
