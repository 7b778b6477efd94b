/**
 * Statistics of one thread. Values live in SharedArrayBuffer pages, one writer per page, so that the
 * main thread reads and adds up all threads at any time without asking them, even one that hangs.
 * (Contract: the observe room fills this in; names are Envoy's.)
 */

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
/** Get-or-create by full name; meant for set-up, not for the path of a request. */
export interface Stats {
  counter(name: string): Counter;
  gauge(name: string): Gauge;
  histogram(name: string): Histogram;
}
