/** Counts what of the modules under test has run, and leaves it in a file for `sluice test --coverage` when the process ends. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MAX_COVERED_INSTANCES } from "../limits.ts";
import { HostExport } from "../wasm/module/hardened.ts";
import type { LoadedModule } from "../wasm/module/module.ts";

/** Set by `sluice test --coverage`: the folder for {@link CoverageCounts}, one file per process. */
export const COVERAGE_FOLDER = "SLUICE_TEST_COVERAGE";

/** How often each straight piece of a module's code has run. */
export interface CoverageCounts {
  /** The module's file, or what it was called. */
  readonly module: string;
  readonly sha256: string;
  readonly memoryPages: number;
  readonly counts: readonly number[];
  /** Instances beyond the bound, whose code was not counted. */
  readonly uncounted: number;
}

interface Tally {
  readonly module: LoadedModule;
  readonly memoryPages: number;
  readonly counts: Float64Array;
  /** Counters of instances that may still run, and whose they are. */
  open: { readonly owner: object; readonly memory: WebAssembly.Memory }[];
  uncounted: number;
}

/** One per process. */
class CoverageRecorder {
  readonly #folder: string;
  readonly #tallies = new Map<string, Tally>();

  constructor(folder: string) {
    this.#folder = folder;
    process.once("exit", () => this.#write());
  }

  /** A new instance of a module that was loaded with `coverage`; `owner` settles it. */
  add(owner: object, module: LoadedModule, memoryPages: number, exports: WebAssembly.Exports): void {
    const counters = exports[HostExport.COVERAGE];
    const { pieces } = module.hardened;
    if (!(counters instanceof WebAssembly.Memory) || pieces === undefined) return;
    const key = `${module.sha256} ${memoryPages}`;
    let tally = this.#tallies.get(key);
    if (tally === undefined) {
      tally = { module, memoryPages, counts: new Float64Array(pieces.length), open: [], uncounted: 0 };
      this.#tallies.set(key, tally);
    }
    if (tally.open.length < MAX_COVERED_INSTANCES) tally.open.push({ owner, memory: counters });
    else tally.uncounted++;
  }

  /** No instance of this owner's runs any more: what they have counted is kept, and their memory is not. Without one: all of them. */
  settle(owner?: object): void {
    for (const tally of this.#tallies.values()) {
      const over = tally.open.filter((one) => owner === undefined || one.owner === owner);
      tally.open = tally.open.filter((one) => !over.includes(one));
      for (const { memory } of over) {
        const counted = new Uint32Array(memory.buffer, 0, tally.counts.length);
        for (const [n, count] of counted.entries()) tally.counts[n]! += count;
      }
    }
  }

  #write(): void {
    this.settle();
    const all = [...this.#tallies.values()].map(({ module, memoryPages, counts, uncounted }): CoverageCounts => ({
      module: module.name,
      sha256: module.sha256,
      memoryPages,
      counts: [...counts],
      uncounted,
    }));
    if (all.length === 0) return;
    mkdirSync(this.#folder, { recursive: true });
    writeFileSync(join(this.#folder, `${process.pid}.json`), JSON.stringify(all));
  }
}

const folder = process.env[COVERAGE_FOLDER];
/** null: nobody asks. */
export const coverage = folder === undefined || folder === "" ? null : new CoverageRecorder(folder);
