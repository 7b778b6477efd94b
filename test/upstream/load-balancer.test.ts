/** Which host is picked, how often, and what health does to it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EdfScheduler } from "../../runtime/upstream/edf.ts";
import type { Host } from "../../runtime/upstream/host.ts";
import { LoadBalancer } from "../../runtime/upstream/load-balancer.ts";
import { hostNamed as host } from "./pick-fixtures.ts";

function balancer(
  policy: "ROUND_ROBIN" | "LEAST_REQUEST" | "RANDOM",
  hosts: Host[],
): { lb: LoadBalancer; panics: () => number } {
  let panics = 0;
  const lb = new LoadBalancer({ policy, onPanic: () => panics++ });
  lb.update(hosts);
  return { lb, panics: () => panics };
}

function shares(lb: LoadBalancer, picks: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let n = 0; n < picks; n++) {
    const name = lb.pick()?.hostname ?? "none";
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

test("no host: nothing to pick", () => {
  assert.equal(balancer("ROUND_ROBIN", []).lb.pick(), null);
});

test("round robin walks in order from anywhere", () => {
  const starts = new Set<string>();
  for (let n = 0; n < 200; n++) {
    const { lb } = balancer(
      "ROUND_ROBIN",
      ["a", "b", "c"].map((name) => host(name)),
    );
    const six = Array.from({ length: 6 }, () => lb.pick()!.hostname).join("");
    assert.ok("abcabcabc".includes(six), six);
    starts.add(six[0]!);
  }
  assert.equal(starts.size, 3);
});

test("weighted round robin is exact over a round, and spread", () => {
  const { lb } = balancer("ROUND_ROBIN", [
    host("a", { weight: 5 }),
    host("b", { weight: 1 }),
    host("c", { weight: 4 }),
  ]);
  shares(lb, 10);
  for (let round = 0; round < 20; round++) {
    const counts = shares(lb, 10);
    assert.ok(Math.abs(counts["a"]! - 5) <= 1 && Math.abs(counts["b"]! - 1) <= 1 && Math.abs(counts["c"]! - 4) <= 1);
  }
});

test("the scheduler gives every item its share, whatever the weights", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 20 }), (weights) => {
      const scheduler = new EdfScheduler(
        weights.map((weight, at) => ({ weight, at })),
        (item) => item.weight,
      );
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      const counts = weights.map(() => 0);
      for (let n = 0; n < total * 10; n++) counts[scheduler.pick().at]!++;
      weights.forEach((weight, at) =>
        assert.ok(Math.abs(counts[at]! - weight * 10) <= 1 + weights.length / 4, `${counts[at]} for ${weight}`),
      );
    }),
  );
});

test("least request takes the less busy of two; with one busy host it gets the fewest", () => {
  const hosts = ["a", "b", "c"].map((name) => host(name));
  hosts[0]!.rqActive = 100;
  const counts = shares(balancer("LEAST_REQUEST", hosts).lb, 9000);
  // Both draws must be the busy host: one in nine.
  assert.ok(counts["a"]! > 700 && counts["a"]! < 1300, String(counts["a"]));
});

test("least request with weights shares by weight over load", () => {
  const hosts = [host("a", { weight: 2 }), host("b", { weight: 1 })];
  const idle = shares(balancer("LEAST_REQUEST", hosts).lb, 3000);
  assert.ok(Math.abs(idle["a"]! - 2000) < 10);
  hosts[0]!.rqActive = 3;
  const loaded = shares(balancer("LEAST_REQUEST", hosts).lb, 3000);
  assert.ok(Math.abs(loaded["a"]! - 1000) < 10);
});

test("random reaches every host about evenly and ignores weights", () => {
  const counts = shares(balancer("RANDOM", [host("a", { weight: 100 }), host("b"), host("c")]).lb, 9000);
  for (const name of ["a", "b", "c"]) assert.ok(counts[name]! > 2600 && counts[name]! < 3400);
});

test("an unhealthy host gets nothing while most are healthy", () => {
  const { lb, panics } = balancer("ROUND_ROBIN", [host("a"), host("b"), host("c", { healthy: false })]);
  assert.deepEqual(Object.keys(shares(lb, 100)).sort(), ["a", "b"]);
  assert.equal(panics(), 0);
});

test("below half of the hosts healthy all are used: panic", () => {
  const hosts = [host("a"), host("b", { healthy: false }), host("c", { healthy: false })];
  const { lb, panics } = balancer("ROUND_ROBIN", hosts);
  assert.deepEqual(Object.keys(shares(lb, 99)).sort(), ["a", "b", "c"]);
  assert.equal(panics(), 99);
  // At exactly half there is none.
  const half = balancer("ROUND_ROBIN", [host("a"), host("b", { healthy: false })]);
  assert.deepEqual(shares(half.lb, 10), { a: 10 });
  const none = balancer("ROUND_ROBIN", [host("a", { healthy: false })]);
  assert.deepEqual(shares(none.lb, 10), { a: 10 });
  assert.equal(none.panics(), 10);
});

test("priorities: the next one helps by what is missing", () => {
  const second = [host("x", { priority: 1 }), host("y", { priority: 1 })];
  const all = balancer("ROUND_ROBIN", [host("a"), ...second]);
  assert.deepEqual(shares(all.lb, 100), { a: 100 });
  // 50 % healthy × 1.4 = 70 % stay.
  const some = balancer("ROUND_ROBIN", [host("a"), host("b", { healthy: false }), ...second]);
  const counts = shares(some.lb, 10_000);
  assert.ok(counts["a"]! > 6700 && counts["a"]! < 7300, String(counts["a"]));
  assert.equal(counts["b"], undefined);
  const lost = balancer("ROUND_ROBIN", [host("a", { healthy: false }), ...second]);
  assert.deepEqual(Object.keys(shares(lost.lb, 100)).sort(), ["x", "y"]);
});

test("no healthy host in any priority: all take part by their number", () => {
  const hosts = [
    host("a", { healthy: false }),
    host("x", { priority: 1, healthy: false }),
    host("y", { priority: 1, healthy: false }),
  ];
  const counts = shares(balancer("ROUND_ROBIN", hosts).lb, 9000);
  for (const name of ["a", "x", "y"])
    assert.ok(counts[name]! > 2600 && counts[name]! < 3400, `${name} ${counts[name]}`);
});
