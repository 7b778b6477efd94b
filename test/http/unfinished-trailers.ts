/**
 * A process of its own, since it may end with it: streams that time out in the middle of their trailers, connections that
 * go after them, and then a collection. Prints `alive` when it does not. Needs --expose-gc.
 */
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { cluster, Engine, forward, origin, route } from "./engine.ts";
import { block, END_HEADERS, END_STREAM, Frame, frame, head, PREFACE } from "./h2-frames.ts";

const ROUNDS = 12;
const AT_A_TIME = 30;

const host = await origin(() => {});
const engine = await Engine.start({
  routes: [route("/", forward("host"))],
  clusters: [cluster("host", [host.port])],
  manager: { streamIdleTimeoutMs: 20, delayedCloseTimeoutMs: 5 },
});
const request = frame(Frame.HEADERS, END_HEADERS, 1, block(head("POST", "/")));
const begun = frame(Frame.HEADERS, END_STREAM, 1, block(["a-trailer-with-a-name", "and a value"]));
for (let round = 0; round < ROUNDS; round++) {
  const sockets = Array.from({ length: AT_A_TIME }, () => connect(engine.port, "127.0.0.1"));
  for (const socket of sockets) {
    socket.on("error", () => {});
    socket.resume().write(Buffer.concat([PREFACE, frame(Frame.SETTINGS, 0, 0), request, begun]));
  }
  // The streams time out, then the connections go. Nothing is looked at meanwhile: it would be collected bit by bit.
  await sleep(60);
  for (const socket of sockets) socket.destroy();
  await sleep(40);
  globalThis.gc!();
}
console.log("alive");
process.exit();
