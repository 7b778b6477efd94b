import assert from "node:assert/strict";
import { test } from "node:test";
import type { ForwardAction, HeaderValueOption, RegexRewrite, RouteMatch } from "../../runtime/config/snapshot.ts";
import { redirectLocation, tlsRedirectLocation } from "../../runtime/http/route-answer.ts";
import { finalizeRequestHeaders, finalizeResponseHeaders, rewriteHost } from "../../runtime/http/route-apply.ts";
import { checkSubstitution, compileRegexRewrite } from "../../runtime/observe/regex-rewrite.ts";
import { finishedStream, freshStream, headersOf } from "../observe/stream-sample.ts";
import {
  forward,
  match,
  mutation,
  redirect,
  request,
  resolveOnly,
  route,
  table,
  virtualHost,
  weighted,
} from "./route-sample.ts";

function rewritten(
  action: Partial<ForwardAction>,
  path: string,
  parts: Partial<RouteMatch> & { prefix?: string } = {},
): { path: string | undefined; original: string | undefined } {
  const headers = request({ path });
  const resolved = resolveOnly(route({ match: match(parts), action: forward(action) }), headers);
  finalizeRequestHeaders(resolved, headers, freshStream());
  return { path: headers.get(":path"), original: headers.get("x-envoy-original-path") };
}
const regexRewrite = (regex: string, substitution: string): RegexRewrite => ({ regex, substitution });

test("prefix rewrite", () => {
  const rewrite = (prefix: string, prefixRewrite: string, path: string): string | undefined =>
    rewritten({ prefixRewrite }, path, { prefix }).path;
  assert.equal(rewrite("/api", "/", "/api?x=1"), "/?x=1");
  assert.equal(rewrite("/api/", "/", "/api/v1"), "/v1");
  assert.equal(rewrite("/api", "/new", "/api/v1?x=/api"), "/new/v1?x=/api");
  assert.equal(rewrite("/", "/sub/", "/x"), "/sub/x");
  assert.deepEqual(rewritten({ prefixRewrite: "/n" }, "/API/v1", { prefix: "/api", caseSensitive: false }), {
    path: "/n/v1",
    original: "/API/v1",
  });
  assert.equal(rewritten({ prefixRewrite: "/n" }, "/a?q", { path: { kind: "path", value: "/a" } }).path, "/n?q");
  assert.equal(
    rewritten({ prefixRewrite: "/n" }, "/a/b?q", { path: { kind: "path_separated_prefix", value: "/a" } }).path,
    "/n/b?q",
  );
  assert.equal(
    rewritten({ prefixRewrite: "/n" }, "/abc?q", { path: { kind: "safe_regex", value: "/a.*" } }).path,
    "/n?q",
  );
});

test("regex rewrite leaves the query alone", () => {
  const rewrite = (regex: string, substitution: string, path: string): string | undefined =>
    rewritten({ regexRewrite: regexRewrite(regex, substitution) }, path).path;
  assert.equal(rewrite("^/service/([^/]+)(/.*)$", "\\2/instance/\\1", "/service/foo/v1/api"), "/v1/api/instance/foo");
  assert.equal(rewrite("one", "two", "/xxx/one/yyy/one/zzz?one"), "/xxx/two/yyy/two/zzz?one");
  assert.equal(rewrite("^(.*?)one(.*)$", "\\1two\\2", "/xxx/one/yyy/one/zzz"), "/xxx/two/yyy/one/zzz");
  assert.equal(rewrite("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb"), "/aaa/yyy/bbb");
  assert.equal(rewrite("nothing", "x", "/a?b"), "/a?b");
  assert.equal(rewrite("/a", "\\\\\\0", "/a"), "\\/a");
});

test("no rewrite leaves no x-envoy-original-path", () => {
  assert.deepEqual(rewritten({}, "/a"), { path: "/a", original: undefined });
});

