/** Which hosts a wanted metadata leads to, and what comes next when there is none of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { SubsetsConfig, SubsetSelector } from "../../runtime/config/cluster-snapshot.ts";
import type { Host } from "../../runtime/upstream/host.ts";
import type { BalancerOptions } from "../../runtime/upstream/load-balancer.ts";
import { SubsetBalancer } from "../../runtime/upstream/subset-balancer.ts";
import { MemoryStats } from "./fixtures.ts";
import { contextOf, hostNamed } from "./pick-fixtures.ts";

type Fields = Readonly<Record<string, unknown>>;

function selector(keys: readonly string[], over: Partial<SubsetSelector> = {}): SubsetSelector {
  return { keys, fallback: "NOT_DEFINED", fallbackKeys: [], singleHost: false, ...over };
}

function subsets(over: Partial<SubsetsConfig> = {}): SubsetsConfig {
  return {
    fallback: "NO_FALLBACK",
    defaultSubset: {},
    selectors: [selector(["version"]), selector(["stage", "version"])],
    panicModeAny: false,
    listAsAny: false,
    fallbackList: false,
    ...over,
  };
}

const HOSTS: Readonly<Record<string, Fields>> = {
  a: { version: "1", stage: "prod" },
  b: { version: "1", stage: "dev" },
  c: { version: "2", stage: "prod" },
  d: { stage: "prod" },
  e: { version: ["2", "3"], stage: ["dev", "prod"] },
};

interface Made {
  readonly balancer: SubsetBalancer;
  readonly stats: MemoryStats;
  readonly told: string[];
  readonly panics: () => number;
}

function make(config: SubsetsConfig, hosts: readonly Host[], options: Partial<BalancerOptions> = {}): Made {
  const stats = new MemoryStats();
  const told: string[] = [];
  let panics = 0;
  const all: BalancerOptions = { policy: "ROUND_ROBIN", onPanic: () => panics++, ...options };
  const balancer = new SubsetBalancer(config, all, { stats, statName: "origin", log: (text) => told.push(text) });
  balancer.update(hosts);
  return { balancer, stats, told, panics: () => panics };
}

const allHosts = (): Host[] => Object.entries(HOSTS).map(([name, lbMetadata]) => hostNamed(name, { lbMetadata }));

/** The names of all hosts that a metadata leads to; "" for none. */
function reached({ balancer }: Pick<Made, "balancer">, match: Fields | undefined): string {
  const context = contextOf({ match });
  const names = new Set(Array.from({ length: 40 }, () => balancer.pick(context)?.hostname ?? ""));
  return [...names].sort().join("");
}

