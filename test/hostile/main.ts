/**
 * `npm run hostile`: every attack many times over, and a table of what the attacking streams got, what others lost, and
 * how long others took with and without the attack. Options: --times N, --isolation NAME, --only TEXT.
 */
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import type { Isolation } from "../../runtime/config/snapshot.ts";
import { Arena, residentBytes } from "./arena.ts";
import type { LoadReport, Outcome } from "./arena.ts";
import { ATTACKS } from "./attacks.ts";

const { values } = parseArgs({
  options: {
    times: { type: "string", default: "20" },
    isolation: { type: "string", multiple: true, default: ["stream", "connection", "worker"] },
    only: { type: "string", default: "" },
  },
});
const TIMES = Number(values.times);
/** Between two attacks, so that the table tells of attacks and not of a thread that does nothing else. */
const PAUSE_MS = 30;
/** Streams of well-behaved traffic that are timed without any attack. */
const CALM_STREAMS = 500;
const COLUMNS = [34, 38, 12, 12, 16, 16] as const;

function percentile(times: readonly number[], share: number): string {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted.length === 0 ? "-" : sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)]!.toFixed(1);
}

/** Median and 99th percentile, milliseconds. */
function spread({ times }: { readonly times: readonly number[] }): string {
  return `${percentile(times, 0.5)} / ${percentile(times, 0.99)}`;
}

function row(...cells: readonly string[]): void {
  console.log(cells.map((cell, n) => cell.padEnd(COLUMNS[n] ?? 0)).join(" "));
}

interface Both {
  readonly shared: LoadReport;
  readonly beside: LoadReport;
}

async function gather(arena: Arena, done: () => boolean): Promise<Both> {
  const total = [0, 1].map(() => ({ streams: 0, failures: [] as string[], times: [] as number[] }));
  while (total[0]!.streams === 0 || !done()) {
    await sleep(PAUSE_MS);
    for (const [n, report] of (await arena.report()).entries()) {
      total[n]!.streams += report.streams;
      total[n]!.failures.push(...report.failures);
      total[n]!.times.push(...report.times);
    }
  }
  return { shared: total[0]!, beside: total[1]! };
}

async function calm(arena: Arena): Promise<Both> {
  let streams = 0;
  return gather(arena, () => (streams += arena.shared.finished.splice(0).length) >= CALM_STREAMS);
}

async function attackOften(arena: Arena, name: string): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  for (let n = 0; n < TIMES; n++) {
    outcomes.push(await arena.attack(name));
    await sleep(PAUSE_MS);
  }
  return outcomes;
}

function summary(outcomes: readonly Outcome[]): string {
  const counts = new Map<string, number>();
  for (const { seen, details } of outcomes) {
    const text = `${seen} ${details}`;
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return [...counts].map(([text, count]) => (counts.size > 1 ? `${count} × ${text}` : text)).join(", ");
}

for (const isolation of values.isolation as Isolation[]) {
  const arena = await Arena.start({ isolation });
  const before = residentBytes();
  // What collecting garbage held up, and the first streams, are not counted.
  await calm(arena);
  const quiet = await calm(arena);
  console.log(`\nisolation ${isolation}; others without attacks: ${spread(quiet.shared)} ms (median / p99)\n`);
  row("attack", "the attacking stream got", "lost, same", "lost, other", "same, ms", "other, ms");
  for (const { name } of ATTACKS.filter((one) => one.name.includes(values.only))) {
    let over = false;
    const attacks = attackOften(arena, name).finally(() => (over = true));
    const { shared, beside } = await gather(arena, () => over);
    row(
      name,
      summary(await attacks),
      `${shared.failures.length} of ${shared.streams}`,
      `${beside.failures.length} of ${beside.streams}`,
      spread(shared),
      spread(beside),
    );
    arena.losses();
  }
  const grown = (residentBytes() - before) / (1024 * 1024);
  console.log(
    `\ninstances: ${arena.value("wasm.hostile.instances")}; memory of the process: ${grown.toFixed(0)} MiB more`,
  );
  await arena.close();
}
