/** What the process keeps of its sockets while workers come and go. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SocketCounts } from "../../runtime/listener/socket-counts.ts";
import { ProcessLog } from "../../runtime/observe/log.ts";
import { ProcessSockets } from "../../runtime/worker/process-sockets.ts";

test("a worker begins without sockets, whatever others counted for the one before it", () => {
  const sockets = new ProcessSockets(2, new ProcessLog({ level: "off", write: () => {} }).component("main"));
  sockets.count(["l"]);
  const { counts } = sockets.known(0);
  const first = new SocketCounts(counts["l"]!, 0);
  first.enter();
  // Worker 1 is lost; a socket was given to it before anybody noticed.
  sockets.forget(1);
  assert.equal(
    first.enterFewest(() => true),
    1,
  );
  sockets.known(1);
  assert.deepEqual([...new Int32Array(counts["l"]!)], [1, 0]);
});
