/** A worker thread that does one job with the shared store and tells what came of it. */
import { parentPort, workerData } from "node:worker_threads";
import * as MetricKind from "../../abi/metric.ts";
import * as Status from "../../abi/status.ts";
import { SharedStore } from "../../runtime/wasm/shared.ts";
import type { SharedHandle } from "../../runtime/wasm/shared.ts";

const { handle, job } = workerData as { handle: SharedHandle; job: { kind: string; count: number; name: string } };
const store = new SharedStore(handle);
const key = Buffer.from(job.name);

/** Adds one to a number in the shared data, again and again, by compare-and-swap. */
function addByCas(): number {
  let conflicts = 0;
  for (let n = 0; n < job.count; n++) {
    for (;;) {
      const found = store.data.get("vm", key);
      const next = Buffer.from(String(Number(found?.value.toString() ?? "0") + 1));
      if (store.data.set("vm", key, next, found?.cas ?? 0) === Status.OK) break;
      conflicts++;
    }
  }
  return conflicts;
}

function count(): number {
  const counter = store.metrics.define(MetricKind.COUNTER, job.name)!;
  const histogram = store.metrics.define(MetricKind.HISTOGRAM, `${job.name}.ms`)!;
  for (let n = 0; n < job.count; n++) {
    counter.increment(1n);
    if (n % 100 === 0) histogram.record(BigInt(n % 7));
  }
  return 0;
}

function takeTokens(): number {
  const bucket = store.buckets.define(key, { maxTokens: 50_000, tokensPerFill: 1, fillIntervalMs: 3_600_000 })!;
  let taken = 0;
  for (let n = 0; n < job.count; n++) if (bucket.take(1)) taken++;
  return taken;
}

/** Writes until it is killed. */
function churn(): number {
  for (let n = 0; ; n++) store.data.set("churn", Buffer.from(`${job.name}${n % 50}`), Buffer.alloc(200, n & 255), 0);
}

const jobs: Readonly<Record<string, () => number>> = { addByCas, count, takeTokens, churn };
parentPort!.postMessage("ready");
parentPort!.once("message", () => {
  const result = jobs[job.kind]!();
  parentPort!.postMessage(result);
});
