/**
 * Loaded into every process of a test file (`npm test`). A file whose tests have ended and that still holds a server, a timer or a child
 * process open would keep the whole run waiting for ever, as the runner's own time limit holds for tests only. Such a file fails instead,
 * with what it left behind.
 */
import { after } from "node:test";
import { isMainThread } from "node:worker_threads";

/** Milliseconds that sockets and child processes may take to close, those that `after` hooks end among them, on a machine that does much else. */
const GRACE_MS = 60_000;

const file = process.argv[1] ?? "";
if (isMainThread && process.env["NODE_TEST_CONTEXT"] !== undefined && file.endsWith(".test.ts")) {
  after(() => {
    setTimeout(() => {
      process.stderr.write(
        `${file}: its tests have ended, and it still holds open: ${process.getActiveResourcesInfo().join(", ")}\n`,
      );
      process.exit(1);
    }, GRACE_MS).unref();
  });
}
