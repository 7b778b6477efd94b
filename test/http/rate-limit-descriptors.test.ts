import assert from "node:assert/strict";
import { test } from "node:test";
import protobuf from "protobufjs";
import type { NodeConfig, Snapshot } from "../../runtime/config/snapshot.ts";
import type { RateLimitAction, RateLimitConfig } from "../../runtime/config/rate-limit-snapshot.ts";
import { describeRateLimits, VirtualHostMode } from "../../runtime/http/rate-limit-descriptors.ts";
import type { StreamInfo } from "../../runtime/observe/stream-info.ts";
import { finishedStream } from "../observe/stream-sample.ts";
import { fc } from "../properties.ts";
import { forward, redirect, request, route, table, virtualHost } from "./route-sample.ts";

/** Fields 1 and 2 as `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor` has them. */
const Descriptor = protobuf
  .parse(
    `syntax = "proto3";
     message RateLimitDescriptor { message Entry { string key = 1; string value = 2; } repeated Entry entries = 1; }`,
  )
  .root.lookupType("RateLimitDescriptor");

function entriesOf(bytes: Uint8Array): [string, string][] {
  const { entries } = Descriptor.toObject(Descriptor.decode(bytes), { defaults: true }) as {
    entries: { key: string; value: string }[];
  };
  return entries.map(({ key, value }) => [key, value]);
}

const node: NodeConfig = {
  id: "n",
  cluster: "our-cluster",
  zone: "",
  region: "",
  subZone: "",
  metadata: {},
  serialized: new Uint8Array(),
};
const limit = (actions: RateLimitAction[], parts: Partial<RateLimitConfig> = {}): RateLimitConfig => ({
  stage: 0,
  disableKey: "",
  actions,
  ...parts,
});
const generic = (value: string): RateLimitAction => ({ kind: "generic_key", key: "generic_key", value });

interface Options {
  readonly stage?: number;
  readonly mode?: number;
  readonly vhost?: RateLimitConfig[];
  readonly include?: boolean;
  readonly runtime?: Snapshot["runtime"];
  readonly info?: StreamInfo;
}
function describe(
  limits: RateLimitConfig[],
  fields: Parameters<typeof request>[0] = {},
  options: Options = {},
): [string, string][][] {
  const action = forward({ rateLimits: limits, includeVhRateLimits: options.include ?? false });
  const metadata = { ns: { level: { name: "from route" } } };
  const virtualHosts = [virtualHost({ rateLimits: options.vhost ?? [], routes: [route({ action, metadata })] })];
  const info = options.info ?? finishedStream();
  const headers = request(fields);
  const resolved = table({ virtualHosts }, options.runtime).resolve(headers, info)!;
  const { stage = 0, mode = VirtualHostMode.OVERRIDE } = options;
  return describeRateLimits(resolved, stage, mode, headers, info, node).map(entriesOf);
}

const header = (skipIfAbsent: boolean): RateLimitAction => ({
  kind: "request_headers",
  header: "x-user",
  key: "user",
  skipIfAbsent,
});
const query = (skipIfAbsent: boolean): RateLimitAction => ({
  kind: "query_parameters",
  parameter: "q",
  key: "query",
  skipIfAbsent,
});
const headerMatch = (expectMatch: boolean): RateLimitAction => ({
  kind: "header_value_match",
  key: "header_match",
  value: "premium",
  expectMatch,
  headers: [
    {
      name: "x-plan",
      matcher: { kind: "string", string: { kind: "exact", value: "gold", ignoreCase: false } },
      invert: false,
      treatMissingAsEmpty: false,
    },
  ],
});
const queryMatch = (expectMatch: boolean): RateLimitAction => ({
  kind: "query_parameter_value_match",
  key: "query_match",
  value: "big",
  expectMatch,
  parameters: [{ name: "size", string: { kind: "prefix", value: "x", ignoreCase: false } }],
});
const metadata = (
  source: "DYNAMIC" | "ROUTE_ENTRY",
  path: string[],
  defaultValue = "",
  skipIfAbsent = false,
): RateLimitAction => ({
  kind: "metadata",
  key: "meta",
  path,
  defaultValue,
  source,
  skipIfAbsent,
});

