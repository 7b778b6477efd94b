/** `/wasm/callbacks`: what the callbacks of each plugin take, from the histograms that workers keep of those they measure. */
import { quantile } from "../observe/histogram.ts";
import type { Stat } from "../observe/stats-registry.ts";
import { splitMeasureName } from "../wasm/callback-meter.ts";

interface CallbackCost {
  readonly plugin: string;
  readonly callback: string;
  measured: number;
  p50_us: number;
  p99_us: number;
  max_us: number;
  p50_fuel: number;
  p99_fuel: number;
  max_fuel: number;
}

/** Sorted as `stats` are: by plugin, then by callback. */
function callbackCosts(stats: readonly Stat[]): CallbackCost[] {
  const costs = new Map<string, CallbackCost>();
  for (const stat of stats) {
    const name = stat.type === "histogram" && stat.used ? splitMeasureName(stat.name) : undefined;
    if (stat.type !== "histogram" || name === undefined) continue;
    const { plugin, callback, kind } = name;
    const key = `${plugin} ${callback}`;
    let cost = costs.get(key);
    if (cost === undefined) {
      cost = { plugin, callback, measured: 0, p50_us: 0, p99_us: 0, max_us: 0, p50_fuel: 0, p99_fuel: 0, max_fuel: 0 };
      costs.set(key, cost);
    }
    const [p50, p99, max] = [0.5, 0.99, 1].map((q) => quantile(stat.cumulative, q)) as [number, number, number];
    if (kind === "time") {
      const round = (us: number): number => Math.round(us * 10) / 10;
      Object.assign(cost, { measured: stat.cumulative.count, p50_us: round(p50), p99_us: round(p99) });
      cost.max_us = round(max);
    } else {
      const units = (thousands: number): number => Math.round(thousands * 1000);
      Object.assign(cost, { p50_fuel: units(p50), p99_fuel: units(p99), max_fuel: units(max) });
    }
  }
  return [...costs.values()];
}

/** One line for each: `plugin::callback::measured=… p50_us=… …`. */
export function callbacksText(stats: readonly Stat[]): string {
  return callbackCosts(stats)
    .map(({ plugin, callback, ...numbers }) => {
      const pairs = Object.entries(numbers).map(([key, value]) => `${key}=${value}`);
      return `${plugin}::${callback}::${pairs.join(" ")}\n`;
    })
    .join("");
}

export function callbacksJson(stats: readonly Stat[]): object {
  return { callbacks: callbackCosts(stats) };
}
