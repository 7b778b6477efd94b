import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzzModules } from "./modules.ts";

test("damaged modules are refused or hardened, and hardened ones run the same (5,000 cases)", () => {
  const outcome = fuzzModules(5000, 20_261_123);
  assert.deepEqual(outcome.faults, []);
  // The damage must reach both sides, or it proves nothing.
  assert.ok(outcome.hardened > 100, `hardened ${outcome.hardened}`);
  assert.ok(outcome.alike > 50, `alike ${outcome.alike}`);
  assert.ok(outcome.weighed > 50, `weighed ${outcome.weighed}`);
  assert.ok(outcome.refused > 3000, `refused ${outcome.refused}`);
});
