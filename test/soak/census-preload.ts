/**
 * Loaded ahead of a proxy (NODE_OPTIONS=--import), in each of its threads: says when asked what is left in that thread once
 * everything that can go is gone. The main thread is asked through the unix socket that SLUICE_CENSUS names.
 */
import { readdirSync } from "node:fs";
import { createServer } from "node:net";
import type { Socket } from "node:net";
import { queryObjects, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { BroadcastChannel, isMainThread, threadId } from "node:worker_threads";
import type { ThreadCensus } from "./census.ts";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;
const channel = new BroadcastChannel("census");
channel.unref();

function count(): ThreadCensus {
  // What finalizers let go of is garbage of the next round.
  for (let round = 0; round < 2; round++) gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  return {
    thread: threadId,
    heapBytes: heapUsed,
    externalBytes: external,
    residentBytes: rss,
    modules: queryObjects(WebAssembly.Module, { format: "count" }),
    instances: queryObjects(WebAssembly.Instance, { format: "count" }),
    resources: process.getActiveResourcesInfo().length,
    descriptors: readdirSync("/proc/self/fd").length,
  };
}

if (isMainThread) answerThrough(process.env["SLUICE_CENSUS"]!);
else
  channel.onmessage = (event): void => {
    if ((event as { data: unknown }).data === "count") channel.postMessage(count());
  };

/** Each connection is asked for one count of all threads; how many there are it says first. */
function answerThrough(path: string): void {
  const server = createServer((socket) => socket.once("data", (data) => answer(socket, Number(data))));
  server.listen(path);
  server.unref();
}

function answer(socket: Socket, threads: number): void {
  const counts = [count()];
  const tell = (): void => {
    if (counts.length === threads) socket.end(JSON.stringify(counts));
  };
  channel.onmessage = (event): void => {
    counts.push((event as { data: ThreadCensus }).data);
    tell();
  };
  channel.postMessage("count");
  tell();
}
