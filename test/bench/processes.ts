/** Processes under measurement: pinned to a core, each in a group of its own, never left behind. */
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer } from "node:net";
import type { Server } from "node:net";
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

const FIRST_PORT = 16_000;
/** The system gives ports of its own choice from here on; below it nobody gets one without asking for it. */
const FIRST_OF_SYSTEM = firstOfSystem();
let lastPort = FIRST_PORT + ((process.pid * 16) % (FIRST_OF_SYSTEM - FIRST_PORT));

function firstOfSystem(): number {
  const path = "/proc/sys/net/ipv4/ip_local_port_range";
  // The value of Linux, where nobody has changed it.
  return existsSync(path) ? Math.max(Number.parseInt(readFileSync(path, "utf8"), 10), FIRST_PORT + 1000) : 32_768;
}

/**
 * A port of the loopback address on which nothing listens, and nothing will but what this process starts there: nginx and
 * haproxy cannot say which one they got, and for a dead host none may be there at all.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    if (++lastPort >= FIRST_OF_SYSTEM) lastPort = FIRST_PORT;
    const port = lastPort;
    // Other tests ask in the same way: whoever has the name has the port, until its process ends.
    if ((await listensAt(`\0sluice-test-port-${port}`)) === null) continue;
    const probe = await listensAt(port);
    if (probe === null) continue;
    probe.close();
    await once(probe, "close");
    return port;
  }
}

/** Null: somebody else does. */
async function listensAt(place: string | number): Promise<Server | null> {
  const server = createServer().unref();
  try {
    if (typeof place === "string") server.listen(place);
    else server.listen(place, "127.0.0.1");
    await once(server, "listening");
    return server;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    return null;
  }
}

/** What a side answered. */
export interface Answered {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}

/** One GET on a connection of its own. Rejects when nothing listens, or something that does not answer. */
export function get(port: number, headers: Readonly<Record<string, string>> = {}): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { host: "127.0.0.1", port, path: "/", agent: false, headers, timeout: ANSWER_MS },
      (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text: string) => (body += text));
        response.on("error", reject);
        response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
      },
    );
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${ANSWER_MS} ms`)));
    outgoing.on("error", reject);
    outgoing.end();
  });
}

/** Milliseconds for one answer, and for the start of a process until its first one: a machine that does much else may be ten times as slow. */
const ANSWER_MS = 50_000;
export const START_MS = 100_000;

/** Resolves with the first 200. Throws what the process printed when it ends, or there is none in START_MS. */
export async function firstAnswer(started: Started, port: number, pauseMs = 20): Promise<Answered> {
  const end = performance.now() + START_MS;
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

/** Resolves when something listens. Throws what the process printed when nothing does in START_MS. */
export async function opened(started: Started, port: number): Promise<void> {
  const end = performance.now() + START_MS;
  while (performance.now() < end && started.child.exitCode === null) {
    const socket = connect(port, "127.0.0.1");
    const open = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    await delay(20);
  }
  throw new Error(`nothing listens: ${started.output}`);
}
