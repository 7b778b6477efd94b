/** Many requests through the three filters, with or without the loss of a worker on the way. */
import { startOrigin } from "../bench/rounds.ts";
import { load } from "../bench/wrk.ts";
import { SoakProxy } from "./proxy.ts";
import { fileURLToPath } from "node:url";
import { setTimeout as delay } from "node:timers/promises";

const ANSWERS = fileURLToPath(new URL("./answers.lua", import.meta.url));
/** wrk ends by time: it is run again until the count is reached. */
const RUN_SECONDS = 2;

export interface RequestSoak {
  readonly folder: string;
  readonly requests: number;
  /** End one of the two workers once this many requests were answered; undefined leaves them alone. */
  readonly killAfter?: number;
}

export interface RequestOutcome {
  readonly requests: number;
  /** Broken connections and timeouts, as wrk counts them. */
  readonly errors: number;
  /** Answers with another status than 200, or without the mark of the filter. */
  readonly wrong: number;
  /** Workers that were started anew. */
  readonly restarts: number;
  /** Workers that serve at the end. */
  readonly serving: number;
  readonly peakBytes: number;
}

interface WorkerView {
  readonly state: string;
  readonly restarts: number;
}

/** Runs it, and waits until the proxy is whole again. Throws when it does not start. */
export async function soakRequests({ folder, requests, killAfter }: RequestSoak): Promise<RequestOutcome> {
  const origin = await startOrigin(folder);
  let proxy: SoakProxy | undefined;
  try {
    proxy = await SoakProxy.start({ folder, upstream: origin.port, workers: 2, way: "filters" });
    const progress = { killed: killAfter === undefined };
    const [seen] = await Promise.all([
      repeatLoad(`http://127.0.0.1:${proxy.port}/`, requests, progress),
      killAfter === undefined ? undefined : killWorker(proxy, killAfter).finally(() => (progress.killed = true)),
    ]);
    const workers = await whole(proxy);
    return {
      ...seen,
      restarts: workers.reduce((sum, worker) => sum + worker.restarts, 0),
      serving: workers.filter(({ state }) => state === "listening").length,
      peakBytes: proxy.peakBytes(),
    };
  } finally {
    await Promise.all([origin.started.stop(), proxy?.started.stop()]);
  }
}

/** What of {@link RequestOutcome} the load generator sees. It goes on until the count is reached and the worker is ended that is to be. */
async function repeatLoad(
  url: string,
  wanted: number,
  progress: { readonly killed: boolean },
): Promise<Pick<RequestOutcome, "requests" | "errors" | "wrong">> {
  let requests = 0;
  let errors = 0;
  let wrong = 0;
  while (requests < wanted || !progress.killed) {
    const outcome = await load(url, RUN_SECONDS, ["-s", ANSWERS]);
    requests += outcome.requests;
    errors += outcome.errors;
    wrong += Number(/wrong answers: (\d+)/.exec(outcome.report)?.[1] ?? Number.NaN);
  }
  return { requests, errors, wrong };
}

/** Ends worker 0 in the middle. */
async function killWorker(proxy: SoakProxy, after: number): Promise<void> {
  for (;;) {
    const stats = await proxy.admin("GET", "/stats?filter=downstream_rq_total");
    const total = Math.max(0, ...[...stats.matchAll(/: (\d+)$/gm)].map(([, value]) => Number(value)));
    if (total >= after) break;
    await delay(5);
  }
  await proxy.admin("POST", "/workers/replace?index=0");
}

async function whole(proxy: SoakProxy): Promise<readonly WorkerView[]> {
  for (;;) {
    const { workers } = JSON.parse(await proxy.admin("GET", "/workers")) as { readonly workers: readonly WorkerView[] };
    if (workers.every(({ state }) => state === "listening")) return workers;
    await delay(20);
  }
}
