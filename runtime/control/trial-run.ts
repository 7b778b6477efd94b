/** A trial as the main thread sees it: adds up what workers count, and judges it by the bounds. */
import type { RollbackBounds } from "../config/hot-load-snapshot.ts";
import { TRIAL_LOOK_MS } from "../limits.ts";
import type { Stats } from "../observe/stats.ts";
import type { Routing } from "../wasm/routing.ts";
import { addedLatency, LATENCY_BUCKETS, latencyAt } from "../wasm/latency-buckets.ts";
import { DIFFERENCE_KINDS, DIFFERENCES, readTrial, TRIAL_CELLS, TrialCell } from "../wasm/trial.ts";
import type { DifferenceKind, TrialPlan } from "../wasm/trial.ts";
import type { ToWorker } from "../worker/messages.ts";
import type { Version } from "./plugin-versions.ts";

/** A share of the streams, copies of them, or all of them for a time. */
export type TrialKind = "share" | "shadow" | "probation";

export interface TrialSpec {
  /** Number of the change, which the workers know it by. */
  readonly id: number;
  readonly versions: readonly Version[];
  /** undefined: the versions serve all streams already. */
  readonly routing: Routing | undefined;
  readonly bounds: RollbackBounds;
  readonly concurrency: number;
}

export interface TrialOwner {
  /** The bounds were passed; `reason` is a sentence. Once. */
  onTrialFailed(trial: TrialRun, reason: string): void;
  /** The window is over without that: a probation ends, others begin their next window with `plan`. */
  onTrialWindow(trial: TrialRun): void;
}

/** What has happened since the trial began, for `/wasm`. */
export interface TrialNumbers {
  readonly streams: number;
  readonly failures: number;
  readonly meanMs: number;
  readonly otherStreams: number;
  readonly otherMeanMs: number;
  /** At the percentiles that the bounds name. */
  readonly percentiles: readonly { readonly percentile: number; readonly ms: number; readonly otherMs: number }[];
  readonly shadowed: number;
  readonly undecided: number;
  readonly differences: Readonly<Record<DifferenceKind, number>>;
}

/** Statistics `wasm.<plugin>.<name>`, by cell. */
const COUNTED: readonly (readonly [cell: number, name: string])[] = [
  [TrialCell.STREAMS, "candidate.streams"],
  [TrialCell.FAILURES, "candidate.failures"],
  [TrialCell.SHADOWED, "shadow.streams"],
  [TrialCell.UNDECIDED, "shadow.undecided"],
  ...DIFFERENCE_KINDS.map((kind) => [DIFFERENCES[kind].cell, `shadow.different_${kind}`] as const),
];

export class TrialRun {
  readonly spec: TrialSpec;
  readonly startedAt = new Date();
  plan: TrialPlan;
  readonly #owner: TrialOwner;
  readonly #stats: Stats;
  /** Of windows that are over, and what statistics have been told. */
  readonly #past = new Float64Array(TRIAL_CELLS);
  readonly #told = new Float64Array(TRIAL_CELLS);
  readonly #timer: NodeJS.Timeout;
  #windowFrom = performance.now();
  #over = false;

  constructor(spec: TrialSpec, owner: TrialOwner, stats: Stats) {
    this.spec = spec;
    this.#owner = owner;
    this.#stats = stats;
    this.plan = this.#newPlan();
    this.#timer = setInterval(() => this.#look(), TRIAL_LOOK_MS);
    this.#timer.unref();
  }

  get kind(): TrialKind {
    return this.spec.routing?.kind ?? "probation";
  }

  /** What workers are told of it, and of each next window. Of a probation only those that start after the commit, which brings it. */
  message(): ToWorker {
    const { id, routing, versions } = this.spec;
    const trial = this.plan;
    if (routing !== undefined) return { kind: "try_plugins", id, routing, trial };
    return { kind: "watch_plugins", id, indices: versions.map(({ index }) => index), trial };
  }

  numbers(): TrialNumbers {
    const sums = this.#sums();
    const mean = (ms: number, streams: number): number => (streams === 0 ? 0 : ms / streams);
    return {
      streams: sums[TrialCell.STREAMS]!,
      failures: sums[TrialCell.FAILURES]!,
      meanMs: mean(sums[TrialCell.MS]!, sums[TrialCell.STREAMS]!),
      otherStreams: sums[TrialCell.OLD_STREAMS]!,
      otherMeanMs: mean(sums[TrialCell.OLD_MS]!, sums[TrialCell.OLD_STREAMS]!),
      percentiles: this.spec.bounds.latencyPercentiles.map((percentile) => ({
        percentile,
        ms: latencyAt(latencies(sums), percentile),
        otherMs: latencyAt(otherLatencies(sums), percentile),
      })),
      shadowed: sums[TrialCell.SHADOWED]!,
      undecided: sums[TrialCell.UNDECIDED]!,
      differences: Object.fromEntries(DIFFERENCE_KINDS.map((kind) => [kind, sums[DIFFERENCES[kind].cell]!])) as Record<
        DifferenceKind,
        number
      >,
    };
  }