test("substitutions", () => {
  const problem = (regex: string, substitution: string): string | undefined =>
    checkSubstitution(regexRewrite(regex, substitution));
  assert.equal(problem("(a)(b)", "a\\2b\\1\\0"), undefined);
  assert.equal(problem("a", "plain \\\\ \\\\1"), undefined);
  assert.match(problem("(a)(b)", "\\3") ?? "", /names group 3, the expression has 2/);
  assert.match(problem("a", "a\\x") ?? "", /backslash/);
  assert.match(problem("a", "a\\") ?? "", /backslash/);
  assert.equal(compileRegexRewrite(regexRewrite("(x)", "<\\1\\7>"))("axb"), "a<x>b");
  assert.equal(compileRegexRewrite(regexRewrite("(x)|(y)", "<\\1\\2>"))("xay"), "<x>a<y>");
  assert.equal(compileRegexRewrite(regexRewrite("^", "p"))("abc"), "pabc");
  assert.equal(compileRegexRewrite(regexRewrite(".*", ""))("abc"), "");
});

function hostAfter(action: Partial<ForwardAction>, fields: Parameters<typeof request>[0] = {}): (string | undefined)[] {
  const headers = request({ host: "old.example", ...fields });
  finalizeRequestHeaders(resolveOnly(route({ action: forward(action) }), headers), headers, freshStream());
  return [headers.get(":authority"), headers.get("x-envoy-original-host"), headers.get("x-forwarded-host")];
}

test("host rewrites", () => {
  assert.deepEqual(hostAfter({}), ["old.example", undefined, undefined]);
  assert.deepEqual(hostAfter({ hostRewrite: { kind: "auto" } }), ["old.example", undefined, undefined]);
  const literal = { hostRewrite: { kind: "literal", value: "new.example" } } as const;
  assert.deepEqual(hostAfter(literal), ["new.example", "old.example", undefined]);
  assert.deepEqual(hostAfter({ ...literal, appendXForwardedHost: true }), [
    "new.example",
    "old.example",
    "old.example",
  ]);
  assert.deepEqual(hostAfter({ ...literal, appendXForwardedHost: true }, { "x-forwarded-host": "a" }), [
    "new.example",
    "old.example",
    "a,old.example",
  ]);
  assert.deepEqual(hostAfter({ ...literal, appendXForwardedHost: true }, { "x-forwarded-host": "a, old.example" }), [
    "new.example",
    "old.example",
    "a, old.example",
  ]);
  const header = { hostRewrite: { kind: "header", name: "x-host" } } as const;
  assert.deepEqual(hostAfter(header, { "x-host": "h.example" }), ["h.example", "old.example", undefined]);
  assert.deepEqual(hostAfter(header, { "x-host": "" }), ["old.example", undefined, undefined]);
  assert.deepEqual(hostAfter(header), ["old.example", undefined, undefined]);
  const rewrite = regexRewrite("^/(.+)/.+$", "\\1.example");
  const fromPath = { hostRewrite: { kind: "path_regex", rewrite } } as const;
  assert.deepEqual(hostAfter(fromPath, { path: "/bat/man?x=/y/z" }), ["bat.example", "old.example", undefined]);
});

test("originals can be left out, and an earlier original host stays", () => {
  const action = forward({ hostRewrite: { kind: "literal", value: "n" }, prefixRewrite: "/n" });
  const headers = request({ path: "/a" });
  finalizeRequestHeaders(resolveOnly(route({ action }), headers), headers, freshStream(), false);
  assert.deepEqual([headers.has("x-envoy-original-host"), headers.has("x-envoy-original-path")], [false, false]);
  assert.equal(headers.get(":path"), "/na");
  const kept = request({ "x-envoy-original-host": "first" });
  rewriteHost(kept, "n", false);
  assert.deepEqual(kept.all("x-envoy-original-host"), ["first"]);
});

const ACTIONS: [HeaderValueOption["action"], exists: boolean, result: readonly string[]][] = [
  ["APPEND_IF_EXISTS_OR_ADD", true, ["old", "new"]],
  ["APPEND_IF_EXISTS_OR_ADD", false, ["new"]],
  ["ADD_IF_ABSENT", true, ["old"]],
  ["ADD_IF_ABSENT", false, ["new"]],
  ["OVERWRITE_IF_EXISTS_OR_ADD", true, ["new"]],
  ["OVERWRITE_IF_EXISTS_OR_ADD", false, ["new"]],
  ["OVERWRITE_IF_EXISTS", true, ["new"]],
  ["OVERWRITE_IF_EXISTS", false, []],
];
for (const [action, exists, result] of ACTIONS) {
  test(`${action} ${exists ? "on a present" : "on an absent"} header`, () => {
    const headers = request(exists ? { x: "old" } : {});
    const entry = route({ requestHeaders: mutation({ x: "new" }, [], action) });
    finalizeRequestHeaders(resolveOnly(entry, headers), headers, freshStream());
    assert.deepEqual(headers.all("x"), result);
  });
}

