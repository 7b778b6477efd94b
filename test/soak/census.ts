/** A proxy whose threads say what is left in them; see census-preload.ts. */
import { connect } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath, pathToFileURL } from "node:url";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { ProxyProcess } from "../cli/proxy-process.ts";

const PRELOAD = fileURLToPath(new URL("./census-preload.ts", import.meta.url));

/** What one thread has once it has collected all garbage. */
export interface ThreadCensus {
  /** 0 is the main thread. */
  readonly thread: number;
  readonly heapBytes: number;
  readonly externalBytes: number;
  /** Of the whole process. */
  readonly residentBytes: number;
  /** Of WebAssembly; Node has some of its own. */
  readonly modules: number;
  readonly instances: number;
  /** What its event loop waits for. */
  readonly resources: number;
  /** Of the whole process. */
  readonly descriptors: number;
}

export class CountedProxy extends ProxyProcess {
  readonly #socket: string;
  readonly #workers: number;

  constructor(config: string | ((folder: string) => string), workers: number) {
    const socket = join(mkdtempSync(join(tmpdir(), "sluice-census-")), "socket");
    const options = `--disable-warning=ExperimentalWarning --import ${pathToFileURL(PRELOAD).href}`;
    const launcher = ["env", `NODE_OPTIONS=${options}`, `SLUICE_CENSUS=${socket}`];
    super(config, ["--concurrency", String(workers)], launcher);
    this.#socket = socket;
    this.#workers = workers;
  }

  /** Of all threads, the main one first. */
  async census(): Promise<readonly ThreadCensus[]> {
    const socket = connect(this.#socket);
    socket.write(String(this.#workers + 1));
    const counts = JSON.parse(await text(socket)) as ThreadCensus[];
    return counts.toSorted((a, b) => a.thread - b.thread);
  }
}
