/** Times of streams in buckets: percentiles to a sixteenth, and differences that chance does not explain. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { addedLatency, LATENCY_BUCKETS, latencyAt, latencyBucket } from "../../runtime/wasm/latency-buckets.ts";

function counted(times: readonly number[]): Uint32Array {
  const counts = new Uint32Array(LATENCY_BUCKETS);
  for (const ms of times) counts[latencyBucket(ms)]!++;
  return counts;
}

/** Numbers from 0 to 1 that are the same in each run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** As proxies have them: most in a millisecond or so, some in ten times that. */
function times(streams: number, chance: () => number, extra: (n: number) => number = () => 0): Uint32Array {
  const all = Array.from({ length: streams }, (_, n) => 0.3 / (1.05 - chance()) + extra(n));
  return counted(all);
}

describe("percentiles", () => {
  test("are told to a sixteenth, from 16 microseconds to four minutes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 1 / 64, max: 250_000, noNaN: true }), { minLength: 1, maxLength: 300 }),
        fc.constantFrom(1, 50, 90, 99, 99.99),
        (list, percentile) => {
          const sorted = list.toSorted((a, b) => a - b);
          const exact = sorted[Math.max(Math.ceil((sorted.length * percentile) / 100) - 1, 0)]!;
          const told = latencyAt(counted(list), percentile);
          assert.ok(Math.abs(told - exact) <= exact / 16 + 1e-9, `${told} for ${exact}`);
        },
      ),
    );
  });

  test("have a bucket for whatever a clock may say, and are 0 without streams", () => {
    for (const ms of [-1, 0, Number.NaN, Number.MIN_VALUE]) assert.equal(latencyBucket(ms), 0);
    for (const ms of [1e6, 1e300, Number.POSITIVE_INFINITY]) assert.equal(latencyBucket(ms), LATENCY_BUCKETS - 1);
    assert.equal(latencyAt(new Uint32Array(LATENCY_BUCKETS), 99), 0);
  });
});

describe("a difference", () => {
  test("is told once there are streams enough", () => {
    const slow = (n: number): number => (n % 50 === 0 ? 100 : 0);
    const enough = (streams: number, percentile: number): boolean =>
      addedLatency(times(streams, random(1), slow), times(streams, random(2)), percentile) !== undefined;
    assert.deepEqual([enough(9, 50), enough(10, 50), enough(81, 90), enough(82, 90)], [false, true, false, true]);
    assert.deepEqual([enough(891, 99), enough(892, 99)], [false, true]);
    assert.equal(addedLatency(counted([]), times(1000, random(3)), 50), undefined);
  });

  test("of one slow stream in fifty is seen at the 99th percentile, and at no other", () => {
    const others = times(2000, random(4));
    const candidate = times(2000, random(5), (n) => (n % 50 === 0 ? 100 : 0));
    const added = [50, 90, 99].map((percentile) => addedLatency(candidate, others, percentile)!);
    assert.ok(added[0]! < 5 && added[1]! < 5, added.join());
    assert.ok(added[2]! > 50, added.join());
  });

  test("is none where there is none, however often one looks", () => {
    const chance = random(6);
    for (let run = 0; run < 20; run++) {
      const [one, other] = [new Uint32Array(LATENCY_BUCKETS), new Uint32Array(LATENCY_BUCKETS)];
      for (let look = 0; look < 50; look++) {
        for (const [at, count] of times(100, chance).entries()) one[at]! += count;
        for (const [at, count] of times(100, chance).entries()) other[at]! += count;
        for (const percentile of [50, 90, 99])
          assert.ok((addedLatency(one, other, percentile) ?? 0) <= 0, `run ${run}, look ${look}, ${percentile}`);
      }
    }
  });

  test("of a few long streams is none", () => {
    const candidate = times(1000, random(7), (n) => (n < 3 ? 60_000 : 0));
    for (const percentile of [50, 90, 99])
      assert.ok(addedLatency(candidate, times(1000, random(8)), percentile)! < 5, String(percentile));
  });
});
