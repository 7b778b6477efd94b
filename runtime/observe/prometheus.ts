/** Statistics in Prometheus' text format 0.0.4, named and labelled as Envoy does it. */
import { BUCKET_BOUNDS } from "./histogram.ts";
import { extractTags } from "./stat-tags.ts";
import type { Stat } from "./stats-registry.ts";

/** Content-Type of what {@link formatPrometheus} returns. */
export const PROMETHEUS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Names in this namespace lose it and do not get the `envoy_` prefix: guests of Envoy count on that. */
const CUSTOM_NAMESPACE = "wasmcustom.";

interface Group {
  readonly name: string;
  readonly type: Stat["type"];
  /** By labels. */
  readonly series: Map<string, Stat>;
}

/** One group of lines per metric, sorted by name, lines sorted by labels. */
export function formatPrometheus(stats: readonly Stat[]): string {
  const groups = new Map<string, Group>();
  for (const stat of stats) {
    const { name, labels } = identify(stat.name);
    let group = groups.get(name);
    if (group === undefined) groups.set(name, (group = { name, type: stat.type, series: new Map() }));
    // One metric has one type, and one series per set of labels: a scraper would refuse the whole page.
    if (group.type === stat.type && !group.series.has(labels)) group.series.set(labels, stat);
  }
  let out = "";
  for (const { name, type, series } of [...groups.values()].sort((a, b) => compare(a.name, b.name))) {
    out += `# TYPE ${name} ${type}\n`;
    for (const [labels, stat] of [...series].sort(([a], [b]) => compare(a, b))) out += lines(name, labels, stat);
  }
  return out;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const sanitize = (name: string): string => name.replace(/[^A-Za-z0-9_]/g, "_");

function identify(statName: string): { name: string; labels: string } {
  const { name, tags } = extractTags(statName);
  const labels = tags.map(([tag, value]) => `${sanitize(tag)}="${escapeValue(value)}"`).join(",");
  if (!name.startsWith(CUSTOM_NAMESPACE)) return { name: `envoy_${sanitize(name)}`, labels };
  const custom = sanitize(name.slice(CUSTOM_NAMESPACE.length));
  // Nothing in front of it any more: a digit cannot begin a name.
  return { name: /^[A-Za-z_]/.test(custom) ? custom : `_${custom}`, labels };
}

function escapeValue(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function lines(name: string, labels: string, stat: Stat): string {
  const braces = labels === "" ? "" : `{${labels}}`;
  if (stat.type !== "histogram") return `${name}${braces} ${stat.value}\n`;
  const { buckets, count, sum } = stat.cumulative;
  const before = labels === "" ? "" : `${labels},`;
  let out = "";
  let total = 0;
  for (const [index, bound] of BUCKET_BOUNDS.entries()) {
    total += buckets[index]!;
    out += `${name}_bucket{${before}le="${bound}"} ${total}\n`;
  }
  return `${out}${name}_bucket{${before}le="+Inf"} ${count}\n${name}_sum${braces} ${sum}\n${name}_count${braces} ${count}\n`;
}
