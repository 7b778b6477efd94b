/** The load generator of HTTP/2, h2load, and the reading of its report and log. */
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { LOAD_CORE, startPinned } from "./processes.ts";
import type { Load } from "./wrk.ts";

export const H2_CONNECTIONS = 8;
/** Streams at a time on each. */
export const H2_STREAMS = 8;

/** Loads `url` for some seconds over kept connections with prior knowledge. Throws when h2load fails or its report is not understood. */
export async function loadH2(url: string, seconds: number, folder: string): Promise<Load> {
  const log = join(folder, "h2load.log");
  const options = [`-c${H2_CONNECTIONS}`, `-m${H2_STREAMS}`, `-D${seconds}`, "--warm-up-time=0", `--log-file=${log}`];
  const h2load = startPinned(LOAD_CORE, ["h2load", "-t1", ...options, url]);
  const [status] = (await once(h2load.child, "close")) as [number | null];
  if (status !== 0) throw new Error(`h2load ended with ${status}: ${h2load.output}`);
  const text = readFileSync(log, "utf8");
  rmSync(log);
  return readH2Report(h2load.output, text);
}

/** Throws when a figure is missing. Of `log` each line is a request: its start, its status, and its microseconds. */
export function readH2Report(report: string, log: string): Load {
  const found = /(\d+) succeeded, (\d+) failed, \d+ errored, \d+ timeout/.exec(report);
  const rate = /finished in [^,]+, ([\d.]+) req\/s/.exec(report)?.[1];
  if (found === null || rate === undefined) throw new Error(`h2load's report is not understood: ${report}`);
  const micros = log
    .split("\n")
    .map((line) => Number(line.split("\t")[2]))
    .filter((value) => !Number.isNaN(value))
    .toSorted((a, b) => a - b);
  const p99 = micros[Math.floor(micros.length * 0.99)];
  if (p99 === undefined) throw new Error(`h2load's log is not understood: ${log.slice(0, 200)}`);
  return { requests: Number(found[1]), rate: Number(rate), p99Ms: p99 / 1000, errors: Number(found[2]) };
}
