/** The ways on which workers give each other sockets: one between each two that listen. */
import { MessageChannel } from "node:worker_threads";
import type { WorkerThread } from "./thread.ts";

/** Links a thread with others, in both directions; a link ends with either of them. */
export function linkPeers(thread: WorkerThread, others: readonly WorkerThread[]): void {
  for (const other of others) {
    const { port1, port2 } = new MessageChannel();
    const taken = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT);
    thread.post({ kind: "peer", link: { worker: other.index, port: port1, taken } }, [port1]);
    other.post({ kind: "peer", link: { worker: thread.index, port: port2, taken } }, [port2]);
  }
}