test("removals come first; values are rendered before anything is written", () => {
  const info = finishedStream();
  const headers = info.requestHeaders!;
  const entry = route({
    requestHeaders: {
      remove: ["user-agent", "x-twice"],
      add: [
        { name: "x-twice", value: "again", action: "ADD_IF_ABSENT", keepEmptyValue: false },
        { name: "x-one", value: "%REQ(x-request-id)%", action: "OVERWRITE_IF_EXISTS_OR_ADD", keepEmptyValue: false },
        { name: "x-request-id", value: "changed", action: "OVERWRITE_IF_EXISTS", keepEmptyValue: false },
        { name: "x-two", value: "%REQ(x-request-id)% 100%%", action: "APPEND_IF_EXISTS_OR_ADD", keepEmptyValue: false },
      ],
    },
  });
  finalizeRequestHeaders(resolveOnly(entry, headers, info), headers, info);
  assert.equal(headers.has("user-agent"), false);
  assert.deepEqual(headers.all("x-twice"), ["again"]);
  assert.deepEqual(
    ["x-one", "x-request-id", "x-two"].map((name) => headers.get(name)),
    ["id-1", "changed", "id-1 100%"],
  );
});

test("empty values are dropped unless they are to be kept", () => {
  const info = finishedStream();
  const add = { "x-none": "%REQ(x-not-there)%", "x-upstream": "%UPSTREAM_PEER_SUBJECT%" };
  const headers = headersOf({ "x-none": "old" });
  const apply = (keep: boolean): void => {
    const entry = route({ responseHeaders: mutation(add, [], "OVERWRITE_IF_EXISTS_OR_ADD", keep) });
    finalizeResponseHeaders(resolveOnly(entry, request(), info), headers, info);
  };
  apply(false);
  assert.deepEqual(headers.list, ["x-none", "old"]);
  apply(true);
  assert.deepEqual(headers.list, ["x-none", "", "x-upstream", ""]);
});

test("values cannot bring a line break into a head", () => {
  const info = freshStream();
  info.dynamicMetadata = new Map([["ns", { k: "a\r\nevil: 1" }]]);
  const headers = headersOf({});
  const entry = route({ responseHeaders: mutation({ x: "%DYNAMIC_METADATA(ns:k)%" }) });
  finalizeResponseHeaders(resolveOnly(entry, request(), info), headers, info);
  assert.equal(headers.get("x"), "a\\x0d\\x0aevil: 1");
});

for (const mostSpecificWins of [false, true]) {
  test(`order of the levels, mostSpecificHeaderMutationsWins ${mostSpecificWins}`, () => {
    const level = (name: string): ReturnType<typeof mutation> => ({
      remove: [],
      add: [...mutation({ set: name }, [], "OVERWRITE_IF_EXISTS_OR_ADD").add, ...mutation({ list: name }).add],
    });
    const clusters = [weighted("c", 1, { requestHeaders: level("weighted"), responseHeaders: level("weighted") })];
    const action = forward({ cluster: { kind: "weighted", total: 1, clusters } });
    const both = (
      name: string,
    ): { requestHeaders: ReturnType<typeof mutation>; responseHeaders: ReturnType<typeof mutation> } => ({
      requestHeaders: level(name),
      responseHeaders: level(name),
    });
    const routes = table({
      ...both("config"),
      mostSpecificHeaderMutationsWins: mostSpecificWins,
      virtualHosts: [virtualHost({ ...both("vhost"), routes: [route({ ...both("route"), action })] })],
    });
    const headers = request();
    const response = headersOf({});
    const resolved = routes.resolve(headers, freshStream())!;
    finalizeRequestHeaders(resolved, headers, freshStream());
    finalizeResponseHeaders(resolved, response, freshStream());
    const order = ["weighted", "route", "vhost", "config"];
    if (mostSpecificWins) order.reverse();
    for (const map of [headers, response]) {
      assert.deepEqual(map.all("list"), order);
      assert.deepEqual(map.all("set"), [order.at(-1)]);
    }
  });
}

