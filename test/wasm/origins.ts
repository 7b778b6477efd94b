/** Upstreams for the calls of guests: real servers, and the clusters that lead to them. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import type { TestContext } from "node:test";
import type { ClusterConfig } from "../../runtime/config/snapshot.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import { RecordingStats } from "./stage.ts";
import type { Stage } from "./stage.ts";

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** The port of a server that answers so, until the test is over. */
export async function httpOrigin(t: TestContext, answer: Answer): Promise<number> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

export async function clustersOf(t: TestContext, ...configs: ClusterConfig[]): Promise<ClusterSet> {
  const clusters = new ClusterSet(configs, new RecordingStats());
  await clusters.start();
  t.after(() => clusters.close());
  return clusters;
}

/** Waits until the guest has seen `name` so many times; the arguments of the last. */
export async function callback(stage: Stage, name: string, count = 1): Promise<readonly number[]> {
  for (;;) {
    const seen = stage.trace.filter((one) => one.name === name);
    if (seen.length >= count) return seen[count - 1]!.args;
    await setTimeout(2);
  }
}
