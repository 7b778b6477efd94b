/** One second of every side of the benchmark: they start, do their jobs, and are measured. No figure is judged. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { idleBytes, shortConnections, startAnswering, startProxy, startTcpProxy } from "./connections.ts";
import { median, ratio, runRounds } from "./rounds.ts";
import { SIDES } from "./sides.ts";
import { startTimes } from "./startup.ts";
import { runTcp, TCP_MODES, TCP_SIDES } from "./tcp.ts";
import { readH2Report } from "./h2load.ts";
import { readReport } from "./wrk.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-bench-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("every side answers under load and is measured", async () => {
  const results = await runRounds(SIDES, { folder, seconds: 1, rounds: 1, warmUpSeconds: 0 }, () => {});
  assert.equal(results.length, SIDES.length);
  for (const { side, runs } of results) {
    const [run] = runs;
    assert.ok(run !== undefined, side.name);
    assert.equal(run.errors, 0, side.name);
    assert.ok(
      run.requests > 0 && run.rate > 0 && run.p99Ms > 0 && run.cpuMicros > 0,
      `${side.name}: ${JSON.stringify(run)}`,
    );
  }
  assert.ok(ratio(results[0]!, results[1]!) > 0);
});

test("TCP streams and messages are measured", async () => {
  const results = await runTcp({ folder, seconds: 0.1, rounds: 1, progress: () => {} });
  for (const [m, { mode }] of TCP_MODES.entries()) {
    for (const [s, { name }] of TCP_SIDES.entries()) {
      const [run] = results[m]![s]!;
      assert.ok(run !== undefined && run.unitsPerSecond > 0 && run.cpuMicros >= 0, `${mode} ${name}`);
    }
  }
});

test("short and idle connections are measured", async () => {
  const { started, port } = await startProxy(folder, "exact balance", 2);
  const { cpuMicros, rate, errors } = await shortConnections(started, port, 1);
  assert.ok(cpuMicros > 0 && rate > 0);
  assert.equal(errors, 0);
  assert.ok(Number.isFinite(await idleBytes(started, port, 400)));
  await started.stop();
  const origin = await startAnswering();
  const tcp = await startTcpProxy(folder, origin);
  assert.ok(Number.isFinite(await idleBytes(tcp.started, tcp.port, 400)));
  await tcp.started.stop();
  origin.close();
});

test("start-up is measured", async () => {
  const [time] = await startTimes(SIDES[0]!, folder, 1);
  assert.ok(time !== undefined && time > 0);
});

test("medians", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.throws(() => median([]), RangeError);
});

test("a report of wrk is read", () => {
  const report = `Running 1s test
  Latency Distribution
     50%    1.19ms
     99%    980.00us
  27110 requests in 1.00s, 4.24MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:  27046.48
`;
  assert.deepEqual(readReport(report), { requests: 27_110, rate: 27_046.48, p99Ms: 0.98, errors: 15 });
  assert.throws(() => readReport("nothing"), /no/);
});

test("a report of h2load is read", () => {
  const report = `finished in 1.00s, 6084.00 req/s, 843.37KB/s
requests: 6084 total, 6148 started, 6084 done, 6080 succeeded, 4 failed, 4 errored, 0 timeout
`;
  const log = "1764376999000000\t200\t1500\n1764376999000100\t200\t2500\n";
  assert.deepEqual(readH2Report(report, log), { requests: 6080, rate: 6084, p99Ms: 2.5, errors: 4 });
  assert.throws(() => readH2Report(report, ""), /log/);
  assert.throws(() => readH2Report("nothing", log), /report/);
});