test("what is wanted leads to the subset of exactly these keys and values, or to the fallback", () => {
  const any = { fallback: "ANY_ENDPOINT" } as const;
  const prod = { fallback: "DEFAULT_SUBSET", defaultSubset: { stage: "prod" } } as const;
  const own = (over: Partial<SubsetSelector>): Partial<SubsetsConfig> => ({
    ...any,
    selectors: [selector(["version"], over), selector(["stage", "version"], { ...over }), selector(["stage"])],
  });
  const keys = { fallback: "KEYS_SUBSET", fallbackKeys: ["version"] } as const;
  const cases: readonly (readonly [string, Partial<SubsetsConfig>, Fields | undefined, string])[] = [
    ["one key", {}, { version: "1" }, "ab"],
    ["two keys, in any order", {}, { version: "1", stage: "dev" }, "b"],
    ["another value", {}, { version: "9" }, ""],
    ["a value of another type", {}, { version: 1 }, ""],
    ["a key of no selector", {}, { stage: "prod" }, ""],
    ["a key too many", {}, { version: "1", zone: "z" }, ""],
    ["nothing in particular", {}, undefined, ""],
    ["metadata that want nothing", {}, {}, ""],
    ["a list is a value", {}, { version: ["2", "3"] }, "e"],
    ["fallback to any: another value", any, { version: "9" }, "abcde"],
    ["fallback to any: nothing in particular", any, undefined, "abcde"],
    ["fallback to any does not widen what is there", any, { version: "2" }, "c"],
    ["default subset", prod, undefined, "acd"],
    ["default subset: another value", prod, { version: "9" }, "acd"],
    ["default subset that is empty", { ...prod, defaultSubset: { stage: "none" } }, undefined, ""],
    ["panic mode", { ...prod, defaultSubset: { stage: "none" }, panicModeAny: true }, undefined, "abcde"],
    ["panic mode does nothing without a fallback", { panicModeAny: true }, undefined, ""],
    ["list as any", { listAsAny: true }, { version: "3" }, "e"],
    ["list as any: the product", { listAsAny: true }, { version: "2", stage: "prod" }, "ce"],
    ["list as any: the list itself is no value", { listAsAny: true }, { version: ["2", "3"] }, ""],
    ["list as any: default subset", { ...prod, listAsAny: true }, undefined, "acde"],
    ["selector without fallback", own({ fallback: "NO_FALLBACK" }), { version: "9" }, ""],
    ["selector without fallback: not for other keys", own({ fallback: "NO_FALLBACK" }), { zone: "z" }, "abcde"],
    ["selector to any", { ...own({ fallback: "ANY_ENDPOINT" }), fallback: "NO_FALLBACK" }, { version: "9" }, "abcde"],
    ["selector to the default", { ...own({ fallback: "DEFAULT_SUBSET" }), defaultSubset: { stage: "dev" } }, { version: "9" }, "b"],
    ["selector to fewer keys", { selectors: [selector(["version"]), selector(["stage", "version"], keys)] }, { version: "2", stage: "dev" }, "c"],
    ["selector to fewer keys, of which none are there", { ...any, selectors: [selector(["version"]), selector(["stage", "version"], keys)] }, { version: "9", stage: "dev" }, "abcde"],
    ["a list of fallbacks: the first that has a host", { fallbackList: true }, { stage: "prod", fallback_list: [{ version: "9" }, { version: "2" }, { version: "1" }] }, "c"],
    ["a list of fallbacks comes on top", { fallbackList: true }, { version: "1", fallback_list: [{ version: "8" }, {}] }, "ab"],
    ["a list of fallbacks that are no structs", { fallbackList: true }, { version: "1", fallback_list: ["x"] }, "ab"],
    ["an empty list", { fallbackList: true }, { version: "1", fallback_list: [] }, "ab"],
    ["without the policy the list is a key like others", {}, { version: "1", fallback_list: [{}] }, ""],
  ]; // prettier-ignore
  for (const [name, config, match, wanted] of cases)
    assert.equal(reached(make(subsets(config), allHosts()), match), wanted, name);
});

test("what is counted", () => {
  const config = { fallback: "DEFAULT_SUBSET", defaultSubset: { stage: "dev" }, panicModeAny: true } as const;
  const { balancer, stats } = make(subsets(config), allHosts());
  const read = (): number[] =>
    ["active", "created", "removed", "selected", "fallback", "fallback_panic"].map((name) =>
      stats.read(`lb_subsets_${name}`),
    );
  // Versions 1, 2 and the list; with stages prod-1, dev-1, prod-2 and the two lists.
  assert.deepEqual(read(), [7, 7, 0, 0, 0, 0]);
  balancer.pick(contextOf({ match: { version: "1" } }));
  balancer.pick(contextOf({ match: { version: "9" } }));
  assert.deepEqual(read(), [7, 7, 0, 1, 1, 0]);
  balancer.update(allHosts().filter(({ hostname }) => hostname !== "b"));
  balancer.pick(contextOf());
  assert.deepEqual(read(), [6, 7, 1, 1, 1, 1]);
  balancer.update([hostNamed("f", { lbMetadata: { version: "7" } })]);
  assert.deepEqual(read(), [1, 8, 7, 1, 1, 1]);
  balancer.update([]);
  assert.equal(balancer.pick(contextOf({ match: { version: "7" } })), null);
  assert.deepEqual(read(), [0, 8, 8, 1, 1, 1]);
  balancer.update(allHosts());
  balancer.stop();
  balancer.update([]);
  assert.deepEqual(read(), [0, 15, 15, 1, 1, 1]);
});

test("a list of fallbacks is not tried without end", () => {
  const made = make(subsets({ fallbackList: true }), allHosts());
  const none = Array.from({ length: 100 }, () => ({ version: "9" }));
  assert.equal(reached(made, { fallback_list: [...none.slice(1), { version: "2" }] }), "c");
  assert.equal(reached(made, { fallback_list: [...none, { version: "2" }] }), "");
});

test("hosts that come and go are seen by streams whose metadata were known before", () => {
  const made = make(subsets(), allHosts());
  const context = contextOf({ match: { version: "2" } });
  assert.equal(made.balancer.pick(context)?.hostname, "c");
  made.balancer.update([hostNamed("new", { lbMetadata: { version: "2" } })]);
  assert.equal(made.balancer.pick(context)?.hostname, "new");
  made.balancer.update([]);
  assert.equal(made.balancer.pick(context), null);
});

