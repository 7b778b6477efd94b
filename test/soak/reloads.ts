/** `npm run soak:reloads [-- RELOADS SEED]`: 300 reloads of the whole configuration under load. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { soakReloads } from "./reload-soak.ts";

const [reloads = 300, seed = 1] = process.argv.slice(2).map(Number);
const folder = mkdtempSync(join(tmpdir(), "sluice-soak-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

// As a test, which ends what it starts.
await test(`${reloads} reloads`, async (t) => {
  const outcome = await soakReloads(folder, { reloads, pauseMs: 100, seed });
  for (const [name, value] of Object.entries(outcome)) t.diagnostic(`${name}: ${JSON.stringify(value)}`);
  const { errors, before, after } = outcome;
  if (errors > 0 || JSON.stringify(before) !== JSON.stringify(after)) throw new Error("NOT as it should be");
});
