/**
 * `npm run hostile`: every attack many times over, each in an arena of its own, and a table of what the attacking streams
 * got, what others lost, how long others took without the attack and with it, and what memory is left over.
 * Options: --times N, --isolation NAME, --only TEXT.
 */
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import type { Isolation } from "../../runtime/config/snapshot.ts";
import { ProxyError } from "../../runtime/errors.ts";
import { Arena, residentBytes } from "./arena.ts";
import type { LoadReport, Outcome } from "./arena.ts";
import { ATTACKS, QUEUE_ATTACKS, START_ATTACKS, TICK_ATTACKS } from "./attacks.ts";

const { values } = parseArgs({
  options: {
    times: { type: "string", default: "10" },
    isolation: { type: "string", multiple: true, default: ["stream", "connection", "worker"] },
    only: { type: "string", default: "" },
  },
});
const TIMES = Number(values.times);
/**
 * Between two attacks, so that the table tells of attacks and not of a thread that does nothing else; where all streams
 * share an instance, no more attacks than restarts are allowed for.
 */
const PAUSE_MS: Readonly<Record<Isolation, number>> = { stream: 30, connection: 30, worker: 75 };
/** Streams of well-behaved traffic, in each chain, before an attack. */
const CALM_STREAMS = 150;
const COLUMNS = [34, 38, 12, 12, 24, 24, 8] as const;

function percentile(times: readonly number[], share: number): string {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted.length === 0 ? "-" : sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)]!.toFixed(1);
}

/** 99th percentile without the attack and with it, milliseconds; median in front. */
function change(calm: LoadReport, attacked: LoadReport): string {
  const of = ({ times }: LoadReport): string => `${percentile(times, 0.5)} / ${percentile(times, 0.99)}`;
  return `${of(calm)} → ${of(attacked)}`;
}

function row(...cells: readonly string[]): void {
  console.log(cells.map((cell, n) => cell.padEnd(COLUMNS[n] ?? 0)).join(" "));
}

interface Both {
  readonly shared: LoadReport;
  readonly beside: LoadReport;
}

/** What well-behaved traffic meets until `done`. */
async function gather(arena: Arena, done: (streams: number) => boolean): Promise<Both> {
  const total = [0, 1].map(() => ({ streams: 0, failures: [] as string[], times: [] as number[] }));
  while (!done(Math.min(total[0]!.streams, total[1]!.streams))) {
    await sleep(10);
    for (const [n, report] of (await arena.report()).entries()) {
      total[n]!.streams += report.streams;
      total[n]!.failures.push(...report.failures);
      total[n]!.times.push(...report.times);
    }
  }
  arena.losses();
  return { shared: total[0]!, beside: total[1]! };
}

function summary(outcomes: readonly Outcome[]): string {
  const counts = new Map<string, number>();
  for (const { seen, details } of outcomes) {
    const text = `${seen} ${details}`;
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return [...counts].map(([text, count]) => (counts.size > 1 ? `${count} × ${text}` : text)).join(", ");
}

/** Attacks as often as asked; `what` says what the attackers got. */
type Attackers = (arena: Arena) => Promise<string>;

async function play(name: string, isolation: Isolation, configuration: string, attackers: Attackers): Promise<void> {
  const before = residentBytes();
  let arena: Arena;
  try {
    arena = await Arena.start({ isolation, configuration });
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    row(name, `does not start: ${error.message.split("\n")[0]!.replace(/^.*?: plugin hostile: /, "")}`);
    return;
  }
  // Streams that find code cold are not counted.
  await gather(arena, (streams) => streams >= CALM_STREAMS);
  const calm = await gather(arena, (streams) => streams >= CALM_STREAMS);
  let over = false;
  const attacks = attackers(arena).finally(() => (over = true));
  const attacked = await gather(arena, (streams) => over && streams > 0);
  const got = await attacks;
  await arena.close();
  row(
    name,
    got,
    `${attacked.shared.failures.length} of ${attacked.shared.streams}`,
    `${attacked.beside.failures.length} of ${attacked.beside.streams}`,
    change(calm.shared, attacked.shared),
    change(calm.beside, attacked.beside),
    `${Math.round((residentBytes() - before) / (1024 * 1024))}`,
  );
}

function streams(name: string, isolation: Isolation): Attackers {
  return async (arena) => {
    const outcomes: Outcome[] = [];
    while (outcomes.length < TIMES) {
      const outcome = await arena.attack(name);
      // Not an attack, if the last one's instance has not been replaced yet.
      if (isolation !== "worker" || outcome.details !== "wasm_fail_stream{no_instance}") outcomes.push(outcome);
      await sleep(PAUSE_MS[isolation]);
    }
    return summary(outcomes);
  };
}

const ofPlugin: Attackers = async (arena) => {
  const before = arena.value("wasm.hostile.traps");
  await sleep(TIMES * PAUSE_MS.worker);
  return `${arena.value("wasm.hostile.traps") - before} failures of the plugin's own instance`;
};

const wanted = (name: string): boolean => name.includes(values.only);

for (const isolation of values.isolation as Isolation[]) {
  console.log(`\nisolation ${isolation}\n`);
  row(
    "attack",
    "the attacking stream got",
    "lost, same",
    "lost, other",
    "same: median / p99, ms",
    "other: median / p99, ms",
    "MiB left",
  );
  const ofStreams = [...ATTACKS.map(({ name }) => name), ...QUEUE_ATTACKS.map(([name]) => name)];
  for (const name of ofStreams.filter(wanted)) await play(name, isolation, "", streams(name, isolation));
  for (const [name] of [...TICK_ATTACKS, ...START_ATTACKS]) {
    if (wanted(name)) await play(name, isolation, name, ofPlugin);
  }
}
console.log(`
lost, same: well-behaved streams in the same chain, which have instances of the same plugin; other: in the chain beside it
→: without the attack, and with it; MiB left: resident memory after the plugin is gone, less that before it came`);