  /** A worker says that the bound of failures is passed. */
  failing(): void {
    this.#look();
    this.#fail();
  }

  /** Promoted, taken back, or followed by another version. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#timer);
    this.#tell();
  }

  #look(): void {
    if (this.#over) return;
    this.#tell();
    const { bounds } = this.spec;
    const now = readTrial(this.plan.cells);
    if (bounds.maxFailures > 0 && now[TrialCell.FAILURES]! >= bounds.maxFailures) {
      this.#fail();
      return;
    }
    // It may have become slow only now, or be so rarely asked that one window says nothing.
    const slow = this.#slowness(now) ?? this.#slowness(this.#sums());
    if (slow !== undefined) {
      this.end();
      this.#owner.onTrialFailed(this, slow);
      return;
    }
    if (performance.now() - this.#windowFrom < bounds.windowMs) return;
    this.#windowFrom = performance.now();
    for (let cell = 0; cell < TRIAL_CELLS; cell++) this.#past[cell]! += now[cell]!;
    this.plan = this.#newPlan();
    this.#owner.onTrialWindow(this);
  }

  #fail(): void {
    if (this.#over) return;
    this.end();
    const { streams, failures } = this.numbers();
    const seconds = ((Date.now() - this.startedAt.getTime()) / 1000).toFixed(1);
    const word = failures === 1 ? "failure" : "failures";
    this.#owner.onTrialFailed(this, `${failures} ${word} in ${streams} streams, ${seconds} s after it began`);
  }

  /** A sentence when streams of the candidate take too long. */
  #slowness(sums: Float64Array): string | undefined {
    const { maxAddedLatencyMs, minStreams, latencyPercentiles } = this.spec.bounds;
    const streams = sums[TrialCell.STREAMS]!;
    if (maxAddedLatencyMs === undefined || Math.min(streams, sums[TrialCell.OLD_STREAMS]!) < minStreams)
      return undefined;
    const [own, others] = [latencies(sums), otherLatencies(sums)];
    for (const percentile of latencyPercentiles) {
      const added = addedLatency(own, others, percentile);
      if (added === undefined || added <= maxAddedLatencyMs) continue;
      const than = this.kind === "probation" ? "those of the version before" : "those of the version in force";
      const [ms, otherMs] = [own, others].map((counts) => latencyAt(counts, percentile).toFixed(1));
      return `its ${streams} streams took longer than ${than} by more than ${maxAddedLatencyMs} ms at percentile ${percentile}: ${ms} ms, not ${otherMs} ms`;
    }
    return undefined;
  }

  #sums(): Float64Array {
    const sums = readTrial(this.plan.cells);
    for (let cell = 0; cell < TRIAL_CELLS; cell++) sums[cell]! += this.#past[cell]!;
    return sums;
  }

  #tell(): void {
    const sums = this.#sums();
    const names = new Set(this.spec.versions.map(({ config }) => config.name));
    for (const [cell, counted] of COUNTED) {
      const news = sums[cell]! - this.#told[cell]!;
      if (news === 0) continue;
      this.#told[cell] = sums[cell]!;
      for (const name of names) this.#stats.counter(`wasm.${name}.${counted}`).add(news);
    }
  }

  #newPlan(): TrialPlan {
    const { concurrency, bounds } = this.spec;
    const bytes = concurrency * TRIAL_CELLS * Float64Array.BYTES_PER_ELEMENT;
    return {
      cells: new SharedArrayBuffer(bytes),
      maxFailures: bounds.maxFailures === 0 ? Infinity : bounds.maxFailures,
    };
  }
}

function latencies(sums: Float64Array): Float64Array {
  return sums.subarray(TrialCell.LATENCIES, TrialCell.LATENCIES + LATENCY_BUCKETS);
}

/** Of the version that it is compared with. */
function otherLatencies(sums: Float64Array): Float64Array {
  return sums.subarray(TrialCell.OLD_LATENCIES, TrialCell.OLD_LATENCIES + LATENCY_BUCKETS);
}
