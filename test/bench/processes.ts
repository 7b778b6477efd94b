/** Processes under measurement: pinned to a core, each in a group of its own, never left behind. */
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { availableParallelism } from "node:os";
import { setTimeout as delay } from "node:timers/promises";

/** Where debian keeps daemons, which a user's PATH may leave out. */
const PATH = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;
const running = new Set<ChildProcess>();

process.on("exit", stopAllNow);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    stopAllNow();
    process.exit(1);
  });
}

function stopAllNow(): void {
  for (const child of running) killGroup(child, "SIGKILL");
}

/** False when the group has ended. Our own processes alone: each is its group's leader. */
function killGroup(child: ChildProcess, signal: NodeJS.Signals): boolean {
  try {
    return child.pid !== undefined && process.kill(-child.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    return false;
  }
}

/** A started process with everything that it started. */
export class Started {
  readonly child: ChildProcess;
  /** The end of what it printed. */
  output = "";

  constructor(child: ChildProcess) {
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (data: Buffer) => (this.output = (this.output + data.toString()).slice(-64 * 1024)));
    }
    child.on("error", (error) => (this.output += String(error)));
    running.add(child);
    child.once("close", () => running.delete(child));
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`did not start: ${this.output}`);
    return this.child.pid;
  }

  /** CPU time of the whole group so far, microseconds, in steps of the kernel's tick. */
  cpuMicros(): number {
    // Fields of proc(5) from the third on: 11 and 12 are user and system time.
    return (this.#sum((fields) => Number(fields[11]) + Number(fields[12])) * 1_000_000) / TICKS_PER_SECOND;
  }

  /** Memory of the whole group that is in use now. */
  residentBytes(): number {
    return this.#sum((fields) => Number(fields[21])) * PAGE_BYTES;
  }

  /** Adds up a figure of every process of the group; field 2 is the group. */
  #sum(figure: (fields: readonly string[]) => number): number {
    let sum = 0;
    for (const pid of readdirSync("/proc")) {
      if (!/^\d+$/.test(pid)) continue;
      const fields = statFields(pid);
      if (fields !== undefined && Number(fields[2]) === this.pid) sum += figure(fields);
    }
    return sum;
  }

  /** Asks the group to end, insists after two seconds, and resolves when its leader is gone. */
  async stop(): Promise<void> {
    if (!running.has(this.child)) return;
    const closed = once(this.child, "close");
    killGroup(this.child, "SIGTERM");
    const insist = setTimeout(() => killGroup(this.child, "SIGKILL"), 2000);
    await closed;
    clearTimeout(insist);
    killGroup(this.child, "SIGKILL");
  }
}

const PAGE_BYTES = Number(execFileSync("getconf", ["PAGESIZE"], { encoding: "utf8" }));
const TICKS_PER_SECOND = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

function statFields(pid: string): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch (error) {
    // It ended between the listing and the look.
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

/** Core of the proxy, and core of load generator and upstream; the same on a machine with one core. */
export const PROXY_CORE = availableParallelism() > 1 ? 1 : 0;
export const LOAD_CORE = 0;

/** Starts a command pinned to one core. */
export function startPinned(
  core: number | string,
  command: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Started {
  return new Started(
    spawn("taskset", ["-c", String(core), ...command], {
      detached: true,
      env: { ...process.env, ...environment, PATH },
      stdio: ["ignore", "pipe", "pipe"],
    }),
  );
}

/** A port of the loopback address that was free a moment ago: nginx and haproxy cannot say which one they got. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** What a side answered. */
export interface Answered {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}

/** One GET on a connection of its own. Rejects when nothing listens. */
export function get(port: number, headers: Readonly<Record<string, string>> = {}): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { host: "127.0.0.1", port, path: "/", agent: false, headers, timeout: 5000 },
      (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text: string) => (body += text));
        response.on("error", reject);
        response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
      },
    );
    outgoing.on("timeout", () => outgoing.destroy(new Error("no answer within 5 s")));
    outgoing.on("error", reject);
    outgoing.end();
  });
}

/** Resolves with the first 200. Throws what the process printed when there is none within ten seconds. */
export async function firstAnswer(started: Started, port: number, pauseMs = 20): Promise<Answered> {
  const end = performance.now() + 10_000;
  let why = "";
  while (performance.now() < end && started.child.exitCode === null) {
    try {
      const answer = await get(port);
      if (answer.status === 200) return answer;
      why = `status ${answer.status}`;
    } catch (error) {
      why = String(error);
    }
    await delay(pauseMs);
  }
  throw new Error(`no answer (${why}): ${started.output}`);
}
