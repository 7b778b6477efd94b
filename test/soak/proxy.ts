/** Sluice as soak tests run it: the benchmark's configuration, its admin interface, and its memory. */
import { existsSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { firstAnswer, freePort, PROXY_CORE, startPinned } from "../bench/processes.ts";
import type { Started } from "../bench/processes.ts";
import { fill } from "../bench/sides.ts";

const SLUICE = fileURLToPath(new URL("../../runtime/cli/sluice.js", import.meta.url));

/** What is asked of a proxy for a soak test. */
export interface SoakSetup {
  readonly folder: string;
  readonly upstream: number;
  readonly workers: number;
  readonly way: Way;
}

/** HTTP without filters, HTTP through the three filters, or bytes through tcp_proxy. */
export type Way = "plain" | "filters" | "tcp";

/** A running proxy without a route timeout. */
export class SoakProxy {
  readonly started: Started;
  readonly port: number;
  readonly #adminFile: string;

  private constructor(started: Started, port: number, adminFile: string) {
    this.started = started;
    this.port = port;
    this.#adminFile = adminFile;
  }

  /** Resolves once it answers `/` with 200. */
  static async start({ folder, upstream, workers, way }: SoakSetup): Promise<SoakProxy> {
    const port = await freePort();
    const adminFile = join(folder, `admin-${port}`);
    const config = fill(
      way === "tcp" ? "sluice-tcp.yaml" : "sluice.yaml",
      { folder, port, upstream },
      way === "filters" ? "WASM" : undefined,
      "0s",
    );
    const options = ["--concurrency", String(workers), "--log-level", "warning", "--admin-address-path", adminFile];
    const started = startPinned(PROXY_CORE, [process.execPath, SLUICE, "run", "-c", config, ...options]);
    await firstAnswer(started, port);
    return new SoakProxy(started, port, adminFile);
  }

  /** Text of one endpoint of the admin interface. Throws unless it is answered 200. */
  admin(method: "GET" | "POST", path: string): Promise<string> {
    if (!existsSync(this.#adminFile)) throw new Error("the admin address was not written");
    const address = readFileSync(this.#adminFile, "utf8").trim();
    return new Promise((resolve, reject) => {
      const outgoing = request(`http://${address}${path}`, { method, agent: false }, (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text: string) => (body += text));
        response.on("error", reject);
        response.on("end", () =>
          response.statusCode === 200 ? resolve(body) : reject(new Error(`${path}: ${response.statusCode} ${body}`)),
        );
      });
      outgoing.on("error", reject);
      outgoing.end();
    });
  }

  /** Bytes of memory in use now. */
  residentBytes(): number {
    return residentBytes(this.started.pid);
  }

  /** Bytes of memory in use at most since the start. */
  peakBytes(): number {
    return this.#status("VmHWM");
  }

  #status(field: string): number {
    return statusBytes(this.started.pid, field);
  }
}

/** Bytes of memory that a process has in use now. */
export function residentBytes(pid: number): number {
  return statusBytes(pid, "VmRSS");
}

function statusBytes(pid: number, field: string): number {
  const kib = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  if (kib === undefined) throw new Error(`the kernel does not tell ${field}`);
  return Number(kib) * 1024;
}
