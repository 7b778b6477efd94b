/** `/stats`: selects statistics and prints them as text, JSON or for Prometheus. */
import { RE2JS } from "re2js";
import { ADMIN_REGEX_LENGTH } from "../limits.ts";
import { QUANTILES, quantile } from "../observe/histogram.ts";
import type { HistogramSnapshot } from "../observe/histogram.ts";
import type { Stat } from "../observe/stats-registry.ts";
import type { AdminAnswer } from "./admin.ts";
import { prometheusText } from "./prometheus.ts";
import type { AdminSubject } from "./subject.ts";

type HistogramStat = Extract<Stat, { type: "histogram" }>;
type NumberStat = Exclude<Stat, { type: "histogram" }>;

const TYPES: Readonly<Record<string, Stat["type"] | undefined>> = {
  All: undefined,
  Counters: "counter",
  Gauges: "gauge",
  Histograms: "histogram",
};

export function statsPage(subject: AdminSubject, parameters: URLSearchParams): AdminAnswer {
  const typeName = parameters.get("type") ?? "All";
  if (!(typeName in TYPES)) return { status: 400, body: `invalid &type="${typeName}", not one of ${Object.keys(TYPES).join(", ")}\n` };
  const matches = nameTest(parameters.get("filter"));
  if (matches === null) return { status: 400, body: "Invalid regex: the filter is no regular expression (RE2)\n" };
  const type = TYPES[typeName];
  const usedOnly = parameters.has("usedonly");
  const stats = subject
    .stats()
    .filter((stat) => (type === undefined || stat.type === type) && (!usedOnly || stat.used) && matches(stat.name));
  const format = parameters.get("format") ?? "text";
  if (format === "prometheus") return { body: prometheusText(stats) };
  const numbers = stats.filter((stat): stat is NumberStat => stat.type !== "histogram");
  const histograms = stats.filter((stat): stat is HistogramStat => stat.type === "histogram");
  if (format === "json") return { contentType: "application/json", body: `${JSON.stringify(statsJson(numbers, histograms))}\n` };
  if (format === "text") return { body: statsText(numbers, histograms) };
  return { status: 400, body: "usage: /stats?format=(json|prometheus|text)\n\n" };
}

/** `name: value` by name, then histograms: per quantile the value in the last interval and since the start. */
function statsText(numbers: readonly NumberStat[], histograms: readonly HistogramStat[]): string {
  let text = "";
  for (const { name, value } of numbers) text += `${name}: ${value}\n`;
  for (const { name, used, interval, cumulative } of histograms) {
    if (!used) {
      text += `${name}: No recorded values\n`;
      continue;
    }
    const parts = QUANTILES.map((q) => `P${percent(q)}(${valueText(interval, q)},${valueText(cumulative, q)})`);
    text += `${name}: ${parts.join(" ")}\n`;
  }
  return text;
}

function statsJson(numbers: readonly NumberStat[], histograms: readonly HistogramStat[]): object {
  const stats: object[] = numbers.map(({ name, value }) => ({ name, value }));
  if (histograms.length > 0) {
    const computed = histograms.map(({ name, interval, cumulative }) => ({
      name,
      values: QUANTILES.map((q) => ({ interval: valueOrNull(interval, q), cumulative: valueOrNull(cumulative, q) })),
    }));
    stats.push({ histograms: { supported_quantiles: QUANTILES.map(percent), computed_quantiles: computed } });
  }
  return { stats };
}

function percent(q: number): number {
  return Number((q * 100).toFixed(3));
}

function valueText(histogram: HistogramSnapshot, q: number): string {
  return String(valueOrNull(histogram, q) ?? "nan");
}

function valueOrNull(histogram: HistogramSnapshot, q: number): number | null {
  const value = quantile(histogram, q);
  return Number.isNaN(value) ? null : Number(value.toPrecision(6));
}

/** null: not a regular expression. It may match anywhere in the name, as in Envoy. */
function nameTest(pattern: string | null): ((name: string) => boolean) | null {
  if (pattern === null || pattern === "") return () => true;
  if (pattern.length > ADMIN_REGEX_LENGTH) return null;
  try {
    const compiled = RE2JS.compile(pattern);
    return (name) => compiled.matcher(name).find();
  } catch {
    // The one thing RE2JS.compile throws for is a pattern that it cannot read.
    return null;
  }
}
