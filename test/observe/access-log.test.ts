import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Worker } from "node:worker_threads";
import type { AccessLogConfig, AccessLogFilter } from "../../runtime/config/snapshot.ts";
import { ACCESS_LOG_BUFFER_BYTES } from "../../runtime/limits.ts";
import { compileFilter } from "../../runtime/observe/access-log-filter.ts";
import { AccessLog } from "../../runtime/observe/access-log.ts";
import { drainLogFiles } from "../../runtime/observe/log-file.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { finishedStream, freshStream, headersOf } from "./stream-sample.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-access-log-"));
after(() => rmSync(folder, { recursive: true }));

function fileConfig(path: string, text: string, filter?: AccessLogFilter): AccessLogConfig {
  return { sink: { kind: "file", path }, format: { kind: "text", text, omitEmptyValues: false }, filter };
}
const newStats = (): StatsStore => new StatsStore(() => undefined);

test("lines are buffered, then written whole", async () => {
  const path = join(folder, "plain.log");
  const log = new AccessLog([fileConfig(path, "%RESPONSE_CODE% %REQ(:PATH)%\n")], newStats());
  log.log(finishedStream());
  log.log(finishedStream());
  assert.equal(readFileSync(path, "utf8"), "");
  log.flush();
  await drainLogFiles();
  assert.equal(readFileSync(path, "utf8"), "503 /api/v1?x=1&y=%2F\n".repeat(2));
  log.close();
});

test("64 KiB are written without waiting for the interval", async () => {
  const path = join(folder, "size.log");
  const log = new AccessLog([fileConfig(path, `${"x".repeat(1023)}\n`)], newStats());
  for (let line = 0; line < 64; line++) log.log(finishedStream());
  await drainLogFiles();
  assert.equal(readFileSync(path, "utf8").length, 64 * 1024);
  log.close();
});

test("close writes what is left; an existing file is appended to", () => {
  const path = join(folder, "close.log");
  writeFileSync(path, "before\n");
  const log = new AccessLog([fileConfig(path, "%PROTOCOL%\n")], newStats());
  log.log(finishedStream());
  log.close();
  assert.equal(readFileSync(path, "utf8"), "before\nHTTP/1.1\n");
});

