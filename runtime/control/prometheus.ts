/** Statistics in Prometheus' text format 0.0.4, with Envoy's names: parts of a name that vary become labels. */
import { BUCKET_BOUNDS } from "../observe/histogram.ts";
import type { Stat } from "../observe/stats-registry.ts";

/** Guests' metrics live below this name; Prometheus gets them as the guest named them. */
const CUSTOM_NAMESPACE = "wasmcustom.";

/**
 * Envoy's default tags, as far as we have such statistics: the first group is cut out of the name, the second is
 * the label's value. A listener is named by its address, which has dots of its own.
 */
const TAGS: readonly (readonly [label: string, pattern: RegExp])[] = [
  ["envoy_response_code", /_rq(_(\d{3}))$/d],
  ["envoy_response_code_class", /_rq_((\d))xx$/d],
  ["envoy_local_http_ratelimit_prefix", /^((.*?)\.)http_local_rate_limit\./d],
  ["envoy_ratelimit_prefix", /^cluster\..*?\.ratelimit\.((.*?)\.)\w+$/d],
  ["envoy_http_conn_manager_prefix", /^http\.((.*?)\.)/d],
  ["envoy_http_conn_manager_prefix", /^listener\..*?\.http\.((.*?)\.)/d],
  ["envoy_listener_address", /^listener\.((\d+(?:\.\d+){3}_\d+|\[[\da-fA-F:._]+\]_\d+|[^.]+)\.)/d],
  ["envoy_tcp_prefix", /^tcp\.((.*?)\.)/d],
  ["envoy_cluster_name", /^cluster\.((.*?)\.)/d],
];

interface Family {
  readonly type: Stat["type"];
  readonly lines: { readonly labels: string; readonly text: string }[];
}

/** One `# TYPE` per name, names sorted, lines sorted by their labels. */
export function prometheusText(stats: readonly Stat[]): string {
  const families = new Map<string, Family>();
  for (const stat of stats) {
    const { name, labels } = promName(stat.name);
    let family = families.get(name);
    if (family === undefined) families.set(name, (family = { type: stat.type, lines: [] }));
    // One name cannot have two types; the first one stays.
    if (family.type !== stat.type) continue;
    family.lines.push({ labels, text: stat.type === "histogram" ? histogramLines(name, labels, stat) : `${name}${braces(labels)} ${stat.value}\n` });
  }
  let text = "";
  for (const name of [...families.keys()].sort()) {
    const { type, lines } = families.get(name)!;
    lines.sort((a, b) => (a.labels < b.labels ? -1 : a.labels > b.labels ? 1 : 0));
    text += `# TYPE ${name} ${type}\n`;
    for (const line of lines) text += line.text;
  }
  return text;
}

function promName(stat: string): { name: string; labels: string } {
  if (stat.startsWith(CUSTOM_NAMESPACE)) {
    const name = sanitize(stat.slice(CUSTOM_NAMESPACE.length));
    return { name: /^\d/.test(name) ? `_${name}` : name, labels: "" };
  }
  let rest = stat;
  const labels: string[] = [];
  for (const [label, pattern] of TAGS) {
    const found = pattern.exec(rest);
    if (found === null) continue;
    const [start, end] = found.indices![1]!;
    rest = rest.slice(0, start) + rest.slice(end);
    labels.push(`${label}="${escapeLabel(found[2]!)}"`);
  }
  return { name: `envoy_${sanitize(rest)}`, labels: labels.sort().join(",") };
}

function histogramLines(name: string, labels: string, { cumulative }: Extract<Stat, { type: "histogram" }>): string {
  const start = labels === "" ? "" : `${labels},`;
  let text = "";
  let below = 0;
  for (const [index, bound] of BUCKET_BOUNDS.entries()) {
    below += cumulative.buckets[index]!;
    text += `${name}_bucket{${start}le="${bound}"} ${below}\n`;
  }
  text += `${name}_bucket{${start}le="+Inf"} ${cumulative.count}\n`;
  return `${text}${name}_sum${braces(labels)} ${cumulative.sum}\n${name}_count${braces(labels)} ${cumulative.count}\n`;
}

function braces(labels: string): string {
  return `{${labels}}`;
}

function sanitize(name: string): string {
  return name.replace(/[^A-Za-z0-9_]/g, "_");
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
