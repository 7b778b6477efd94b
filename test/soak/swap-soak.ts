/** Modules swapped under load: 64 connections on two workers, and what it costs them. */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { writeFileSync } from "node:fs";
import { firstAnswer, freePort, LOAD_CORE, startPinned } from "../bench/processes.ts";
import { fill } from "../bench/sides.ts";
import { load } from "../bench/wrk.ts";
import { Proxy, until, versionModule } from "../hotload/versions.ts";
import { residentBytes } from "./proxy.ts";

const LUA = fileURLToPath(new URL("./versions.lua", import.meta.url));

/** What may be in use after all swaps and a rest, of what was before the first one. */
export const RESIDENT_SHARE = 1.1;
/** Several times what the proxy waits before it gives memory back. */
const REST_MS = 20_000;

export interface SwapOutcome {
  readonly swaps: number;
  readonly requests: number;
  /** Broken connections, timeouts, other statuses than 200. */
  readonly errors: number;
  /** Answers without exactly one version, or with another one than the request had. */
  readonly wrong: number;
  readonly rate: number;
  readonly p99Ms: number;
}

export interface SwapSoak {
  readonly with: SwapOutcome;
  readonly without: SwapOutcome;
  /** Of the slowest worker, over all swaps. */
  readonly prepareMs: { readonly median: number; readonly most: number };
  readonly swapMs: { readonly median: number; readonly most: number };
  /** Before any swap, and after the last one. */
  readonly instances: readonly [before: number, after: number];
  readonly guestBytes: readonly [before: number, after: number];
  /** Of the process: after the same load without swaps, right after the last swap, and after a rest. */
  readonly residentBytes: readonly [base: number, late: number, rested: number];
}

/** Throws when a swap fails. `seconds` for each of the two runs. */
export async function soakSwaps(folder: string, seconds: number, swaps: number): Promise<SwapSoak> {
  const origin = await freePort();
  const nginx = startPinned(LOAD_CORE, [
    "nginx",
    "-p",
    folder,
    "-e",
    "stderr",
    "-c",
    fill("version-origin.conf", { folder, port: origin, upstream: 0 }),
  ]);
  const module = join(folder, "versions.wasm");
  writeFileSync(module, await versionModule(1));
  const endpoint = `{ address: { socket_address: { address: 127.0.0.1, port_value: ${origin} } } }`;
  const assignment = `{ cluster_name: origin, endpoints: [{ lb_endpoints: [{ endpoint: ${endpoint} }] }] }`;
  try {
    await firstAnswer(nginx, origin);
    const proxy = await new Proxy(module, {
      routes: ["{ match: { prefix: / }, route: { cluster: origin, timeout: 0s } }"],
      clusters: `[{ name: origin, connect_timeout: 5s, load_assignment: ${assignment} }]`,
    }).live();
    await run(proxy, 1, 0);
    const before = await base(proxy);
    const without = await run(proxy, seconds, 0);
    const resident = (): number => residentBytes(proxy.process.pid!);
    const calm = resident();
    const times: Times = { prepare: [], swap: [] };
    const done = await run(proxy, seconds, swaps, times);
    const late = resident();
    const after = await until(
      () => base(proxy),
      ({ instances }) => instances === before.instances,
    );
    return {
      with: done,
      without,
      prepareMs: spread(times.prepare),
      swapMs: spread(times.swap),
      instances: [before.instances, after.instances],
      guestBytes: [before.bytes, after.bytes],
      residentBytes: [calm, late, await rested(resident, calm * RESIDENT_SHARE)],
    };
  } finally {
    await nginx.stop();
  }
}

interface Times {
  readonly prepare: number[];
  readonly swap: number[];
}

async function run(proxy: Proxy, seconds: number, swaps: number, times?: Times): Promise<SwapOutcome> {
  const [loaded, swapped] = await Promise.all([
    load(`http://${proxy.address}/`, seconds, ["-s", LUA]),
    times === undefined ? 0 : swapAll(proxy, { swaps, everyMs: (seconds * 900) / swaps }, times),
  ]);
  const { requests, errors, rate, p99Ms, report } = loaded;
  return { swaps: swapped, requests, errors, wrong: Number(/wrong answers: (\d+)/.exec(report)![1]), rate, p99Ms };
}

async function swapAll(
  proxy: Proxy,
  { swaps, everyMs }: { readonly swaps: number; readonly everyMs: number },
  times: Times,
): Promise<number> {
  const from = performance.now();
  for (let n = 1; n <= swaps; n++) {
    const answer = await proxy.load(await versionModule(n % 10_000));
    if (answer.status !== 200) throw new Error(`swap ${n}: ${answer.body}`);
    const { prepare_ms, swap_ms } = JSON.parse(answer.body) as { prepare_ms: number; swap_ms: number };
    times.prepare.push(prepare_ms);
    times.swap.push(swap_ms);
    await delay(Math.max(0, from + n * everyMs - performance.now()));
  }
  return times.swap.length;
}

async function base(proxy: Proxy): Promise<{ readonly instances: number; readonly bytes: number }> {
  const { instances, memory } = await proxy.plugin();
  const counted = await proxy.stat("wasm.versions.instances");
  return { instances: Math.max(instances, counted), bytes: memory };
}

/** Resident memory once it is no more than `bytes`, or at the end of the rest. */
async function rested(resident: () => number, bytes: number): Promise<number> {
  const end = performance.now() + REST_MS;
  while (resident() > bytes && performance.now() < end) await delay(100);
  return resident();
}

function spread(values: readonly number[]): { readonly median: number; readonly most: number } {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: sorted[sorted.length >> 1]!, most: sorted.at(-1)! };
}
