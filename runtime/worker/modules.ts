/** Compiles the code of all plugins on the main thread, each distinct one once for all workers. */
import { isAbsolute } from "node:path";
import type { PluginConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { GUEST_PAGE_BYTES } from "../limits.ts";
import { absentModule } from "../wasm/module/absent.ts";
import type { HardenOptions } from "../wasm/module/hardened.ts";
import { loadModule } from "../wasm/module/module.ts";
import type { LoadedModule } from "../wasm/module/module.ts";
import { readModuleFile } from "../wasm/module/module-file.ts";
import { filesBeside } from "../wasm/module/symbols-beside.ts";

/** Compiled modules, and for each plugin which one is its code. */
export interface ModuleTable {
  readonly modules: readonly LoadedModule[];
  readonly moduleOfPlugin: readonly number[];
}

/** Lets a plugin have its code, or throws ProxyError. */
export type Approval = (plugin: PluginConfig, bytes: Uint8Array) => void;

/**
 * `more`: how a test wants modules hardened. `fetched`: code from the network by its SHA-256; plugins whose code is not there get an absent module. Throws ProxyError:
 * what readModuleFile and loadModule throw.
 */
export function loadModules(
  plugins: readonly PluginConfig[],
  fetched: ReadonlyMap<string, Uint8Array> = new Map(),
  approve: Approval = () => {},
  more: Partial<HardenOptions> = {},
): ModuleTable {
  const modules: LoadedModule[] = [];
  const codes: (Uint8Array | undefined)[] = [];
  const indexOf = new Map<string, number>();
  const moduleOfPlugin = plugins.map((plugin) => {
    const { name, code, memoryBytes } = plugin;
    const options = { memoryPages: memoryBytes / GUEST_PAGE_BYTES, ...more };
    const source = sourceOf(code);
    // The bound of its memory is part of a module once it is compiled.
    const key = `${options.memoryPages} ${source}`;
    let index = indexOf.get(key);
    if (index === undefined) {
      index = modules.length;
      indexOf.set(key, index);
      const bytes = readCode(name, code, fetched);
      codes.push(bytes);
      if (bytes !== undefined) approve(plugin, bytes);
      modules.push(load(plugin, bytes, options));
    } else {
      const bytes = codes[index];
      if (bytes !== undefined) approve(plugin, bytes);
    }
    return index;
  });
  return { modules, moduleOfPlugin };
}

/** Compiles code that came while the proxy runs. `origin` names it in errors; its source map may lie beside a file. Throws what loadModule throws. */
export function compileFor(memoryBytes: number, bytes: Uint8Array, origin: string): LoadedModule {
  const beside = isAbsolute(origin) ? filesBeside(origin) : undefined;
  return loadModule(bytes, origin, { memoryPages: memoryBytes / GUEST_PAGE_BYTES }, beside);
}

/** What tells code apart from other code. */
function sourceOf(code: PluginConfig["code"]): string {
  switch (code.kind) {
    case "file":
      return code.path;
    case "inline":
      return `inline ${Buffer.from(code.bytes).toString("latin1")}`;
    case "remote":
      return `remote ${code.sha256} ${code.uri}`;
  }
}

function load({ name, code }: PluginConfig, bytes: Uint8Array | undefined, options: HardenOptions): LoadedModule {
  switch (code.kind) {
    case "file":
      return loadModule(bytes!, code.path, options, filesBeside(code.path));
    case "inline":
      return loadModule(code.bytes, `inline code of ${name}`, options);
    case "remote":
      return bytes === undefined ? absentModule(code) : loadModule(bytes, code.uri, options);
  }
}

/** undefined for remote code that is not there. */
function readCode(
  plugin: string,
  code: PluginConfig["code"],
  fetched: ReadonlyMap<string, Uint8Array>,
): Uint8Array | undefined {
  if (code.kind === "inline") return code.bytes;
  if (code.kind === "remote") return fetched.get(code.sha256);
  try {
    return readModuleFile(code.path);
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    const why = error.message.slice(error.code.length + 2);
    throw new ProxyError(error.code, "config", `plugin ${plugin}: ${why}`, error);
  }
}
