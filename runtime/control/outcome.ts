/** What became of a change of plugins, for whoever asked for it and for the log. */
import type { Version } from "./plugin-versions.ts";

/** What became of a change. */
export interface Outcome {
  readonly plugins: readonly string[];
  /** Plugins that have been changed: there may be several of a name, in several listeners. */
  readonly places: number;
  readonly number: number;
  readonly sha256: string;
  /** Of the module's manifest; "" when it has none. */
  readonly version: string;
  /** It serves all streams, or is on trial. */
  readonly state: "live" | "share" | "shadow" | "dropped" | "unchanged";
  /** The longest that a worker was at it: to build it, and to put it in force. */
  readonly prepareMs: number;
  readonly swapMs: number;
  readonly tookMs: number;
  /** Of a reload: what has changed, a line for each kind of thing. */
  readonly changes?: readonly string[];
}

/** Milliseconds of the slowest worker. */
export interface StepTimes {
  readonly prepareMs: number;
  readonly swapMs: number;
}
export const NO_TIME: StepTimes = { prepareMs: 0, swapMs: 0 };

/** `from`: when the change began, by performance.now. */
export function outcomeOf(
  versions: readonly Version[],
  state: Outcome["state"],
  from: number,
  times: StepTimes = NO_TIME,
): Outcome {
  const first = versions[0];
  return {
    plugins: [...new Set(versions.map(({ config }) => config.name))],
    places: versions.length,
    number: first?.number ?? 0,
    sha256: first?.module.sha256 ?? "",
    version: first?.module.manifest?.version ?? "",
    state,
    ...times,
    tookMs: performance.now() - from,
  };
}

const STATES: Readonly<Record<Outcome["state"], string>> = {
  live: "serves",
  share: "is tried on a share of the streams",
  shadow: "is shown copies of streams",
  dropped: "was given up",
  unchanged: "stays",
};

/** One line of log. */
export function outcomeText(versions: readonly Version[], { state, prepareMs, swapMs }: Outcome): string {
  const times = `built in ${prepareMs.toFixed(1)} ms, swapped in ${swapMs.toFixed(2)} ms on each worker`;
  return `plugin ${namesOf(versions)}: ${versionName(versions)} ${STATES[state]}${state === "dropped" ? "" : ` (${times})`}`;
}

export function namesOf(versions: readonly Version[]): string {
  return [...new Set(versions.map(({ config }) => config.name))].join(", ");
}

export function versionName(versions: readonly Version[]): string {
  const { number, module } = versions[0]!;
  const version = module.manifest?.version;
  return `version ${number} (${version === undefined ? "" : `${version}, `}sha256 ${module.sha256.slice(0, 12)})`;
}
