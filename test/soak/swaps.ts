/** `npm run soak:swaps [-- SECONDS SWAPS]`: 200 swaps of a module within 60 s of load, and the same time without any. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { RESIDENT_SHARE, soakSwaps } from "./swap-soak.ts";

const [seconds = 60, swaps = 200] = process.argv.slice(2).map(Number);
const folder = mkdtempSync(join(tmpdir(), "sluice-soak-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

// As a test, which ends what it starts.
await test(`${swaps} swaps within ${seconds} s`, async (t) => {
  const outcome = await soakSwaps(folder, seconds, swaps);
  for (const [name, value] of Object.entries(outcome)) t.diagnostic(`${name}: ${JSON.stringify(value)}`);
  const {
    with: done,
    instances,
    residentBytes: [base, , rested],
  } = outcome;
  t.diagnostic(`resident after a rest: ${(rested / base).toFixed(2)} of what it was before, ${RESIDENT_SHARE} allowed`);
  if (done.errors + done.wrong > 0 || done.swaps < swaps || instances[0] !== instances[1])
    throw new Error("NOT as it should be");
  if (rested > base * RESIDENT_SHARE) throw new Error("memory is not flat");
});