type RedirectCase = [Parameters<typeof redirect>[0], Parameters<typeof request>[0], location: string];
const REDIRECTS: RedirectCase[] = [
  [{}, { path: "/a?b" }, "http://www.example.com/a?b"],
  [{ https: true }, { path: "/a?b" }, "https://www.example.com/a?b"],
  [{ scheme: "ftp" }, {}, "ftp://www.example.com/"],
  [{ host: "new.example" }, { path: "/a" }, "http://new.example/a"],
  [{ port: 8080 }, {}, "http://www.example.com:8080/"],
  [{ port: 8080 }, { host: "h:99" }, "http://h:8080/"],
  [{ port: 8080 }, { host: "[::1]:99" }, "http://[::1]:8080/"],
  [{ host: "new.example", port: 1 }, { host: "h:99" }, "http://new.example:1/"],
  [{ https: true }, { host: "h:80", "x-forwarded-proto": "http" }, "https://h/"],
  [{ https: true }, { host: "[::1]:80", "x-forwarded-proto": "http" }, "https://[::1]/"],
  [{ https: true }, { host: "h:8080", "x-forwarded-proto": "http" }, "https://h:8080/"],
  [{ https: true }, { host: "h:443", "x-forwarded-proto": "https" }, "https://h:443/"],
  [{ scheme: "http" }, { host: "h:443", "x-forwarded-proto": "https" }, "http://h/"],
  [{ https: true }, { host: "[::1]", "x-forwarded-proto": "http" }, "https://[::1]/"],
  [{ path: "/new" }, { path: "/a?b=1" }, "http://www.example.com/new?b=1"],
  [{ path: "/new" }, { path: "/a" }, "http://www.example.com/new"],
  [{ path: "/new?c=2" }, { path: "/a?b=1" }, "http://www.example.com/new?c=2"],
  [{ path: "/new", stripQuery: true }, { path: "/a?b=1" }, "http://www.example.com/new"],
  [{ path: "/new?c=2", stripQuery: true }, { path: "/a?b=1" }, "http://www.example.com/new?c=2"],
  [{ stripQuery: true }, { path: "/a?b=1" }, "http://www.example.com/a"],
  [{ prefixRewrite: "/n/" }, { path: "/a?b=1" }, "http://www.example.com/n/a?b=1"],
  [{ prefixRewrite: "/n/", stripQuery: true }, { path: "/a?b=1" }, "http://www.example.com/n/a"],
  [{ regexRewrite: regexRewrite("^/(a)", "/\\1\\1") }, { path: "/a?b=1" }, "http://www.example.com/aa?b=1"],
];
for (const [parts, fields, location] of REDIRECTS) {
  test(`redirect ${JSON.stringify(parts)} of ${JSON.stringify(fields)}`, () => {
    const headers = request(fields);
    const resolved = resolveOnly(route({ action: redirect(parts) }), headers);
    assert.equal(redirectLocation(resolved, headers), location);
  });
}

test("require_tls", () => {
  const location = (
    requireTls: "NONE" | "EXTERNAL_ONLY" | "ALL",
    fields: Parameters<typeof request>[0],
  ): string | null => {
    const headers = request({ path: "/a?b", ...fields });
    return tlsRedirectLocation(resolveOnly(route(), headers, freshStream(), { requireTls }), headers);
  };
  const there = "https://www.example.com/a?b";
  assert.equal(location("NONE", { "x-forwarded-proto": "http" }), null);
  assert.equal(location("ALL", { "x-forwarded-proto": "http" }), there);
  assert.equal(location("ALL", { "x-forwarded-proto": "https" }), null);
  assert.equal(location("ALL", {}), null);
  assert.equal(location("ALL", { "x-forwarded-proto": "http", "x-envoy-internal": "true" }), there);
  assert.equal(location("EXTERNAL_ONLY", { "x-forwarded-proto": "http" }), there);
  assert.equal(location("EXTERNAL_ONLY", { "x-forwarded-proto": "http", "x-envoy-internal": "true" }), null);
});
