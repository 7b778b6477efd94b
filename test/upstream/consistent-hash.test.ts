/** Hashes bit for bit, and where keys go in rings and in Maglev's table: how many to each host, and what moves. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { HashingConfig } from "../../runtime/config/cluster-snapshot.ts";
import { maglev, ringHash, type TableSizes } from "../../runtime/upstream/consistent-hash.ts";
import {
  combine,
  type Hash64,
  hashText,
  murmurHash64Text,
  remainder,
  xxHash64Text,
} from "../../runtime/upstream/hash64.ts";
import type { Host } from "../../runtime/upstream/host.ts";
import { LoadBalancer } from "../../runtime/upstream/load-balancer.ts";
import { fc } from "../properties.ts";
import { contextOf, hostNamed } from "./pick-fixtures.ts";

const ZERO: Hash64 = { hi: 0, lo: 0 };
const FOX = "The quick brown fox jumps over the lazy dog";

function xx(text: string, seed: Hash64 = ZERO): Hash64 {
  const into = { hi: 0, lo: 0 };
  xxHash64Text(text, seed, into);
  return into;
}

test("xxHash64 and MurmurHash64A of known texts", () => {
  const murmur = (text: string): string => {
    const into = { hi: 0, lo: 0 };
    murmurHash64Text(text, into);
    return hashText(into);
  };
  const xxHashes = [
    ["", "ef46db3751d8e999"],
    ["a", "d24ec4f1a98c6e5b"],
    ["abc", "44bc2cf5ad770999"],
    [FOX, "0b242d361fda71bc"],
  ] as const;
  for (const [text, hash] of xxHashes) assert.equal(hashText(xx(text)), hash, text);
  // What libstdc++'s std::hash<std::string> says, which has the same seed.
  const murmurs = [
    ["", "553e93901e462a6e"],
    ["a", "454ddee488c1ed6b"],
    ["foo", "85a8e535edf11e5a"],
    ["abcdefgh", "783db3e38db898bb"],
    ["127.0.0.1:80_0", "f46ef02bbe939e15"],
    [FOX, "dccbf2541704bc75"],
  ] as const;
  for (const [text, hash] of murmurs) assert.equal(murmur(text), hash, text);
});

const MASK = 0xffff_ffff_ffff_ffffn;
const [P1, P2, P3, P4, P5] = [
  0x9e3779b185ebca87n,
  0xc2b2ae3d27d4eb4fn,
  0x165667b19e3779f9n,
  0x85ebca77c2b2ae63n,
  0x27d4eb2f165667c5n,
] as const;
const rotl = (x: bigint, bits: bigint): bigint => ((x << bits) | (x >> (64n - bits))) & MASK;
const round = (acc: bigint, input: bigint): bigint => (rotl((acc + input * P2) & MASK, 31n) * P1) & MASK;

/** The specification, word for word and slowly. */
function model(bytes: Buffer, seed: bigint): bigint {
  let at = 0;
  let hash = (seed + P5) & MASK;
  if (bytes.length >= 32) {
    const lanes = [seed + P1 + P2, seed + P2, seed, seed - P1].map((lane) => lane & MASK);
    for (; at + 32 <= bytes.length; at += 32)
      for (let lane = 0; lane < 4; lane++) lanes[lane] = round(lanes[lane]!, bytes.readBigUInt64LE(at + 8 * lane));
    hash = lanes.reduce((sum, lane, index) => (sum + rotl(lane, [1n, 7n, 12n, 18n][index]!)) & MASK, 0n);
    for (const lane of lanes) hash = ((hash ^ round(0n, lane)) * P1 + P4) & MASK;
  }
  hash = (hash + BigInt(bytes.length)) & MASK;
  for (; at + 8 <= bytes.length; at += 8)
    hash = (rotl(hash ^ round(0n, bytes.readBigUInt64LE(at)), 27n) * P1 + P4) & MASK;
  if (at + 4 <= bytes.length) {
    hash = (rotl(hash ^ ((BigInt(bytes.readUInt32LE(at)) * P1) & MASK), 23n) * P2 + P3) & MASK;
    at += 4;
  }
  for (; at < bytes.length; at++) hash = (rotl(hash ^ ((BigInt(bytes[at]!) * P5) & MASK), 11n) * P1) & MASK;
  hash = ((hash ^ (hash >> 33n)) * P2) & MASK;
  hash = ((hash ^ (hash >> 29n)) * P3) & MASK;
  return hash ^ (hash >> 32n);
}

