import assert from "node:assert/strict";
import { test } from "node:test";
import type { HeaderMatcher, RouteMatch } from "../../runtime/config/snapshot.ts";
import { withoutPort } from "../../runtime/http/route-domains.ts";
import { freshStream } from "../observe/stream-sample.ts";
import { forward, match, mutation, request, route, table, virtualHost, weighted } from "./route-sample.ts";

/** Each virtual host forwards to a cluster of its own name. */
function domainTable(hosts: Record<string, string[]>, ignorePortInHostMatching = false): (host: string) => string {
  const virtualHosts = Object.entries(hosts).map(([name, domains]) =>
    virtualHost({ name, domains, routes: [route({ to: name })] }),
  );
  const routes = table({ virtualHosts, ignorePortInHostMatching });
  return (host) => routes.resolve(request({ host }), freshStream())?.clusterName ?? "none";
}

const HOSTS = {
  exact: ["www.foo.com", "www.foo.com:8080"],
  suffix: ["*.foo.com"],
  longer: ["*-bar.foo.com"],
  prefix: ["foo.*"],
  longerPrefix: ["foo.bar.*"],
  upper: ["Upper.Example"],
};
const DOMAINS: [host: string, found: string][] = [
  ["www.foo.com", "exact"],
  ["WWW.FOO.COM", "exact"],
  ["www.foo.com:8080", "exact"],
  ["www.foo.com:81", "any"],
  ["a.foo.com", "suffix"],
  ["a.b.foo.com", "suffix"],
  ["x-bar.foo.com", "longer"],
  ["-bar.foo.com", "suffix"],
  [".foo.com", "any"],
  ["foo.com", "prefix"],
  ["foo.bar.baz", "longerPrefix"],
  ["foo.bar.", "prefix"],
  ["foo.", "any"],
  ["upper.example", "upper"],
  ["other", "any"],
  ["", "any"],
];
for (const [host, found] of DOMAINS) {
  test(`virtual host of "${host}"`, () => {
    assert.equal(domainTable({ ...HOSTS, any: ["*"] })(host), found);
    assert.equal(domainTable(HOSTS)(host), found === "any" ? "none" : found);
  });
}

test("ports are ignored when asked for", () => {
  const find = domainTable({ exact: ["www.foo.com"], v6: ["[::1]"], suffix: ["*.foo.com"] }, true);
  assert.equal(find("www.foo.com:81"), "exact");
  assert.equal(find("[::1]:81"), "v6");
  assert.equal(find("[::1]"), "v6");
  assert.equal(find("a.foo.com:1"), "suffix");
  assert.equal(withoutPort("::1"), "::1");
  assert.equal(withoutPort("host:"), "host:");
  assert.equal(withoutPort("host:http"), "host:http");
});

test("a single virtual host for everything", () => {
  const find = domainTable({ any: ["*"] });
  assert.equal(find(""), "any");
  assert.equal(find("x:1"), "any");
});

const kind = (path: RouteMatch["path"], parts: Partial<RouteMatch> = {}): RouteMatch => match({ ...parts, path });
const prefix = (value: string, parts: Partial<RouteMatch> = {}): RouteMatch => kind({ kind: "prefix", value }, parts);
const path = (value: string, parts: Partial<RouteMatch> = {}): RouteMatch => kind({ kind: "path", value }, parts);
const separated = (value: string, parts: Partial<RouteMatch> = {}): RouteMatch =>
  kind({ kind: "path_separated_prefix", value }, parts);
const regex = (value: string, parts: Partial<RouteMatch> = {}): RouteMatch =>
  kind({ kind: "safe_regex", value }, parts);
const header = (name: string, value: string, invert = false): HeaderMatcher => ({
  name,
  matcher: { kind: "string", string: { kind: "exact", value, ignoreCase: false } },
  invert,
  treatMissingAsEmpty: false,
});

