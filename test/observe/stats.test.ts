import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { BUCKET_BOUNDS, bucketOf, quantile, subtractHistogram } from "../../runtime/observe/histogram.ts";
import { ResponseCodeStats } from "../../runtime/observe/response-code-stats.ts";
import { type Stat, StatsRegistry } from "../../runtime/observe/stats-registry.ts";
import { type StatsAnnouncement, StatsStore } from "../../runtime/observe/stats.ts";

/** A store whose announcements go straight to the registry as thread `thread`. */
function storeOf(registry: StatsRegistry, thread: number, limit?: number): StatsStore {
  return new StatsStore((announcement) => registry.add(thread, structuredClone(announcement)), limit);
}

function find(registry: StatsRegistry, name: string): Stat | undefined {
  return registry.collect().find((stat) => stat.name === name);
}

function valueOf(registry: StatsRegistry, name: string): number | undefined {
  const stat = find(registry, name);
  return stat === undefined || stat.type === "histogram" ? undefined : stat.value;
}

test("counters, gauges and histograms of two threads are added up", () => {
  const registry = new StatsRegistry();
  const one = storeOf(registry, 1);
  const two = storeOf(registry, 2);
  one.counter("c").inc();
  two.counter("c").add(5);
  one.gauge("g").set(7);
  two.gauge("g").inc();
  two.gauge("g").dec();
  one.gauge("m", "max").set(3);
  two.gauge("m", "max").set(2);
  one.histogram("h").record(3);
  two.histogram("h").record(40);
  one.announceNow();
  two.announceNow();
  assert.equal(valueOf(registry, "c"), 6);
  assert.equal(valueOf(registry, "g"), 7);
  assert.equal(valueOf(registry, "m"), 3);
  const histogram = find(registry, "h");
  assert.ok(histogram?.type === "histogram");
  assert.deepEqual(
    [histogram.cumulative.count, histogram.cumulative.sum, histogram.cumulative.min, histogram.cumulative.max],
    [2, 43, 3, 40],
  );
});

test("the same name gives the same statistic, and values are visible without a new announcement", () => {
  const registry = new StatsRegistry();
  const store = storeOf(registry, 1);
  const counter = store.counter("c");
  assert.equal(store.counter("c"), counter);
  store.announceNow();
  counter.add(2);
  assert.equal(counter.value, 2);
  assert.equal(valueOf(registry, "c"), 2);
});

test("names are announced by themselves in the next microtask, and only once", async () => {
  const announcements: StatsAnnouncement[] = [];
  const store = new StatsStore((announcement) => announcements.push(announcement));
  store.counter("a");
  store.counter("b");
  store.counter("a");
  assert.equal(announcements.length, 0);
  await Promise.resolve();
  assert.equal(announcements.length, 1);
  assert.deepEqual(
    announcements[0]!.entries.map((entry) => entry.name),
    ["server.stats_overflow", "a", "b"],
  );
  store.announceNow();
  assert.equal(announcements.length, 1);
});

test("a dead thread leaves its counts and takes its gauges along", () => {
  const registry = new StatsRegistry();
  const first = storeOf(registry, 1);
  first.counter("c").add(10);
  first.gauge("g").set(4);
  first.gauge("only").set(4);
  first.histogram("h").record(1);
  first.announceNow();
  const second = storeOf(registry, 2);
  second.counter("c").inc();
  second.gauge("g").set(1);
  second.histogram("h").record(2);
  second.announceNow();
  registry.retire(1);
  registry.retire(1);
  assert.equal(valueOf(registry, "c"), 11);
  assert.equal(valueOf(registry, "g"), 1);
  assert.equal(find(registry, "only"), undefined);
  const histogram = find(registry, "h");
  assert.ok(histogram?.type === "histogram");
  assert.equal(histogram.cumulative.count, 2);
});

test("used means touched, also when the value is 0 again", () => {
  const registry = new StatsRegistry();
  const store = storeOf(registry, 1);
  store.counter("fresh");
  store.gauge("fresh_gauge");
  store.histogram("fresh_histogram");
  store.gauge("set").set(0);
  store.gauge("back").inc();
  store.gauge("back").dec();
  store.announceNow();
  const used = new Map(registry.collect().map((stat) => [stat.name, stat.used]));
  assert.deepEqual(
    [...used],
    [
      ["back", true],
      ["fresh", false],
      ["fresh_gauge", false],
      ["fresh_histogram", false],
      ["server.stats_overflow", false],
      ["set", true],
    ],
  );
  assert.ok(registry.collect().every((stat) => stat.type === "histogram" || Object.is(stat.value, 0)));
});

test("names beyond the limit are counted and do no harm", () => {
  const registry = new StatsRegistry();
  const store = storeOf(registry, 1, 2);
  store.counter("fits").inc();
  store.counter("too many").inc();
  store.gauge("too many").set(1);
  store.histogram("too many").record(1);
  storeOf(registry, 2).counter("x".repeat(2000));
  store.announceNow();
  assert.equal(valueOf(registry, "server.stats_overflow"), 3);
  assert.equal(valueOf(registry, "fits"), 1);
  assert.equal(find(registry, "too many"), undefined);
});

test("more statistics than fit one page", () => {
  const registry = new StatsRegistry();
  const store = storeOf(registry, 1);
  for (let index = 0; index < 10_000; index++) store.counter(`c${index}`).add(index);
  for (let index = 0; index < 500; index++) store.histogram(`h${index}`).record(index);
  store.announceNow();
  assert.equal(valueOf(registry, "c9999"), 9999);
  assert.equal(valueOf(registry, "c0"), 0);
  const histogram = find(registry, "h499");
  assert.ok(histogram?.type === "histogram");
  assert.equal(histogram.cumulative.sum, 499);
});

