/** tcp_proxy that goes by metadata and by hashes: over real sockets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { SubsetsConfig } from "../../runtime/config/cluster-snapshot.ts";
import { NetworkStatus } from "../../runtime/network/filter.ts";
import type { NetworkFilterFactory } from "../../runtime/network/filter.ts";
import { endpoint } from "../upstream/fixtures.ts";
import { dial, passing, Plain } from "../listener/chain.ts";
import { cluster, host, type Proxied, proxied } from "./proxied.ts";

const SUBSETS: SubsetsConfig = {
  fallback: "NO_FALLBACK",
  defaultSubset: {},
  selectors: [{ keys: ["version"], fallback: "NOT_DEFINED", fallbackKeys: [], singleHost: false }],
  panicModeAny: false,
  listAsAny: false,
  fallbackList: false,
};

async function greeters(t: TestContext, names: readonly string[]): Promise<number[]> {
  const ports: number[] = [];
  for (const name of names) ports.push((await host(t, (socket) => socket.end(name))).port);
  return ports;
}

/** What a host says of itself; "" when the connection is closed without a word. */
async function greeting(t: TestContext, proxy: Proxied): Promise<string> {
  return (await dial(t, proxy.port)).ended;
}

test("metadata of tcp_proxy, of its weighted cluster, and of a filter: each comes on top", async (t) => {
  const names = ["1", "2", "3"];
  const ports = await greeters(t, names);
  const up = {
    ...cluster("up", []),
    endpoints: ports.map((port, at) => ({ ...endpoint(port), metadata: { "envoy.lb": { version: names[at] } } })),
    subsets: SUBSETS,
  };
  const filter = (fields: Record<string, unknown>, state = ""): NetworkFilterFactory =>
    passing((view) =>
      Object.assign(new Plain(view), {
        onNewConnection(): number {
          view.stream.dynamicMetadata = new Map([["envoy.lb", fields]]);
          if (state !== "") view.stream.filterState?.set("envoy.tcp_proxy.cluster", Buffer.from(state));
          return NetworkStatus.CONTINUE;
        },
      }),
    );
  const weighted = { clusters: [{ name: "up", weight: 1, metadataMatch: { version: "2" } }] };
  const cases = [
    ["nothing", {}, [], ""],
    ["its own", { metadataMatch: { version: "1" } }, [], "1"],
    ["its weighted cluster's", { ...weighted, metadataMatch: { version: "1" } }, [], "2"],
    ["a filter's", { ...weighted, metadataMatch: { version: "1" } }, [filter({ version: "3" })], "3"],
    ["a filter's alone", {}, [filter({ version: "3" })], "3"],
    [
      "of a filter that names the cluster, too",
      { ...weighted, metadataMatch: { version: "1" } },
      [filter({}, "up")],
      "1",
    ],
    ["of no host", { metadataMatch: { version: "9" } }, [], ""],
  ] as const;
  for (const [name, tcp, filters, wanted] of cases) {
    const proxy = await proxied(t, { clusters: [up], tcp, filters });
    assert.equal(await greeting(t, proxy), wanted, name);
    assert.equal(proxy.counter("cluster.up.lb_subsets_selected"), wanted === "" ? 0 : 1, name);
  }
});

test("connections of the same hash meet the same host", async (t) => {
  const names = ["a", "b", "c", "d"];
  const up = {
    ...cluster("up", await greeters(t, names)),
    lbPolicy: "MAGLEV",
    hashing: {
      minimumRingSize: 1024,
      maximumRingSize: 1024,
      function: "XX_HASH",
      tableSize: 65_537,
      useHostname: false,
    },
  } as const;
  let user = "";
  const filter = passing((view) =>
    Object.assign(new Plain(view), {
      onNewConnection(): number {
        view.stream.filterState?.set("user", Buffer.from(user));
        return NetworkStatus.CONTINUE;
      },
    }),
  );
  const bySource = await proxied(t, { clusters: [up], tcp: { hashPolicy: { kind: "source_ip" } } });
  const first = await greeting(t, bySource);
  for (let n = 0; n < 8; n++) assert.equal(await greeting(t, bySource), first);

  const byState = await proxied(t, {
    clusters: [up],
    tcp: { hashPolicy: { kind: "filter_state", key: "user" } },
    filters: [filter],
  });
  const met = new Set<string>();
  // Ports differ at each run: of 80 keys none falls to one of four hosts once in 10^9 times.
  for (let n = 0; n < 80; n++) {
    user = `user ${n}`;
    const own = await greeting(t, byState);
    assert.equal(await greeting(t, byState), own);
    met.add(own);
  }
  assert.equal([...met].sort().join(""), "abcd");

  const without = await proxied(t, { clusters: [up] });
  const spread = new Set<string>();
  for (let n = 0; n < 80; n++) spread.add(await greeting(t, without));
  assert.equal(spread.size, 4);
});
