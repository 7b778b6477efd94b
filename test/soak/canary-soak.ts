/** Canaries that trap once in a hundred streams, under load: what it costs until they are taken back by themselves. */
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { steadyLoad } from "../cli/restart-row.ts";
import { Proxy, versionModule } from "../hotload/versions.ts";
import type { Setting } from "../hotload/versions.ts";

/** Of the streams. */
export const CANARY_PERCENT = 10;
const WORKERS = 2;
/** Between two canaries. */
const REST_MS = 100;

export interface Variant {
  readonly isolation: "WORKER" | "CONNECTION" | "STREAM";
  readonly policy: "FAIL_CLOSED" | "FAIL_OPEN";
}

export const VARIANTS: readonly Variant[] = [
  { isolation: "WORKER", policy: "FAIL_CLOSED" },
  { isolation: "WORKER", policy: "FAIL_OPEN" },
  { isolation: "STREAM", policy: "FAIL_CLOSED" },
  { isolation: "STREAM", policy: "FAIL_OPEN" },
];

export interface CanarySoak extends Variant {
  readonly canaries: number;
  /** All that flowed, rests between canaries included. */
  readonly requests: number;
  /** Requests that got another answer than 200, or none. */
  readonly failed: number;
  /** Requests that went past the filter, as FAIL_OPEN has it. */
  readonly skipped: number;
  /** Streams that canaries had, and requests that flowed while they were tried. */
  readonly canaryStreams: number;
  readonly requestsMeanwhile: number;
  /** From the answer of the load until the line of log that it is taken back. */
  readonly medianMs: number;
  readonly mostMs: number;
}

/**
 * Resolves when each of so many canaries has been taken back; who waits for one that is not is ended by a time limit.
 * `upstreamMs`: how long the upstream takes, so that streams are under way beside each other; 0: the proxy answers itself.
 */
export async function soakCanaries(
  folder: string,
  variant: Variant,
  canaries: number,
  upstreamMs: number,
): Promise<CanarySoak> {
  const module = join(mkdtempSync(join(folder, "canary-")), "versions.wasm");
  writeFileSync(module, await versionModule(1));
  const { isolation, policy } = variant;
  const upstream = upstreamMs === 0 ? null : await slowOrigin(upstreamMs);
  const proxy = await new Proxy(module, {
    args: ["--concurrency", String(WORKERS)],
    runtime: `defaults: { isolation: ${isolation}, rollout: { percent: ${CANARY_PERCENT} } }`,
    policy,
    ...(upstream === null ? {} : routed(upstream)),
  }).live();
  const load = steadyLoad(proxy.address);
  const times: number[] = [];
  let canaryStreams = 0;
  let requestsMeanwhile = 0;
  for (let n = 1; n <= canaries; n++) {
    await delay(REST_MS);
    const printed = proxy.output.length;
    const before = await requestsOf(proxy);
    const answer = await proxy.load(await versionModule(n, "q"), "&unrehearsed");
    if (answer.status !== 200) throw new Error(answer.body);
    const from = performance.now();
    await proxy.printed(/was taken back: .*\n/, printed);
    times.push(performance.now() - from);
    requestsMeanwhile += (await requestsOf(proxy)) - before;
    const said = /taken back: \d+ failures? in (\d+) streams/.exec(proxy.output.slice(printed));
    if (said === null) throw new Error(`taken back for another reason: ${proxy.output.slice(printed)}`);
    canaryStreams += Number(said[1]);
  }
  await delay(REST_MS);
  load.end();
  const { requests, errors } = await load.result;
  const skipped = await proxy.stat("wasm.versions.skipped_streams");
  proxy.process.kill("SIGTERM");
  await proxy.exited;
  upstream?.closeAllConnections();
  upstream?.close();
  times.sort((a, b) => a - b);
  return {
    ...variant,
    canaries,
    requests,
    failed: errors,
    skipped,
    canaryStreams,
    requestsMeanwhile,
    medianMs: times[times.length >> 1]!,
    mostMs: times.at(-1)!,
  };
}

async function slowOrigin(ms: number): Promise<Server> {
  const server = createServer((_request, response) => void setTimeout(() => response.end("ok"), ms));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

function routed(upstream: Server): Pick<Setting, "routes" | "clusters"> {
  const { port } = upstream.address() as AddressInfo;
  const endpoint = `{ address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } }`;
  const assignment = `{ cluster_name: slow, endpoints: [{ lb_endpoints: [{ endpoint: ${endpoint} }] }] }`;
  return {
    routes: ["{ match: { prefix: / }, route: { cluster: slow, timeout: 0s } }"],
    clusters: `[{ name: slow, connect_timeout: 5s, load_assignment: ${assignment} }]`,
  };
}

function requestsOf(proxy: Proxy): Promise<number> {
  return proxy.stat("http.ingress.downstream_rq_total");
}
