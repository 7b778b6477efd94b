/** What a changed configuration changes, and whether that can be done while the proxy runs. */
import { sameConfig } from "../config/same.ts";
import type { PluginConfig, Snapshot } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { ClusterChange } from "./cluster-change.ts";
import type { ListenerChange } from "./listener-change.ts";
import type { NamedChanges } from "./named-changes.ts";
import type { Plan } from "./load-request.ts";
import type { Placed } from "./plugin-places.ts";
import type { PluginVersions, Version } from "./plugin-versions.ts";

/** Parts of a snapshot that a running proxy changes, or need not look at. All others stand for as long as it runs. */
const CHANGEABLE: ReadonlySet<string> = new Set<keyof Snapshot>([
  "listeners",
  "clusters",
  "plugins",
  "typesWanted",
  "hotLoad",
  "registries",
  "trust",
  "dump",
]);
/** How people call the others, where that is another word. */
const NAMES: Readonly<Record<string, string>> = {
  runtime: "layered_runtime",
  codeCache: "code_cache",
  maxDownstreamConnections: "the overload manager",
};

/** Plugins by number (plugin-places.ts). */
export interface Changes {
  /** Only their configuration is another one, and nothing that is new touches them. */
  readonly changed: readonly number[];
  readonly added: readonly number[];
  /** Those that share a name or a VM with added ones: they are replaced together with them. */
  readonly companions: readonly number[];
  readonly removed: Reload["removed"];
  readonly listeners: boolean;
  readonly clusters: boolean;
  /** Other parts that are other ones, as people call them: they are in force once they are accepted. */
  readonly settings: readonly string[];
  /** Nothing that workers would have to be told; the order of plugins counts. */
  readonly none: boolean;
}

/** Versions of plugins that are built and put in force together. */
export interface Batch {
  readonly id: number;
  readonly versions: readonly Version[];
  readonly plan: Plan;
}

/** A reload that is ready to be carried out. */
export interface Reload {
  readonly placed: Placed;
  readonly batches: readonly Batch[];
  /** Names of plugins that go, and their numbers. */
  readonly removed: readonly { readonly name: string; readonly index: number }[];
  readonly clusters: ClusterChange | undefined;
  readonly listeners: ListenerChange | undefined;
}

/** Settings that only the main thread looks at. */
const SETTINGS = { hotLoad: "hot_load", registries: "registries", trust: "trust" } as const;

/** The line of what has changed there. */
export function settingsLines({ settings }: Changes): string[] {
  return lineOf("settings", { added: [], modified: [...settings], removed: [] });
}

/** What it has changed, a line for each kind of thing. */
export function reloadLines({ batches, removed, clusters, listeners }: Reload): string[] {
  const versions = batches.flatMap((batch) => batch.versions);
  const named = (first: boolean): string[] =>
    versions.filter(({ number }) => (number === 1) === first).map(({ config }) => config.name);
  return [
    ...lineOf("clusters", clusters?.changes),
    ...lineOf("listeners", listeners?.changes),
    ...lineOf("plugins", { added: named(true), modified: named(false), removed: removed.map(({ name }) => name) }),
  ];
}

function lineOf(what: string, changes: NamedChanges | undefined): string[] {
  const parts = Object.entries(changes ?? {}).filter(([, names]) => names.length > 0);
  const texts = parts.map(([how, names]) => `${how}: ${[...new Set(names)].join(", ")}`);
  return texts.length === 0 ? [] : [`${what} ${texts.join("; ")}`];
}

/** Throws ProxyError RELOAD_REFUSED naming everything that a running proxy cannot change. */
export function changesOf(before: Snapshot, { snapshot: after, order }: Placed, versions: PluginVersions): Changes {
  const parts = new Set([...Object.keys(before), ...Object.keys(after)] as (keyof Snapshot)[]);
  const refused: string[] = [];
  for (const part of parts) {
    if (!CHANGEABLE.has(part) && !sameConfig(before[part], after[part])) refused.push(NAMES[part] ?? part);
  }
  if (refused.length > 0) {
    throw new ProxyError(
      "RELOAD_REFUSED",
      "config",
      `listeners, routes, clusters, plugins, registries and keys can change while the proxy runs; for this it must be started anew: ${refused.join("; ")}`,
    );
  }
  const config = (index: number): PluginConfig => after.plugins[order.indexOf(index)]!;
  const known = versions.order;
  const added = order.filter((index) => !known.includes(index));
  const staying = known.filter((index) => order.includes(index));
  const meets = (index: number): boolean =>
    added.some((one) => {
      const [a, b] = [config(one), versions.live(index).config];
      return (a.name !== "" && a.name === b.name) || (a.vmId !== "" && a.vmId === b.vmId);
    });
  const stays = (index: number): boolean => order.includes(index);
  const companions = versions.together(staying.filter(meets)).filter(stays);
  const different = staying.filter((index) => !sameConfig(config(index), versions.live(index).config));
  const changed = versions.together(different).filter((index) => stays(index) && !companions.includes(index));
  const listeners = !sameConfig(before.listeners, after.listeners);
  const clusters = !sameConfig(before.clusters, after.clusters);
  const settings = Object.entries(SETTINGS).flatMap(([part, name]) =>
    sameConfig(before[part as keyof typeof SETTINGS], after[part as keyof typeof SETTINGS]) ? [] : [name],
  );
  return {
    changed,
    added,
    settings,
    companions,
    removed: known
      .filter((index) => !order.includes(index))
      .map((index) => ({ index, name: versions.live(index).config.name })),
    listeners,
    clusters,
    none: changed.length === 0 && !listeners && !clusters && sameConfig(order, known),
  };
}
