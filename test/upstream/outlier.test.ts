/** Hosts that do worse than is allowed are taken out and come back: the rules on a clock of the test, then real sockets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { OutlierConfig } from "../../runtime/config/cluster-snapshot.ts";
import type { Host } from "../../runtime/upstream/host.ts";
import { OutlierDetector } from "../../runtime/upstream/outlier.ts";
import {
  clusterConfig,
  clusterUnderTest,
  endpoint,
  get,
  MemoryStats,
  onRequests,
  origin,
  Recorder,
  requestHeaders,
} from "./fixtures.ts";
import { hostNamed } from "./pick-fixtures.ts";

function outlier(over: Partial<OutlierConfig> = {}): OutlierConfig {
  return {
    consecutive5xx: 3,
    consecutiveGatewayFailure: 3,
    consecutiveLocalOriginFailure: 3,
    split: false,
    intervalMs: 10_000,
    baseEjectionTimeMs: 30_000,
    maxEjectionTimeMs: 300_000,
    maxEjectionTimeJitterMs: 0,
    maxEjectionPercent: 100,
    alwaysEjectOneHost: false,
    successRateMinimumHosts: 3,
    successRateRequestVolume: 10,
    successRateStdevFactor: 1000,
    failurePercentageThreshold: 50,
    failurePercentageMinimumHosts: 2,
    failurePercentageRequestVolume: 10,
    ...over,
    enforcing: {
      consecutive_5xx: 100,
      consecutive_gateway_failure: 0,
      consecutive_local_origin_failure: 100,
      success_rate: 0,
      local_origin_success_rate: 0,
      failure_percentage: 0,
      local_origin_failure_percentage: 0,
      ...over.enforcing,
    },
  };
}

const NONE = { consecutive_5xx: 0 } as OutlierConfig["enforcing"];

interface Stage {
  readonly hosts: readonly Host[];
  readonly detector: OutlierDetector;
  readonly read: (name: string) => number;
  readonly ejected: () => string;
  /** Time passes, interval by interval. */
  readonly intervals: (count: number) => void;
  readonly changes: () => number;
}

function stage(over: Partial<OutlierConfig> = {}, count = 4): Stage {
  const stats = new MemoryStats();
  let [now, changes] = [0, 0];
  const config = outlier(over);
  const detector = new OutlierDetector({
    config,
    stats,
    statName: "origin",
    onChange: () => changes++,
    clock: () => now,
  });
  const hosts = ["a", "b", "c", "d", "e", "f"].slice(0, count).map((name) => hostNamed(name));
  detector.watch(hosts);
  return {
    hosts,
    detector,
    read: (name) => stats.read(`outlier_detection.ejections_${name}`),
    ejected: () =>
      hosts
        .filter((host) => host.ejected)
        .map(({ hostname }) => hostname)
        .join(""),
    changes: () => changes,
    intervals(times) {
      for (let n = 0; n < times; n++) {
        now += config.intervalMs;
        detector.onInterval();
      }
    },
  };
}

function answers(host: Host, ...statuses: number[]): void {
  for (const status of statuses) host.answered(status);
}

test("answers in a row", () => {
  const gateway = { ...NONE, consecutive_gateway_failure: 100 };
  const cases: readonly (readonly [string, Partial<OutlierConfig>, readonly number[], string])[] = [
    ["three of 5xx", {}, [500, 502, 599], "a"],
    ["two are not enough", {}, [500, 500], ""],
    ["one that is good begins anew", {}, [500, 500, 404, 500, 500], ""],
    ["more than enough", {}, [500, 500, 500, 500], "a"],
    ["gateway failures are not enforced unless told", { consecutive5xx: 9 }, [502, 503, 504], ""],
    ["gateway failures", { enforcing: gateway }, [502, 503, 504], "a"],
    ["500 is none of them, and begins them anew", { enforcing: gateway }, [502, 503, 500, 503, 504], ""],
    ["detected, and not enforced", { enforcing: NONE }, [500, 500, 500], ""],
  ]; // prettier-ignore
  for (const [name, config, statuses, wanted] of cases) {
    const { hosts, ejected } = stage(config);
    answers(hosts[0]!, ...statuses);
    assert.equal(ejected(), wanted, name);
    assert.equal(hosts[0]!.healthy, wanted === "", name);
  }
});

