/** The checklist of behaviours is whole, and what it names is there. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CASES } from "./cases.ts";
import type { FunctionCases } from "./arguments.ts";
import { CHECKLIST } from "./checklist.ts";
import { MADE } from "./evidence.ts";
import type { Evidence } from "./evidence.ts";
import { hasTest } from "./test-names.ts";

const readme = readFileSync(join(import.meta.dirname, "../../../README.md"), "utf8");
const differences = readme
  .slice(readme.indexOf("\n## Differences"), readme.indexOf("\n## Limits"))
  .replaceAll(/\s+/g, " ");

function hasCase(cases: FunctionCases, title: string): boolean {
  switch (title) {
    case MADE.works:
    case MADE.root:
    case MADE.log:
      return true;
    case MADE.sets:
      return cases.args.some((arg) => arg.kind === "set");
    case MADE.pointers:
      return cases.args.some((arg) => ["in", "at", "out", "result"].includes(arg.kind));
    default: {
      const limits = Array.isArray(cases.limit) ? (cases.limit as { name: string }[]) : [];
      return [...(cases.others ?? []), ...limits].some(({ name }) => name === title);
    }
  }
}

function stands(evidence: Evidence): boolean {
  switch (evidence.kind) {
    case "test":
      return hasTest(evidence.file, evidence.title);
    case "case": {
      const cases = CASES.get(evidence.name);
      return cases !== undefined && hasCase(cases, evidence.title);
    }
    case "difference":
      return differences.includes(evidence.words);
  }
}

test("the checklist has every behaviour from 1 to 180, in order, each said once", () => {
  assert.deepEqual(
    CHECKLIST.map(([number]) => number),
    Array.from({ length: 180 }, (_, n) => n + 1),
  );
  assert.equal(new Set(CHECKLIST.map(([, behaviour]) => behaviour)).size, 180);
});

test("what shows each is there: a test of that title, a case of the tables, words of the README's differences", () => {
  const missing = CHECKLIST.flatMap(([number, behaviour, ...evidence]) =>
    evidence.filter((one) => !stands(one)).map((one) => `${number} ${behaviour}: ${JSON.stringify(one)}`),
  );
  assert.deepEqual(missing, []);
});

test("what is not there is noticed", () => {
  assert.equal(hasTest("test/wasm/conformance/checklist.test.ts", "a title that nobody gave"), false);
  assert.equal(stands({ kind: "case", name: "proxy_done", title: MADE.sets }), false);
  assert.equal(stands({ kind: "case", name: "proxy_log", title: "no such case" }), false);
  assert.equal(stands({ kind: "difference", words: "words that nobody wrote" }), false);
});