test("xxHash64 is the specification's for any bytes and seed", () => {
  const half = fc.integer({ min: 0, max: 0xffff_ffff });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), half, half, (bytes, hi, lo) => {
      const text = Buffer.from(bytes).toString("latin1");
      const wanted = model(Buffer.from(bytes), (BigInt(hi) << 32n) | BigInt(lo));
      assert.equal(hashText(xx(text, { hi, lo })), wanted.toString(16).padStart(16, "0"));
    }),
    { numRuns: 1000 },
  );
});

test("remainders, and hashes that are combined, are those of 64-bit numbers", () => {
  const half = fc.integer({ min: 0, max: 0xffff_ffff });
  fc.assert(
    fc.property(half, half, half, half, fc.integer({ min: 1, max: 8_388_608 }), (hi, lo, hi2, lo2, by) => {
      const big = (BigInt(hi) << 32n) | BigInt(lo);
      assert.equal(remainder({ hi, lo }, by), Number(big % BigInt(by)));
      const into = { hi, lo };
      combine(into, { hi: hi2, lo: lo2 });
      const wanted = rotl(big, 1n) ^ ((BigInt(hi2) << 32n) | BigInt(lo2));
      assert.equal(hashText(into), wanted.toString(16).padStart(16, "0"));
    }),
  );
});

const CONFIG: HashingConfig = {
  minimumRingSize: 1024,
  maximumRingSize: 8 * 1024 * 1024,
  function: "XX_HASH",
  tableSize: 65_537,
  useHostname: false,
};
const KEYS = Array.from({ length: 20_000 }, (_, at) => xx(`user ${at}`));
const named = (...names: string[]): Host[] => names.map((name) => hostNamed(name));
const TEN = Array.from({ length: 10 }, (_, at) => `10.0.0.${at + 1}`);
const KINDS = [
  { name: "ring of XX_HASH", make: ringHash, config: CONFIG, spread: 0.45 },
  { name: "ring of MURMUR_HASH_2", make: ringHash, config: { ...CONFIG, function: "MURMUR_HASH_2" }, spread: 0.45 },
  { name: "larger ring", make: ringHash, config: { ...CONFIG, minimumRingSize: 100_000 }, spread: 0.1 },
  { name: "Maglev", make: maglev, config: CONFIG, spread: 0.1 },
] as const;

for (const { name, make, config, spread } of KINDS) {
  test(`${name}: each host gets its share, and a host that goes takes only its own keys along`, () => {
    const hosts = named(...TEN);
    const before = make(hosts, config, () => {});
    const counts = new Map<string, number>();
    for (const key of KEYS) {
      const host = before(key, 0).address;
      counts.set(host, (counts.get(host) ?? 0) + 1);
    }
    for (const { address } of hosts) {
      const share = (counts.get(address) ?? 0) / (KEYS.length / hosts.length);
      assert.ok(Math.abs(share - 1) < spread, `${address} has ${share} of its share`);
    }

    // Made anew of other objects, as in another worker or process: the same.
    const again = make(named(...TEN), config, () => {});
    assert.ok(KEYS.every((key) => again(key, 0).address === before(key, 0).address));

    const gone = hosts[3]!;
    const after = make(
      hosts.filter((host) => host !== gone),
      config,
      () => {},
    );
    const moved = KEYS.filter((key) => before(key, 0) !== gone && before(key, 0) !== after(key, 0)).length;
    assert.ok(KEYS.every((key) => after(key, 0) !== gone));
    // The places of a ring that come free are given to the hosts that stay, which takes some keys from others.
    assert.ok(moved / KEYS.length < (make === ringHash ? 0.12 : 0.05), `${moved} keys moved that had no reason`);
  });

  test(`${name}: weights are shares`, () => {
    const hosts = [hostNamed("a", { weight: 1 }), hostNamed("b", { weight: 3 })];
    const table = make(hosts, config, () => {});
    const share = KEYS.filter((key) => table(key, 0).hostname === "b").length / KEYS.length;
    assert.ok(Math.abs(share - 0.75) < 0.06, `b has ${share}`);
  });
}

