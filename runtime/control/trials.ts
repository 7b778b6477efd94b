/** The trials that run: which versions of which plugins, and what workers that start meanwhile are told of them. */
import type { ToWorker } from "../worker/messages.ts";
import type { PluginChange } from "../worker/plugin-change.ts";
import type { Changes } from "./reload.ts";
import { bare } from "./plugin-versions.ts";
import type { PluginVersions, Version } from "./plugin-versions.ts";
import type { TrialRun } from "./trial-run.ts";

export class Trials {
  readonly #versions: PluginVersions;
  /** By the number of the change that began them. */
  readonly #runs = new Map<number, TrialRun>();

  constructor(versions: PluginVersions) {
    this.#versions = versions;
  }

  add(trial: TrialRun): void {
    this.#runs.set(trial.spec.id, trial);
  }

  /** It has not been ended. */
  runs(trial: TrialRun): boolean {
    return this.#runs.get(trial.spec.id) === trial;
  }

  /** The one that one of these plugins is in. */
  of(indices: readonly number[]): TrialRun | undefined {
    return [...this.#runs.values()].find(({ spec }) => spec.versions.some(({ index }) => indices.includes(index)));
  }

  /** Those of candidates whose plugins will have other places after a reload, and still have some. */
  movedBy({ companions, removed }: Pick<Changes, "companions" | "removed">): TrialRun[] {
    const touched = new Set([...companions, ...removed.map(({ index }) => index)]);
    const gone = new Set(removed.map(({ index }) => index));
    return [...this.#runs.values()].filter(
      ({ kind, spec }) =>
        kind !== "probation" &&
        spec.versions.some(({ index }) => touched.has(index)) &&
        !spec.versions.every(({ index }) => gone.has(index)),
    );
  }

  /** A worker says that there are too many failures. */
  failing(id: number): void {
    this.#runs.get(id)?.failing();
  }

  /** Ends what is on trial among the same plugins; the version of the change `but` goes on. */
  end(change: PluginChange, versions: readonly Pick<Version, "index">[], drainMs: number, but = -1): void {
    const indices = versions.map(({ index }) => index);
    for (const [id, trial] of this.#runs) {
      if (!trial.spec.versions.some(({ index }) => indices.includes(index))) continue;
      trial.end();
      this.#runs.delete(id);
      if (trial.kind === "probation") change.post({ kind: "end_trials", indices });
      else if (id !== but) {
        if (trial.spec.versions !== versions) this.#versions.failed(trial.spec.versions, "followed by another version");
        change.post({ kind: "drop_plugins", id, drainMs });
      }
    }
  }

  /** For workers that start while trials run. */
  standing(): ToWorker[] {
    return [...this.#runs.values()].flatMap((trial): ToWorker[] => {
      const { id, versions, routing } = trial.spec;
      if (routing === undefined) return [trial.message()];
      const silent = routing.kind === "shadow";
      return [{ kind: "prepare_plugins", id, versions: versions.map(bare), silent }, trial.message()];
    });
  }

  stop(): void {
    for (const trial of this.#runs.values()) trial.end();
  }
}
