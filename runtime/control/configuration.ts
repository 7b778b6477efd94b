/** The configuration's text in force, and how it is read anew: hot loads check plugins against it, reloads replace it. */
import { isDeepStrictEqual } from "node:util";
import type { PluginCode } from "../artifact/plugin-code.ts";
import { moduleSchema } from "../config/schema/artifact.ts";
import type { Schema } from "../config/schema/schema.ts";
import { loadBootstrap } from "../config/load.ts";
import type { LoadOptions } from "../config/load.ts";
import type { LoadedSchemas } from "../config/plugin-types.ts";
import { formatProblem } from "../config/problem.ts";
import type { Source } from "../config/problem.ts";
import type { Snapshot } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";

export interface ConfigurationOrigin {
  /** What the process was started with. */
  readonly sources: readonly Source[];
  /** Reads them again, from wherever they come. Throws ProxyError. */
  readonly reread: () => readonly Source[];
  readonly options: LoadOptions;
}

export class Configuration {
  readonly #origin: ConfigurationOrigin;
  #sources: readonly Source[];

  constructor(origin: ConfigurationOrigin) {
    this.#origin = origin;
    this.#sources = origin.sources;
  }

  /** The snapshot of the text in force with other modules than it names. Throws ProxyError CONFIG_INVALID with every problem. */
  withModules(schemas: LoadedSchemas): Snapshot {
    return this.#load(this.#sources, schemas);
  }

  /** The snapshot of the text as it is now. `accept` it once it is in force. Throws as above. */
  reread(schemas: LoadedSchemas): { readonly snapshot: Snapshot; readonly accept: () => void } {
    const sources = this.#origin.reread();
    return { snapshot: this.#load(sources, schemas), accept: () => (this.#sources = sources) };
  }

  /** The same, with the types that modules bring which have to be fetched first. Rejects with CODE_MISSING when they cannot be had. */
  async rereadWithTypes(
    schemas: LoadedSchemas,
    code: Pick<PluginCode, "fetchAll" | "follow">,
  ): Promise<ReturnType<Configuration["reread"]>> {
    const first = this.reread(schemas);
    const { plugins, typesWanted } = first.snapshot;
    code.follow(first.snapshot);
    if (typesWanted.length === 0) return first;
    const fetched = await code.fetchAll(plugins.filter(({ name }) => typesWanted.includes(name)));
    return this.reread(new Map([...schemas, ...fetchedSchemas(first.snapshot, fetched)]));
  }

  /** Its text is another one than that in force. Throws ProxyError when it cannot be read. */
  isNews(): boolean {
    return !isDeepStrictEqual(this.#origin.reread(), this.#sources);
  }

  #load(sources: readonly Source[], loadedSchemas: LoadedSchemas): Snapshot {
    const { snapshot, errors } = loadBootstrap(sources, { ...this.#origin.options, loadedSchemas });
    if (snapshot !== undefined) return snapshot;
    throw new ProxyError("CONFIG_INVALID", "config", errors.map(formatProblem).join("\n"));
  }
}

/** The schema that a module carries for its configuration. Throws ProxyError MODULE_CORRUPTED; `source` names the module. */
export function schemaIn(bytes: Uint8Array, source: string): Schema | undefined {
  try {
    return moduleSchema(bytes);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ProxyError("MODULE_CORRUPTED", "config", `${source}: ${why}`, error);
  }
}

/** Schemas of the plugins whose configuration waits for them, as far as their modules have been fetched. Throws as above. */
export function fetchedSchemas(
  { plugins, typesWanted }: Pick<Snapshot, "plugins" | "typesWanted">,
  fetched: ReadonlyMap<string, Uint8Array>,
): Map<string, Schema | undefined> {
  const schemas = new Map<string, Schema | undefined>();
  for (const { name, code } of plugins) {
    if (code.kind !== "remote" || !typesWanted.includes(name)) continue;
    const bytes = fetched.get(code.sha256);
    if (bytes !== undefined) schemas.set(name, schemaIn(bytes, code.uri));
  }
  return schemas;
}
