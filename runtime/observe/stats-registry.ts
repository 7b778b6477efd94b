/**
 * All statistics of the process, kept by the main thread: the pages of every thread (stats.ts), added up
 * when somebody looks. A thread may die and be replaced: what it counted stays, its gauges go.
 */
import {
  addHistograms,
  EMPTY_HISTOGRAM,
  readHistogram,
  subtractHistogram,
  type HistogramSnapshot,
} from "./histogram.ts";
import { StatType, type StatsAnnouncement } from "./stats.ts";

/** One statistic at one moment. `used`: touched since the start (Envoy's `usedonly`). */
export type Stat =
  | { readonly name: string; readonly type: "counter" | "gauge"; readonly used: boolean; readonly value: number }
  | {
      readonly name: string;
      readonly type: "histogram";
      readonly used: boolean;
      /** Since the start, and during the last whole flush interval. */
      readonly cumulative: HistogramSnapshot;
      readonly interval: HistogramSnapshot;
    };

/** Statistics kept elsewhere, such as the metrics that guests define. */
export type StatsProvider = () => Iterable<Stat>;

interface Cell {
  readonly thread: number;
  readonly page: Float64Array;
  readonly slot: number;
}
interface Merged {
  readonly name: string;
  readonly type: StatType;
  cells: Cell[];
  /** What threads that are gone had counted; -0 while that is nothing. */
  retired: number;
  retiredHistogram: HistogramSnapshot;
  previous: HistogramSnapshot;
  interval: HistogramSnapshot;
}

export class StatsRegistry {
  readonly #stats = new Map<string, Merged>();
  readonly #pages = new Map<number, Float64Array[]>();
  readonly #providers: StatsProvider[] = [];

  /** Takes what `thread` (a number never used again for another one) announced. */
  add(thread: number, announcement: StatsAnnouncement): void {
    let pages = this.#pages.get(thread);
    if (pages === undefined) this.#pages.set(thread, (pages = []));
    for (const buffer of announcement.pages) pages.push(new Float64Array(buffer));
    for (const entry of announcement.entries) {
      const page = pages[entry.page];
      if (page === undefined) continue;
      const key = `${entry.type}${entry.name}`;
      let merged = this.#stats.get(key);
      if (merged === undefined) {
        merged = {
          name: entry.name,
          type: entry.type,
          cells: [],
          retired: -0,
          retiredHistogram: EMPTY_HISTOGRAM,
          previous: EMPTY_HISTOGRAM,
          interval: EMPTY_HISTOGRAM,
        };
        this.#stats.set(key, merged);
      }
      merged.cells.push({ thread, page, slot: entry.slot });
    }
  }

  /** The thread is gone: keeps its counters and histograms, forgets its gauges. */
  retire(thread: number): void {
    if (!this.#pages.delete(thread)) return;
    for (const merged of this.#stats.values()) {
      for (const cell of merged.cells) {
        if (cell.thread !== thread) continue;
        if (merged.type === StatType.COUNTER) merged.retired += cell.page[cell.slot]!;
        else if (merged.type === StatType.HISTOGRAM) {
          merged.retiredHistogram = addHistograms(merged.retiredHistogram, readHistogram(cell.page, cell.slot));
        }
      }
      merged.cells = merged.cells.filter((cell) => cell.thread !== thread);
    }
  }

  /** Adds statistics kept elsewhere to every {@link collect}. */
  provide(provider: StatsProvider): void {
    this.#providers.push(provider);
  }

  /** Every counter reads 0 from now on; the threads' own values are theirs to write and stay as they are. */
  resetCounters(): void {
    for (const merged of this.#stats.values()) {
      if (merged.type !== StatType.COUNTER) continue;
      const value = mergedNumber(merged);
      // -0 - -0 is 0, which would count as touched.
      if (!Object.is(value, -0)) merged.retired -= value;
    }
  }

  /** Ends a flush interval: what histograms got since the last call is their interval from now on. */
  rollInterval(): void {
    for (const merged of this.#stats.values()) {
      if (merged.type !== StatType.HISTOGRAM) continue;
      const now = mergedHistogram(merged);
      merged.interval = subtractHistogram(now, merged.previous);
      merged.previous = now;
    }
  }

  /** Every statistic as it stands, sorted by name. */
  collect(): Stat[] {
    const stats: Stat[] = [];
    for (const merged of this.#stats.values()) {
      const { name, type } = merged;
      if (type === StatType.HISTOGRAM) {
        const cumulative = mergedHistogram(merged);
        stats.push({ name, type: "histogram", used: cumulative.count > 0, cumulative, interval: merged.interval });
      } else if (type === StatType.COUNTER || merged.cells.length > 0) {
        const value = mergedNumber(merged);
        const used = !Object.is(value, -0);
        stats.push({ name, type: type === StatType.COUNTER ? "counter" : "gauge", used, value: 0 + value });
      }
    }
    for (const provider of this.#providers) stats.push(...provider());
    return stats.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }
}

function mergedNumber(merged: Merged): number {
  // -0 + -0 is -0, anything else makes it +0 or more: "never touched" survives the sum.
  let total = merged.retired;
  for (const { page, slot } of merged.cells) {
    const value = page[slot]!;
    if (merged.type !== StatType.GAUGE_MAX) total += value;
    else if (Object.is(total, -0) || value > total) total = value;
  }
  return total;
}

function mergedHistogram(merged: Merged): HistogramSnapshot {
  let total = merged.retiredHistogram;
  for (const { page, slot } of merged.cells) total = addHistograms(total, readHistogram(page, slot));
  return total;
}
