/** The load generator, wrk, and the reading of its report. */
import { once } from "node:events";
import { LOAD_CORE, startPinned } from "./processes.ts";

export const CONNECTIONS = 64;
/** wrk counts an answer that takes more than two seconds as an error, if it is not told otherwise: on a busy machine it may. */
export const PATIENT = ["--timeout", "600s"] as const;

export interface Load {
  readonly requests: number;
  /** Per second. */
  readonly rate: number;
  readonly p99Ms: number;
  /** Broken connections, timeouts, and answers other than 2xx and 3xx. */
  readonly errors: number;
}

/**
 * Loads `url` for some seconds over kept connections, again if the machine was too busy for a single answer.
 * Throws when wrk fails or its report is not understood.
 */
export async function load(
  url: string,
  seconds: number,
  options: readonly string[] = [],
  connections = CONNECTIONS,
): Promise<Load & { readonly report: string }> {
  const args = ["-t1", `-c${connections}`, `-d${seconds}s`, ...PATIENT, "--latency", ...options, url];
  for (;;) {
    const wrk = startPinned(LOAD_CORE, ["wrk", ...args]);
    const [status] = (await once(wrk.child, "close")) as [number | null];
    if (status !== 0) throw new Error(`wrk ended with ${status}: ${wrk.output}`);
    const seen = readReport(wrk.output);
    if (seen.requests + seen.errors > 0) return { ...seen, report: wrk.output };
  }
}

/** Throws when a figure is missing. */
export function readReport(report: string): Load {
  const socketErrors =
    /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(report)?.slice(1) ?? [];
  const badStatus = /Non-2xx or 3xx responses: (\d+)/.exec(report)?.[1] ?? "0";
  return {
    requests: Number(figure(report, /(\d+) requests in/)),
    rate: Number(figure(report, /Requests\/sec:\s+([\d.]+)/)),
    p99Ms: toMs(figure(report, /99%\s+([\d.]+(?:us|ms|s|m))\s/)),
    errors: [...socketErrors, badStatus].reduce((sum, one) => sum + Number(one), 0),
  };
}

function figure(report: string, pattern: RegExp): string {
  const found = pattern.exec(report)?.[1];
  if (found === undefined) throw new Error(`wrk's report has no ${String(pattern)}: ${report}`);
  return found;
}

function toMs(text: string): number {
  const value = Number.parseFloat(text);
  if (text.endsWith("us")) return value / 1000;
  if (text.endsWith("ms")) return value;
  return text.endsWith("m") ? value * 60_000 : value * 1000;
}