test("failures that are no answers: as 5xx, or told apart", () => {
  const together = stage();
  for (let n = 0; n < 3; n++) together.hosts[0]!.failed();
  for (const timedOut of [true, false, true]) together.hosts[1]!.failed(timedOut);
  answers(together.hosts[2]!, 500);
  together.hosts[2]!.failed();
  together.hosts[2]!.monitor!.connected(true);
  together.hosts[2]!.failed();
  assert.equal(together.ejected(), "ab");
  assert.equal(together.read("enforced_consecutive_5xx"), 2);

  const apart = stage({ split: true });
  for (let n = 0; n < 3; n++) apart.hosts[0]!.failed();
  for (let n = 0; n < 2; n++) apart.hosts[1]!.failed();
  apart.hosts[1]!.monitor!.connected(false);
  for (let n = 0; n < 2; n++) apart.hosts[1]!.failed();
  answers(apart.hosts[2]!, 500, 500);
  apart.hosts[2]!.failed();
  assert.equal(apart.ejected(), "a");
  assert.equal(apart.read("enforced_consecutive_local_origin_failure"), 1);
});

test("who is out stays out for the base time, longer each time, and comes back", () => {
  const { hosts, ejected, intervals, read, changes } = stage({ maxEjectionTimeMs: 70_000 });
  const lasts = (): number => {
    answers(hosts[0]!, 500, 500, 500);
    assert.equal(ejected(), "a");
    let times = 0;
    for (; ejected() !== ""; times++) intervals(1);
    return times * 10;
  };
  assert.equal(lasts(), 30);
  assert.equal(lasts(), 60);
  assert.equal(lasts(), 70, "max_ejection_time");
  // Good intervals are taken into account.
  intervals(3);
  assert.equal(lasts(), 30);
  assert.equal(read("active"), 0);
  assert.equal(read("enforced_total"), 4);
  assert.equal(changes(), 8);
  // Having come back it begins anew.
  answers(hosts[0]!, 500, 500);
  assert.equal(ejected(), "");
});

test("not too many are taken out", () => {
  const cases = [
    [{ maxEjectionPercent: 50 }, "ab", 2],
    [{ maxEjectionPercent: 10 }, "", 4],
    [{ maxEjectionPercent: 10, alwaysEjectOneHost: true }, "a", 3],
    [{}, "abcd", 0],
  ] as const;
  for (const [config, wanted, overflow] of cases) {
    const { hosts, ejected, read } = stage(config);
    for (const host of hosts) answers(host, 500, 500, 500);
    assert.equal(ejected(), wanted);
    assert.equal(read("overflow"), overflow);
    assert.equal(read("active"), wanted.length);
    assert.equal(read("detected_consecutive_5xx"), 4);
  }
});

test("hosts are held against each other, and against a bound, at the end of an interval", () => {
  const load = (host: Host, good: number, bad: number): void => {
    // Never so many bad ones in a row that these alone decide.
    for (let n = 0; n < good + bad; n++) host.answered(n % 2 === 0 && n / 2 < bad ? 500 : 200);
  };
  const rate = { ...NONE, success_rate: 100 };
  const percentage = { ...NONE, failure_percentage: 100 };
  const cases: readonly (readonly [string, Partial<OutlierConfig>, readonly (readonly [number, number])[], string])[] = [
    ["one is far below the mean", { enforcing: rate }, [[20, 0], [20, 0], [20, 0], [11, 9]], "d"],
    ["all are alike", { enforcing: rate }, [[11, 9], [11, 9], [11, 9], [11, 9]], ""],
    ["too few requests do not count", { enforcing: rate }, [[20, 0], [20, 0], [20, 0], [2, 2]], ""],
    ["too few hosts are compared with nobody", { enforcing: rate, successRateMinimumHosts: 5 }, [[20, 0], [20, 0], [20, 0], [11, 9]], ""],
    ["a wider deviation is allowed", { enforcing: rate, successRateStdevFactor: 1900 }, [[20, 0], [20, 0], [20, 0], [11, 9]], ""],
    ["more fail than the bound allows", { enforcing: percentage }, [[20, 0], [10, 10], [11, 9], [9, 9]], "bd"],
    ["not enforced", { enforcing: NONE }, [[20, 0], [10, 10], [10, 10], [10, 10]], ""],
  ]; // prettier-ignore
  for (const [name, config, loads, wanted] of cases) {
    const { hosts, ejected, intervals } = stage({ consecutive5xx: 100, ...config });
    for (const [at, [good, bad]] of loads.entries()) load(hosts[at]!, good, bad);
    intervals(1);
    assert.equal(ejected(), wanted, name);
    intervals(10);
    assert.equal(ejected(), "", `${name}: what was counts no more`);
  }
});

