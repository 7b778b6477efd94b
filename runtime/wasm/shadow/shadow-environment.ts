/**
 * The world of a shadow: it reads what the real plugin reads, and nothing of what it does leaves it. Shared data, metrics,
 * token buckets and queues are its own; calls are accepted and never answered, so that they end with their timeout;
 * its statistics stand under `wasm_shadow.`; its lines of log are written, with a mark.
 */
import type { Log } from "../../observe/log.ts";
import type { Stats } from "../../observe/stats.ts";
import type { Upstream, UpstreamRequest, Upstreams } from "../../upstream/request.ts";
import type { WasmEnvironment } from "../environment.ts";
import { SharedStore } from "../shared.ts";

const worlds = new WeakMap<WasmEnvironment, WasmEnvironment>();

/** The same one for the same environment: all shadows of a worker share data among them. */
export function shadowEnvironment(real: WasmEnvironment): WasmEnvironment {
  let world = worlds.get(real);
  if (world === undefined) {
    world = {
      ...real,
      upstreams: silentUpstreams({ has: (name) => real.upstreams.get(name) !== undefined }),
      stats: shadowStats(real.stats),
      log: markedLog(real.log),
      shared: SharedStore.create(),
    };
    worlds.set(real, world);
  }
  return world;
}

const SILENT_REQUEST: UpstreamRequest = {
  hostname: "",
  sendHeaders() {},
  sendData: () => true,
  sendTrailers() {},
  flush() {},
  pauseReading() {},
  resumeReading() {},
  reset() {},
};

/** Clusters of the same names that take every request and never answer. */
export function silentUpstreams(names: { has(name: string): boolean }): Upstreams {
  return {
    get: (name): Upstream | undefined =>
      names.has(name) ? { name, hostCount: 1, request: () => SILENT_REQUEST } : undefined,
  };
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
