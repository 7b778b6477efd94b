import assert from "node:assert/strict";
import { test } from "node:test";
import { mergeSlashes, normalizeHost, normalizePath } from "../../runtime/http/path.ts";

const PATHS: readonly [string, string | undefined][] = [
  ["/", "/"],
  ["/a/b", "/a/b"],
  ["/a/./b", "/a/b"],
  ["/a/../b", "/b"],
  ["/../../etc", "/etc"],
  ["/a/b/..", "/a/"],
  ["/a/.", "/a/"],
  ["/a/..?x=/../y", "/?x=/../y"],
  ["/%41%7e/%2e%2e/c", "/c"],
  ["/a%2fb", "/a%2Fb"],
  ["/a\\b", "/a/b"],
  ["/.hidden", "/.hidden"],
  ["/a%00b", undefined],
  ["/a%zz", undefined],
  ["/a%4", undefined],
];

test("paths are brought to their normal form, or refused", () => {
  for (const [given, normal] of PATHS) assert.equal(normalizePath(given), normal, given);
});

test("slashes are merged in the path only", () => {
  assert.equal(mergeSlashes("//a///b//?c=//d"), "/a/b/?c=//d");
});

test("host: port and trailing dot", () => {
  assert.equal(normalizeHost("a.com:80", "none", "80", false), "a.com:80");
  assert.equal(normalizeHost("a.com:80", "matching", "80", false), "a.com");
  assert.equal(normalizeHost("a.com:81", "matching", "80", false), "a.com:81");
  assert.equal(normalizeHost("a.com.:81", "any", "80", true), "a.com");
  assert.equal(normalizeHost("[::1]:81", "any", "80", false), "[::1]");
  assert.equal(normalizeHost("[::1]", "any", "80", false), "[::1]");
});