type Fields = Parameters<typeof request>[0];
const MATCHES: [RouteMatch, Fields, boolean][] = [
  [prefix("/"), { path: "/anything?x" }, true],
  [prefix("/"), { path: "*" }, false],
  [prefix("/api"), { path: "/api" }, true],
  [prefix("/api"), { path: "/apis" }, true],
  [prefix("/api"), { path: "/API" }, false],
  [prefix("/Api", { caseSensitive: false }), { path: "/aPI/x" }, true],
  [prefix("/api?x"), { path: "/api?x=1" }, false],
  [prefix("/a/"), { path: "/a?b/" }, false],
  [prefix(""), { path: "/x" }, true],
  [path("/api"), { path: "/api" }, true],
  [path("/api"), { path: "/api?x=1" }, true],
  [path("/api"), { path: "/api#f" }, true],
  [path("/api"), { path: "/api/" }, false],
  [path("/api"), { path: "/ap" }, false],
  [path("/API", { caseSensitive: false }), { path: "/api?Q=1" }, true],
  [separated("/api/dev"), { path: "/api/dev" }, true],
  [separated("/api/dev"), { path: "/api/dev/x" }, true],
  [separated("/api/dev"), { path: "/api/dev?x" }, true],
  [separated("/api/dev"), { path: "/api/developer" }, false],
  [separated("/api/DEV", { caseSensitive: false }), { path: "/API/dev/x" }, true],
  [regex("/a.c"), { path: "/abc" }, true],
  [regex("/a.c"), { path: "/abc?x=1" }, true],
  [regex("/a.c"), { path: "/abcd" }, false],
  [regex("/a/[^/]+/b"), { path: "/a/x/b#frag" }, true],
  [regex("(a+)+$"), { path: `${"a".repeat(5000)}!` }, false],
  [kind({ kind: "connect" }), { path: "/" }, false],
  [prefix("/", { headers: [header("x", "1")] }), { x: "1" }, true],
  [prefix("/", { headers: [header("x", "1")] }), { x: "2" }, false],
  [prefix("/", { headers: [header("x", "1")] }), {}, false],
  [prefix("/", { headers: [header("x", "1"), header("y", "2")] }), { x: "1", y: "2" }, true],
  [prefix("/", { headers: [header("x", "1"), header("y", "2")] }), { x: "1" }, false],
  [prefix("/", { headers: [header("x", "1,2")] }), { x: ["1", "2"] }, true],
  [prefix("/", { headers: [header("x", "1", true)] }), { x: "2" }, true],
  [prefix("/", { headers: [header("x", "1", true)] }), {}, false],
  [prefix("/", { headers: [header(":method", "GET")] }), {}, true],
  [prefix("/", { queryParameters: [{ name: "a", string: undefined }] }), { path: "/?a" }, true],
  [prefix("/", { queryParameters: [{ name: "a", string: undefined }] }), { path: "/?b" }, false],
  [
    prefix("/", { queryParameters: [{ name: "a", string: { kind: "exact", value: "1", ignoreCase: false } }] }),
    { path: "/?a=1&a=2" },
    true,
  ],
  [
    prefix("/", { queryParameters: [{ name: "a", string: { kind: "exact", value: "2", ignoreCase: false } }] }),
    { path: "/?a=1&a=2" },
    false,
  ],
  [prefix("/", { grpc: true }), { "content-type": "application/grpc" }, true],
  [prefix("/", { grpc: true }), { "content-type": "application/grpc+proto" }, true],
  [prefix("/", { grpc: true }), { "content-type": "application/grpc-web" }, false],
  [prefix("/", { grpc: true }), {}, false],
  [prefix("/", { runtimeFraction: { numerator: 0, denominator: 100, runtimeKey: "" } }), {}, false],
  [prefix("/", { runtimeFraction: { numerator: 100, denominator: 100, runtimeKey: "" } }), {}, true],
  [prefix("/", { runtimeFraction: { numerator: 0, denominator: 100, runtimeKey: "on" } }), {}, true],
];
for (const [matcher, fields, expected] of MATCHES) {
  test(`match ${JSON.stringify(matcher).slice(0, 150)} on ${JSON.stringify(fields).slice(0, 60)}`, () => {
    const routes = table({ virtualHosts: [virtualHost({ routes: [route({ match: matcher })] })] }, { on: 100 });
    assert.equal(routes.resolve(request(fields), freshStream()) !== null, expected);
  });
}

