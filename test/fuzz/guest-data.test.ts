import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzzPairs, fuzzWrites } from "./guest-data.ts";

const SEED = 20_261_128;

test("damaged maps of guests are read as another decoder reads them, or refused (10,000 cases)", () => {
  const { counts, faults } = fuzzPairs(10_000, SEED);
  assert.deepEqual(faults, []);
  for (const ending of ["read", "refused", "empty"]) assert.ok(counts[ending]! > 200, JSON.stringify(counts));
});

test("writes of damaged pieces answer what they must, and touch nothing else (3,000 cases)", () => {
  const { counts, faults } = fuzzWrites(3000, SEED);
  assert.deepEqual(faults, []);
  for (const ending of ["SUCCESS", "FAULT", "BADF", "INVAL"]) assert.ok(counts[ending]! > 100, JSON.stringify(counts));
});
