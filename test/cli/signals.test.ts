/** Requests to end: the first one, its echo, and the one that insists, by a clock of the test's own. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { handleSignals } from "../../runtime/cli/signals.ts";
import { SIGNAL_ECHO_MS } from "../../runtime/limits.ts";

test("a second signal right after the first is its echo; a later one insists", (t) => {
  const told: string[] = [];
  let now = 1000;
  const names = ["SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"] as const;
  const before = names.map((name) => process.listeners(name));
  handleSignals(
    {
      onEnd: (signal) => told.push(`end ${signal}`),
      onEndNow: (signal) => told.push(`now ${signal}`),
      onReopenLogs: () => told.push("reopen"),
      onReload: () => told.push("reload"),
    },
    () => now,
  );
  t.after(() => {
    for (const [at, name] of names.entries())
      for (const one of process.listeners(name)) if (!before[at]!.includes(one)) process.off(name, one);
  });
  process.emit("SIGHUP", "SIGHUP");
  process.emit("SIGINT", "SIGINT");
  now += SIGNAL_ECHO_MS;
  process.emit("SIGTERM", "SIGTERM");
  process.emit("SIGUSR1", "SIGUSR1");
  assert.deepEqual(told, ["reload", "end SIGINT", "reopen"]);
  now += 1;
  process.emit("SIGTERM", "SIGTERM");
  assert.deepEqual(told.at(-1), "now SIGTERM");
});
