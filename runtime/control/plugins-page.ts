/** `/wasm`: plugins, their versions and trials, for people (one `plugin::key::value` per line) and for programs. */
import type { PluginStatus, VersionStatus } from "../wasm/plugin-status.ts";
import type { PluginReport } from "./hot-load.ts";
import type { Version } from "./plugin-versions.ts";
import type { TrialRun } from "./trial-run.ts";

type Json = Readonly<Record<string, unknown>>;

/** A backtrace is in the JSON form only. */
export function pluginsText(reports: readonly PluginReport[]): string {
  const lines: string[] = [];
  for (const report of reports) {
    const { name, failures, lastFailure } = report.status;
    for (const [key, value] of Object.entries(pluginJson(report))) {
      if (key === "name" || key === "last_failure") continue;
      if (key === "failures") {
        for (const [reason, count] of Object.entries(failures)) lines.push(`${name}::${key}::${reason}::${count}`);
      } else if (key === "versions") {
        for (const one of value as readonly Json[])
          lines.push(`${name}::version_${String(one["number"])}::${pairs(one)}`);
      } else if (typeof value === "object" && value !== null) lines.push(`${name}::${key}::${pairs(value as Json)}`);
      else lines.push(`${name}::${key}::${String(value)}`);
    }
    if (lastFailure === undefined) continue;
    const [head] = lastFailure.text.split("\n");
    lines.push(`${name}::last_failure::${new Date(lastFailure.atMs).toISOString()}::${head}`);
  }
  return lines.map((line) => `${line}\n`).join("");
}

export function pluginsJson(reports: readonly PluginReport[]): object {
  return { plugins: reports.map(pluginJson) };
}

function pairs(members: Json): string {
  return Object.entries(members)
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}

function pluginJson(report: PluginReport): Json {
  const { status, trial, previous } = report;
  return {
    name: status.name,
    root_id: status.rootId,
    vm_id: status.vmId,
    module: status.moduleName,
    version: status.version,
    sha256: status.sha256,
    source: status.source,
    size: status.size,
    isolation: status.isolation,
    fuel_limit: status.fuelLimit,
    memory_limit: status.memoryLimit,
    instances: status.instances,
    memory: status.memory,
    fuel_used: status.fuelUsed,
    failures: status.failures,
    ...lastFailure(status),
    version_number: status.number,
    ...(previous === undefined ? {} : { previous_version: previous.number }),
    versions: versionsJson(report),
    ...(trial === undefined ? {} : { trial: trialJson(trial, status.examples) }),
  };
}

function lastFailure({ lastFailure: last }: PluginStatus): Json {
  return last === undefined ? {} : { last_failure: { time: new Date(last.atMs).toISOString(), text: last.text } };
}

/** Those that run, and those that are only kept; newest first. */
function versionsJson({ status, kept }: PluginReport): Json[] {
  const running = new Map(status.versions.map((one) => [one.number, one]));
  const numbers = [...new Set([...running.keys(), ...kept.map(({ number }) => number)])].sort((a, b) => b - a);
  return numbers.map((number) =>
    versionJson(
      number,
      running.get(number),
      kept.find((one) => one.number === number),
    ),
  );
}

function versionJson(number: number, running: VersionStatus | undefined, kept: Version | undefined): Json {
  return {
    number,
    state: running?.role ?? "kept",
    version: kept?.module.manifest?.version ?? running?.version ?? "",
    sha256: kept?.module.sha256 ?? running?.sha256 ?? "",
    ...(kept === undefined
      ? {}
      : {
          source: kept.source,
          loaded_at: kept.loadedAt.toISOString(),
          age_s: Math.floor((Date.now() - kept.loadedAt.getTime()) / 1000),
        }),
    streams: running?.streams ?? 0,
    instances: running?.instances ?? 0,
    memory: running?.memory ?? 0,
    ...(kept === undefined || kept.failure === "" ? {} : { taken_back: kept.failure }),
  };
}

function trialJson(trial: TrialRun, examples: PluginStatus["examples"]): Json {
  const { spec, startedAt, kind } = trial;
  const numbers = trial.numbers();
  const { routing } = spec;
  const round = (ms: number): number => Math.round(ms * 100) / 100;
  return {
    kind,
    version: spec.versions[0]?.number,
    since: startedAt.toISOString(),
    ...(routing === undefined ? {} : { percent: routing.percent }),
    ...(routing?.kind !== "share" || routing.header === undefined
      ? {}
      : {
          header: routing.header.name,
          header_value: routing.header.value ?? "",
          header_percent: routing.header.percent,
        }),
    ...(routing?.kind === "share" ? { sticky: routing.sticky } : {}),
    streams: numbers.streams,
    failures: numbers.failures,
    mean_ms: round(numbers.meanMs),
    ...(kind === "share" || (kind === "probation" && numbers.otherStreams > 0)
      ? {
          other_streams: numbers.otherStreams,
          other_mean_ms: round(numbers.otherMeanMs),
          ...Object.fromEntries(
            numbers.percentiles.flatMap(({ percentile, ms, otherMs }) => [
              [`p${percentile}_ms`, round(ms)],
              [`other_p${percentile}_ms`, round(otherMs)],
            ]),
          ),
        }
      : {}),
    ...(kind !== "shadow"
      ? {}
      : {
          shadowed: numbers.shadowed,
          undecided: numbers.undecided,
          ...Object.fromEntries(
            Object.entries(numbers.differences).map(([kind, count]) => [`different_${kind}`, count]),
          ),
          examples: examples.map(({ atMs, of, text }) => ({ time: new Date(atMs).toISOString(), of, text })),
        }),
  };
}
