/** What `/wasm?format=json` says, for a person at a terminal. */

/** The members that are shown. */
export interface PluginJson {
  readonly name: string;
  readonly failures: Readonly<Record<string, number>>;
  readonly last_failure?: { readonly time: string; readonly text: string };
  readonly versions: readonly VersionJson[];
  readonly trial?: TrialJson;
}
interface VersionJson {
  readonly number: number;
  readonly state: string;
  readonly version: string;
  readonly sha256: string;
  readonly source?: string;
  readonly age_s?: number;
  readonly streams: number;
  readonly instances: number;
  readonly taken_back?: string;
}
interface TrialJson {
  readonly kind: "share" | "shadow" | "probation";
  readonly version: number;
  readonly percent?: number;
  readonly header?: string;
  readonly header_percent?: number;
  readonly streams: number;
  readonly failures: number;
  readonly mean_ms: number;
  readonly other_mean_ms?: number;
  readonly shadowed?: number;
  readonly undecided?: number;
  readonly [different: `different_${string}`]: number;
  /** At a percentile: `p99_ms`, `other_p99_ms`. */
  readonly [percentile: `p${number}_ms` | `other_p${number}_ms`]: number;
  readonly examples?: readonly { readonly time: string; readonly of: string; readonly text: string }[];
}

export function statusText(plugins: readonly PluginJson[]): string {
  if (plugins.length === 0) return "no plugins\n";
  return plugins.map(pluginText).join("\n");
}

function pluginText({ name, versions, trial, failures, last_failure: last }: PluginJson): string {
  const lines = [name, ...table(versions.map(versionCells)).map((line) => `  ${line}`)];
  if (trial !== undefined) lines.push(`  ${trialText(trial)}`, ...examplesText(trial));
  const counts = Object.entries(failures).map(([reason, count]) => `${reason} ${count}`);
  if (counts.length > 0) lines.push(`  failures: ${counts.join(", ")}`);
  if (last !== undefined) lines.push(`  last: ${last.time} ${last.text.split("\n")[0]}`);
  return lines.map((line) => `${line}\n`).join("");
}

function versionCells(version: VersionJson): string[] {
  const { number, state, version: own, sha256, source = "", age_s, streams, instances, taken_back } = version;
  return [
    `version ${number}`,
    state,
    own,
    sha256.slice(0, 12),
    age_s === undefined ? "" : ageText(age_s),
    counted(streams, "stream"),
    counted(instances, "instance"),
    taken_back === undefined ? source : `taken back: ${taken_back}`,
  ];
}

function trialText(trial: TrialJson): string {
  const { kind, version, percent = 0, header, streams, failures } = trial;
  const seen = `${counted(streams, "stream")}, ${counted(failures, "failure")}`;
  switch (kind) {
    case "probation":
      return `version ${version} is watched: ${seen}${latencyText(trial, "before")}`;
    case "share": {
      const { header_percent: part = 100 } = trial;
      const who =
        header === undefined ? "" : `, and ${part === 100 ? "" : `${part} % of those `}with the header ${header}`;
      return `version ${version} has ${percent} % of the streams${who}: ${seen}${latencyText(trial, "others")}`;
    }
    case "shadow": {
      const different = Object.entries(trial).flatMap(([key, count]) =>
        key.startsWith("different_") && Number(count) > 0
          ? [`${key.slice("different_".length).replaceAll("_", " ")} ${String(count)}`]
          : [],
      );
      const differences = different.length === 0 ? "no differences" : `different: ${different.join(", ")}`;
      const undecided = trial.undecided === 0 ? "" : `; undecided ${trial.undecided}`;
      return `version ${version} is shown copies of ${percent} % of the streams: ${seen}; ${differences}${undecided}`;
    }
  }
}

/** ", 1.2 ms on average (others 1.1), p50 1 (0.9), …"; "" without streams of others. */
function latencyText(trial: TrialJson, who: string): string {
  if (trial.other_mean_ms === undefined) return "";
  const percentiles = Object.entries(trial).flatMap(([key, ms]) => {
    const percentile = /^p([\d.]+)_ms$/.exec(key)?.[1];
    if (percentile === undefined) return [];
    return [`, p${percentile} ${String(ms)} (${trial[`other_p${Number(percentile)}_ms`]})`];
  });
  return `, ${trial.mean_ms} ms on average (${who} ${trial.other_mean_ms})${percentiles.join("")}`;
}

function examplesText({ examples = [] }: TrialJson): string[] {
  return examples.map(({ time, of, text }) => `    ${time}${of === "" ? "" : ` ${of}`}: ${text}`);
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function ageText(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** Columns of equal width; the last one is not padded. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]!)))
      .join("  ")
      .trimEnd(),
  );
}