test("what hosts are told apart by: address, name, hash_key of the metadata", () => {
  const place = (host: Host, config = CONFIG): string =>
    // The first key of two hosts that goes to the one in question tells where its places are.
    KEYS.map((key) => Number(ringHash([host, hostNamed("other")], config, () => {})(key, 0) === host)).join("");
  const key = { lbMetadata: { hash_key: "k" } };
  const few = KEYS.splice(200);
  try {
    assert.notEqual(place(hostNamed("a")), place(hostNamed("b")));
    assert.equal(place(hostNamed("a", key)), place(hostNamed("b", key)));
    assert.equal(
      place(hostNamed("a", { hostname: "n" }), { ...CONFIG, useHostname: true }),
      place(hostNamed("b", { hostname: "n" }), { ...CONFIG, useHostname: true }),
    );
    assert.equal(place(hostNamed("a", { lbMetadata: { hash_key: 7 } })), place(hostNamed("a")));
  } finally {
    KEYS.push(...few);
  }
});

test("sizes of rings and tables", () => {
  const sizesOf = (make: typeof ringHash, hosts: readonly Host[], over: Partial<HashingConfig>): TableSizes[] => {
    const told: TableSizes[] = [];
    make(hosts, { ...CONFIG, ...over }, (sizes) => told.push(sizes));
    return told;
  };
  const weighted = [hostNamed("a", { weight: 1 }), hostNamed("b", { weight: 3 })];
  const cases = [
    [ringHash, named("a", "b", "c"), {}, { size: 1026, min: 342, max: 342 }],
    [ringHash, named("a", "b", "c"), { minimumRingSize: 1 }, { size: 3, min: 1, max: 1 }],
    // Too many are scaled down: 1.5 places a host are one or two.
    [ringHash, named("a", "b", "c", "d"), { maximumRingSize: 6, minimumRingSize: 6 }, { size: 6, min: 1, max: 2 }],
    [ringHash, weighted, { minimumRingSize: 100 }, { size: 100, min: 25, max: 75 }],
    [maglev, named("a", "b"), { tableSize: 7 }, { size: 7, min: 3, max: 4 }],
    [maglev, weighted, { tableSize: 101 }, { size: 101, min: 26, max: 75 }],
    [maglev, named("a", "b", "c"), { tableSize: 2 }, { size: 2, min: 0, max: 1 }],
  ] as const;
  for (const [make, hosts, over, wanted] of cases)
    assert.deepEqual(sizesOf(make, hosts, over), [wanted], JSON.stringify(over));
});

test("the same hash means the same host through priorities and health; streams without one are spread", () => {
  for (const policy of ["RING_HASH", "MAGLEV"] as const) {
    let panics = 0;
    const lb = new LoadBalancer({ policy, hashing: CONFIG, onPanic: () => panics++ });
    lb.update([
      ...TEN.slice(0, 4).map((name, at) => hostNamed(name, { healthy: at > 1 })),
      ...TEN.slice(4, 6).map((name) => hostNamed(name, { priority: 1 })),
    ]);
    const seen = new Map<string, number>();
    for (const hash of KEYS.slice(0, 2000)) {
      const host = lb.pick(contextOf({ hash }));
      assert.ok(host?.healthy);
      assert.equal(lb.pick(contextOf({ hash })), host);
      seen.set(host.address, (seen.get(host.address) ?? 0) + 1);
    }
    // Half of the first priority is healthy: 70 percent stay with it.
    const first = [...seen].reduce((sum, [address, n]) => sum + (address < "10.0.0.5" ? n : 0), 0);
    assert.ok(Math.abs(first / 2000 - 0.7) < 0.05, String(first));
    assert.equal(panics, 0);
    const spread = new Set(Array.from({ length: 200 }, () => lb.pick(contextOf())?.address));
    assert.equal(spread.size, 4);
    assert.equal(new LoadBalancer({ policy, hashing: CONFIG, onPanic: () => {} }).pick(contextOf()), null);
  }
});
