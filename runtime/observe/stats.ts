/**
 * Statistics of one thread. Values live in SharedArrayBuffer pages, one writer per page, so that the
 * main thread reads and adds up all threads at any time without asking them, even one that hangs.
 * Names are Envoy's. Reading and adding up is stats-registry.ts.
 */
import { MAX_STAT_NAME_LENGTH, MAX_STAT_NAMES, STAT_PAGE_SLOTS } from "../limits.ts";
import { bucketOf, HISTOGRAM_SLOTS, MAX_SLOT, MIN_SLOT, SUM_SLOT } from "./histogram.ts";

export interface Counter {
  inc(): void;
  add(n: number): void;
  readonly value: number;
}
export interface Gauge {
  inc(): void;
  dec(): void;
  add(n: number): void;
  set(n: number): void;
  readonly value: number;
}
export interface Histogram {
  record(value: number): void;
}
/** How one gauge of several threads becomes one number: `max` for facts that each thread states alike. */
export type GaugeMerge = "sum" | "max";

/** Get-or-create by full name; meant for set-up, not for the path of a request. */
export interface Stats {
  counter(name: string): Counter;
  gauge(name: string, merge?: GaugeMerge): Gauge;
  histogram(name: string): Histogram;
}

export const StatType = { COUNTER: 0, GAUGE_SUM: 1, GAUGE_MAX: 2, HISTOGRAM: 3 } as const;
export type StatType = (typeof StatType)[keyof typeof StatType];

/** One name and where its value lies. */
export interface StatEntry {
  readonly name: string;
  readonly type: StatType;
  /** Page number in the order of announcement, and the first slot (double) in it. */
  readonly page: number;
  readonly slot: number;
}
/** What a thread tells the main thread about its new pages and names: plain data for postMessage. */
export interface StatsAnnouncement {
  readonly pages: readonly SharedArrayBuffer[];
  readonly entries: readonly StatEntry[];
}

class PagedCounter implements Counter {
  readonly page: Float64Array;
  readonly slot: number;
  constructor(page: Float64Array, slot: number) {
    this.page = page;
    this.slot = slot;
  }
  inc(): void {
    this.page[this.slot]!++;
  }
  add(n: number): void {
    this.page[this.slot]! += n;
  }
  get value(): number {
    return 0 + this.page[this.slot]!;
  }
}

class PagedGauge extends PagedCounter implements Gauge {
  dec(): void {
    this.page[this.slot]!--;
  }
  set(n: number): void {
    // + 0 keeps -0 out: it means "never touched".
    this.page[this.slot] = n + 0;
  }
}

class PagedHistogram implements Histogram {
  readonly #page: Float64Array;
  readonly #slot: number;
  constructor(page: Float64Array, slot: number) {
    this.#page = page;
    this.#slot = slot;
    page[slot + MIN_SLOT] = Infinity;
    page[slot + MAX_SLOT] = -Infinity;
  }
  record(value: number): void {
    const page = this.#page;
    const slot = this.#slot;
    page[slot + SUM_SLOT]! += value;
    if (value < page[slot + MIN_SLOT]!) page[slot + MIN_SLOT] = value;
    if (value > page[slot + MAX_SLOT]!) page[slot + MAX_SLOT] = value;
    page[slot + bucketOf(value)]!++;
  }
}

/**
 * The statistics of the calling thread. New names are handed to `announce` together, once per turn of the
 * event loop at most; `announceNow` does it at once (before a thread reports itself ready).
 */
export class StatsStore implements Stats {
  readonly #announce: (announcement: StatsAnnouncement) => void;
  readonly #nameLimit: number;
  readonly #counters = new Map<string, Counter>();
  readonly #gauges = new Map<string, Gauge>();
  readonly #histograms = new Map<string, Histogram>();
  #page: Float64Array = new Float64Array(0);
  #pageNumber = -1;
  #usedSlots = 0;
  #newPages: SharedArrayBuffer[] = [];
  #newEntries: StatEntry[] = [];
  #scheduled = false;
  /** Where everything over the limit of names is written; nobody reads it. */
  readonly #spill = new Float64Array(HISTOGRAM_SLOTS);
  readonly #spilled: Counter;

  constructor(announce: (announcement: StatsAnnouncement) => void, nameLimit = MAX_STAT_NAMES) {
    this.#announce = announce;
    this.#nameLimit = nameLimit;
    this.#spilled = this.counter("server.stats_overflow");
  }

  counter(name: string): Counter {
    let counter = this.#counters.get(name);
    if (counter === undefined) {
      if (!this.#admits(name)) return new PagedCounter(this.#spill, 0);
      counter = new PagedCounter(this.#reserve(1), this.#enter(name, StatType.COUNTER, 1));
      this.#counters.set(name, counter);
    }
    return counter;
  }

  gauge(name: string, merge: GaugeMerge = "sum"): Gauge {
    let gauge = this.#gauges.get(name);
    if (gauge === undefined) {
      if (!this.#admits(name)) return new PagedGauge(this.#spill, 0);
      const type = merge === "max" ? StatType.GAUGE_MAX : StatType.GAUGE_SUM;
      gauge = new PagedGauge(this.#reserve(1), this.#enter(name, type, 1));
      this.#gauges.set(name, gauge);
    }
    return gauge;
  }

  histogram(name: string): Histogram {
    let histogram = this.#histograms.get(name);
    if (histogram === undefined) {
      if (!this.#admits(name)) return new PagedHistogram(this.#spill, 0);
      histogram = new PagedHistogram(
        this.#reserve(HISTOGRAM_SLOTS),
        this.#enter(name, StatType.HISTOGRAM, HISTOGRAM_SLOTS),
      );
      this.#histograms.set(name, histogram);
    }
    return histogram;
  }

  /** Hands over what is new; does nothing when nothing is. */
  announceNow(): void {
    if (this.#newPages.length === 0 && this.#newEntries.length === 0) return;
    const announcement = { pages: this.#newPages, entries: this.#newEntries };
    this.#newPages = [];
    this.#newEntries = [];
    this.#announce(announcement);
  }

  #admits(name: string): boolean {
    const names = this.#counters.size + this.#gauges.size + this.#histograms.size;
    if (names < this.#nameLimit && name.length <= MAX_STAT_NAME_LENGTH) return true;
    this.#spilled.inc();
    return false;
  }

  /** Makes sure that `slots` slots are free in the current page, and returns it. */
  #reserve(slots: number): Float64Array {
    if (this.#usedSlots + slots > this.#page.length) {
      const buffer = new SharedArrayBuffer(STAT_PAGE_SLOTS * Float64Array.BYTES_PER_ELEMENT);
      this.#page = new Float64Array(buffer).fill(-0);
      this.#pageNumber++;
      this.#usedSlots = 0;
      this.#newPages.push(buffer);
    }
    return this.#page;
  }

  #enter(name: string, type: StatType, slots: number): number {
    const slot = this.#usedSlots;
    this.#usedSlots += slots;
    this.#newEntries.push({ name, type, page: this.#pageNumber, slot });
    if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(() => {
        this.#scheduled = false;
        this.announceNow();
      });
    }
    return slot;
  }
}
