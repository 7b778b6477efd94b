import assert from "node:assert/strict";
import { test } from "node:test";
import { classes, responseClasses } from "./codec-classes.ts";
import { differential } from "./codec.ts";

test("our parsers and llhttp disagree on nothing that is not listed and explained (50,000 cases)", () => {
  const outcome = differential(50_000, 20_261_122);
  assert.deepEqual(outcome.unexplained, []);
  // The generator must reach both sides, or agreement means nothing.
  assert.ok(outcome.accepted > 10_000, `both accept ${outcome.accepted}`);
  assert.ok(outcome.refused > 20_000, `both refuse ${outcome.refused}`);
});

test("every class of disagreement has its reason and is named once", () => {
  const all = [...classes, ...responseClasses];
  assert.equal(new Set(all.map((one) => one.name)).size, all.length);
  for (const one of all) assert.ok(one.reason.length > 10, one.name);
});
