/** Which host is picked, how often, and what health does to it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EdfScheduler } from "../../runtime/upstream/edf.ts";
import type { Host } from "../../runtime/upstream/host.ts";
import { type BalancerOptions, LoadBalancer } from "../../runtime/upstream/load-balancer.ts";
import { fc } from "../properties.ts";
import { contextOf, hostNamed as host } from "./pick-fixtures.ts";

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

test("degraded hosts get what healthy ones cannot take", () => {
  const cases: readonly (readonly [string, Host[], Record<string, number>])[] = [
    ["as many healthy ones: seven in ten", [host("a"), host("b", { degraded: true })], { a: 70, b: 30 }],
    ["enough healthy ones", [host("a"), host("b"), host("c"), host("d", { degraded: true })], { a: 33, b: 33, c: 33 }],
    ["no healthy one", [host("a", { healthy: false }), host("b", { degraded: true })], { b: 100 }],
    [
      "the next priority's healthy ones come first",
      [host("a", { degraded: true }), host("b", { priority: 1 })],
      { b: 100 },
    ],
  ];
  for (const [name, hosts, wanted] of cases) {
    const got = shares(balancer("ROUND_ROBIN", hosts).lb, 10_000);
    assert.deepEqual(Object.keys(got).sort(), Object.keys(wanted).sort(), name);
    for (const [key, percent] of Object.entries(wanted))
      assert.ok(Math.abs(got[key]! / 100 - percent) < 3, `${name}: ${got[key]}`);
  }
  // Degraded hosts count against panic.
  const { lb, panics } = balancer("ROUND_ROBIN", [host("a", { degraded: true }), host("b", { healthy: false })]);
  shares(lb, 10);
  assert.equal(panics(), 0);
});

test("thresholds of panic and of overprovisioning can be set", () => {
  const two = [host("a"), host("b", { healthy: false }), host("c", { healthy: false })];
  const made = (options: Partial<BalancerOptions>, hosts: Host[]): LoadBalancer => {
    const lb = new LoadBalancer({ policy: "ROUND_ROBIN", onPanic: () => {}, ...options });
    lb.update(hosts);
    return lb;
  };
  assert.deepEqual(Object.keys(shares(made({ panicPercent: 0 }, two), 30)), ["a"]);
  assert.deepEqual(Object.keys(shares(made({ panicPercent: 30 }, two), 30)), ["a"]);
  assert.deepEqual(Object.keys(shares(made({}, two), 30)).length, 3);
  assert.equal(made({ panicPercent: 0 }, [host("a", { healthy: false })]).pick(), null);
  const half = [host("a"), host("b", { healthy: false }), host("c", { priority: 1 })];
  const counts = shares(made({ overprovisioningPercent: 100 }, half), 4000);
  assert.ok(Math.abs(counts["c"]! - 2000) < 200, String(counts["c"]));
});

test("least request draws as many as it is told, and a bias takes from the weight", () => {
  const made = (hosts: Host[], leastRequest: BalancerOptions["leastRequest"]): LoadBalancer => {
    const lb = new LoadBalancer({ policy: "LEAST_REQUEST", onPanic: () => {}, leastRequest });
    lb.update(hosts);
    return lb;
  };
  const busy = ["a", "b", "c"].map((name) => host(name));
  busy[0]!.rqActive = 100;
  // All four draws must be the busy host: one in 81.
  const counts = shares(made(busy, { choices: 4, bias: 1 }), 8100);
  assert.ok(counts["a"]! > 40 && counts["a"]! < 180, String(counts["a"]));
  const weighted = [host("a", { weight: 2 }), host("b", { weight: 1 })];
  weighted[0]!.rqActive = 3;
  const ignoring = shares(made(weighted, { choices: 2, bias: 0 }), 3000);
  assert.ok(Math.abs(ignoring["a"]! - 2000) < 10);
});

test("a host that is refused is followed by others, as often as may be", () => {
  for (const policy of ["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST", "RING_HASH", "MAGLEV"] as const) {
    const hashing = {
      minimumRingSize: 100,
      maximumRingSize: 100,
      function: "XX_HASH",
      tableSize: 101,
      useHostname: false,
    } as const;
    const lb = new LoadBalancer({ policy, hashing, onPanic: () => {} });
    lb.update(["a", "b", "c", "d", "e"].map((name) => host(name)));
    let [refused, asked] = [0, 0];
    for (let n = 0; n < 300; n++) {
      const hash = { hi: n * 14_000_000, lo: n };
      const context = contextOf({ hash, refuses: ({ hostname }) => hostname === "a" });
      if (lb.pick(context)!.hostname === "a") refused++;
    }
    for (let n = 0; n < 600; n++) {
      const hash = { hi: n * 7_000_000, lo: n };
      if (lb.pick(contextOf({ hash }))!.hostname === "a") asked++;
    }
    assert.ok(asked > 20, `${policy}: ${asked}`);
    assert.ok(refused < 5, `${policy}: ${refused}`);
    assert.equal(typeof lb.pick(contextOf({ refuses: () => true }))?.hostname, "string");
  }
});

test("hash_balance_factor: no host gets much more than its share, and the others stay where they are", () => {
  for (const policy of ["RING_HASH", "MAGLEV"] as const) {
    const hosts = ["a", "b", "c", "d"].map((name) => host(name));
    const hashing = {
      minimumRingSize: 1024,
      maximumRingSize: 1024,
      function: "XX_HASH",
      tableSize: 997,
      useHostname: false,
    } as const;
    const active = (): number => hosts.reduce((sum, { rqActive }) => sum + rqActive, 0);
    const lb = new LoadBalancer({
      policy,
      hashing: { ...hashing, balanceFactor: 125 },
      onPanic: () => {},
      activeRequests: active,
    });
    lb.update(hosts);
    const plain = new LoadBalancer({ policy, hashing, onPanic: () => {} });
    plain.update(hosts);
    const hot = { hi: 1_234_567, lo: 89 };
    const first = lb.pick(contextOf({ hash: hot }))!;
    assert.equal(first, plain.pick(contextOf({ hash: hot })));
    for (let n = 0; n < 100; n++) lb.pick(contextOf({ hash: hot }))!.rqActive++;
    for (const { hostname, rqActive } of hosts) assert.ok(rqActive <= 33, `${policy}: ${hostname} has ${rqActive}`);
    assert.ok(first.rqActive >= 25);
    for (const one of hosts) one.rqActive = 1;
    for (let n = 0; n < 200; n++) {
      const hash = { hi: n * 20_000_000, lo: n };
      assert.equal(lb.pick(contextOf({ hash })), plain.pick(contextOf({ hash })));
    }
  }
});
