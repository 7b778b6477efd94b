/**
 * Configurations of plugins whose type only the plugin's own module knows: reads the schemas that modules carry
 * and decodes the messages that the first walk had to leave open.
 */
import { readFileSync, statSync } from "node:fs";

import { MAX_MODULE_BYTES } from "../limits.ts";
import { configuredPath } from "./build/data-source.ts";
import { Decoder, type PendingAny } from "./document/decode.ts";
import { Message } from "./document/message.ts";
import { nearest } from "./document/suggest.ts";
import type { Problems } from "./problem.ts";
import { moduleSchema } from "./schema/artifact.ts";
import type { MessageType, Schema } from "./schema/schema.ts";

/** Schema of a module by the name of its plugin; undefined: the module has none. */
export type LoadedSchemas = ReadonlyMap<string, Schema | undefined>;

interface ResolveOptions {
  readonly problems: Problems;
  readonly schema: Schema;
  readonly allowUnknownFields: boolean;
  /** Instead of what stands in the modules that the configuration names. */
  readonly loaded: LoadedSchemas;
}
/** A plugin whose module carries a schema. */
interface TypedPlugin {
  readonly schema: Schema;
  readonly config: Message;
  /** Name of the HTTP filter around it, "" elsewhere. */
  readonly filterName: string;
}

const PLUGIN_CONFIG = "envoy.extensions.wasm.v3.PluginConfig";

export interface ResolvedPlugins {
  /** Where a message type was found. */
  readonly schemaOf: (type: MessageType) => Schema;
  /** Names of plugins whose configuration is of a type that comes with their module, which is not here yet. */
  readonly typesWanted: readonly string[];
}

/** Decodes the open messages; those of no known type are reported. */
export function resolvePlugins(
  bootstrap: Message,
  pending: readonly PendingAny[],
  options: ResolveOptions,
): ResolvedPlugins {
  const { problems, schema, loaded } = options;
  const plugins: TypedPlugin[] = [];
  const modules = new Map<string, Schema | undefined>();
  /** Plugins whose module is not here yet, by the path of their configuration. */
  const remote = new Map<string, string>();
  const typesWanted = new Set<string>();
  collect(bootstrap, "", (config, filterName) => {
    const name = config.text("name");
    const known = loaded.has(name);
    const own = known ? loaded.get(name) : schemaOfPlugin(config, modules, problems);
    if (own !== undefined) plugins.push({ schema: own, config, filterName });
    else if (!known && config.message("vm_config")?.message("code")?.has("remote") === true)
      remote.set(`${config.path}.`, name);
  });
  const owners = new Map<string, Schema>();
  for (const open of pending) {
    const found = plugins.filter((plugin) => plugin.schema.message(open.typeName) !== undefined);
    const owner =
      found.find((plugin) => open.any.path.startsWith(`${plugin.config.path}.`)) ??
      found.find((plugin) => isOverride(open, plugin)) ??
      found[0];
    const [, waiting] = [...remote].find(([path]) => open.any.path.startsWith(path)) ?? [];
    if (owner === undefined && waiting !== undefined) {
      typesWanted.add(waiting);
      open.any.markFailed("type_url");
      const text = `${open.typeName} comes with the module: it is checked once that has been fetched`;
      problems.warn(open.typeAt, `${open.any.path}["@type"]`, "module-type", text);
    } else if (owner === undefined) unknownType(open, options, plugins);
    else resolve(open, owner.schema, options);
  }
  for (const plugin of plugins)
    for (const name of plugin.schema.names()) if (schema.message(name) === undefined) owners.set(name, plugin.schema);
  return { schemaOf: (type) => owners.get(type.name) ?? schema, typesWanted: [...typesWanted] };
}

function resolve(open: PendingAny, own: Schema, options: ResolveOptions): void {
  const decoder = new Decoder(own, options.problems, { allowUnknownFields: options.allowUnknownFields });
  decoder.resolve(open);
  for (const inner of decoder.pending) unknownType(inner, options, []);
}

/** True when the message stands in `typed_per_filter_config` under the name of the plugin's filter. */
function isOverride(open: PendingAny, plugin: TypedPlugin): boolean {
  return (
    plugin.filterName !== "" && open.any.path.includes(`typed_per_filter_config[${JSON.stringify(plugin.filterName)}]`)
  );
}

function unknownType(open: PendingAny, { problems, schema }: ResolveOptions, plugins: readonly TypedPlugin[]): void {
  const names = new Set([...schema.names(), ...plugins.flatMap((plugin) => plugin.schema.names())]);
  const short = (name: string): string => name.slice(name.lastIndexOf(".") + 1);
  const near = nearest(open.typeName, names) ?? [...names].find((name) => short(name) === short(open.typeName));
  const advice = near === undefined ? "" : `; did you mean "${near}"?`;
  const text = `unknown type ${open.typeName}${advice}`;
  open.any.markFailed("type_url");
  problems.error(open.typeAt, `${open.any.path}["@type"]`, "unknown-type", text);
}

function collect(message: Message, filterName: string, found: (config: Message, filterName: string) => void): void {
  if (message.type.name === PLUGIN_CONFIG && message.has("vm_config")) found(message, filterName);
  if (message.any !== undefined) collect(message.any, filterName, found);
  const inner = message.type.name.endsWith(".HttpFilter") ? message.text("name") : filterName;
  for (const { value } of message.slots.values()) {
    const members = Array.isArray(value) ? value : value instanceof Map ? value.values() : [value];
    for (const member of members) if (member instanceof Message) collect(member, inner, found);
  }
}

/** Reads the schema off the module's bytes; a missing file is reported by the builder of the plugin. */
function schemaOfPlugin(
  config: Message,
  modules: Map<string, Schema | undefined>,
  problems: Problems,
): Schema | undefined {
  const local = config.message("vm_config")?.message("code")?.message("local");
  if (local === undefined) return undefined;
  const field = local.which("specifier") ?? "";
  const path = field === "filename" ? configuredPath(local, field) : undefined;
  if (path !== undefined && modules.has(path)) return modules.get(path);
  let schema: Schema | undefined;
  try {
    const bytes = path === undefined ? inlineCode(local) : readModule(path);
    schema = bytes === undefined ? undefined : moduleSchema(bytes);
  } catch (error) {
    problems.error(
      local.spot(field),
      local.pathOf(field),
      "module",
      error instanceof Error ? error.message : String(error),
    );
  }
  if (path !== undefined) modules.set(path, schema);
  return schema;
}

function inlineCode(local: Message): Uint8Array | undefined {
  return (
    local.bytes("inline_bytes") ?? (local.has("inline_string") ? Buffer.from(local.text("inline_string")) : undefined)
  );
}

function readModule(path: string): Uint8Array | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  if (!stats.isFile()) throw new Error(`${path} is not a file`);
  if (stats.size > MAX_MODULE_BYTES) throw new Error(`${path} has ${stats.size} bytes, more than ${MAX_MODULE_BYTES}`);
  return readFileSync(path);
}
