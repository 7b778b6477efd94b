/** CPU time of tcp_proxy against haproxy in TCP mode: streams in each direction, and small messages to and fro. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { LOAD_CORE, opened } from "./processes.ts";
import type { Started } from "./processes.ts";
import { median } from "./rounds.ts";
import { fill, SLUICE, startSide } from "./sides.ts";
import type { Side } from "./sides.ts";

const MIB = 1024 * 1024;
const LOAD = fileURLToPath(new URL("./tcp-load.ts", import.meta.url));

/** What is sent, and in which unit CPU time is told. */
export const TCP_MODES = [
  { mode: "down", unit: "MiB", size: MIB, connections: 4 },
  { mode: "up", unit: "MiB", size: MIB, connections: 4 },
  { mode: "echo", unit: "64-byte message and answer", size: 1, connections: 16 },
] as const;

export const TCP_SIDES: readonly Side[] = [
  {
    name: "sluice",
    scenario: "plain",
    command: (place) => [
      process.execPath,
      SLUICE,
      "run",
      "-c",
      fill("sluice-tcp.yaml", place),
      "--concurrency",
      "1",
      "--log-level",
      "warning",
    ],
  },
  {
    name: "haproxy",
    scenario: "plain",
    command: (place) => ["haproxy", "-db", "-q", "-f", fill("haproxy-tcp.cfg", place)],
  },
];

/** One run of one side in one mode. */
export interface TcpRun {
  /** Microseconds of CPU for each unit. */
  readonly cpuMicros: number;
  readonly unitsPerSecond: number;
}

/** The load process: one run at a time. */
class Load {
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  private constructor(child: ChildProcess, answers: AsyncIterator<string>, port: number) {
    this.#child = child;
    this.#answers = answers;
    this.port = port;
  }

  static async start(): Promise<Load> {
    const child = spawn("taskset", ["-c", String(LOAD_CORE), process.execPath, LOAD], {
      detached: true,
      stdio: ["pipe", "pipe", "inherit"],
    });
    const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
    const first = await answers.next();
    return new Load(child, answers, Number(first.value));
  }

  async run(
    mode: string,
    port: number,
    connections: number,
    seconds: number,
  ): Promise<{ arrived: number; ms: number }> {
    this.#child.stdin!.write(`${mode} ${port} ${connections} ${seconds * 1000}\n`);
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error("the load process ended");
    return JSON.parse(value) as { arrived: number; ms: number };
  }

  async stop(): Promise<void> {
    this.#child.stdin!.end();
    await once(this.#child, "close");
  }
}

interface Plan {
  readonly folder: string;
  readonly seconds: number;
  readonly rounds: number;
  readonly progress: (text: string) => void;
}

interface Live {
  readonly started: Started;
  readonly port: number;
  readonly name: string;
}

/** Runs every mode with all sides in turn. Answers the runs by mode, then by side, in the order of the tables above. */
export async function runTcp(plan: Plan): Promise<TcpRun[][][]> {
  const load = await Load.start();
  const started: Started[] = [];
  const results: TcpRun[][][] = [];
  try {
    const live: Live[] = [];
    for (const side of TCP_SIDES) {
      const one = await startSide(side, plan.folder, load.port);
      started.push(one.started);
      await opened(one.started, one.port);
      live.push({ ...one, name: side.name });
    }
    for (const mode of TCP_MODES) results.push(await runMode(load, live, mode, plan));
  } finally {
    await load.stop();
    await Promise.all(started.map((one) => one.stop()));
  }
  return results;
}

/** All sides in turn, each round. The runs by side. */
async function runMode(
  load: Load,
  live: readonly Live[],
  mode: (typeof TCP_MODES)[number],
  plan: Plan,
): Promise<TcpRun[][]> {
  const bySide: TcpRun[][] = live.map(() => []);
  // One round that is not counted, so that compilers have compiled.
  for (let round = 0; round <= plan.rounds; round++) {
    for (const [at, one] of live.entries()) {
      const run = await runOnce(load, one, mode, plan.seconds);
      if (round > 0) bySide[at]!.push(run);
      plan.progress(
        `round ${round}/${plan.rounds}  ${mode.mode.padEnd(5)} ${one.name.padEnd(8)} ${run.cpuMicros.toFixed(2)} µs/${mode.unit}`,
      );
    }
  }
  return bySide;
}

async function runOnce(
  load: Load,
  { started, port }: Live,
  { mode, size, connections }: (typeof TCP_MODES)[number],
  seconds: number,
): Promise<TcpRun> {
  const before = started.cpuMicros();
  const { arrived, ms } = await load.run(mode, port, connections, seconds);
  const units = arrived / size;
  return { cpuMicros: (started.cpuMicros() - before) / units, unitsPerSecond: (units * 1000) / ms };
}

/** Prints one table. */
export async function printTcp(plan: { folder: string; seconds: number; rounds: number }): Promise<void> {
  const results = await runTcp({ ...plan, progress: (text) => process.stderr.write(`${text}\n`) });
  console.log(`\ntcp: ${plan.rounds} rounds of ${plan.seconds} s, one worker each`);
  console.log(["", "CPU µs/unit", "sluice ÷ it", "units/s"].map((head) => head.padStart(16)).join(""));
  for (const [m, { mode, unit, connections }] of TCP_MODES.entries()) {
    console.log(`${mode}: CPU time for each ${unit}, ${connections} connections`);
    const ours = results[m]![0]!;
    for (const [s, { name }] of TCP_SIDES.entries()) {
      const runs = results[m]![s]!;
      const ratio = median(ours.map((run, round) => run.cpuMicros / runs[round]!.cpuMicros));
      const figures = [
        median(runs.map(({ cpuMicros }) => cpuMicros)).toFixed(2),
        ratio.toFixed(2),
        Math.round(median(runs.map(({ unitsPerSecond }) => unitsPerSecond))).toString(),
      ];
      console.log(`${name.padStart(16)}${figures.map((figure) => figure.padStart(16)).join("")}`);
    }
  }
}
