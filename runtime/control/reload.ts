/** What a changed configuration changes, and whether that can be done while the proxy runs. */
import { isDeepStrictEqual } from "node:util";
import type { PluginConfig, Snapshot } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";

/** Parts of a snapshot that stand for as long as the process runs, and how people call them. */
const FIXED: readonly (readonly [part: keyof Snapshot, name: string])[] = [
  ["node", "node"],
  ["admin", "admin"],
  ["listeners", "a listener, its filter chains or its routes"],
  ["clusters", "a cluster"],
  ["runtime", "layered_runtime"],
  ["registries", "registries"],
  ["trust", "trust"],
  ["codeCache", "code_cache"],
];

/**
 * Indices of the plugins whose configuration is another one; `live` is what serves now.
 * Throws ProxyError RELOAD_REFUSED naming everything that a running proxy cannot change.
 */
export function changedPlugins(before: Snapshot, after: Snapshot, live: (index: number) => PluginConfig): number[] {
  const refused = FIXED.flatMap(([part, name]) => (isDeepStrictEqual(before[part], after[part]) ? [] : [name]));
  if (before.plugins.length !== after.plugins.length) refused.push("how many plugins there are");
  if (refused.length > 0) {
    const list = refused.join("; ");
    throw new ProxyError(
      "RELOAD_REFUSED",
      "config",
      `only configurations of plugins and of hot load can change while the proxy runs; for this it must be started anew: ${list}`,
    );
  }
  return after.plugins.flatMap((config, index) => (isDeepStrictEqual(config, live(index)) ? [] : [index]));
}
