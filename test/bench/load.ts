/**
 * `npm run bench`: CPU time per request of Sluice and of other proxies that do the same jobs, in turn, then
 * TCP streams, start-up time and the cost of filters in-process. Options: --seconds N, --rounds N, --only WORD (plain,
 * filters, bodies, h2, tcp, start, wasm, or part of a proxy's name; may be repeated), --json FILE.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { PROXY_CORE } from "./processes.ts";
import { median, ratio, runRounds } from "./rounds.ts";
import type { Result } from "./rounds.ts";
import { SCENARIOS, SIDES } from "./sides.ts";
import { startTimes } from "./startup.ts";
import { printTcp } from "./tcp.ts";

const STARTS = 7;
/** Long enough for code that is compiled while it runs: what is measured is how a proxy runs for the rest of its life. */
const WARM_UP_SECONDS = 8;

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "5" },
    rounds: { type: "string", default: "7" },
    only: { type: "string", multiple: true, default: [] },
    json: { type: "string" },
  },
});

const folder = mkdtempSync(join(tmpdir(), "sluice-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const wanted = (...words: readonly string[]): boolean =>
  values.only.length === 0 || values.only.some((only) => words.some((word) => word.includes(only)));

const seconds = positive("seconds", values.seconds);
const rounds = positive("rounds", values.rounds);
const sides = SIDES.filter(({ name, scenario }) => wanted(scenario, name));

if (PROXY_CORE === 0) console.log("One core only: load and proxy share it, so rates and times mean little.");
if (sides.length > 0) {
  const results = await runRounds(sides, { folder, seconds, rounds, warmUpSeconds: WARM_UP_SECONDS }, (text) =>
    process.stderr.write(`${text}\n`),
  );
  for (const [scenario, load] of Object.entries(SCENARIOS))
    printTable(
      scenario,
      load,
      results.filter(({ side }) => side.scenario === scenario),
    );
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
}
if (wanted("tcp")) await printTcp({ folder, seconds, rounds });
if (wanted("start")) await printStarts();
if (wanted("wasm")) await printFilterCost();

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new RangeError(`--${name} ${text} is no whole number above 0`);
  return value;
}

function printTable(scenario: string, load: string, results: readonly Result[]): void {
  const ours = results.find(({ side }) => side.name.startsWith("sluice"));
  if (results.length === 0) return;
  console.log(`\n${scenario}: ${rounds} rounds of ${seconds} s, ${load}, one worker each`);
  console.log(
    `${"".padEnd(20)}${["CPU µs/request", "sluice ÷ it", "requests/s", "p99 ms", "errors"].map((head) => head.padStart(16)).join("")}`,
  );
  for (const result of results) {
    const { runs, side } = result;
    const figures = [
      median(runs.map(({ cpuMicros }) => cpuMicros)).toFixed(2),
      ours === undefined ? "" : ratio(ours, result).toFixed(2),
      Math.round(median(runs.map(({ rate }) => rate))).toString(),
      median(runs.map(({ p99Ms }) => p99Ms)).toFixed(2),
      runs.reduce((sum, { errors }) => sum + errors, 0).toString(),
    ];
    console.log(`${side.name.padEnd(20)}${figures.map((figure) => figure.padStart(16)).join("")}`);
  }
}

async function printStarts(): Promise<void> {
  console.log(`\nstart of the process to the first answered request, median of ${STARTS} (least to most)`);
  for (const side of SIDES.filter(({ name }) => /^(sluice|nginx|sluice, 3 filters)$/.test(name))) {
    const times = await startTimes(side, folder, STARTS);
    const [least, most] = [Math.min(...times), Math.max(...times)];
    console.log(
      `${side.name.padEnd(20)}${median(times).toFixed(0).padStart(8)} ms  (${least.toFixed(0)} to ${most.toFixed(0)})`,
    );
  }
}

async function printFilterCost(): Promise<void> {
  const script = fileURLToPath(new URL("./wasm.ts", import.meta.url));
  if (!existsSync(script)) return;
  console.log("\nthe Wasm host in-process");
  const [status] = (await once(spawn(process.execPath, [script], { stdio: "inherit" }), "close")) as [number | null];
  if (status !== 0) throw new Error(`${script} ended with ${status}`);
}
