/** What a changed configuration changes, and whether that can be done while the proxy runs. */
import { isDeepStrictEqual } from "node:util";
import { sameConfig } from "../config/same.ts";
import type { PluginConfig, Snapshot } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";

/** Parts of a snapshot that a running proxy changes, or need not look at. All others stand for as long as it runs. */
const CHANGEABLE: ReadonlySet<string> = new Set<keyof Snapshot>(["listeners", "plugins", "hotLoad", "dump"]);
/** How people call the others, where that is another word. */
const NAMES: Readonly<Record<string, string>> = {
  clusters: "a cluster",
  runtime: "layered_runtime",
  codeCache: "code_cache",
  maxDownstreamConnections: "the overload manager",
};

export interface Changes {
  /** Indices of plugins whose configuration is another one. */
  readonly plugins: readonly number[];
  readonly listeners: boolean;
}

/**
 * `live` is the configuration of a plugin that serves now.
 * Throws ProxyError RELOAD_REFUSED naming everything that a running proxy cannot change.
 */
export function changesOf(before: Snapshot, after: Snapshot, live: (index: number) => PluginConfig): Changes {
  const parts = new Set([...Object.keys(before), ...Object.keys(after)] as (keyof Snapshot)[]);
  const refused: string[] = [];
  for (const part of parts) {
    if (!CHANGEABLE.has(part) && !sameConfig(before[part], after[part])) refused.push(NAMES[part] ?? part);
  }
  // Filter chains know plugins by their number.
  const places = ({ plugins }: Snapshot): unknown[] =>
    plugins.map(({ name, filterName, service }) => [name, filterName, service]);
  if (!isDeepStrictEqual(places(before), places(after))) refused.push("which plugins there are, or their order");
  if (refused.length > 0) {
    throw new ProxyError(
      "RELOAD_REFUSED",
      "config",
      `listeners, routes and the configurations of plugins can change while the proxy runs; for this it must be started anew: ${refused.join("; ")}`,
    );
  }
  return {
    plugins: after.plugins.flatMap((config, index) => (isDeepStrictEqual(config, live(index)) ? [] : [index])),
    listeners: !sameConfig(before.listeners, after.listeners),
  };
}

/** True when a plugin cannot go on with the module that it has: the bound of its memory is part of that once it is compiled. */
export function needsCode(live: PluginConfig, config: PluginConfig): boolean {
  return JSON.stringify(config.code) !== JSON.stringify(live.code) || config.memoryBytes !== live.memoryBytes;
}