const ONE: [RateLimitAction, Parameters<typeof request>[0], [string, string] | undefined][] = [
  [{ kind: "source_cluster" }, {}, ["source_cluster", "our-cluster"]],
  [{ kind: "destination_cluster" }, {}, ["destination_cluster", "c"]],
  [{ kind: "remote_address" }, {}, ["remote_address", "203.0.113.77"]],
  [{ kind: "masked_remote_address", v4Bits: 24, v6Bits: 64 }, {}, ["masked_remote_address", "203.0.113.0/24"]],
  [generic("v"), {}, ["generic_key", "v"]],
  [{ kind: "generic_key", key: "k", value: "é" }, {}, ["k", "é"]],
  [header(false), { "x-user": "jo" }, ["user", "jo"]],
  [header(false), { "x-user": ["a", "b"] }, ["user", "a,b"]],
  [header(false), { "x-user": "" }, ["user", ""]],
  [header(false), { "x-user": Buffer.from("é").toString("latin1") }, ["user", "é"]],
  [header(false), { "x-user": "\u00ff" }, ["user", "\ufffd"]],
  [header(false), {}, undefined],
  [header(true), {}, undefined],
  [query(false), { path: "/?q=a%20b" }, ["query", "a b"]],
  [query(false), { path: "/" }, undefined],
  [headerMatch(true), { "x-plan": "gold" }, ["header_match", "premium"]],
  [headerMatch(true), { "x-plan": "free" }, undefined],
  [headerMatch(false), { "x-plan": "free" }, ["header_match", "premium"]],
  [headerMatch(false), { "x-plan": "gold" }, undefined],
  [queryMatch(true), { path: "/?size=xl" }, ["query_match", "big"]],
  [queryMatch(true), { path: "/?size=m" }, undefined],
  [queryMatch(false), { path: "/" }, ["query_match", "big"]],
  [metadata("DYNAMIC", ["com.filter", "user"]), {}, ["meta", "jo"]],
  [metadata("DYNAMIC", ["com.filter", "level"]), {}, undefined],
  [metadata("DYNAMIC", ["com.filter", "level"], "fallback"), {}, ["meta", "fallback"]],
  [metadata("DYNAMIC", ["nowhere", "x", "y"]), {}, undefined],
  [metadata("ROUTE_ENTRY", ["ns", "level", "name"]), {}, ["meta", "from route"]],
  [metadata("ROUTE_ENTRY", ["ns", "constructor"]), {}, undefined],
];
for (const [action, fields, entry] of ONE) {
  test(`${JSON.stringify(action).slice(0, 160)} on ${JSON.stringify(fields)}`, () => {
    assert.deepEqual(describe([limit([action])], fields), entry === undefined ? [] : [[entry]]);
  });
}

test("an unknown peer address gives no descriptor", () => {
  const info = finishedStream();
  info.remoteIp = "";
  for (const action of [{ kind: "remote_address" }, { kind: "masked_remote_address", v4Bits: 1, v6Bits: 1 }] as const) {
    assert.deepEqual(describe([limit([action])], {}, { info }), []);
  }
});

test("one action without a value drops its descriptor, and only that one; skipping drops the entry", () => {
  const limits = [
    limit([generic("a"), header(false)]),
    limit([generic("b"), header(true), query(true)]),
    limit([generic("c")]),
  ];
  assert.deepEqual(describe(limits), [[["generic_key", "b"]], [["generic_key", "c"]]]);
  assert.deepEqual(describe(limits, { "x-user": "jo", path: "/?q=1" }), [
    [
      ["generic_key", "a"],
      ["user", "jo"],
    ],
    [
      ["generic_key", "b"],
      ["user", "jo"],
      ["query", "1"],
    ],
    [["generic_key", "c"]],
  ]);
});

test("stages", () => {
  const limits = [limit([generic("zero")]), limit([generic("one")], { stage: 1 })];
  assert.deepEqual(describe(limits, {}, { stage: 1 }), [[["generic_key", "one"]]]);
  assert.deepEqual(describe(limits, {}, { stage: 2 }), []);
});

test("disable_key asks the runtime", () => {
  const limits = [limit([generic("a")], { disableKey: "k" })];
  const runtime = (value: number): Options => ({ runtime: { "ratelimit.k.http_filter_enabled": value } });
  assert.equal(describe(limits).length, 1);
  assert.equal(describe(limits, {}, runtime(100)).length, 1);
  assert.equal(describe(limits, {}, runtime(0)).length, 0);
});

const own = [limit([generic("route")])];
const vhost = [limit([generic("vhost")])];
const JOIN: [string, RateLimitConfig[], Options, string[]][] = [
  ["override, route has limits", own, {}, ["route"]],
  ["override, route has none", [], {}, ["vhost"]],
  ["override, route has limits of another stage only", [limit([generic("x")], { stage: 1 })], {}, []],
  ["include", own, { mode: VirtualHostMode.INCLUDE }, ["route", "vhost"]],
  ["ignore", own, { mode: VirtualHostMode.IGNORE }, ["route"]],
  ["ignore, route has none", [], { mode: VirtualHostMode.IGNORE }, []],
  ["include_vh_rate_limits of the route", own, { include: true }, ["route", "vhost"]],
  ["include_vh_rate_limits beats ignore", own, { include: true, mode: VirtualHostMode.IGNORE }, ["route", "vhost"]],
];
for (const [name, limits, options, values] of JOIN) {
  test(`virtual host limits: ${name}`, () => {
    const found = describe(limits, {}, { ...options, vhost });
    assert.deepEqual(
      found.map((entries) => entries[0]![1]),
      values,
    );
  });
}

test("routes that forward nowhere have no descriptors", () => {
  const virtualHosts = [virtualHost({ rateLimits: vhost, routes: [route({ action: redirect({}) })] })];
  const resolved = table({ virtualHosts }).resolve(request(), finishedStream())!;
  assert.deepEqual(describeRateLimits(resolved, 0, 1, request(), finishedStream(), node), []);
});

test("any key and value read back", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 300 });
  fc.assert(
    fc.property(
      text.filter((key) => key !== ""),
      text,
      (key, value) => {
        assert.deepEqual(describe([limit([{ kind: "generic_key", key, value }])]), [[[key, value]]]);
      },
    ),
  );
  const long = "x".repeat(70_000);
  assert.deepEqual(describe([limit([generic(long)])]), [[["generic_key", long]]]);
});