test("connections are held against each other where they are told apart", () => {
  const enforcing = { ...NONE, local_origin_success_rate: 100, local_origin_failure_percentage: 100 };
  const { hosts, ejected, intervals, read } = stage({ split: true, consecutiveLocalOriginFailure: 100, enforcing });
  for (const [at, host] of hosts.entries()) {
    for (let n = 0; n < 20; n++) {
      if (at === 3 && n % 4 !== 0) host.failed();
      else host.monitor!.connected(false);
    }
  }
  intervals(1);
  assert.equal(ejected(), "d");
  assert.equal(read("detected_local_origin_success_rate"), 1);
});

test("hosts that go take their ejection along, those that stay keep it, and those that are gone are not judged", () => {
  const { hosts, detector, read, ejected } = stage();
  answers(hosts[0]!, 500, 500, 500);
  answers(hosts[1]!, 500, 500, 500);
  answers(hosts[2]!, 500, 500);
  detector.watch(hosts.slice(1));
  assert.equal(read("active"), 1);
  answers(hosts[2]!, 500);
  assert.equal(ejected(), "abc");
  assert.equal(read("active"), 2);
  const detected = read("detected_consecutive_5xx");
  hosts[0]!.ejected = false;
  answers(hosts[0]!, 500, 500, 500);
  assert.equal(read("detected_consecutive_5xx"), detected);
  detector.stop();
  assert.equal(read("active"), 0);
});

test("over sockets: a host that answers 503 gets nothing more, nor does one that takes no connection", async (t) => {
  const answering = (status: string) =>
    origin(t, (socket) => onRequests(socket, () => socket.write(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\n\r\n`)));
  const [good, bad, dead] = [await answering("200 OK"), await answering("503 No"), await answering("200 OK")];
  await dead.close();
  const endpoints = [good, bad, dead].map(({ port }) => endpoint(port));
  const { cluster, clusters, stats } = clusterUnderTest(
    t,
    clusterConfig(endpoints, { outlier: outlier({ consecutive5xx: 2 }), healthyPanicPercent: 0 }),
  );
  await clusters.start();
  const seen: string[] = [];
  for (let n = 0; n < 18; n++) {
    const answer = await get(cluster, "/");
    seen.push(answer.resetReason ?? String(answer.status));
  }
  assert.equal(seen.filter((what) => what === "503").length, 2);
  assert.equal(seen.filter((what) => what === "remote connection failure").length, 2);
  assert.deepEqual(
    seen.slice(-8),
    Array.from({ length: 8 }, () => "200"),
  );
  assert.equal(stats.read("outlier_detection.ejections_active"), 2);
  assert.deepEqual(
    cluster.hosts.map(({ healthy }) => healthy),
    [true, false, false],
  );
});

test("over sockets: answers that take too long count", async (t) => {
  const slow = await origin(t, (socket) => socket.resume());
  const { cluster, stats } = clusterUnderTest(
    t,
    clusterConfig([endpoint(slow.port)], { outlier: outlier({ consecutive5xx: 1 }) }),
  );
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("GET", "/"), true);
  await recorder.when(({ address }) => address !== "");
  request.reset(true);
  assert.equal(stats.read("outlier_detection.ejections_enforced_consecutive_5xx"), 1);
});
