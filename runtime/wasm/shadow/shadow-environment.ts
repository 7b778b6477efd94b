/**
 * The world of a shadow: nothing of what it does leaves it. Shared data is read, and what it writes is seen by shadows alone;
 * metrics, token buckets and queues are its own; calls are made by nobody, and answered only as answers.ts says; its statistics stand under `wasm_shadow.`; its lines of
 * log are written, with a mark.
 */
import type { Log } from "../../observe/log.ts";
import type { Stats } from "../../observe/stats.ts";
import type { Upstreams } from "../../upstream/request.ts";
import type { WasmEnvironment } from "../environment.ts";
import { SharedStore } from "../shared.ts";
import { Answers } from "./answers.ts";

export interface ShadowWorld {
  readonly environment: WasmEnvironment;
  readonly answers: Answers;
}

/** Shadows that are tried together in a worker are in one, and share data among them. */
export function shadowWorld(real: WasmEnvironment): ShadowWorld {
  const answers = new Answers();
  const environment = {
    ...real,
    upstreams: silentUpstreams({ has: (name) => real.upstreams.get(name) !== undefined }, answers),
    stats: shadowStats(real.stats),
    log: markedLog(real.log),
    shared: SharedStore.create(real.shared),
  };
  return { environment, answers };
}

/** Clusters of the same names that take every request; who answers, `answers` knows. */
export function silentUpstreams(names: { has(name: string): boolean }, answers = new Answers()): Upstreams {
  return { get: (name) => (names.has(name) ? answers.silent(name) : undefined) };
}

function shadowStats(real: Stats): Stats {
  const renamed = (name: string): string =>
    name.startsWith("wasm.envoy.") ? name : name.replace(/^wasm\./, "wasm_shadow.");
  return {
    counter: (name) => real.counter(renamed(name)),
    gauge: (name, merge) => real.gauge(renamed(name), merge),
    histogram: (name) => real.histogram(renamed(name)),
  };
}

function markedLog(real: Log): Log {
  const marked = (message: string): string => `shadow: ${message}`;
  return {
    trace: (message, fields) => real.trace(marked(message), fields),
    debug: (message, fields) => real.debug(marked(message), fields),
    info: (message, fields) => real.info(marked(message), fields),
    warning: (message, fields) => real.warning(marked(message), fields),
    error: (message, fields) => real.error(marked(message), fields),
    critical: (message, fields) => real.critical(marked(message), fields),
    guest: (level, message) => real.guest(level, marked(message)),
    enabled: (level) => real.enabled(level),
  };
}