test("inside of a subset the policy, weights, health and priorities hold", () => {
  const lbMetadata = { version: "1" };
  const shares = (hosts: Host[], options: Partial<BalancerOptions> = {}): Record<string, number> => {
    const made = make(subsets(), hosts, options);
    const counts: Record<string, number> = { panics: 0 };
    for (let n = 0; n < 400; n++) {
      const { hostname } = made.balancer.pick(contextOf({ match: lbMetadata }))!;
      counts[hostname] = (counts[hostname] ?? 0) + 1;
    }
    return { ...counts, panics: made.panics() };
  };
  const other = hostNamed("z", { lbMetadata: { version: "2" } });
  const one = (name: string, over = {}): Host => hostNamed(name, { lbMetadata, ...over });
  assert.deepEqual(shares([one("a"), one("b"), other]), { a: 200, b: 200, panics: 0 });
  assert.deepEqual(shares([one("a", { weight: 3 }), one("b"), other]), { a: 300, b: 100, panics: 0 });
  assert.deepEqual(shares([one("a"), one("b", { healthy: false }), other]), { a: 400, panics: 0 });
  // Panic is the subset's own: the healthy hosts of others do not help.
  assert.deepEqual(shares([one("a", { healthy: false }), other, hostNamed("y")]), { a: 400, panics: 400 });
  assert.deepEqual(shares([one("a", { priority: 1 }), hostNamed("y"), other]), { a: 400, panics: 0 });
  assert.deepEqual(shares([one("a"), one("b", { priority: 1 })]), { a: 400, panics: 0 });
  const busy = one("a");
  busy.rqActive = 10;
  assert.ok(shares([busy, one("b"), other], { policy: "LEAST_REQUEST" })["b"]! > 235);

  const hashing = {
    minimumRingSize: 64,
    maximumRingSize: 64,
    function: "XX_HASH",
    tableSize: 101,
    useHostname: false,
  } as const;
  for (const policy of ["RING_HASH", "MAGLEV"] as const) {
    const { balancer } = make(subsets(), [one("a"), one("b"), one("c"), other], { policy, hashing });
    for (let key = 1; key < 50; key++) {
      const context = contextOf({ match: lbMetadata, hash: { hi: key * 80_000_000, lo: key } });
      const first = balancer.pick(context)!;
      assert.notEqual(first, other);
      assert.equal(balancer.pick(context), first);
    }
  }
});

test("one host per subset: the first, whatever its priority and health; the others are counted", () => {
  const config = subsets({ selectors: [selector(["id"], { singleHost: true }), selector(["version"])] });
  const hosts = [
    hostNamed("a", { lbMetadata: { id: 1, version: "1" }, healthy: false }),
    hostNamed("b", { lbMetadata: { id: 1, version: "1" } }),
    hostNamed("c", { lbMetadata: { id: 2, version: "1" }, priority: 1 }),
  ];
  const made = make(config, hosts);
  assert.equal(reached(made, { id: 1 }), "a");
  assert.equal(reached(made, { id: 2 }), "c");
  assert.equal(reached(made, { id: 3 }), "");
  assert.equal(made.stats.read("lb_subsets_single_host_per_subset_duplicate"), 1);
  assert.equal(made.stats.read("lb_subsets_selected"), 80);
});

test("lists that multiply beyond measure leave the host out of all subsets of the selector, and that is told", () => {
  const keys = ["a", "b", "c"];
  const list = Array.from({ length: 11 }, (_, at) => at);
  const host = hostNamed("h", { lbMetadata: { a: list, b: list, c: list, "": 1 } });
  const made = make(subsets({ selectors: [selector(keys), selector(["a", "b"])], listAsAny: true }), [host]);
  assert.equal(reached(made, { a: 1, b: 2, c: 3 }), "");
  assert.equal(reached(made, { a: 1, b: 2 }), "h");
  assert.match(made.told.join(), /^the lists in the metadata of h:80 make more than 1000 subsets/);
});

test("keys of metadata that objects have by themselves are keys like others", () => {
  const own = JSON.parse('{ "__proto__": "x", "constructor": "y" }') as Fields;
  const config = subsets({ selectors: [selector(["__proto__"]), selector(["constructor"])], fallback: "NO_FALLBACK" });
  const made = make(config, [hostNamed("a", { lbMetadata: own }), hostNamed("b", { lbMetadata: {} })]);
  assert.equal(reached(made, JSON.parse('{ "__proto__": "x" }') as Fields), "a");
  assert.equal(reached(made, { constructor: "y" }), "a");
});
