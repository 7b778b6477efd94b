/** Processes that take over from each other, and load on them meanwhile. */
import { once } from "node:events";
import { LOAD_CORE, startPinned } from "../bench/processes.ts";
import { PATIENT, readReport } from "../bench/wrk.ts";
import type { Load } from "../bench/wrk.ts";
import { ProxyProcess } from "./proxy-process.ts";

/** More than a process has of them. */
const ROWS = 128;
/** Rows of this process, told apart from each other and from those of others on this machine. */
let lastRow = process.pid * ROWS;

export class Row {
  readonly baseId = ++lastRow;
  readonly #args: readonly string[];
  /** Of the process that was started last. */
  epoch = -1;

  constructor(...args: string[]) {
    this.#args = ["--drain-time-s", "1", ...args];
  }

  /** The next process, which may serve another configuration. */
  next(config: string, ...more: string[]): ProxyProcess {
    const place = ["--base-id", String(this.baseId), "--restart-epoch", String(++this.epoch)];
    return new ProxyProcess(config, [...this.#args, ...place, ...more]);
  }
}

/** wrk against an address until `end` is called; then `result` tells what it has counted. */
export function steadyLoad(address: string): { readonly result: Promise<Load>; end(): void } {
  const wrk = startPinned(LOAD_CORE, ["wrk", "-t1", "-c20", "-d600s", ...PATIENT, "--latency", `http://${address}/`]);
  const result = once(wrk.child, "close").then(() => readReport(wrk.output));
  return { result, end: () => void wrk.child.kill("SIGINT") };
}
