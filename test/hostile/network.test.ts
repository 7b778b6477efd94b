/** Hostile clients of a whole proxy: each attack is bounded and counted, nothing of it is left, and peaceful clients are answered all the while. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { NetArena } from "./net-arena.ts";
import { NET_ATTACKS } from "./net-attacks.ts";

/** Of resident memory over all attacks together. */
const MAX_GROWTH_MIB = 300;

const folder = mkdtempSync(join(tmpdir(), "sluice-hostile-"));
after(() => rmSync(folder, { recursive: true }));
const arena = await NetArena.start(folder);
await arena.peace();
const residentBefore = arena.residentMiB;

for (const { name, run, times, counted } of NET_ATTACKS) {
  test(name, async () => {
    const patterns = Object.keys(counted).map((pattern) => `^${pattern}$`);
    const values = (): Promise<number[]> => Promise.all(patterns.map((pattern) => arena.sum(pattern)));
    const first = await values();
    await run(arena, times);
    await arena.settled();
    const last = await values();
    for (const [at, [pattern, least]] of Object.entries(counted).entries()) {
      const grown = last[at]! - first[at]!;
      assert.ok(grown >= least * times, `${pattern} grew by ${grown}, not by ${least * times}`);
    }
    await arena.peace();
  });
}

test("what all attacks together have left is little, and the proxy ends as it should", async () => {
  const grown = arena.residentMiB - residentBefore;
  assert.ok(grown < MAX_GROWTH_MIB, `${grown.toFixed(0)} MiB`);
  await arena.close();
});
