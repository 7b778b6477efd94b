/** Rounds of load over several proxies in turn, and what comes of them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadH2 } from "./h2load.ts";
import { firstAnswer, freePort, get, LOAD_CORE, opened, startPinned } from "./processes.ts";
import type { Started } from "./processes.ts";
import { fill, startSide } from "./sides.ts";
import type { Side } from "./sides.ts";
import { load } from "./wrk.ts";
import type { Load } from "./wrk.ts";

/** One run of one side. */
export interface Run {
  readonly cpuMicros: number;
  readonly rate: number;
  readonly p99Ms: number;
  readonly requests: number;
  readonly errors: number;
}

/** All runs of one side, one per round. */
export interface Result {
  readonly side: Side;
  readonly runs: Run[];
}

export interface Plan {
  readonly folder: string;
  readonly seconds: number;
  readonly rounds: number;
  /** Seconds of load that are not counted, so that compilers have compiled. */
  readonly warmUpSeconds: number;
}

const BODY_BYTES = 64 * 1024;
const POST_BODY = fileURLToPath(new URL("./configs/post-body.lua", import.meta.url));
const BODY_CONNECTIONS = 16;

interface Live {
  readonly result: Result;
  readonly started: Started;
  readonly port: number;
}

/** Starts the upstream that all sides share. */
export async function startOrigin(folder: string): Promise<{ readonly started: Started; readonly port: number }> {
  const port = await freePort();
  writeFileSync(join(folder, "body"), Buffer.alloc(BODY_BYTES, "sluice. "));
  const config = fill("origin.conf", { folder, port, upstream: 0 });
  const started = startPinned(LOAD_CORE, ["nginx", "-p", folder, "-e", "stderr", "-c", config]);
  await firstAnswer(started, port);
  return { started, port };
}

/** Runs all sides in turn: A B C, A B C …; a pair of one round met the same weather. */
export async function runRounds(
  sides: readonly Side[],
  plan: Plan,
  progress: (text: string) => void,
): Promise<Result[]> {
  const origin = await startOrigin(plan.folder);
  const live: Live[] = [];
  try {
    for (const side of sides) {
      const { started, port } = await startSide(side, plan.folder, origin.port);
      live.push({ result: { side, runs: [] }, started, port });
      // A listener of HTTP/2 may speak nothing else.
      if (side.scenario === "h2") await opened(started, port);
      else {
        await firstAnswer(started, port);
        await checkJobs(side, port);
      }
      if (plan.warmUpSeconds > 0) await loadOf(side, port, plan.warmUpSeconds, plan.folder);
    }
    for (let round = 1; round <= plan.rounds; round += 1) {
      for (const one of live) {
        const run = await runOnce(one, plan);
        one.result.runs.push(run);
        progress(
          `round ${round}/${plan.rounds}  ${one.result.side.name.padEnd(18)} ${run.cpuMicros.toFixed(2)} µs  ${Math.round(run.rate)}/s`,
        );
      }
    }
  } finally {
    await Promise.all([origin.started, ...live.map(({ started }) => started)].map((started) => started.stop()));
  }
  return live.map(({ result }) => result);
}

async function runOnce({ result, started, port }: Live, { seconds, folder }: Plan): Promise<Run> {
  return measured(started, () => loadOf(result.side, port, seconds, folder));
}

/** A load and its CPU time for each request; again while that is less than the kernel tells. */
export async function measured(started: Started, run: () => Promise<Load>): Promise<Run> {
  const before = started.cpuMicros();
  let all = 0;
  for (;;) {
    const { requests, rate, p99Ms, errors } = await run();
    all += requests;
    const micros = started.cpuMicros() - before;
    if (micros > 0) return { cpuMicros: micros / all, rate, p99Ms, requests, errors };
  }
}

function loadOf({ scenario }: Side, port: number, seconds: number, folder: string): Promise<Load> {
  const url = `http://127.0.0.1:${port}/`;
  if (scenario === "h2") return loadH2(url, seconds, folder);
  return scenario === "bodies" ? load(url, seconds, ["-s", POST_BODY], BODY_CONNECTIONS) : load(url, seconds);
}

/** A side that does less than its job must not look quick. Throws when it does. */
async function checkJobs(side: Side, port: number): Promise<void> {
  const answer = await get(port);
  if (answer.body !== "hello world\n") throw new Error(`${side.name} answered ${JSON.stringify(answer.body)}`);
  if (side.scenario !== "filters") return;
  if (answer.headers["x-evangelist"] !== "hello from wasm") throw new Error(`${side.name} did not mark its response`);
  const fault = await get(port, { "x-envoy-fault-abort-request": "503" });
  if (fault.status !== 503 || fault.body.trim() !== "fault filter abort")
    throw new Error(`${side.name} answered a fault with ${fault.status} ${fault.body}`);
}

/** Of an odd number the one in the middle, else the mean of the two. Throws when there is none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle];
  if (upper === undefined) throw new RangeError("median of nothing");
  return sorted.length % 2 === 1 ? upper : (upper + sorted[middle - 1]!) / 2;
}

/** Median over the rounds of (one's CPU time ÷ the other's) of the same round. */
export function ratio(one: Result, other: Result): number {
  return median(one.runs.map((run, round) => run.cpuMicros / other.runs[round]!.cpuMicros));
}
