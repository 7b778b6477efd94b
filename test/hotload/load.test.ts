/** A bounded share of `npm run soak:swaps`. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { soakSwaps } from "../soak/swap-soak.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-swaps-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("swaps under load: no request fails, every answer has the version that its request had, nothing is left behind", async () => {
  const outcome = await soakSwaps(folder, 2, 10);
  const { swaps, errors, wrong } = outcome.with;
  assert.deepEqual({ swaps, errors, wrong }, { swaps: 10, errors: 0, wrong: 0 });
  assert.ok(outcome.with.requests > 0);
  assert.deepEqual(outcome.instances, [2, 2]);
  assert.equal(outcome.guestBytes[0], outcome.guestBytes[1]);
});
