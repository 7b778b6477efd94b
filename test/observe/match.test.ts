import assert from "node:assert/strict";
import { test } from "node:test";
import type { HeaderMatcher, StringMatcher } from "../../runtime/config/snapshot.ts";
import { maskIp } from "../../runtime/observe/ip-mask.ts";
import {
  compileFraction,
  compileHeader,
  compileHeaders,
  compileQuery,
  compileString,
} from "../../runtime/observe/match.ts";
import { queryParameter } from "../../runtime/observe/query.ts";
import { fc } from "../properties.ts";
import { headersOf } from "./stream-sample.ts";

const bytes = (text: string): string => Buffer.from(text, "utf8").toString("latin1");
const string = (kind: StringMatcher["kind"], value: string, ignoreCase = false): StringMatcher => ({
  kind,
  value,
  ignoreCase,
});

const STRINGS: [StringMatcher, text: string, expected: boolean][] = [
  [string("exact", "abc"), "abc", true],
  [string("exact", "abc"), "ABC", false],
  [string("exact", "aBc", true), "AbC", true],
  [string("exact", "abc"), "abcd", false],
  [string("prefix", "ab"), "abc", true],
  [string("prefix", "ab"), "bab", false],
  [string("prefix", "AB", true), "abc", true],
  [string("suffix", "bc"), "abc", true],
  [string("suffix", "bc"), "bcd", false],
  [string("suffix", "BC", true), "abc", true],
  [string("contains", "b"), "abc", true],
  [string("contains", "x"), "abc", false],
  [string("contains", "B", true), "abc", true],
  [string("safe_regex", "a.c"), "abc", true],
  [string("safe_regex", "a.c"), "xabc", false],
  [string("safe_regex", "a.c"), "abcx", false],
  [string("safe_regex", "a|ab"), "ab", true],
  [string("exact", "hé"), bytes("hé"), true],
  [string("prefix", "ÉC", true), bytes("École"), true],
  [string("safe_regex", "h.llo"), bytes("héllo"), true],
  [string("safe_regex", "héllo"), bytes("héllo"), true],
  [string("safe_regex", ".*"), "\u00ff\u00fe", true],
];
for (const [matcher, text, expected] of STRINGS) {
  test(`${matcher.kind} ${matcher.value}${matcher.ignoreCase ? " ignoring case" : ""} on ${text}`, () => {
    assert.equal(compileString(matcher)(text), expected);
  });
}

const headers = headersOf({ a: "1", two: ["x", "y"], empty: "", minus: "-5", word: "12x", n: "10" });
const header = (
  name: string,
  matcher: HeaderMatcher["matcher"],
  options: { invert?: boolean; missing?: boolean } = {},
): HeaderMatcher => ({
  name,
  matcher,
  invert: options.invert ?? false,
  treatMissingAsEmpty: options.missing ?? false,
});
const text = (value: string): HeaderMatcher["matcher"] => ({ kind: "string", string: string("exact", value) });
const range = (start: number, end: number): HeaderMatcher["matcher"] => ({ kind: "range", start, end });
const present = (wanted: boolean): HeaderMatcher["matcher"] => ({ kind: "present", present: wanted });

const HEADERS: [HeaderMatcher, boolean][] = [
  [header("a", present(true)), true],
  [header("none", present(true)), false],
  [header("a", present(false)), false],
  [header("none", present(false)), true],
  [header("a", present(true), { invert: true }), false],
  [header("none", present(true), { invert: true }), true],
  [header("none", present(true), { missing: true }), true],
  [header("none", present(false), { missing: true }), false],
  [header("a", text("1")), true],
  [header("a", text("2")), false],
  [header("a", text("1"), { invert: true }), false],
  [header("a", text("2"), { invert: true }), true],
  [header("two", text("x,y")), true],
  [header("two", text("x")), false],
  [header("none", text("")), false],
  [header("none", text("x"), { invert: true }), false],
  [header("none", text(""), { missing: true }), true],
  [header("none", text("x"), { invert: true, missing: true }), true],
  [header("none", text(""), { invert: true, missing: true }), false],
  [header("empty", text("")), true],
  [header("n", range(10, 11)), true],
  [header("n", range(9, 10)), false],
  [header("n", range(11, 20)), false],
  [header("minus", range(-6, 0)), true],
  [header("word", range(0, 100)), false],
  [header("word", range(0, 100), { invert: true }), true],
  [header("empty", range(0, 100)), false],
  [header("none", range(0, 100)), false],
];
for (const [matcher, expected] of HEADERS) {
  test(`header ${JSON.stringify(matcher)}`, () => assert.equal(compileHeader(matcher)(headers), expected));
}

