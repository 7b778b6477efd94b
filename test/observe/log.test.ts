import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { type Log, LOG_LEVELS, logLevelNumber, parseLogLevel, ProcessLog } from "../../runtime/observe/log.ts";

function capture(options: { level: "info" | "trace" | "off"; format?: "json" }): { log: ProcessLog; lines: string[] } {
  const lines: string[] = [];
  const log = new ProcessLog({ ...options, thread: 3, write: (line) => lines.push(line) });
  return { log, lines };
}

function everyLevel(log: Log): void {
  log.trace("t");
  log.debug("d");
  log.info("i");
  log.warning("w");
  log.error("e");
  log.critical("c");
}

test("text lines have Envoy's shape", () => {
  const { log, lines } = capture({ level: "info" });
  log.component("config").info("read", { file: "a.yaml", listeners: 2 });
  assert.match(
    lines[0]!,
    /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\]\[3\]\[info\]\[config\] read file=a\.yaml listeners=2\n$/,
  );
});

test("JSON lines", () => {
  const { log, lines } = capture({ level: "info", format: "json" });
  log.component("config").warning("read\nmore", { file: "a.yaml" });
  const { time, ...rest } = JSON.parse(lines[0]!) as Record<string, unknown>;
  assert.equal(typeof time, "number");
  assert.deepEqual(rest, { level: "warning", thread: 3, component: "config", file: "a.yaml", msg: "read\nmore" });
  assert.equal(lines[0]!.split("\n").length, 2);
});

for (const [index, level] of LOG_LEVELS.entries()) {
  test(`level ${level} lets its own and higher ones pass`, () => {
    const lines: string[] = [];
    const log = new ProcessLog({ level, write: (line) => lines.push(line) }).component("x");
    everyLevel(log);
    assert.equal(lines.map((line) => line.at(-2)).join(""), "tdiwec".slice(index));
    assert.equal(logLevelNumber(level), index);
    for (let number = 0; number <= 5; number++) assert.equal(log.enabled(number), number >= index);
  });
}

test("levels change for all or for one component", () => {
  const { log, lines } = capture({ level: "info" });
  const [a, b] = [log.component("a"), log.component("b")];
  assert.equal(log.component("a"), a);
  assert.equal(log.setLevel("trace", "a"), true);
  assert.equal(log.setLevel("trace", "nobody"), false);
  a.trace("a");
  b.trace("b");
  assert.equal(lines.length, 1);
  assert.deepEqual(log.levels(), [
    ["a", "trace"],
    ["b", "info"],
  ]);
  log.setLevel("off");
  everyLevel(a);
  everyLevel(b);
  everyLevel(log.component("new"));
  assert.equal(lines.length, 1);
  assert.equal(log.level, "off");
});

test("guests log by number", () => {
  const { log, lines } = capture({ level: "trace" });
  const guest = log.component("wasm");
  for (const level of [0, 1, 2, 3, 4, 5]) guest.guest(level, "g");
  guest.guest(6, "g");
  guest.guest(99, "g");
  assert.deepEqual(
    lines.map((line) => /\[3\]\[(\w+)\]/.exec(line)![1]),
    ["trace", "debug", "info", "warning", "error", "critical", "critical", "critical"],
  );
});

test("a hostile message forges no line and moves no cursor", () => {
  const { log, lines } = capture({ level: "info" });
  log.component("wasm").info("x\n[2026-01-01 00:00:00.000][0][critical][main] forged\r\u001b[2J\u009b\u2028\t.");
  assert.match(
    lines[0]!,
    /x\n {4}\[2026-01-01 00:00:00\.000\]\[0\]\[critical\]\[main\] forged\\x0d\\x1b\[2J\\x9b\\x2028\t\.\n$/,
  );
});

test("errors show their stack", () => {
  const { log, lines } = capture({ level: "info" });
  log.component("main").error("failed", { err: new Error("because") });
  assert.match(lines[0]!, / failed err=Error: because\n {8,}at /);
});

test("parseLogLevel", () => {
  assert.equal(parseLogLevel("warn"), "warning");
  assert.equal(parseLogLevel("critical"), "critical");
  assert.throws(() => parseLogLevel("loud"), { code: "LOG_LEVEL_UNKNOWN" });
});

test("lines of main thread and workers are out when the process dies at once", () => {
  // Few enough for the system to keep them, should nobody read for a while: it is not waited for for ever.
  const source = `
    import { Worker } from "node:worker_threads";
    const { ProcessLog } = await import(process.argv[1]);
    const log = new ProcessLog({ level: "info" }).component("main");
    for (let line = 0; line < 30; line++) log.info("line " + line);
    const inWorker = async () => {
      const { ProcessLog } = await import(require("node:worker_threads").workerData);
      const log = new ProcessLog({ level: "info" }).component("worker");
      for (let line = 0; line < 30; line++) log.info("line " + line);
      process.kill(process.pid, "SIGKILL");
    };
    new Worker("(" + inWorker + ")()", { eval: true, execArgv: [], workerData: process.argv[1] });
  `;
  const module = new URL("../../runtime/observe/log.ts", import.meta.url).href;
  const { stderr, signal } = spawnSync(process.execPath, ["--input-type=module", "-e", source, module], {
    encoding: "utf8",
  });
  assert.equal(signal, "SIGKILL");
  const lines = stderr.split("\n").slice(0, -1);
  assert.equal(lines.filter((line) => /\]\[0\]\[info\]\[main\] line \d+$/.test(line)).length, 30);
  assert.equal(lines.filter((line) => /\]\[1\]\[info\]\[worker\] line \d+$/.test(line)).length, 30);
});