test("CONNECT is matched by its method", () => {
  const routes = table({ virtualHosts: [virtualHost({ routes: [route({ match: kind({ kind: "connect" }) })] })] });
  const headers = request();
  headers.set(":method", "CONNECT");
  assert.notEqual(routes.resolve(headers, freshStream()), null);
});

test("the first matching route wins, and each request gets the same object", () => {
  const routes = table({
    virtualHosts: [
      virtualHost({
        routes: [
          route({ match: prefix("/a/b"), to: "ab" }),
          route({ match: prefix("/a"), to: "a" }),
          route({ to: "rest" }),
        ],
      }),
    ],
  });
  const find = (path: string): string => routes.resolve(request({ path }), freshStream())!.clusterName;
  assert.deepEqual([find("/a/b/c"), find("/a/c"), find("/")], ["ab", "a", "rest"]);
  assert.equal(routes.resolve(request(), freshStream()), routes.resolve(request(), freshStream()));
});

test("no virtual host, no route", () => {
  assert.equal(table({ virtualHosts: [] }).resolve(request(), freshStream()), null);
  const routes = table({ virtualHosts: [virtualHost({ routes: [route({ match: prefix("/a") })] })] });
  assert.equal(routes.resolve(request({ path: "/b" }), freshStream()), null);
});

test("cluster_header names the cluster", () => {
  const action = forward({ cluster: { kind: "cluster_header", header: "x-to" } });
  const routes = table({ virtualHosts: [virtualHost({ routes: [route({ action })] })] });
  assert.equal(routes.resolve(request({ "x-to": "there" }), freshStream())!.clusterName, "there");
  assert.equal(routes.resolve(request(), freshStream())!.clusterName, "");
});

test("weighted clusters share by weight; a stream stays with its choice", () => {
  const clusters = [weighted("none", 0), weighted("a", 1), weighted("b", 3)];
  const action = forward({ cluster: { kind: "weighted", total: 4, clusters } });
  const routes = table({ virtualHosts: [virtualHost({ routes: [route({ action })] })] });
  const counts = new Map<string, number>();
  for (let draw = 0; draw < 4000; draw++) {
    const info = freshStream();
    const resolved = routes.resolve(request(), info)!;
    assert.equal(routes.resolve(request(), info), resolved);
    assert.equal(resolved.weighted?.name, resolved.clusterName);
    counts.set(resolved.clusterName, (counts.get(resolved.clusterName) ?? 0) + 1);
  }
  assert.equal(counts.get("none"), undefined);
  // Ten standard deviations around a quarter.
  assert.ok(Math.abs(counts.get("a")! - 1000) < 275, String(counts.get("a")));
});

test("per filter configuration: weighted cluster over route over virtual host over route configuration", () => {
  const level = (id: number, ...names: string[]): Record<string, { disabled: boolean; id: number; bytes: undefined }> =>
    Object.fromEntries(names.map((name) => [name, { disabled: false, id, bytes: undefined }]));
  const cluster = weighted("c", 1, { perFilter: level(1, "a") });
  const action = forward({ cluster: { kind: "weighted", total: 1, clusters: [cluster] } });
  const routes = table({
    perFilter: level(4, "a", "b", "c", "d"),
    virtualHosts: [
      virtualHost({ perFilter: level(3, "a", "b", "c"), routes: [route({ action, perFilter: level(2, "a", "b") })] }),
    ],
  });
  const resolved = routes.resolve(request(), freshStream())!;
  assert.deepEqual(
    ["a", "b", "c", "d", "e"].map((name) => resolved.perFilter(name)?.id),
    [1, 2, 3, 4, undefined],
  );
});

test("nothing to mutate or rewrite is null, so that it costs nothing", () => {
  const resolved = table({}).resolve(request(), freshStream())!;
  assert.deepEqual(
    [
      resolved.requestMutations,
      resolved.responseMutations,
      resolved.pathRewrite,
      resolved.hostFromPath,
      resolved.weighted,
    ],
    [null, null, null, null, null],
  );
  assert.equal(resolved.perFilter("x"), undefined);
  const mutated = table({ requestHeaders: mutation({ a: "1" }) }).resolve(request(), freshStream())!;
  assert.equal(mutated.requestMutations?.length, 1);
});
