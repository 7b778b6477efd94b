import assert from "node:assert/strict";
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { after, describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import * as MetricKind from "../../abi/metric.ts";
import * as Status from "../../abi/status.ts";
import { MAX_QUEUE_ITEMS, SHARED_DATA_BYTES } from "../../runtime/limits.ts";
import { SharedStore } from "../../runtime/wasm/shared.ts";
import { SharedLock } from "../../runtime/wasm/shared/lock.ts";
import { TokenBucket } from "../../runtime/wasm/shared/token-bucket.ts";

const store = SharedStore.create();
after(() => store.close());

/** Runs one job on `threads` workers at the same time and gives their results. */
async function onWorkers(threads: number, job: { kind: string; count: number; name: string }): Promise<number[]> {
  const workers = Array.from({ length: threads }, () => {
    return new Worker(new URL("shared-worker.ts", import.meta.url), { workerData: { handle: store.handle(), job } });
  });
  await Promise.all(workers.map((worker) => once(worker, "message")));
  const results = workers.map((worker) => once(worker, "message"));
  for (const worker of workers) worker.postMessage("go");
  const numbers = (await Promise.all(results)).map(([result]) => result as number);
  await Promise.all(workers.map((worker) => worker.terminate()));
  return numbers;
}

describe("across worker threads", () => {
  test("compare-and-swap loses no update", async () => {
    // The first value is set beforehand: setting a missing key needs no cas, so racing for it would lose.
    store.data.set("vm", Buffer.from("sum"), Buffer.from("0"), 0);
    await onWorkers(3, { kind: "addByCas", count: 500, name: "sum" });
    assert.equal(store.data.get("vm", Buffer.from("sum"))!.value.toString(), "1500");
  });

  test("a counter is one for the process", async () => {
    await onWorkers(3, { kind: "count", count: 20_000, name: "worker.hits" });
    assert.equal(store.metrics.define(MetricKind.COUNTER, "worker.hits")!.value(), 60_000n);
    const histogram = store.readMetrics().find((one) => one.name === "worker.hits.ms")!;
    assert.equal(histogram.type === "histogram" && histogram.cumulative.count, 600);
  });

  test("a token is given to one worker only, and none is lost", async () => {
    const taken = await onWorkers(3, { kind: "takeTokens", count: 30_000, name: "bucket" });
    assert.equal(taken[0]! + taken[1]! + taken[2]!, 50_000);
    const bucket = store.buckets.define(Buffer.from("bucket"), {
      maxTokens: 50_000,
      tokensPerFill: 1,
      fillIntervalMs: 3_600_000,
    })!;
    assert.equal(bucket.take(1), false);
    assert.equal(bucket.remaining, 0);
  });

  test("a worker killed in the middle of writing leaves the store whole and free", async () => {
    for (let round = 0; round < 8; round++) {
      const handle = store.handle();
      const worker = new Worker(new URL("shared-worker.ts", import.meta.url), {
        workerData: { handle, job: { kind: "churn", count: 0, name: `k${round}-` } },
      });
      await once(worker, "message");
      worker.postMessage("go");
      await setTimeout(5 + round * 3);
      await worker.terminate();
      store.recover(handle.owner);
      for (let n = 0; n < 50; n++) {
        const found = store.data.get("churn", Buffer.from(`k${round}-${n}`));
        if (found === undefined) continue;
        assert.equal(found.value.length, 200);
        assert.ok(found.value.every((byte) => byte === found.value[0]));
      }
      assert.equal(store.data.set("churn", Buffer.from("alive"), Buffer.from("yes"), 0), Status.OK);
    }
  });
});

describe("the lock", () => {
  test("is taken away from its dead owner only", () => {
    const words = new Int32Array(new SharedArrayBuffer(4));
    const dead = new SharedLock(words, 0, 7);
    const living = new SharedLock(words, 0, 8);
    dead.acquire();
    assert.equal(living.recover(9), false);
    assert.equal(living.recover(7), true);
    living.acquire();
    assert.equal(living.recover(7), false);
    living.release();
    assert.equal(words[0], 0);
  });
});

describe("metrics", () => {
  test("can be read while a dead worker holds the lock", () => {
    const own = SharedStore.create();
    own.metrics.define(MetricKind.GAUGE, "g")!.record(5n);
    const handle = own.handle();
    Atomics.store(new Int32Array(handle.map), 0, handle.owner);
    assert.deepEqual(own.readMetrics(), [{ name: "g", type: "gauge", used: true, value: 5 }]);
    assert.equal(own.recover(handle.owner), true);
  });
});

describe("queues", () => {
  test("thousands of notices leave room for everything else, and two queues take turns", async (t) => {
    // Each notice takes 0.2 milliseconds, whatever the machine does.
    let nowMs = 5000;
    t.mock.method(performance, "now", () => nowMs);
    const { queues } = SharedStore.create();
    const vm = "notices";
    const heard = new Map<number, number>();
    const busy = (token: number): void => {
      nowMs += 0.2;
      heard.set(token, (heard.get(token) ?? 0) + 1);
    };
    const tokens = ["one", "two"].map((name) => queues.register(vm, Buffer.from(name), busy));
    const items = 400;
    for (const token of tokens)
      for (let n = 0; n < items; n++) assert.equal(queues.enqueue(token, Buffer.of(1)), Status.OK);
    let turns = 0;
    let secondAtHalf: number | undefined;
    while ([...heard.values()].reduce((sum, one) => sum + one, 0) < 2 * items) {
      await new Promise((resolve) => setImmediate(resolve));
      turns++;
      if ((heard.get(tokens[0]!) ?? 0) >= items / 2) secondAtHalf ??= heard.get(tokens[1]!) ?? 0;
    }
    queues.close();
    assert.deepEqual([...heard.values()], [items, items]);
    // Of 160 milliseconds of work, no turn may take much more than QUEUE_TURN_MS.
    assert.ok(turns > 30, `${turns} turns`);
    assert.ok(secondAtHalf! > items / 8, `${secondAtHalf} of the second queue at half of the first`);
  });
});

describe("data", () => {
  const own = SharedStore.create();
  const key = (text: string): Buffer => Buffer.from(text);

  test("get, set, cas, delete, namespaces", () => {
    assert.equal(own.data.get("a", key("k")), undefined);
    assert.equal(own.data.set("a", key("k"), key("1"), 0), Status.OK);
    const first = own.data.get("a", key("k"))!;
    assert.notEqual(first.cas, 0);
    assert.equal(own.data.set("a", key("k"), key("2"), first.cas), Status.OK);
    assert.equal(own.data.set("a", key("k"), key("3"), first.cas), Status.CAS_MISMATCH);
    assert.equal(own.data.get("a", key("k"))!.value.toString(), "2");
    assert.equal(own.data.set("a", key("new"), key("1"), 99), Status.OK);
    assert.equal(own.data.get("b", key("k")), undefined);
    assert.equal(own.data.delete("a", key("k"), first.cas), Status.CAS_MISMATCH);
    assert.equal(own.data.delete("a", key("k"), 0), Status.OK);
    assert.equal(own.data.delete("a", key("k"), 0), Status.NOT_FOUND);
    assert.equal(own.data.set("a", key("empty"), key(""), 0), Status.OK);
    assert.equal(own.data.get("a", key("empty"))!.value.length, 0);
  });

  test("room comes back: far more is written than fits at a time", () => {
    const value = Buffer.alloc(64 * 1024, 7);
    for (let n = 0; n < (3 * SHARED_DATA_BYTES) / value.length; n++) {
      value.writeUInt32LE(n);
      assert.equal(own.data.set("room", key(`k${n % 20}`), value, 0), Status.OK);
    }
    for (let n = 0; n < 20; n++) assert.equal(own.data.get("room", key(`k${n}`))!.value.length, value.length);
    assert.equal(own.data.get("a", key("empty"))!.value.length, 0);
  });

  test("a full store refuses, keeps what it has, and takes again after a delete", () => {
    const value = Buffer.alloc(1024 * 1024, 1);
    let stored = 0;
    while (own.data.set("full", key(`k${stored}`), value, 0) === Status.OK) stored++;
    assert.ok(stored >= 8 && stored < 16, String(stored));
    for (let n = 0; n < stored; n++) assert.equal(own.data.get("full", key(`k${n}`))!.value.length, value.length);
    own.data.delete("full", key("k0"), 0);
    assert.equal(own.data.set("full", key("again"), value, 0), Status.OK);
  });

  test("thousands of keys, half of them removed", () => {
    for (let n = 0; n < 5000; n++) own.data.set("many", key(`key-${n}`), key(String(n)), 0);
    for (let n = 0; n < 5000; n += 2) own.data.delete("many", key(`key-${n}`), 0);
    for (let n = 0; n < 5000; n++) {
      assert.equal(own.data.get("many", key(`key-${n}`))?.value.toString(), n % 2 === 0 ? undefined : String(n));
    }
  });
});

describe("token buckets", () => {
  test("fill by whole intervals, never above the maximum", (t) => {
    let nowMs = performance.now();
    t.mock.method(performance, "now", () => nowMs);
    const bucket = store.buckets.define(Buffer.from("fills"), { maxTokens: 10, tokensPerFill: 4, fillIntervalMs: 50 })!;
    assert.equal(bucket.take(10), true);
    assert.deepEqual([bucket.take(1), bucket.remaining], [false, 0]);
    assert.ok(bucket.resetMs > 0 && bucket.resetMs <= 50);
    nowMs += 51;
    assert.equal(bucket.take(5), false);
    assert.deepEqual([bucket.take(1), bucket.remaining], [true, 3]);
    nowMs += 250;
    assert.equal(bucket.take(11), false);
    assert.equal(bucket.remaining, 10);
    assert.equal(bucket.take(10), true);
  });

  test("the same numbers are the same bucket, others a full new one", () => {
    const size = { maxTokens: 3, tokensPerFill: 1, fillIntervalMs: 60_000 };
    const first = store.buckets.define(Buffer.from("same"), size)!;
    first.take(3);
    const again = new SharedStore(store.handle()).buckets.define(Buffer.from("same"), size)!;
    assert.equal(again.take(1), false);
    const other = store.buckets.define(Buffer.from("same"), { ...size, maxTokens: 4 })!;
    assert.equal(other.take(4), true);
  });
});

describe("queues", () => {
  test("first in, first out; the last registrant hears of each item", async () => {
    const reader = new SharedStore(store.handle());
    const heard: number[] = [];
    const token = reader.queues.register("vm", Buffer.from("q"), (ready) => heard.push(ready));
    assert.equal(store.queues.resolve("vm", Buffer.from("q")), token);
    assert.equal(store.queues.resolve("vm", Buffer.from("none")), 0);
    for (let n = 0; n < 200; n++) assert.equal(store.queues.enqueue(token, Buffer.from(String(n))), Status.OK);
    assert.equal(heard.length, 0);
    while (heard.length < 200) await setTimeout(2);
    for (let n = 0; n < 200; n++) assert.equal(store.queues.dequeue(token).toString(), String(n));
    assert.equal(store.queues.dequeue(token), Status.EMPTY);
    assert.equal(store.queues.enqueue(9999, Buffer.of(1)), Status.NOT_FOUND);
    assert.equal(
      reader.queues.register("vm", Buffer.from("q"), () => {}),
      token,
    );
    reader.close();
  });

  test("a queue nobody reads is bounded", () => {
    const token = store.queues.register("vm", Buffer.from("full"), () => {});
    for (let n = 0; n < MAX_QUEUE_ITEMS; n++) store.queues.enqueue(token, Buffer.of(1));
    assert.equal(store.queues.enqueue(token, Buffer.of(1)), Status.INTERNAL_FAILURE);
  });
});

describe("token buckets of two threads whose clocks differ", () => {
  const bucketsOf = (maxTokens: number, tokensPerFill: number): [TokenBucket, TokenBucket] => {
    const size = { maxTokens, tokensPerFill, fillIntervalMs: 60_000 };
    const words = new BigInt64Array(1);
    const now = Number(process.hrtime.bigint()) / 1e6;
    // One has come to the first fill, the other is just before it.
    return [new TokenBucket(size, words, 0, now - 30_000), new TokenBucket(size, words, 0, now - 61_000)];
  };

  test("a fill that one has seen is there for the other", () => {
    const [behind, ahead] = bucketsOf(1000, 1000);
    assert.ok(behind.take(1));
    assert.ok(ahead.take(1));
    assert.ok(behind.take(1));
    assert.equal(behind.remaining, 998);
    assert.ok(ahead.take(998));
    assert.ok(!behind.take(1));
    assert.ok(!ahead.take(1));
  });

  test("none is given out twice", () => {
    const [behind, ahead] = bucketsOf(5, 2);
    let given = 0;
    for (let n = 0; n < 50; n++) for (const one of [behind, ahead]) if (one.take(1)) given++;
    // One before the fill, which makes the bucket full again, and what it holds then.
    assert.equal(given, 6);
  });
});

test("where a key lies nobody can know: other stores put it elsewhere", () => {
  const [one, other] = [SharedStore.create(), SharedStore.create()];
  const index = (of: SharedStore): Buffer => {
    of.data.set("vm", Buffer.from("key"), Buffer.from("value"), 0);
    // Behind the header's words, the seed among them.
    return Buffer.from(of.handle().map).subarray(64);
  };
  assert.ok(!index(one).equals(index(other)));
  one.close();
  other.close();
});