test("an empty format is Envoy's default", () => {
  const path = join(folder, "default.log");
  const log = new AccessLog([fileConfig(path, "")], newStats());
  log.log(finishedStream());
  log.close();
  assert.match(readFileSync(path, "utf8"), /^\[2016-04-15T20:17:00\.310Z\] "POST .*"192\.0\.2\.9:8080"\n$/);
});

test("two logs of one thread share a path; JSON ends its lines itself", () => {
  const path = join(folder, "shared.log");
  const stats = newStats();
  const one = new AccessLog([fileConfig(path, "text\n")], stats);
  const two = new AccessLog(
    [
      {
        sink: { kind: "file", path },
        format: { kind: "json", json: { code: "%RESPONSE_CODE%" }, omitEmptyValues: false },
        filter: undefined,
      },
    ],
    stats,
  );
  one.log(finishedStream());
  two.log(finishedStream());
  one.close();
  two.log(finishedStream());
  two.close();
  assert.equal(readFileSync(path, "utf8"), 'text\n{"code":503}\n{"code":503}\n');
});

test("reopen follows a rotation and loses nothing", async () => {
  const path = join(folder, "rotate.log");
  const log = new AccessLog([fileConfig(path, "%REQ(n)%\n")], newStats());
  const info = finishedStream();
  const write = (n: string): void => {
    info.requestHeaders = headersOf({ n });
    log.log(info);
  };
  write("1");
  log.flush();
  write("2");
  renameSync(path, `${path}.1`);
  log.reopen();
  await drainLogFiles();
  write("3");
  log.close();
  assert.equal(readFileSync(`${path}.1`, "utf8"), "1\n2\n");
  assert.equal(readFileSync(path, "utf8"), "3\n");
});

test("what a full buffer does not take is dropped and counted", () => {
  const path = join(folder, "drop.log");
  const stats = newStats();
  const log = new AccessLog([fileConfig(path, "%REQ(big)%\n")], stats);
  const info = finishedStream();
  info.requestHeaders = headersOf({ big: "x".repeat(ACCESS_LOG_BUFFER_BYTES) });
  log.log(info);
  assert.equal(stats.counter("access_logs.dropped").value, 1);
  assert.equal(stats.counter("filesystem.write_buffered").value, 0);
  log.close();
});

test("a path that cannot be opened fails at once and leaves nothing open", () => {
  const good = join(folder, "good.log");
  const bad = join(folder, "missing", "bad.log");
  assert.throws(() => new AccessLog([fileConfig(good, "x\n"), fileConfig(bad, "x\n")], newStats()), { code: "ENOENT" });
});

test("several threads write whole lines to one file", async () => {
  const path = join(folder, "threads.log");
  const source = `
    import { parentPort, workerData } from "node:worker_threads";
    const { AccessLog } = await import(workerData.base + "access-log.ts");
    const { drainLogFiles } = await import(workerData.base + "log-file.ts");
    const { StatsStore } = await import(workerData.base + "stats.ts");
    const { finishedStream } = await import(workerData.sample);
    const text = workerData.letter.repeat(300) + "\\n";
    const config = { sink: { kind: "file", path: workerData.path }, format: { kind: "text", text, omitEmptyValues: false } };
    const log = new AccessLog([config], new StatsStore(() => {}));
    const info = finishedStream();
    for (let line = 0; line < 3000; line++) {
      log.log(info);
      if (line % 100 === 0) await new Promise((done) => setImmediate(done));
    }
    await drainLogFiles();
    parentPort.postMessage("done");
  `;
  const base = new URL("../../runtime/observe/", import.meta.url).href;
  const sample = new URL("stream-sample.ts", import.meta.url).href;
  const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
  const workers = ["a", "b", "c"].map((letter) => new Worker(url, { workerData: { base, sample, path, letter } }));
  await Promise.all(workers.map((worker) => once(worker, "exit")));
  const lines = readFileSync(path, "latin1").split("\n").slice(0, -1);
  assert.equal(lines.length, 9000);
  for (const letter of "abc") assert.equal(lines.filter((line) => line === letter.repeat(300)).length, 3000);
});

test("stdout through a pipe that is read late: nothing is lost, nothing doubled", async () => {
  const source = `
    const { AccessLog } = await import(process.argv[1] + "access-log.ts");
    const { drainLogFiles } = await import(process.argv[1] + "log-file.ts");
    const { StatsStore } = await import(process.argv[1] + "stats.ts");
    const { finishedStream } = await import(process.argv[2]);
    const format = { kind: "text", text: "%REQ(n)%" + "y".repeat(100) + "\\n", omitEmptyValues: false };
    const log = new AccessLog([{ sink: { kind: "stdout" }, format }], new StatsStore(() => {}));
    const info = finishedStream();
    for (let line = 0; line < 5000; line++) {
      info.requestHeaders.set("n", line + ":");
      log.log(info);
    }
    const keepAlive = setInterval(() => {}, 1000);
    await drainLogFiles();
    clearInterval(keepAlive);
  `;
  const base = new URL("../../runtime/observe/", import.meta.url).href;
  const sample = new URL("stream-sample.ts", import.meta.url).href;
  const child = spawn(process.execPath, ["--input-type=module", "-e", source, base, sample], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("latin1").on("data", (chunk: string) => (text += chunk));
  const [code] = (await once(child, "close")) as [number];
  assert.equal(code, 0);
  const lines = text.split("\n").slice(0, -1);
  assert.equal(lines.length, 5000);
  assert.ok(lines.every((line, index) => line === `${index}:${"y".repeat(100)}`));
});

const status = (op: "EQ" | "GE" | "LE" | "NE", value: number, runtimeKey = "k"): AccessLogFilter => ({
  kind: "status_code",
  op,
  value,
  runtimeKey,
});
const duration = (op: "EQ" | "GE" | "LE" | "NE", value: number): AccessLogFilter => ({
  kind: "duration",
  op,
  value,
  runtimeKey: "",
});
const fraction = (numerator: number, runtimeKey = "f"): AccessLogFilter => ({
  kind: "runtime",
  fraction: { numerator, denominator: 100, runtimeKey },
});
const agent = (invert: boolean): AccessLogFilter => ({
  kind: "header",
  header: {
    name: "user-agent",
    matcher: { kind: "string", string: { kind: "prefix", value: "CURL", ignoreCase: true } },
    invert,
    treatMissingAsEmpty: false,
  },
});
/** The sample stream: code 503, duration 42 ms, flags UC and DI, user-agent curl/8. */
const FILTERS: [AccessLogFilter, boolean][] = [
  [status("EQ", 503), true],
  [status("EQ", 500), false],
  [status("NE", 503), false],
  [status("GE", 500), true],
  [status("GE", 504), false],
  [status("LE", 503), true],
  [status("LE", 502), false],
  [status("EQ", 0, "override.to.503"), true],
  [duration("EQ", 42), true],
  [duration("GE", 43), false],
  [duration("LE", 42), true],
  [duration("NE", 42), false],
  [{ kind: "and", filters: [status("EQ", 503), duration("GE", 1)] }, true],
  [{ kind: "and", filters: [status("EQ", 503), duration("GE", 100)] }, false],
  [{ kind: "or", filters: [status("EQ", 200), duration("GE", 1)] }, true],
  [{ kind: "or", filters: [status("EQ", 200), duration("GE", 100)] }, false],
  [agent(false), true],
  [agent(true), false],
  [{ kind: "response_flag", flags: [] }, true],
  [{ kind: "response_flag", flags: ["DI", "NR"] }, true],
  [{ kind: "response_flag", flags: ["NR"] }, false],
  [fraction(0), false],
  [fraction(100), true],
  [fraction(0, "always"), true],
  [fraction(100, "never"), false],
  [fraction(100, "half.of.nothing"), false],
  [{ kind: "not_health_check" }, true],
];
for (const [filter, expected] of FILTERS) {
  test(`filter ${JSON.stringify(filter)}`, () => {
    const runtime = {
      "override.to.503": 503,
      always: 100,
      never: 0,
      "half.of.nothing": { numerator: 0, denominator: 10_000 },
    };
    assert.equal(compileFilter(filter, runtime)(finishedStream()), expected);
  });
}

test("filters on a stream without answer, flag or headers", () => {
  const info = freshStream();
  const matches = (filter: AccessLogFilter): boolean => compileFilter(filter, {})(info);
  assert.equal(matches(status("EQ", 0)), true);
  assert.equal(matches({ kind: "response_flag", flags: [] }), false);
  assert.equal(matches(agent(false)), false);
});

test("a filter decides what is recorded", () => {
  const path = join(folder, "filtered.log");
  const log = new AccessLog([fileConfig(path, "%RESPONSE_CODE%\n", status("GE", 500))], newStats());
  const info = finishedStream();
  log.log(info);
  info.responseCode = 200;
  log.log(info);
  log.close();
  assert.equal(readFileSync(path, "utf8"), "503\n");
});