test("providers join the list, which is sorted by name", () => {
  const registry = new StatsRegistry();
  const store = storeOf(registry, 1);
  store.counter("b");
  store.announceNow();
  registry.provide(() => [{ name: "a", type: "counter", used: true, value: 1 }]);
  assert.deepEqual(
    registry.collect().map((stat) => stat.name),
    ["a", "b", "server.stats_overflow"],
  );
});

test("real threads: counts of all, then one dies and is replaced", async () => {
  const registry = new StatsRegistry();
  const source = `
    import { parentPort, workerData } from "node:worker_threads";
    const { StatsStore } = await import(workerData.module);
    const store = new StatsStore((announcement) => parentPort.postMessage(announcement));
    store.counter("hits").add(workerData.amount);
    store.gauge("active").set(1);
    store.histogram("time").record(workerData.amount);
    store.announceNow();
    parentPort.on("message", () => { store.counter("hits").inc(); parentPort.postMessage("done"); });
  `;
  const module = new URL("../../runtime/observe/stats.ts", import.meta.url).href;
  const start = async (thread: number, amount: number): Promise<Worker> => {
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
      workerData: { module, amount },
    });
    const [announcement] = (await once(worker, "message")) as [StatsAnnouncement];
    registry.add(thread, announcement);
    return worker;
  };
  const one = await start(1, 100);
  const two = await start(2, 20);
  assert.equal(valueOf(registry, "hits"), 120);
  assert.equal(valueOf(registry, "active"), 2);
  two.postMessage("more"); // oxlint-disable-line unicorn/require-post-message-target-origin -- a worker, no window
  await once(two, "message");
  assert.equal(valueOf(registry, "hits"), 121);
  await one.terminate();
  registry.retire(1);
  assert.equal(valueOf(registry, "hits"), 121);
  assert.equal(valueOf(registry, "active"), 1);
  const three = await start(3, 1000);
  assert.equal(valueOf(registry, "hits"), 1121);
  const histogram = find(registry, "time");
  assert.ok(histogram?.type === "histogram");
  assert.deepEqual([histogram.cumulative.count, histogram.cumulative.max], [3, 1000]);
  await Promise.all([two.terminate(), three.terminate()]);
});

test("buckets take values up to and with their bound", () => {
  assert.equal(bucketOf(0), 0);
  assert.equal(bucketOf(0.5), 0);
  assert.equal(bucketOf(0.51), 1);
  for (const [index, bound] of BUCKET_BOUNDS.entries()) assert.equal(bucketOf(bound), index);
  assert.equal(bucketOf(1e12), BUCKET_BOUNDS.length);
});

test("quantiles and intervals", () => {
  const registry = new StatsRegistry();
  const store = storeOf(registry, 1);
  const histogram = store.histogram("h");
  store.announceNow();
  const read = (): Extract<Stat, { type: "histogram" }> => {
    const stat = find(registry, "h");
    assert.ok(stat?.type === "histogram");
    return stat;
  };
  assert.ok(Number.isNaN(quantile(read().cumulative, 0.5)));
  for (let value = 1; value <= 100; value++) histogram.record(value);
  assert.equal(quantile(read().cumulative, 0), 1);
  assert.equal(quantile(read().cumulative, 0.5), 50);
  assert.equal(quantile(read().cumulative, 1), 100);
  assert.equal(read().interval.count, 0);
  registry.rollInterval();
  assert.equal(read().interval.count, 100);
  histogram.record(2000);
  registry.rollInterval();
  assert.deepEqual([read().interval.count, read().interval.sum, read().cumulative.count], [1, 2000, 101]);
  assert.equal(quantile(read().interval, 1), 2000);
  registry.rollInterval();
  assert.equal(read().interval.count, 0);
  assert.equal(subtractHistogram(read().cumulative, read().cumulative).count, 0);
});

test("counters begin at 0 again after a reset, gauges stay", () => {
  const registry = new StatsRegistry();
  const store = storeOf(registry, 1);
  store.counter("c").add(5);
  store.gauge("g").set(5);
  store.counter("untouched");
  store.announceNow();
  registry.resetCounters();
  assert.deepEqual([valueOf(registry, "c"), valueOf(registry, "g")], [0, 5]);
  assert.equal(find(registry, "untouched")?.used, false);
  store.counter("c").inc();
  registry.retire(1);
  assert.equal(valueOf(registry, "c"), 1);
});

test("response codes", () => {
  const registry = new StatsRegistry();
  const store = storeOf(registry, 1);
  const codes = new ResponseCodeStats(store, "cluster.a.upstream_rq_", true);
  for (const code of [200, 200, 204, 503, 100, 599, 0, 600, 99]) codes.charge(code);
  new ResponseCodeStats(store, "http.a.downstream_rq_", false).charge(404);
  store.announceNow();
  const used = registry
    .collect()
    .flatMap((stat) => (stat.used && stat.type === "counter" ? [`${stat.name} ${stat.value}`] : []));
  assert.deepEqual(used, [
    "cluster.a.upstream_rq_100 1",
    "cluster.a.upstream_rq_1xx 1",
    "cluster.a.upstream_rq_200 2",
    "cluster.a.upstream_rq_204 1",
    "cluster.a.upstream_rq_2xx 3",
    "cluster.a.upstream_rq_503 1",
    "cluster.a.upstream_rq_599 1",
    "cluster.a.upstream_rq_5xx 2",
    "cluster.a.upstream_rq_completed 9",
    "http.a.downstream_rq_4xx 1",
    "http.a.downstream_rq_completed 1",
  ]);
});
