/** A worker thread without a data plane, for the pool's tests: it misbehaves when it is told to, over its own socket. */
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { parentPort, workerData } from "node:worker_threads";
import type { FromWorker, ToWorker, WorkerBirth } from "../../runtime/worker/messages.ts";
import { clusterStatus } from "./cluster-fixture.ts";

/** Handed over in the place of the snapshot. */
export interface Script {
  /** The worker with this index cannot be set up. */
  readonly failsToSetUp?: number;
  /** The worker with this index dies in set-up, without a word. */
  readonly diesInSetUp?: number;
  /** The worker with this index dies when it is to prepare plugins; another one refuses. */
  readonly diesInPrepare?: number;
  readonly refusesInPrepare?: number;
  /** What a worker answers to "mark"; a change of plugins brings another script. */
  readonly mark?: string;
  /** A worker that is told to drain takes `SLOW_MS` for it and then leaves a 1 at its place here. */
  readonly drained?: Int32Array;
}

const SLOW_MS = 30;

/** Milliseconds between two heartbeats. */
const BEAT_MS = 5;
const port = parentPort!;
const { index, beats } = workerData as WorkerBirth;
let script: Script = {};
const server = createServer((socket) => {
  socket.on("error", () => {});
  socket.on("data", (data) => {
    const command = data.toString().trim();
    if (command === "throw") throw new Error("told to");
    if (command === "exit") process.exit(7);
    if (command === "hang") for (;;);
    if (command === "mark") socket.end(script.mark ?? "");
    if (command === "index") socket.end(String(index));
  });
});

/** As a worker does, but far more often. */
function startBeating(): void {
  const cells = new Int32Array(beats);
  Atomics.add(cells, index, 1);
  setInterval(() => Atomics.add(cells, index, 1), BEAT_MS).unref();
}

function say(message: FromWorker): void {
  port.postMessage(message);
}

port.on("message", (message: ToWorker) => {
  if (message.kind === "setup") {
    script = message.setup.snapshot as unknown as Script;
    if (script.diesInSetUp === index) process.exit(9);
    if (script.failsToSetUp === index) {
      say({ kind: "failed", code: "BAD_PLUGIN", message: "BAD_PLUGIN: told to" });
      port.close();
      return;
    }
    startBeating();
    say({ kind: "ready" });
  } else if (message.kind === "listen") {
    server.listen(
      { host: "127.0.0.1", port: message.sockets.boundPorts["main/0"] ?? 0, reusePort: true, exclusive: true },
      () => {
        const bound = (server.address() as AddressInfo).port;
        say({
          kind: "listening",
          bound: [{ name: "main", index: 0, address: `127.0.0.1:${bound}`, port: bound, descriptor: -1 }],
        });
      },
    );
  } else if (message.kind === "prepare_plugins") {
    if (script.diesInPrepare === index) process.exit(11);
    const error =
      script.refusesInPrepare === index ? { code: "GUEST_START", message: "GUEST_START: told to" } : undefined;
    say({ kind: "plugins_changed", id: message.id, error, ms: 1 });
  } else if (message.kind === "drain") {
    server.close();
    say({ kind: "drained", cut: 0 });
  } else if (message.kind === "drain_close") {
    Atomics.wait(script.drained!, index, 0, SLOW_MS);
    Atomics.store(script.drained!, index, 1);
  } else if (message.kind === "acknowledge") {
    say({ kind: "heard", id: message.id });
  } else if (message.kind === "describe_clusters") {
    say({ kind: "clusters", id: message.id, clusters: [clusterStatus(index + 1)] });
  } else if (message.kind === "stop") {
    server.close();
    port.close();
  }
});
