/**
 * A new version of plugins plays to an empty house, on the main thread, before any worker hears of it: started, configured,
 * and shown made-up streams. A version that cannot do that is told why, and V8 has compiled the code, which all threads
 * share, by the time that traffic comes.
 */
import { BodyBuffer } from "../codec/body.ts";
import { HeaderMap } from "../codec/headers.ts";
import type { Snapshot } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { HttpFilterFactory } from "../http/filter.ts";
import { REHEARSAL_MS, REHEARSAL_STREAMS } from "../limits.ts";
import type { Log } from "../observe/log.ts";
import { plainConnection } from "../observe/plain-connection.ts";
import { StatsStore } from "../observe/stats.ts";
import { StreamInfo } from "../observe/stream-info.ts";
import type { WasmEnvironment } from "./environment.ts";
import { PluginSet } from "./plugin-set.ts";
import type { PluginVersion } from "./plugin-set.ts";
import { silentUpstreams } from "./shadow/shadow-environment.ts";
import { ShadowView } from "./shadow/shadow-view.ts";
import { SharedStore } from "./shared.ts";

/** Where made-up streams come from, and where they arrive. */
const NOWHERE = "127.0.0.1:1";

const NO_LOG: Log = {
  trace() {},
  debug() {},
  info() {},
  warning() {},
  error() {},
  critical() {},
  guest() {},
  enabled: () => false,
};

/** However little of the time is left on a busy machine: one without bodies, and one with. */
const FEWEST_STREAMS = 2;

/**
 * Throws ProxyError: what starting throws, or GUEST_REHEARSAL with the trap and its backtrace. Takes REHEARSAL_MS for
 * each plugin at most, beside what its start and FEWEST_STREAMS take.
 */
export function rehearse(versions: readonly PluginVersion[], snapshot: Snapshot): void {
  const configs = versions.map(({ config }) => config);
  const modules = versions.map(({ module }) => module);
  const numbers = versions.map(({ number }) => number);
  const set = new PluginSet(configs, modules, environmentOf(snapshot), { numbers });
  set.start();
  try {
    configs.forEach(({ name, routeConfigurations }, index) => {
      const routes = [0, ...(routeConfigurations ?? []).map(({ id }) => id)];
      const factory = set.httpFilter(index);
      const endMs = performance.now() + REHEARSAL_MS;
      for (let n = 0; n < FEWEST_STREAMS || (n < REHEARSAL_STREAMS && performance.now() < endMs); n++) {
        play(factory, n % 2 === 1, routes[(n >> 1) % routes.length]!);
        const failure = set.statuses()[index]?.lastFailure;
        if (failure === undefined) continue;
        throw new ProxyError("GUEST_REHEARSAL", "guest", `on a made-up request of ${name}: ${failure.text}`);
      }
    });
  } finally {
    set.close();
  }
}

function environmentOf({ clusters, node, runtime }: Snapshot): WasmEnvironment {
  const names = new Set(clusters.map(({ name }) => name));
  return {
    upstreams: silentUpstreams(names),
    stats: new StatsStore(() => {}),
    log: NO_LOG,
    shared: SharedStore.create(),
    node,
    runtime,
    workerIndex: 0,
  };
}

/** One exchange, with bodies or without. What the plugin answers changes nothing: the callbacks come as if it had gone on. */
function play(factory: HttpFilterFactory, bodies: boolean, route: number): void {
  const connection = plainConnection(NOWHERE, NOWHERE, { id: 0, listenerName: "rehearsal" });
  const info = new StreamInfo(connection, Date.now(), performance.now());
  const stream = {
    info,
    responseStarted: false,
    resolveRoute() {},
    joinResponse() {},
    perRouteConfigId: () => route,
    perRouteConfig: () => undefined,
    rateLimitDescriptors: () => [],
  };
  const view = new ShadowView(stream);
  const method = bodies ? "POST" : "GET";
  const requestHeaders = new HeaderMap([
    ":method",
    method,
    ":scheme",
    "http",
    ":authority",
    "rehearsal.invalid",
    ":path",
    "/",
  ]);
  view.request.head = info.requestHeaders = requestHeaders;
  const filter = factory.create(view);
  filter.onRequestHeaders(requestHeaders, !bodies);
  if (bodies && !view.over) filter.onRequestData(someBody(), true);
  if (!view.over) {
    const responseHeaders = new HeaderMap([":status", "200", "content-type", "text/plain"]);
    view.response.head = info.responseHeaders = responseHeaders;
    info.responseCode = 200;
    filter.onResponseHeaders(responseHeaders, !bodies);
    if (bodies && !view.over) filter.onResponseData(someBody(), true);
  }
  info.completeMs = performance.now();
  filter.onLog();
  filter.onDestroy();
  for (const close of info.connection.closers ?? []) close();
}

function someBody(): BodyBuffer {
  const body = new BodyBuffer();
  body.append(Buffer.from("rehearsal"));
  return body;
}
