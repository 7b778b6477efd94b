/** Which streams have the candidate: shares over 10,000 streams, headers, connections. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectionInfo } from "../../runtime/observe/stream-info.ts";
import type { HttpContext } from "../../runtime/wasm/contexts/http-context.ts";
import type { Routing } from "../../runtime/wasm/routing.ts";
import { connectionSample } from "../observe/stream-sample.ts";
import { Puppet } from "./puppet.ts";
import { FakeStream, Stage } from "./stage.ts";

const STREAMS = 10_000;
const live = Stage.started(new Puppet());
const candidate = Stage.started(new Puppet());

type Share = Extract<Routing, { kind: "share" }>;

function share(more: Partial<Share>): Routing {
  return { kind: "share", percent: 0, header: undefined, sticky: false, ...more };
}

/** How many of `count` streams have the candidate. */
function candidates(
  routing: Routing,
  count: number,
  options: { request?: string[]; connection?: ConnectionInfo } = {},
): number {
  live.factory.tryOut(candidate.plugin, routing);
  let found = 0;
  for (let n = 0; n < count; n++) {
    const { filter } = new FakeStream(live.factory, options);
    if ((filter as HttpContext).root.plugin === candidate.plugin) found++;
    filter.onDestroy();
  }
  live.factory.endTrial();
  return found;
}

/** Six standard deviations around what is expected: by chance a run in 500 million is outside. */
function assertShare(found: number, percent: number, what: string): void {
  const p = percent / 100;
  const off = Math.abs(found - STREAMS * p);
  assert.ok(off <= 6 * Math.sqrt(STREAMS * p * (1 - p)), `${what}: ${found} of ${STREAMS} at ${percent} %`);
}

function request(...headers: string[]): { request: string[] } {
  return { request: [":method", "GET", ":path", "/", ":authority", "h", ":scheme", "http", ...headers] };
}

test("a share of the streams", () => {
  for (const percent of [0, 0.5, 10, 50, 99, 100])
    assertShare(candidates(share({ percent }), STREAMS), percent, "streams");
});

test("a share of the requests with a header, and another of those without", () => {
  const header = { name: "x-canary", value: "yes", percent: 60 };
  const routing = share({ percent: 5, header });
  assertShare(candidates(routing, STREAMS, request("x-canary", "yes")), 60, "with it");
  for (const [what, headers] of [
    ["without it", []],
    ["another value", ["x-canary", "no"]],
    ["another case", ["x-canary", "Yes"]],
    ["a part of it", ["x-canary", "yes, no"]],
    ["another name", ["x-canaries", "yes"]],
  ] as const)
    assertShare(candidates(routing, STREAMS, request(...headers)), 5, what);
  assertShare(candidates(routing, STREAMS, request("x-canary", "no", "x-canary", "yes")), 60, "one of its values");
  const any = share({ header: { name: "x-canary", value: undefined, percent: 100 } });
  assert.equal(candidates(any, 100, request("x-canary", "")), 100);
  assert.equal(candidates(any, 100, request()), 0);
});

test("a share of the connections: the first stream of one decides for all", () => {
  const routing = share({ percent: 20, sticky: true, header: { name: "x-canary", value: undefined, percent: 100 } });
  live.factory.tryOut(candidate.plugin, routing);
  const has = (connection: ConnectionInfo, ...headers: string[]): boolean => {
    const { filter } = new FakeStream(live.factory, { connection, ...request(...headers) });
    filter.onDestroy();
    return (filter as HttpContext).root.plugin === candidate.plugin;
  };
  let found = 0;
  for (let n = 0; n < STREAMS; n++) {
    const connection = connectionSample("127.0.0.1:5555", "127.0.0.1:10000");
    const first = has(connection);
    if (first) found++;
    assert.equal(has(connection), first);
    assert.equal(has(connection, "x-canary", "1"), first, "its header comes too late");
    // The next window of the trial, and a share that has changed.
    if (n % 100 === 0) live.factory.tryOut(candidate.plugin, routing);
    assert.equal(has(connection), first);
  }
  assertShare(found, 20, "connections");
  const canary = connectionSample("127.0.0.1:5555", "127.0.0.1:10000");
  assert.ok(has(canary, "x-canary", "1"));
  for (let n = 0; n < 100; n++) assert.ok(has(canary), "its first stream had the header");
  live.factory.endTrial();
});
