/** `/stats`: what was asked for, in the format that was asked for. */
import { ProxyError } from "../errors.ts";
import { ADMIN_REGEX_LENGTH } from "../limits.ts";
import { formatPrometheus, PROMETHEUS_CONTENT_TYPE } from "../observe/prometheus.ts";
import type { Stat } from "../observe/stats-registry.ts";
import { formatStatsJson, formatStatsText, selectStats } from "../observe/stats-text.ts";
import type { HistogramBuckets, StatsSelection } from "../observe/stats-text.ts";
import type { AdminAnswer } from "./admin-answer.ts";
import type { AdminSubject } from "./subject.ts";

const TYPES = ["All", "Counters", "Gauges", "Histograms", "TextReadouts"] as const;
const BUCKETS = ["none", "cumulative", "disjoint"] as const;

export async function statsPage(subject: AdminSubject, parameters: URLSearchParams): Promise<AdminAnswer> {
  const typeName = parameters.get("type") ?? "All";
  const type = TYPES.find((known) => known === typeName);
  if (type === undefined) return refuse(`invalid &type="${typeName}", not one of ${TYPES.join(", ")}`);
  const bucketsName = parameters.get("histogram_buckets") ?? "none";
  const buckets = BUCKETS.find((known) => known === bucketsName);
  if (buckets === undefined) return refuse(`usage: /stats?histogram_buckets=(${BUCKETS.join("|")})`);
  const filter = parameters.get("filter") ?? "";
  if (filter.length > ADMIN_REGEX_LENGTH) return refuse(`Invalid regex: longer than ${ADMIN_REGEX_LENGTH} characters`);
  return render(
    await subject.stats(),
    { type, filter, usedOnly: parameters.has("usedonly") },
    { format: parameters.get("format") ?? "text", buckets },
  );
}

function render(
  all: readonly Stat[],
  selection: StatsSelection,
  form: { readonly format: string; readonly buckets: HistogramBuckets },
): AdminAnswer {
  let stats: readonly Stat[];
  try {
    stats = selectStats(all, selection);
  } catch (error) {
    if (!(error instanceof ProxyError) || error.code !== "STATS_FILTER_INVALID") throw error;
    return refuse(`Invalid regex: ${error.message.slice(error.code.length + 2)}`);
  }
  switch (form.format) {
    case "prometheus":
      return { contentType: PROMETHEUS_CONTENT_TYPE, body: formatPrometheus(stats) };
    case "json":
      return { contentType: "application/json", body: `${formatStatsJson(stats)}\n` };
    case "text":
      return { body: formatStatsText(stats, form.buckets) };
    default:
      return refuse("usage: /stats?format=(json|prometheus|text)\n");
  }
}

function refuse(why: string): AdminAnswer {
  return { status: 400, body: `${why}\n` };
}
