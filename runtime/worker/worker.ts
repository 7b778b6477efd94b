/**
 * A worker thread: it hears the main thread through one port (messages.ts), and has its data plane do what is said.
 */
import { parentPort, workerData } from "node:worker_threads";
import { ProxyError } from "../errors.ts";
import { flushLogFiles, reopenLogFiles } from "../observe/log-file.ts";
import { StatsStore } from "../observe/stats.ts";
import { DataPlane } from "./data-plane.ts";
import { startHeartbeat } from "./heartbeat.ts";
import type { FromWorker, ToWorker, WorkerBirth, WorkerSetup } from "./messages.ts";

const port = parentPort!;
const { index, beats } = workerData as WorkerBirth;
let plane: DataPlane | null = null;

function say(message: FromWorker): void {
  port.postMessage(message);
}

/** Tells why the worker cannot start, and ends it. Anything but a ProxyError is a fault of ours and ends it by itself. */
function fail(error: unknown): void {
  if (!(error instanceof ProxyError)) throw error;
  say({ kind: "failed", code: error.code, message: error.message });
  plane?.stop();
  port.close();
}

async function setUp(setup: WorkerSetup): Promise<void> {
  try {
    const stats = new StatsStore((announcement) => say({ kind: "stats", announcement }));
    plane = new DataPlane(index, setup, stats, say);
    await plane.start();
    stats.announceNow();
    startHeartbeat(beats, index);
    say({ kind: "ready" });
  } catch (error) {
    fail(error);
  }
}

function onMessage(message: ToWorker): void {
  if (message.kind === "setup") {
    void setUp(message.setup);
    return;
  }
  if (plane === null) return;
  switch (message.kind) {
    case "listen":
      return void plane.listen(message.sockets).then(say, fail);
    case "peer":
      return plane.connectPeer(message.link);
    case "drain":
      return void plane.drain(message.ms).then(say, fail);
    case "stop_accepting":
      return plane.stopAccepting(message.inboundOnly);
    case "drain_close":
      return plane.setDrainClose(message);
    case "lend_sockets":
      return say(plane.lendSockets(message.id));
    case "hand_over":
      return say(plane.handOver(message.id));
    case "log_levels":
      return plane.setLogLevels(message.logLevels);
    case "reopen_logs":
      return reopenLogFiles();
    case "prepare_plugins":
    case "commit_plugins":
      return say(plane.changePlugins(message));
    case "try_plugins":
      return plane.tryPlugins(message);
    case "drop_plugins":
      return plane.dropPlugins(message.id, message.drainMs);
    case "watch_plugins":
      return plane.watchPlugins(message);
    case "end_trials":
      return plane.endTrials(message.indices);
    case "describe_clusters":
      return say(plane.describeClusters(message.id));
    case "describe_certificates":
      return say(plane.describeCertificates(message.id));
    case "describe_plugins":
      return say(plane.describePlugins(message.id));
    case "acknowledge":
      return say({ kind: "heard", id: message.id });
    case "stop":
      return void plane.end();
    default:
      return onReload(plane, message);
  }
}

type ReloadKind = "prepare_clusters" | "drop_clusters" | "prepare_listeners" | "drop_listeners" | "commit_reload";

function onReload(to: DataPlane, message: Extract<ToWorker, { kind: ReloadKind }>): void {
  switch (message.kind) {
    case "prepare_clusters":
      return void to.prepareClusters(message).then(say, fail);
    case "drop_clusters":
      return to.dropClusters(message.id);
    case "prepare_listeners":
      return void to.prepareListeners(message).then(say, fail);
    case "drop_listeners":
      return to.dropListeners(message.id);
    case "commit_reload":
      return say(to.commitReload(message));
  }
}

// Whatever ends this thread, what was logged gets out.
process.on("exit", flushLogFiles);
port.on("message", onMessage);
