/** Routes, weighted clusters and filters that want certain hosts: over real sockets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterConfig, EndpointConfig } from "../../runtime/config/snapshot.ts";
import type { SubsetsConfig } from "../../runtime/config/cluster-snapshot.ts";
import { HeadersStatus } from "../../runtime/http/filter.ts";
import { cluster, Engine, exchange, fixedOrigin, forward, headersFilter, route } from "./engine.ts";
import { endpoint } from "../upstream/fixtures.ts";

const SUBSETS: SubsetsConfig = {
  fallback: "NO_FALLBACK",
  defaultSubset: {},
  selectors: [
    { keys: ["version"], fallback: "NOT_DEFINED", fallbackKeys: [], singleHost: false },
    { keys: ["stage", "version"], fallback: "NOT_DEFINED", fallbackKeys: [], singleHost: false },
  ],
  panicModeAny: false,
  listAsAny: false,
  fallbackList: false,
};

/** Takes metadata for the stream out of the header `x-lb`, and for its connection out of `x-connection-lb`. */
const filter = headersFilter("lb", (headers, _endStream, { info }) => {
  const wanted = headers.get("x-lb");
  if (wanted !== undefined)
    info.dynamicMetadata = new Map([["envoy.lb", JSON.parse(wanted) as Record<string, unknown>]]);
  const ofConnection = headers.get("x-connection-lb");
  if (ofConnection !== undefined)
    Object.assign(info.connection, { metadata: new Map([["envoy.lb", JSON.parse(ofConnection) as object]]) });
  return HeadersStatus.CONTINUE;
});

test("the route, its weighted cluster, the connection and the stream: each comes on top of the one before", async (t) => {
  const endpoints: EndpointConfig[] = [];
  for (const [name, lb] of [
    ["one", { version: "1", stage: "prod" }],
    ["two", { version: "2", stage: "prod" }],
    ["dev", { version: "2", stage: "dev" }],
  ] as const) {
    const up = await fixedOrigin(`HTTP/1.1 200 OK\r\nx-host: ${name}\r\ncontent-length: 0\r\n\r\n`);
    t.after(() => up.close());
    endpoints.push({ ...endpoint(up.port), metadata: { "envoy.lb": lb } });
  }
  const config: ClusterConfig = { ...cluster("c", []), endpoints, subsets: SUBSETS };
  const weighted = {
    name: "c",
    weight: 1,
    requestHeaders: { add: [], remove: [] },
    responseHeaders: { add: [], remove: [] },
    perFilter: {},
    metadataMatch: { version: "2" },
  };
  const both = { kind: "weighted", total: 1, clusters: [weighted] } as const;
  const engine = await Engine.start({
    routes: [
      route("/one", forward("c", { metadataMatch: { version: "1" } })),
      route("/weighted", forward("c", { cluster: both, metadataMatch: { version: "1", stage: "dev" } })),
      route("/only-weighted", forward("c", { cluster: both, metadataMatch: { stage: "prod" } })),
      route(
        "/header",
        forward("c", { cluster: { kind: "cluster_header", header: "x-cluster" }, metadataMatch: { version: "1" } }),
      ),
      route("/", forward("c")),
    ],
    clusters: [config],
    filters: [filter],
  });
  t.after(() => engine.close());
  const cases = [
    ["/one", "", "one"],
    ["/weighted", "", "dev"],
    ["/only-weighted", "", "two"],
    ["/header", "x-cluster: c\r\n", "one"],
    ["/", "", "none"],
    ["/", `x-lb: {"version":"1"}\r\n`, "one"],
    ["/one", `x-lb: {"version":"2","stage":"dev"}\r\n`, "dev"],
    ["/one", `x-lb: {"zone":"z"}\r\n`, "none"],
    ["/", `x-connection-lb: {"version":"1"}\r\n`, "one"],
    ["/one", `x-connection-lb: {"version":"2","stage":"dev"}\r\n`, "dev"],
    ["/one", `x-connection-lb: {"version":"2","stage":"dev"}\r\nx-lb: {"stage":"prod"}\r\n`, "two"],
  ] as const;
  for (const [path, more, wanted] of cases) {
    const answer = await exchange(engine.port, `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n${more}\r\n`);
    const host =
      /^x-host: (\w+)/m.exec(answer)?.[1] ?? (/^HTTP\/1\.1 503 .*no healthy upstream$/s.test(answer) ? "none" : answer);
    assert.equal(host, wanted, `${path} ${more}`);
  }
  assert.equal(engine.counter("cluster.c.lb_subsets_selected"), 9);
  assert.equal(engine.counter("cluster.c.upstream_cx_none_healthy"), 2);
});
