/** What copied bodies cost a worker in garbage. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { WorkerThread } from "../../runtime/worker/thread.ts";
import type { Collections } from "./copying-worker.ts";

test("a worker that copies bodies collects its young objects, not its whole heap", async () => {
  const beats = new SharedArrayBuffer(4);
  const owner = Promise.withResolvers<Collections>();
  const thread = new WorkerThread(
    new URL("./copying-worker.ts", import.meta.url),
    { index: 0, beats },
    {
      onMessage: (_thread, message) => owner.resolve(message as unknown as Collections),
      onGone: (_thread, why) => owner.reject(new Error(why)),
    },
  );
  const { wanted, young, whole } = await owner.promise;
  thread.terminate("it has told");
  // The last ones may not have been told yet.
  assert.ok(young > wanted / 2, `${young} of ${wanted}`);
  assert.ok(whole < wanted / 4, `${whole} of the whole heap beside ${young}`);
});
