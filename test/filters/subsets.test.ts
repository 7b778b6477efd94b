/** A module that says by dynamic metadata which hosts of a cluster it wants. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cluster, exchange, fixedOrigin, forward, route } from "../http/engine.ts";
import { endpoint } from "../upstream/fixtures.ts";
import { startFilters } from "./filter-engine.ts";

test("the metadata envoy.lb that a module sets comes on top of the route's", async (t) => {
  const endpoints = [];
  for (const version of ["v1", "v2"]) {
    const up = await fixedOrigin(`HTTP/1.1 200 OK\r\nx-host: ${version}\r\ncontent-length: 0\r\n\r\n`);
    t.after(() => up.close());
    endpoints.push({ ...endpoint(up.port), metadata: { "envoy.lb": { version } } });
  }
  const selectors = [{ keys: ["version"], fallback: "NOT_DEFINED", fallbackKeys: [], singleHost: false }] as const;
  const subsets = {
    fallback: "NO_FALLBACK",
    defaultSubset: {},
    selectors,
    panicModeAny: false,
    listAsAny: false,
    fallbackList: false,
  } as const;
  const filter = {
    filter: "test/guests/pathfinder",
    configuration: new Uint8Array(0),
    more: { filterName: "pathfinder", bundled: false },
  };
  const proxy = await startFilters([filter], {
    routes: [route("/", forward("up", { metadataMatch: { version: "v1" } }))],
    clusters: [{ ...cluster("up", []), endpoints, subsets }],
  });
  t.after(() => proxy.close());
  for (const [more, wanted] of [
    ["", /^x-host: v1\r$/m],
    ["x-version: v2\r\n", /^x-host: v2\r$/m],
    ["x-version: v3\r\n", /no healthy upstream$/],
  ] as const) {
    const answer = await exchange(proxy.engine.port, `GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n${more}\r\n`);
    assert.match(answer, wanted);
  }
});
