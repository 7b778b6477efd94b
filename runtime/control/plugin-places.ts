/**
 * Plugins of one configuration found again in the next. A plugin has a number for as long as the process lives and
 * configurations have it, wherever it stands among the others: chains name it by that, so that one which comes, goes or
 * moves changes nothing for the rest.
 */
import { renumberPlugins } from "../config/plugin-uses.ts";
import { sameConfig } from "../config/same.ts";
import type { ListenerConfig, PluginConfig, Snapshot } from "../config/snapshot.ts";

/** The plugins in force. */
export interface PlacesInForce {
  /** Numbers in the order of the configuration. */
  readonly order: readonly number[];
  readonly listeners: readonly ListenerConfig[];
  readonly config: (place: number) => PluginConfig;
  /** A number that no plugin has had. */
  readonly free: number;
}

/** A configuration whose listeners name plugins by those numbers; `order[n]` is that of its n-th plugin. */
export interface Placed {
  readonly snapshot: Snapshot;
  readonly order: readonly number[];
}

/** Finds each plugin: one of the same name in the same place of a chain, else with the same configuration, else the next of its name. */
export function placePlugins(read: Snapshot, before: PlacesInForce): Placed {
  const left = new Set(before.order);
  const order: number[] = Array.from({ length: read.plugins.length });
  const usesBefore = usesOf(before.listeners);
  const uses = usesOf(read.listeners);
  const rounds: readonly ((index: number, place: number) => boolean)[] = [
    (index, place) => uses.get(index) === usesBefore.get(place),
    (index, place) => sameConfig(read.plugins[index], before.config(place)),
    () => true,
  ];
  const open = new Set(read.plugins.keys());
  for (const fits of rounds) {
    for (const index of open) {
      const config = read.plugins[index]!;
      const found = [...left].find((place) => sameName(config, before.config(place)) && fits(index, place));
      if (found === undefined) continue;
      order[index] = found;
      left.delete(found);
      open.delete(index);
    }
  }
  let next = before.free;
  for (const index of open) order[index] = next++;
  return { snapshot: { ...read, listeners: renumberPlugins(read.listeners, (index) => order[index]!) }, order };
}

function sameName(a: PluginConfig, b: PluginConfig): boolean {
  return a.name === b.name && a.filterName === b.filterName && a.service === b.service;
}

/** Where each plugin stands; one that stands nowhere is a service. */
function usesOf(listeners: readonly ListenerConfig[]): ReadonlyMap<number, string> {
  const uses = new Map<number, string>();
  renumberPlugins(listeners, (plugin, use) => {
    uses.set(plugin, use);
    return plugin;
  });
  return uses;
}
