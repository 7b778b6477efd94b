/** What makes another configuration, and what does not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { sameConfig } from "../../runtime/config/same.ts";

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

const CASES: readonly (readonly [title: string, a: unknown, b: unknown, same: boolean])[] = [
  ["numbers", { a: 1 }, { a: 1 }, true],
  ["other numbers", { a: 1 }, { a: 2 }, false],
  ["a number and nothing", { a: 1 }, {}, false],
  ["another name", { a: undefined }, { b: undefined }, false],
  ["a list and an object", [], {}, false],
  ["lists in another order", [1, 2], [2, 1], false],
  ["nothing and an object", null, {}, false],
  ["infinite numbers", [Infinity], [Infinity], true],
  ["bytes", bytes("a"), bytes("a"), true],
  ["other bytes", bytes("a"), bytes("b"), false],
  ["bytes and their numbers", bytes("a"), [97], false],
  ["a renewed file", { key: { bytes: bytes("a"), file: "/k" } }, { key: { bytes: bytes("b"), file: "/k" } }, true],
  ["another file", { key: { bytes: bytes("a"), file: "/k" } }, { key: { bytes: bytes("a"), file: "/l" } }, false],
  ["a file and fixed bytes", { bytes: bytes("a"), file: "/k" }, { bytes: bytes("a"), file: "" }, false],
  ["fixed bytes", { bytes: bytes("a"), file: "" }, { bytes: bytes("a"), file: "" }, true],
  ["other fixed bytes", { bytes: bytes("a"), file: "" }, { bytes: bytes("b"), file: "" }, false],
];

for (const [title, a, b, same] of CASES) {
  test(`${title}: ${same ? "the same" : "another"}`, () => {
    assert.equal(sameConfig(a, b), same);
    assert.equal(sameConfig(b, a), same);
  });
}
