/**
 * What callbacks take, time and fuel, as histograms of each plugin. Callbacks of streams are measured now and then, at
 * random distances, so that the measure costs them nothing to speak of; those of root contexts always, since they are few.
 */
import { CALLBACKS_PER_SAMPLE } from "../limits.ts";
import type { Histogram, Stats } from "../observe/stats.ts";

interface Measures {
  /** Microseconds, host functions included. */
  readonly time: Histogram;
  /** Thousands of units. */
  readonly fuel: Histogram;
}

/** What is measured, as it stands in the name of the histogram: `wasm.<plugin>.<this>.<callback>`. */
const KINDS = { time: "callback_us", fuel: "callback_fuel_thousands" } as const;
const NAME = new RegExp(`^wasm\\.(.*)\\.(${Object.values(KINDS).join("|")})\\.([^.]+)$`);

/** What the name of a histogram says; undefined when it is none of these. */
export function splitMeasureName(
  name: string,
): { readonly plugin: string; readonly callback: string; readonly kind: keyof typeof KINDS } | undefined {
  const match = NAME.exec(name);
  if (match === null) return undefined;
  const [, plugin = "", kind, callback = ""] = match;
  return { plugin, callback, kind: kind === KINDS.time ? "time" : "fuel" };
}

/** One for each VM and worker. */
export class CallbackMeter {
  /** Callbacks until the next one that is measured; the caller counts down. */
  left = 0;
  readonly #stats: Stats;
  readonly #plugins = new Map<string, Map<string, Measures>>();

  constructor(stats: Stats) {
    this.#stats = stats;
  }

  /** Takes what a callback of `plugin` took and says, in `left`, when to measure again. */
  record(plugin: string, callback: string, milliseconds: number, fuel: number): void {
    this.left = Math.floor(Math.random() * (2 * CALLBACKS_PER_SAMPLE - 1));
    const { time, fuel: used } = this.#measures(plugin, callback);
    time.record(milliseconds * 1000);
    used.record(fuel / 1000);
  }

  #measures(plugin: string, callback: string): Measures {
    let callbacks = this.#plugins.get(plugin);
    if (callbacks === undefined) this.#plugins.set(plugin, (callbacks = new Map()));
    let measures = callbacks.get(callback);
    if (measures === undefined) {
      const histogram = (kind: string): Histogram => this.#stats.histogram(`wasm.${plugin}.${kind}.${callback}`);
      measures = { time: histogram(KINDS.time), fuel: histogram(KINDS.fuel) };
      callbacks.set(callback, measures);
    }
    return measures;
  }
}
