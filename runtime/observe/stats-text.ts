/** Statistics as admin's `/stats` prints them: text and JSON in Envoy's shapes. */
import { RE2JS, RE2JSException } from "re2js";
import { ProxyError } from "../errors.ts";
import { BUCKET_BOUNDS, quantile, QUANTILES, type HistogramSnapshot } from "./histogram.ts";
import type { Stat } from "./stats-registry.ts";
import { lineText } from "./wire-text.ts";

export interface StatsSelection {
  /** Only what was touched since the start. */
  readonly usedOnly?: boolean | undefined;
  /** A RE2 expression that a name has to contain. */
  readonly filter?: string | undefined;
  readonly type?: "All" | "Counters" | "Gauges" | "Histograms" | "TextReadouts" | undefined;
}
/** How text shows histograms: quantiles, or counts per bucket. */
export type HistogramBuckets = "none" | "cumulative" | "disjoint";

const TYPE_NAMES = { counter: "Counters", gauge: "Gauges", histogram: "Histograms" } as const;

/** Picks what an admin request asks for. Throws ProxyError `STATS_FILTER_INVALID` for a bad expression. */
export function selectStats(stats: readonly Stat[], selection: StatsSelection): Stat[] {
  const { usedOnly = false, filter, type = "All" } = selection;
  const regex = filter === undefined || filter === "" ? undefined : compileFilter(filter);
  return stats.filter(
    (stat) =>
      (!usedOnly || stat.used) &&
      (type === "All" || TYPE_NAMES[stat.type] === type) &&
      (regex === undefined || regex.test(stat.name)),
  );
}

function compileFilter(filter: string): RE2JS {
  try {
    return RE2JS.compile(filter);
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw new ProxyError("STATS_FILTER_INVALID", "downstream", `"${filter}" is no regular expression`, error);
  }
}

type HistogramStat = Extract<Stat, { type: "histogram" }>;

/** `name: value` lines, then histograms; each part in the order given. */
export function formatStatsText(stats: readonly Stat[], buckets: HistogramBuckets = "none"): string {
  let numbers = "";
  let histograms = "";
  for (const stat of stats) {
    // Guests name some of them: a line break in a name must not begin a line.
    const name = lineText(stat.name);
    if (stat.type !== "histogram") numbers += `${name}: ${stat.value}\n`;
    else histograms += `${name}: ${buckets === "none" ? quantileText(stat) : bucketText(stat, buckets)}\n`;
  }
  return numbers + histograms;
}

function quantileText(stat: HistogramStat): string {
  if (stat.cumulative.count === 0) return "No recorded values";
  return QUANTILES.map((q) => {
    const interval = numberText(quantile(stat.interval, q));
    return `P${percent(q)}(${interval},${numberText(quantile(stat.cumulative, q))})`;
  }).join(" ");
}

function bucketText(stat: HistogramStat, buckets: "cumulative" | "disjoint"): string {
  if (stat.cumulative.count === 0) return "No recorded values";
  const interval = bucketCounts(stat.interval, buckets);
  const cumulative = bucketCounts(stat.cumulative, buckets);
  return BUCKET_BOUNDS.map((bound, index) => `B${bound}(${interval[index]},${cumulative[index]})`).join(" ");
}

function bucketCounts(histogram: HistogramSnapshot, buckets: "cumulative" | "disjoint"): readonly number[] {
  if (buckets === "disjoint") return histogram.buckets;
  let total = 0;
  return histogram.buckets.map((held) => (total += held));
}

/** Admin's `format=json`. */
export function formatStatsJson(stats: readonly Stat[]): string {
  const list: unknown[] = [];
  const computed: unknown[] = [];
  for (const stat of stats) {
    if (stat.type === "histogram") {
      const values = QUANTILES.map((q) => ({
        interval: numberOrNull(quantile(stat.interval, q)),
        cumulative: numberOrNull(quantile(stat.cumulative, q)),
      }));
      computed.push({ name: stat.name, values });
    } else list.push({ name: stat.name, value: stat.value });
  }
  if (computed.length > 0) {
    list.push({ histograms: { supported_quantiles: QUANTILES.map(percent), computed_quantiles: computed } });
  }
  return JSON.stringify({ stats: list });
}

const percent = (q: number): number => Number((q * 100).toFixed(3));
const rounded = (value: number): number => Number(value.toFixed(4));
const numberText = (value: number): string => (Number.isNaN(value) ? "nan" : String(rounded(value)));
const numberOrNull = (value: number): number | null => (Number.isNaN(value) ? null : rounded(value));