test("all headers have to match", () => {
  assert.equal(compileHeaders([]), undefined);
  assert.equal(compileHeaders([header("a", text("1")), header("n", present(true))])!(headers), true);
  assert.equal(compileHeaders([header("a", text("1")), header("none", present(true))])!(headers), false);
});

const QUERIES: [path: string, name: string, value: string | undefined][] = [
  ["/p", "a", undefined],
  ["/p?", "a", undefined],
  ["/p?a", "a", ""],
  ["/p?a=", "a", ""],
  ["/p?a=1", "a", "1"],
  ["/p?b=2&a=1", "a", "1"],
  ["/p?a=1&a=2", "a", "1"],
  ["/p?aa=1", "a", undefined],
  ["/p?a=1=2", "a", "1=2"],
  ["/p?%61=1", "a", "1"],
  ["/p?a=%2F%C3%A9", "a", "/\u00c3\u00a9"],
  ["/p?a=%zz", "a", "%zz"],
  ["/p?a=x+y", "a", "x+y"],
  ["/p?a=1#frag", "a", "1"],
  ["/p?b#a=1", "a", undefined],
  ["/p?&&a=1", "a", "1"],
  ["/p?a?=1", "a?", "1"],
];
for (const [path, name, value] of QUERIES) {
  test(`query parameter ${name} of ${path}`, () => assert.equal(queryParameter(path, name), value));
}

test("query parameters: every one that is asked for is found", () => {
  const word = fc.stringMatching(/^[a-z]{1,5}$/);
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(word, fc.string({ maxLength: 8 })), { selector: ([name]) => name }),
      (pairs) => {
        const path = `/x?${pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
        for (const [name, value] of pairs) assert.equal(queryParameter(path, name), bytes(value));
      },
    ),
  );
});

test("query matchers", () => {
  const test = compileQuery([
    { name: "a", string: undefined },
    { name: "b", string: string("prefix", "x") },
  ])!;
  assert.equal(test("/?a&b=xy"), true);
  assert.equal(test("/?a&b=y"), false);
  assert.equal(test("/?b=xy"), false);
  assert.equal(compileQuery([]), undefined);
});

test("fractions and what the runtime makes of them", () => {
  const chance = (value: number | boolean | { numerator: number; denominator: number } | undefined): number => {
    const runtime = value === undefined ? {} : { key: value };
    const test = compileFraction({ numerator: 30, denominator: 100, runtimeKey: "key" }, runtime);
    return [...Array(1000).keys()].filter((draw) => test(draw / 1000)).length / 1000;
  };
  assert.equal(chance(undefined), 0.3);
  assert.equal(chance(50), 0.5);
  assert.equal(chance(0), 0);
  assert.equal(chance(100), 1);
  assert.equal(chance(true), 0.3);
  assert.equal(chance({ numerator: 2000, denominator: 10_000 }), 0.2);
});

const MASKS: [ip: string, v4: number, v6: number, masked: string | undefined][] = [
  ["10.1.2.3", 32, 128, "10.1.2.3/32"],
  ["10.1.2.3", 24, 128, "10.1.2.0/24"],
  ["10.255.2.3", 9, 128, "10.128.0.0/9"],
  ["255.255.255.255", 0, 128, "0.0.0.0/0"],
  ["2001:db8::ff:1", 32, 128, "2001:db8::ff:1/128"],
  ["2001:db8:aaaa:bbbb:1:2:3:4", 32, 64, "2001:db8:aaaa:bbbb::/64"],
  ["2001:DB8:AAAA:BBBB::", 32, 33, "2001:db8:8000::/33"],
  ["::1", 32, 128, "::1/128"],
  ["::", 32, 0, "::/0"],
  ["1:0:0:2:0:0:0:3", 32, 128, "1:0:0:2::3/128"],
  ["::ffff:10.1.2.3", 32, 128, "::ffff:a01:203/128"],
  ["fe80::1%eth0", 32, 64, "fe80::/64"],
  ["/run/socket", 32, 128, undefined],
  ["", 32, 128, undefined],
];
for (const [ip, v4, v6, masked] of MASKS) {
  test(`mask of ${ip}`, () => assert.equal(maskIp(ip, v4, v6), masked));
}
