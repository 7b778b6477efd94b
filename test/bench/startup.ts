/** Start-up time: from the start of the process to its first answered request. */
import { connect } from "node:net";
import { availableParallelism } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { START_MS } from "./processes.ts";
import type { Started } from "./processes.ts";
import { startOrigin } from "./rounds.ts";
import { startSide } from "./sides.ts";
import type { Side } from "./sides.ts";

/** Nobody starts a proxy on one core of a machine that has more. */
const ALL_CORES = `0-${availableParallelism() - 1}`;

/** Milliseconds of each of `times` starts of one side, with a request tried every two milliseconds. */
export async function startTimes(side: Side, folder: string, times: number): Promise<number[]> {
  const origin = await startOrigin(folder);
  const measured: number[] = [];
  try {
    for (let time = 0; time < times; time += 1) {
      const begin = performance.now();
      const { started, port } = await startSide(side, folder, origin.port, ALL_CORES);
      try {
        await answered(started, port);
        measured.push(performance.now() - begin);
      } finally {
        await started.stop();
      }
    }
  } finally {
    await origin.started.stop();
  }
  return measured;
}

async function answered(started: Started, port: number): Promise<void> {
  const end = performance.now() + START_MS;
  while (performance.now() < end && started.child.exitCode === null) {
    if (await answers(port)) return;
    await delay(2);
  }
  throw new Error(`no answer: ${started.output}`);
}

/** A bare request: the measuring side must not be what is slow. */
async function answers(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  let answer = "";
  socket.on("connect", () => socket.write("GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"));
  socket.on("data", (data) => (answer += data.toString("latin1")));
  // Refused while nothing listens; "close" follows.
  socket.on("error", () => (answer = ""));
  await new Promise((resolve) => socket.once("close", resolve));
  return answer.startsWith("HTTP/1.1 200");
}
