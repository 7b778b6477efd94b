/**
 * How the newer of two versions of a plugin does, beside the older one or right after it: numbers of each worker in
 * memory that the main thread reads and judges (control/guard.ts). A failure too many ends the trial in the worker at once.
 */
import type { StreamInfo } from "../observe/stream-info.ts";
import { LATENCY_BUCKETS, latencyBucket } from "./latency-buckets.ts";
import type { Plugin } from "./plugin.ts";

/** Doubles of one worker in a trial's memory. */
export const TrialCell = {
  /** Streams that ended on the new version; of the failed ones only those that had begun. */
  STREAMS: 0,
  /** Failed callbacks, and streams that got no instance. */
  FAILURES: 1,
  /** Milliseconds that those streams took. */
  MS: 2,
  OLD_STREAMS: 3,
  OLD_MS: 4,
  /** Streams that a shadow has seen, and those it did not decide all of. */
  SHADOWED: 5,
  UNDECIDED: 6,
  /** From here and there on: streams of the new version, and of the old one, by the time that they took. */
  LATENCIES: 16,
  OLD_LATENCIES: 16 + LATENCY_BUCKETS,
} as const;
export type TrialCell = (typeof TrialCell)[keyof typeof TrialCell];
export const TRIAL_CELLS = 16 + 2 * LATENCY_BUCKETS;

/** In what a shadow can differ from the live version, and the cell that counts such streams. */
export const DIFFERENCES = {
  headers: { cell: 7, meaning: "request or response headers as they leave the filter, or headers of its own answer" },
  status: { cell: 8, meaning: "`:status` of the response as it leaves the filter" },
  local_replies: { cell: 9, meaning: "one answered, reset or closed where the other did not, or with another status" },
  bodies: {
    cell: 10,
    meaning: "length or content of a body that goes on, or of its own answer; of a connection: of the bytes",
  },
  trailers: { cell: 11, meaning: "request or response trailers" },
  metadata: { cell: 12, meaning: "dynamic metadata and filter state that it wrote" },
  calls: {
    cell: 13,
    meaning: "HTTP calls, gRPC calls and streams that it began: how many, to whom, and what they ask",
  },
} as const;
export type DifferenceKind = keyof typeof DIFFERENCES;
export const DIFFERENCE_KINDS = Object.keys(DIFFERENCES) as readonly DifferenceKind[];

/** What a worker is told of a trial, by postMessage. */
export interface TrialPlan {
  /** TRIAL_CELLS doubles for each worker, who writes only its own. */
  readonly cells: SharedArrayBuffer;
  /** This many failures over all workers end it. */
  readonly maxFailures: number;
}

/** All numbers of a trial, added up over the workers; indexed by {@link TrialCell}. */
export function readTrial(cells: SharedArrayBuffer): Float64Array {
  const all = new Float64Array(cells);
  const sums = new Float64Array(TRIAL_CELLS);
  for (let at = 0; at < all.length; at++) sums[at % TRIAL_CELLS]! += all[at]!;
  return sums;
}

export class Trial {
  readonly #all: Float64Array;
  readonly #own: Float64Array;
  readonly #maxFailures: number;
  readonly #isNew: (plugin: Plugin) => boolean;
  readonly #onBad: () => void;
  #bad = false;

  /** `onBad` is called once, when there are too many failures. */
  constructor(plan: TrialPlan, worker: number, isNew: (plugin: Plugin) => boolean, onBad: () => void) {
    this.#all = new Float64Array(plan.cells);
    this.#own = new Float64Array(plan.cells, worker * TRIAL_CELLS * Float64Array.BYTES_PER_ELEMENT, TRIAL_CELLS);
    this.#maxFailures = plan.maxFailures;
    this.#isNew = isNew;
    this.#onBad = onBad;
  }

  #add(cell: number): void {
    this.#own[cell]!++;
  }

  /** How the version was doing that the new one has taken the place of. */
  followed(plugin: Plugin): void {
    const { streams, ms } = plugin.latency.sums();
    this.#own[TrialCell.OLD_STREAMS]! += streams;
    this.#own[TrialCell.OLD_MS]! += ms;
    plugin.latency.addTo(this.#own, TrialCell.OLD_LATENCIES);
  }

  /** A stream is over that a shadow has seen as well. */
  shadowed({ kinds, undecided }: { readonly kinds: readonly DifferenceKind[]; readonly undecided: boolean }): void {
    this.#add(TrialCell.SHADOWED);
    if (undecided) this.#add(TrialCell.UNDECIDED);
    for (const kind of kinds) this.#add(DIFFERENCES[kind].cell);
  }

  streamEnded(plugin: Plugin, info: StreamInfo): void {
    const own = this.#own;
    // Not `completeMs`: that clock stands still while one socket event is handled, and guests may take most of it.
    const ms = performance.now() - info.startMs;
    if (this.#isNew(plugin)) {
      own[TrialCell.STREAMS]!++;
      own[TrialCell.MS]! += ms;
      own[TrialCell.LATENCIES + latencyBucket(ms)]!++;
    } else {
      own[TrialCell.OLD_STREAMS]!++;
      own[TrialCell.OLD_MS]! += ms;
      own[TrialCell.OLD_LATENCIES + latencyBucket(ms)]!++;
    }
  }

  failed(plugin: Plugin): void {
    if (this.#bad || !this.#isNew(plugin)) return;
    this.#add(TrialCell.FAILURES);
    let failures = 0;
    for (let at: number = TrialCell.FAILURES; at < this.#all.length; at += TRIAL_CELLS) failures += this.#all[at]!;
    if (failures < this.#maxFailures) return;
    this.#bad = true;
    this.#onBad();
  }
}
